"""What the API server itself said to a dry run of each pod (`--probe-admission`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from auditor.model import Json, Resource, View
from checks.kubernetes._admission.answers import Answer, Outcome
from checks.kubernetes._admission.violations import Violation
from checks.kubernetes._pods import mapping, objects

ALSO_COMPLIANT = "refuses a pod that breaks no rule as well"


class Said(NamedTuple):
    """What became of one variant, and by whose word."""

    variant: str
    outcome: Outcome
    answers: tuple[Answer, ...]
    stands: bool


PROBE = "AdmissionProbe"
ANYBODY = ("", "admission")
"""How a dry run names a refuser that the API server's words do not tell."""


class Probed(NamedTuple):
    """What a dry run said of the variants that it could tell something of, and what kept it from
    telling more, if anything.
    """

    said: Mapping[str, Said]
    silence: str = ""


def probed(violation: Violation, namespace: Resource, view: View) -> Probed:
    """What the API server said of the pods of a rule, where it was asked (`--probe-admission`)."""
    for resource in view.in_namespace(PROBE, namespace.name):
        if resource.name == violation.id:
            return _results(resource.body)
    return Probed({})


def _results(body: Mapping[str, Json]) -> Probed:
    compliant = mapping(body.get("compliant"))
    blind = _refuser(compliant) if compliant.get("outcome") == Outcome.REFUSED else None
    found: dict[str, Said] = {}
    silence = ""
    for result in objects(body.get("results")):
        variant, message = str(result.get("variant")), str(result.get("message") or "")
        by = str(result.get("by") or "")
        if result.get("outcome") == Outcome.ADMITTED:
            answer = Answer(Outcome.ADMITTED, by, message)
        elif result.get("outcome") != Outcome.REFUSED:
            silence = silence or message
            continue
        elif blind is not None and _refuser(result) == blind:
            answer = Answer(Outcome.UNDECIDED, by, f"{ALSO_COMPLIANT}: {message}")
        else:
            answer = Answer(Outcome.REFUSED, by, message)
        found[variant] = Said(variant, answer.outcome, (answer,), True)
    return Probed(found, silence)


def _refuser(result: Mapping[str, Json]) -> str:
    """Who refused, as far as the API server's words tell; else those words."""
    by = str(result.get("by") or "")
    return str(result.get("message")) if by in ANYBODY else by


def disagreement(pairs: Iterable[tuple[Said, Said]]) -> str:
    """A sentence where the objects say otherwise than the API server, and why that may be."""
    differing = {
        (by_reading.outcome, by_asking.outcome)
        for by_reading, by_asking in pairs
        if {by_reading.outcome, by_asking.outcome} == {Outcome.ADMITTED, Outcome.REFUSED}
    }
    if (Outcome.REFUSED, Outcome.ADMITTED) in differing:
        return (
            "; the objects say that it would be refused: an exemption in the API server's"
            " AdmissionConfiguration, a plugin that is switched off, or a mutation that mends"
            " the pod may be why"
        )
    if differing:
        return (
            "; the objects say that it would be admitted: a default in the API server's"
            " AdmissionConfiguration, or a webhook, may be why"
        )
    return ""
