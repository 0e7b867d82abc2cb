"""What one admission mechanism says of one pod, and what several say together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from auditor.model import Json, Resource, View


class Outcome(StrEnum):
    """What would happen to a pod. Declared in the order in which one of them decides."""

    REFUSED = "refused"
    UNDECIDED = "undecided"
    """A mechanism is asked, and what it would say cannot be computed: a person must read it."""
    ADMITTED = "admitted"


class Answer(NamedTuple):
    """What a mechanism says: `by` names it as a person would (`Kyverno ClusterPolicy x, rule y`),
    `why` is one sentence of evidence.
    """

    outcome: Outcome
    by: str
    why: str


Pod = Mapping[str, Json]
"""A pod as it would be created: `metadata` and `spec`."""

Mechanism = Callable[[Pod, Resource, View], Iterator[Answer]]
"""Asks one mechanism about a pod to be created in a namespace (a `Namespace` resource).

It yields an answer for each policy that is asked about the pod, and nothing where none is.
"""


def together(answers: Iterable[Answer]) -> Outcome:
    """One refusal is enough; what is undecided leaves all undecided; else the pod is admitted."""
    outcomes = {answer.outcome for answer in answers}
    return next((item for item in Outcome if item in outcomes), Outcome.ADMITTED)
