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
from checks.kubernetes._admission.dressed import Wardrobe
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
    words = "not set; admitted: container with privileged true (also by policy 0: has containers)"
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


def test_a_policy_that_a_dry_run_came_past_is_for_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may spare the user who asked; a label is lost to what only the server knows."""
    namespace, view = view_of(probes=probe(ADMITTED_ROW, REFUSED_ROW))
    with_policies(monkeypatch, {'"privileged": true': Outcome.REFUSED})
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome is Outcome.UNDECIDED and ruling.stands
    assert ruling.observed.startswith('not set; asked with a dry run; policy 0: has "privileged"')
    assert "may spare the user who asked" in ruling.observed
    assert "AdmissionConfiguration" not in ruling.observed


def dressed_view(
    probes: Any = (), namespaces: tuple[str, ...] = ("shop",)
) -> tuple[Resource, View]:
    """A namespace with pods there and elsewhere, each with a label and an image."""
    pods = []
    for place in namespaces:
        for name in ("b", "a"):
            spec = {"containers": [{"name": name, "image": f"registry.example.com/{name}:1"}]}
            metadata = {"name": name, "labels": {"team": f"{place}-{name}"}}
            body = {"spec": spec, "metadata": metadata}
            pods.append(Resource("kubernetes", TARGET, "Pod", place, name, body, spec_path="spec"))
    return view_of(probes=probes, more=pods)


def wants(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that refuses every pod in which a word is missing, and no other."""

    def answers(pod: Pod, namespace: Resource, view: View) -> Iterator[Answer]:
        refused = word not in json.dumps(pod)
        yield Answer(Outcome.REFUSED if refused else Outcome.ADMITTED, "policy", "")

    monkeypatch.setattr(deciding, "MECHANISMS", (Asked(answers),))


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ('"team": "shop-a"', "read for pods with the labels of Pod shop/a;"),
        ('"team": "attic-a"', "read for pods with the labels of Pod attic/a;"),
        ("registry.example.com", "read for pods with the labels and registry of Pod shop/a;"),
        ("registry.example.com/b:1", "read for pods with the labels and image of Pod shop/b;"),
        ("pause", "not set; admitted"),
    ],
)
def test_the_pods_wear_what_is_seen_there(
    word: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace, view = dressed_view(namespaces=("attic", "shop"))
    wants(word, monkeypatch)
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome is Outcome.ADMITTED and not ruling.stands
    assert found in ruling.observed


def test_what_the_platform_wears_is_for_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace, view = dressed_view(namespaces=("kube-system",))
    wants('"team": "kube-system-a"', monkeypatch)
    assert decide(PRIVILEGED, namespace, view).outcome is Outcome.UNDECIDED


def test_a_bare_dry_run_tells_nothing_where_pods_must_be_dressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    denied = {"outcome": "refused", "by": "policy", "message": "no team"}
    namespace, view = dressed_view(probes=probe(denied, denied, compliant=denied))
    wants('"team": "shop-a"', monkeypatch)
    ruling = decide(PRIVILEGED, namespace, view)
    assert ruling.outcome is Outcome.ADMITTED and not ruling.stands
    assert "asked with a dry run" not in ruling.observed
    assert "a dry run could not tell: policy: refuses a pod that breaks no rule as well" in (
        ruling.observed
    )


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
    assert len(calls) == 53 + 1  # and the pod that is in order


def test_namespaces_share_what_their_pods_wear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods made for each of many namespaces would take seconds, and hundreds of megabytes."""
    places = tuple(f"team-{number}" for number in range(50))
    _, view = dressed_view(namespaces=places)
    wants('"team": ', monkeypatch)
    for place in places:
        metadata = {"name": place, "labels": {}}
        namespace = Resource("kubernetes", TARGET, "Namespace", None, place, {"metadata": metadata})
        for rule in VIOLATIONS:
            assert decide(rule, namespace, view).outcome is Outcome.ADMITTED
    assert len(view.index(Wardrobe).made) == 53 + 1  # and the pod that is in order
