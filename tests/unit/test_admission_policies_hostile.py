"""Policies of any shape: nothing crashes, nothing takes long, what is unreadable is undecided."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.model import Resource, View
from checks.kubernetes._admission import gatekeeper, kyverno, validating_policy, webhooks
from checks.kubernetes._admission.answers import Answer, Outcome
from tests.support.admission import TARGET, namespace, outcome, pod, view_of
from tests.unit import test_admission_policies as vap
from tests.unit import test_admission_policies_gatekeeper as gk
from tests.unit import test_admission_policies_kyverno as ky

REFUSED, UNDECIDED, ADMITTED = Outcome.REFUSED, Outcome.UNDECIDED, Outcome.ADMITTED
MECHANISMS = (
    validating_policy.answers,
    kyverno.answers,
    gatekeeper.answers,
    webhooks.answers,
)
PRIVILEGED = pod({"privileged": True})


def every_answer(view: View, of: Any = PRIVILEGED, where: Resource | None = None) -> list[Answer]:
    inside = namespace() if where is None else where
    return [answer for mechanism in MECHANISMS for answer in mechanism(of, inside, view)]


def documents() -> list[dict[str, Any]]:
    """One policy of each kind, each of which lets the compliant pod through."""
    kind = "K8sPSPPrivilegedContainer"
    return [
        *vap.bound("!object.spec.?hostPID.orValue(false)"),
        *ky.policy(ky.rule({"pattern": ky.NOT_PRIVILEGED})),
        ky.validating(),
        ky.exception(),
        gk.hook(),
        gk.template(kind),
        gk.constraint(kind, {"exemptImages": ["x"]}),
        gk.template("MyKind", gk.NATIVE),
        {**gk.constraint("MyKind", {"images": []}), "metadata": {"name": "d"}},
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "theirs"},
            "webhooks": ky.hook()["webhooks"],
        },
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place below `spec` or `webhooks` of a document."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, dict | list):
        for key, item in children:
            yield from places(item, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a document with another value at a place."""
    copy = deepcopy(value)
    target = copy
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = new
    return copy


WRONG: tuple[Any, ...] = (None, True, 7, 1.5, "", "x", "*", "«redacted: x, 9 characters»")
SHAPES: tuple[Any, ...] = ([], {}, [None], [[]], {"x": None}, ["x"], [{"x": 1}], {"any": 1})


def test_a_wrong_type_in_any_place_crashes_nothing() -> None:
    given_documents = documents()
    tried = 0
    for place, document in enumerate(given_documents):
        for key in ("spec", "webhooks"):
            for path in list(places(document.get(key, {}), (key,)))[1:]:
                for new in (*WRONG, *SHAPES):
                    changed = list(given_documents)
                    changed[place] = replaced(document, path, new)
                    try:
                        view = view_of(*changed)
                    except ValueError:
                        continue  # the collector takes it for malformed
                    every_answer(view)
                    tried += 1
    assert tried > 2000


def test_bodies_that_are_no_policies_at_all_crash_nothing() -> None:
    for body in ({}, {"spec": None}, {"spec": []}, {"spec": "x"}, {"webhooks": "x"}, {"spec": 5}):
        resources = [
            Resource("kubernetes", "t", item["kind"], None, "n", {**body, "apiVersion": version})
            for item in documents()
            for version in [item["apiVersion"]]
        ]
        every_answer(View(TARGET, resources, [], [], {}, {}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=JSON, labels=JSON)
def test_a_pod_of_any_shape_crashes_nothing(spec: Any, labels: Any) -> None:
    view = view_of(*documents())
    for shape in ({"metadata": {"labels": labels}, "spec": spec}, {"metadata": labels}, {}):
        every_answer(view, shape)
    for field in ("containers", "initContainers", "volumes", "securityContext", "tolerations"):
        every_answer(view, pod(**{field: spec}))


def test_a_namespace_of_any_shape_crashes_nothing() -> None:
    view = view_of(*documents())
    for metadata in (None, [], {"labels": []}, {"annotations": 5}, {"labels": {"a": [1]}}):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        every_answer(view, where=Resource("kubernetes", "t", "Namespace", None, "shop", body))


@pytest.mark.parametrize(
    "expression",
    [
        "[" + "object," * 3000 + "object].size() > 0",
        "object.spec.containers" + ".map(c, [c, c])" * 60 + ".size() > 0",
        "'a'" + ".replace('a', 'aa')" * 200 + " == ''",
        "(" * 200 + "true" + ")" * 200,
        "object" + ".a" * 4000 + " == 1",
        "object.metadata.name.matches('(a*)*b')",
        "true" + " && true" * 1200,
    ],
)
def test_hostile_expressions_take_no_time_to_speak_of(expression: str) -> None:
    started = time.monotonic()
    found = outcome(validating_policy.answers, vap.bound(expression, failurePolicy="Ignore"))
    assert found in (UNDECIDED, ADMITTED, REFUSED)
    assert time.monotonic() - started < 2


def test_variables_that_double_each_other_are_stopped() -> None:
    variables = [{"name": "v0", "expression": "'" + "a" * 100 + "'"}]
    variables += [
        {"name": f"v{n}", "expression": f"variables.v{n - 1} + variables.v{n - 1}"}
        for n in range(1, 60)
    ]
    started = time.monotonic()
    documents = vap.bound("variables.v59.size() > 0", variables=variables)
    assert outcome(validating_policy.answers, documents) is UNDECIDED
    assert time.monotonic() - started < 2


def test_a_policy_with_too_many_expressions_is_left_to_a_person() -> None:
    assert outcome(validating_policy.answers, vap.bound(*["true"] * 600)) is UNDECIDED
    assert outcome(validating_policy.answers, vap.bound(*["true"] * 400)) is ADMITTED


def test_deep_patterns_and_long_lists_are_stopped() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = {"a": deep}
    started = time.monotonic()
    # So deep that no collector hands it over: it is given as it is.
    rule = Resource(
        "kubernetes",
        "t",
        "ClusterPolicy",
        None,
        "p",
        {
            "apiVersion": "kyverno.io/v1",
            "spec": {
                "validationFailureAction": "Enforce",
                "rules": [ky.rule({"pattern": {"metadata": deep}})],
            },
        },
    )
    [hook] = view_of(ky.hook()).of_kind("ValidatingWebhookConfiguration")
    view = View(TARGET, [hook, rule], [], [], {}, {})
    assert [item.outcome for item in kyverno.answers(PRIVILEGED, namespace(), view)] == [UNDECIDED]
    wide = {"spec": {"containers": [{f"=(k{n})": "*a*b*c*d*" for n in range(50_000)}]}}
    assert outcome(kyverno.answers, ky.policy(ky.rule({"pattern": wide}))) in (ADMITTED, UNDECIDED)
    assert time.monotonic() - started < 5


def test_a_cyclic_pod_is_undecided() -> None:
    made = pod()
    made["spec"]["x"] = made["spec"]
    found = {answer.outcome for answer in every_answer(view_of(*documents()), made)}
    assert found <= {UNDECIDED, ADMITTED}


# --- webhooks of others -----------------------------------------------------------------------


def theirs(**more: Any) -> list[dict[str, Any]]:
    [hook] = ky.hook()["webhooks"]
    named = {**hook, "name": "x.example.com", "clientConfig": {"url": "https://x"}, **more}
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "theirs"},
            "webhooks": [named],
        }
    ]


RULE: dict[str, Any] = ky.hook()["webhooks"][0]["rules"][0]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, UNDECIDED),
        ({"rules": [{**RULE, "resources": ["services"]}]}, None),
        ({"rules": [{**RULE, "operations": ["DELETE"]}]}, None),
        ({"rules": [{**RULE, "resources": ["*"]}]}, UNDECIDED),
        ({"rules": "x"}, UNDECIDED),
        ({"namespaceSelector": {"matchLabels": {"team": "a"}}}, UNDECIDED),
        ({"namespaceSelector": {"matchLabels": {"team": "b"}}}, None),
        ({"objectSelector": {"matchLabels": {"x": "y"}}}, None),
        ({"objectSelector": {"matchExpressions": [{"key": "x", "operator": "?"}]}}, UNDECIDED),
        ({"matchConditions": [{"name": "c", "expression": "false"}]}, None),
        ({"matchConditions": [{"name": "c", "expression": "true"}]}, UNDECIDED),
        ({"matchConditions": [{"name": "c", "expression": "object.spec.hostPID"}]}, REFUSED),
        (
            {
                "failurePolicy": "Ignore",
                "matchConditions": [{"name": "c", "expression": "object.spec.hostPID"}],
            },
            None,
        ),
        ({"matchConditions": [{"name": "c", "expression": "authorizer.x"}]}, UNDECIDED),
    ],
)
def test_webhooks_of_others_are_named_when_they_are_asked(more: Any, expected: Any) -> None:
    where = namespace("shop", team="a")
    assert outcome(webhooks.answers, theirs(**more), None, where) is expected


def test_a_webhook_is_named_with_its_failure_policy() -> None:
    view = view_of(*theirs(failurePolicy="Ignore"))
    [answer] = list(webhooks.answers(pod(), namespace(), view))
    assert answer.by == "webhook x.example.com (theirs)"
    assert "failurePolicy Ignore" in answer.why


def test_kyvernos_and_gatekeepers_webhooks_are_no_strangers() -> None:
    assert outcome(webhooks.answers, [ky.hook(), gk.hook()]) is None
