"""What several mechanisms, and a dry run, amount to for a namespace and a rule."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from auditor.collect.base import Harvest
from auditor.evaluate import views
from auditor.model import Resource, Target, View
from checks.kubernetes._admission import decide as deciding
from checks.kubernetes._admission.answers import Answer, Outcome, Pod, together
from checks.kubernetes._admission.decide import (
    Asked,
    decide,
    judged,
    mechanism,
)
from checks.kubernetes._admission.pod_security import (
    ENFORCE,
)
from checks.kubernetes._admission.violations import BY_ID, VIOLATIONS
from tests.support.fixtures import snapshot_of
from tests.support.one_namespace import TARGET, view_of

RESTRICTED = {ENFORCE: "restricted"}


# --- several answers ----------------------------------------------------------------------------


def test_one_refusal_is_enough_and_doubt_is_next() -> None:
    refused, undecided, admitted = (Answer(outcome, "x", "") for outcome in Outcome)
    assert together([admitted, undecided, refused]) is Outcome.REFUSED
    assert together([admitted, undecided]) is Outcome.UNDECIDED
    assert together([admitted]) is together([]) is Outcome.ADMITTED


Rule = Mapping[str, Outcome]
"""By a word in the pod's JSON: what a made-up policy says of it."""


def with_policies(
    monkeypatch: pytest.MonkeyPatch, *policies: Rule, taken_back_by: tuple[str, ...] = ()
) -> list[int]:
    """Put made-up policies in place of the real mechanisms; returns a counter of questions."""
    asked: list[int] = []

    def answers(pod: Pod, namespace: Resource, view: View) -> Iterator[Answer]:
        asked.append(1)
        text = json.dumps(pod)
        for number, policy in enumerate(policies):
            for word, outcome in policy.items():
                if word in text:
                    yield Answer(outcome, f"policy {number}", f"has {word}")

    monkeypatch.setattr(deciding, "MECHANISMS", (Asked(answers, taken_back_by),))
    return asked


PRIVILEGED = BY_ID["k8s-privileged-container"]
EVERYTHING = "containers"


def test_a_rule_is_refused_only_with_every_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace, view = view_of()
    with_policies(monkeypatch, {'"privileged": true': Outcome.REFUSED})
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome is Outcome.REFUSED and ruling.stands
    assert ruling.observed == 'not set; refused by policy 0: has "privileged": true'
    with_policies(monkeypatch, {"initContainers": Outcome.REFUSED})
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome is Outcome.ADMITTED and not ruling.stands
    assert ruling.observed == "not set; admitted: container with privileged true"


@pytest.mark.parametrize(
    ("hidden", "stands"),
    [((), True), (("exceptions",), False), (("other",), True), (("*",), False)],
)
def test_two_policies_may_refuse_a_rule_together(
    monkeypatch: pytest.MonkeyPatch, hidden: tuple[str, ...], stands: bool
) -> None:
    """It stands where nothing is hidden that could make an exception."""
    namespace, view = view_of(hidden=hidden)
    with_policies(
        monkeypatch,
        {"initContainers": Outcome.REFUSED},
        {'"privileged": true': Outcome.REFUSED},
        taken_back_by=("exceptions",),
    )
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome is Outcome.REFUSED and ruling.stands is stands
    assert "policy 1" in ruling.observed and "policy 0" in ruling.observed


def test_what_is_undecided_is_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace, view = view_of()
    with_policies(monkeypatch, {"privileged": Outcome.UNDECIDED, "initContainers": Outcome.REFUSED})
    verdict = next(iter(judged(PRIVILEGED.id, namespace, view)))
    assert verdict.status == "review"
    assert verdict.observed == "not set; policy 0: has privileged"


def test_what_is_admitted_fails_whatever_else_is_undecided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    namespace, view = view_of()
    with_policies(monkeypatch, {"initContainers": Outcome.UNDECIDED, EVERYTHING: Outcome.ADMITTED})
    verdict = next(iter(judged(PRIVILEGED.id, namespace, view)))
    assert verdict.status == "fail" and not verdict.stands
    words = "not set; admitted: container with privileged true (also by policy 0)"
    assert verdict.observed == words


def test_who_refuses_a_pod_in_order_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace, view = view_of()
    with_policies(monkeypatch, {EVERYTHING: Outcome.REFUSED})
    for rule in VIOLATIONS:
        ruling = decide(rule, namespace, view)
        assert ruling.outcome is Outcome.UNDECIDED
        assert "policy 0: refuses a pod that breaks no rule as well" in ruling.observed
    assert next(iter(mechanism(namespace, view))).status == "review"
    namespace, view = view_of()
    policy = {'"privileged": true': Outcome.REFUSED}
    with_policies(monkeypatch, {EVERYTHING: Outcome.REFUSED}, policy)
    assert decide(PRIVILEGED, namespace, view).outcome is Outcome.REFUSED


def test_a_mechanism_is_one_if_it_refuses_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace, view = view_of()
    with_policies(monkeypatch, {"hostPort": Outcome.REFUSED})
    verdict = next(iter(mechanism(namespace, view)))
    assert verdict.status == "pass" and verdict.stands
    assert "container with hostPort 80: refused by policy 0: has hostPort" in verdict.observed
    with_policies(monkeypatch, {"no pod has this": Outcome.REFUSED})
    verdict = next(iter(mechanism(namespace, view)))
    assert verdict.status == "fail" and not verdict.stands


# --- the probe ----------------------------------------------------------------------------------

PSA = 'pods "auditor-probe-*" is forbidden: violates PodSecurity "restricted:latest": privileged'
ADMITTED_ROW = {"outcome": "admitted", "by": "", "message": ""}
REFUSED_ROW = {"outcome": "refused", "by": "PodSecurity restricted:latest", "message": PSA}
FAILED_ROW = {"outcome": "failed", "by": "", "message": "exceeded quota: small"}


def probe(
    *rows: Mapping[str, Any], compliant: Mapping[str, Any] = ADMITTED_ROW
) -> list[tuple[str, Mapping[str, Any]]]:
    results = [
        {"variant": variant, **row} for variant, row in zip(PRIVILEGED.variants, rows, strict=False)
    ]
    return [(PRIVILEGED.id, {"results": results, "compliant": dict(compliant), "note": ""})]


def test_the_probe_wins_over_a_label_that_is_not_there() -> None:
    namespace, view = view_of(probes=probe(REFUSED_ROW, REFUSED_ROW))
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome is Outcome.REFUSED and ruling.stands
    assert PSA in ruling.observed
    assert "a default in the API server's AdmissionConfiguration" in ruling.observed
    assert next(iter(mechanism(namespace, view))).status == "pass"


def test_the_probe_wins_over_a_label() -> None:
    namespace, view = view_of(RESTRICTED, probes=probe(ADMITTED_ROW, REFUSED_ROW))
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome is Outcome.ADMITTED and ruling.stands
    assert "admitted: container with privileged true; the objects say" in ruling.observed
    assert "an exemption in the API server's AdmissionConfiguration" in ruling.observed


def test_where_probe_and_reading_agree_nothing_is_said_of_it() -> None:
    namespace, view = view_of(RESTRICTED, probes=probe(REFUSED_ROW, REFUSED_ROW))
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome is Outcome.REFUSED and "objects" not in ruling.observed


@pytest.mark.parametrize(("labels", "outcome"), [({}, "admitted"), (RESTRICTED, "refused")])
def test_what_the_probe_could_not_tell_is_read(labels: dict[str, str], outcome: str) -> None:
    namespace, view = view_of(labels, probes=probe(FAILED_ROW, REFUSED_ROW))
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome == outcome
    assert "a dry run could not tell: exceeded quota: small" in ruling.observed
    namespace, view = view_of(labels, probes=probe(REFUSED_ROW))
    assert decide(PRIVILEGED, namespace, view).outcome == outcome


def test_a_refusal_of_any_pod_is_no_proof() -> None:
    hook = {"outcome": "refused", "by": "webhook x", "message": "denied"}
    namespace, view = view_of(probes=probe(hook, REFUSED_ROW, compliant=hook))
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome is Outcome.UNDECIDED
    assert "webhook x: refuses a pod that breaks no rule as well: denied" in ruling.observed
    # A label that refuses the pods as well is proof of its own.
    namespace, view = view_of(RESTRICTED, probes=probe(hook, hook, compliant=hook))
    assert decide(PRIVILEGED, namespace, view).outcome is Outcome.REFUSED
    # Nobody named: the words alone tell whether it is the same refusal.
    one = {"outcome": "refused", "by": "admission", "message": "no"}
    other = {"outcome": "refused", "by": "admission", "message": "not privileged"}
    namespace, view = view_of(probes=probe(other, other, compliant=one))
    assert decide(PRIVILEGED, namespace, view).outcome is Outcome.REFUSED
    namespace, view = view_of(probes=probe(one, other, compliant=one))
    assert decide(PRIVILEGED, namespace, view).outcome is Outcome.UNDECIDED


def test_a_probe_of_another_rule_says_nothing() -> None:
    namespace, view = view_of(probes=probe(REFUSED_ROW, REFUSED_ROW))
    ruling = decide(BY_ID["k8s-host-pid"], namespace, view)
    assert ruling == (Outcome.ADMITTED, "not set; admitted: pod with hostPID", False, False)


# --- speed --------------------------------------------------------------------------------------


def test_namespaces_with_one_level_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    harvest = Harvest()
    harvest.targets.append(Target(TARGET, "kubernetes", "unit", {"version": "v1.35.4"}))
    body = {"metadata": {"name": "x", "labels": {ENFORCE: "baseline"}}}
    for number in range(300):
        name = f"team-{number}"
        harvest.resources.append(Resource("kubernetes", TARGET, "Namespace", None, name, body))
    view = views(snapshot_of(harvest))[0]
    calls: list[int] = []
    real = deciding.pod_security.broken

    def counted(*args: Any) -> list[str]:
        calls.append(1)
        return real(*args)

    monkeypatch.setattr(deciding.pod_security, "broken", counted)
    for namespace in view.of_kind("Namespace"):
        for rule in VIOLATIONS:
            assert isinstance(decide(rule, namespace, view).outcome, Outcome)
    assert len(calls) == 49 + 1  # and the pod that is in order
