"""A rule with its words, and one judgement that it gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from auditor.model.status import Severity, Status
from auditor.model.verdict import Verdict
from auditor.model.view import View
from auditor.model.world import Resource

Probe = Callable[[Resource, View], Iterable[Verdict]]

Excuse = Callable[[str, Resource, View], str | None]
"""Why a failure of a check (its id) on a resource is accepted, in words; None when it is not."""

PlaceExcuse = Callable[[str, Resource, View, Verdict], str | None]
"""Why one failure of a check (its id) is accepted where it stands; None when it is not."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, decided for one kind of resource, with the words a reader needs.

    `applies_to` is `platform/kind` (`kubernetes/workload`, `docker/container`, …). `needs` names
    the scopes beyond the subject's own that must have been read for a pass to stand. `distinct`
    says that only the pod spec decides, so that equal specs share one evaluation. The prose
    comes from the probe's docstring, which is also the check's page in the documentation.
    `excuse` says which failures are accepted, and why: they become `waived`, never a pass.
    `excuse_place` says the same of one place of a resource (a comment above a line of a file).
    """

    id: str
    title: str
    severity: Severity
    applies_to: str
    needs: tuple[str, ...]
    settings: tuple[str, ...]
    distinct: bool
    summary: str
    why: str
    rule: str
    fix: str
    source: str
    probe: Probe
    module: str
    excuse: Excuse | None = None
    excuse_place: PlaceExcuse | None = None

    @property
    def platform(self) -> str:
        """The part of `applies_to` before the slash."""
        return self.applies_to.partition("/")[0]

    @property
    def subject(self) -> str:
        """The part of `applies_to` after the slash: a kind, or `workload`."""
        return self.applies_to.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Finding:
    """One judgement: which check, of what, with what evidence. Passes carry no prose.

    `id` is the same in every audit for the same check, target, owner and path. `count` is the
    number of live objects that show it. `line` and `column` are 1-based, for files.
    """

    id: str
    check: str
    status: Status
    severity: Severity
    target: str
    source: str
    kind: str
    namespace: str | None
    name: str
    path: str
    line: int | None
    column: int | None
    observed: str
    expected: str
    count: int
    waiver: str | None
    origin: str | None
