"""ValidatingAdmissionPolicies read without a server; the live test holds the same against one."""

from __future__ import annotations

from typing import Any

import pytest

from checks.kubernetes._admission.answers import Outcome
from checks.kubernetes._admission.created import as_created
from checks.kubernetes._admission.validating_policy import answers
from checks.kubernetes._admission.violations import COMPLIANT
from tests.support.admission import asked, namespace, outcome, pod, view_of

GROUP = "admissionregistration.k8s.io/v1"
REFUSED, UNDECIDED, ADMITTED = Outcome.REFUSED, Outcome.UNDECIDED, Outcome.ADMITTED
NO_HOST_NETWORK = "!object.spec.?hostNetwork.orValue(false)"
HOST = pod(hostNetwork=True)
PODS = {
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "operations": ["CREATE"],
    "resources": ["pods"],
}


def policy(*expressions: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "matchConstraints": {"resourceRules": [PODS]},
            "validations": [{"expression": item} for item in expressions],
            **spec,
        },
    }


def binding(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"},
        "spec": {"policyName": "p", "validationActions": ["Deny"], **spec},
    }


def bound(*expressions: str, **spec: Any) -> list[dict[str, Any]]:
    return [policy(*expressions, **spec), binding()]


def test_a_bound_policy_refuses_what_breaks_it_and_nothing_else() -> None:
    assert outcome(answers, bound(NO_HOST_NETWORK), HOST) is REFUSED
    assert outcome(answers, bound(NO_HOST_NETWORK)) is ADMITTED


def test_an_answer_names_the_policy_the_binding_the_place_and_the_words() -> None:
    spec = {"validations": [{"expression": NO_HOST_NETWORK, "message": "no host network"}]}
    [answer] = asked(answers, [policy(**spec), binding()], HOST)
    assert answer.by == "ValidatingAdmissionPolicy p (bound by b), validations[0]"
    assert answer.why == "validations[0] is not met: no host network"


def test_each_failed_validation_is_an_answer() -> None:
    found = asked(answers, bound(NO_HOST_NETWORK, "true", "object.spec.hostNetwork == 1"), HOST)
    assert [answer.by.rpartition(", ")[2] for answer in found] == [
        "validations[0]",
        "validations[2]",
    ]


@pytest.mark.parametrize(
    ("actions", "expected"),
    [(["Deny"], REFUSED), (["Audit", "Deny"], REFUSED), (["Warn", "Audit"], ADMITTED)],
)
def test_only_deny_refuses(actions: list[str], expected: Outcome) -> None:
    documents = [policy(NO_HOST_NETWORK), binding(validationActions=actions)]
    assert outcome(answers, documents, HOST) is expected


def test_a_policy_without_a_binding_and_a_binding_without_a_policy_do_nothing() -> None:
    assert outcome(answers, [policy(NO_HOST_NETWORK)], HOST) is None
    assert outcome(answers, [binding()], HOST) is None
    assert outcome(answers, [policy(NO_HOST_NETWORK), binding(policyName="x")], HOST) is None


@pytest.mark.parametrize(("failure", "expected"), [("Fail", REFUSED), ("Ignore", ADMITTED)])
def test_an_error_goes_by_the_failure_policy(failure: str, expected: Outcome) -> None:
    documents = bound("object.spec.hostPID == false", failurePolicy=failure)
    assert outcome(answers, documents) is expected
    assert outcome(answers, bound("object.spec.hostPID == false")) is REFUSED


@pytest.mark.parametrize(
    ("constraints", "matched"),
    [
        ({"resourceRules": [PODS]}, True),
        ({"resourceRules": [{**PODS, "operations": ["UPDATE"]}]}, False),
        ({"resourceRules": [{**PODS, "resources": ["pods/exec"]}]}, False),
        ({"resourceRules": [{**PODS, "resources": ["*/*"]}]}, True),
        ({"resourceRules": [{**PODS, "scope": "Cluster"}]}, False),
        ({"resourceRules": [{**PODS, "resourceNames": ["x"]}]}, False),
        ({"resourceRules": [PODS], "excludeResourceRules": [PODS]}, False),
        ({"resourceRules": [PODS], "namespaceSelector": {"matchLabels": {"team": "a"}}}, True),
        ({"resourceRules": [PODS], "namespaceSelector": {"matchLabels": {"team": "b"}}}, False),
        ({"resourceRules": [PODS], "objectSelector": {"matchLabels": {"x": "y"}}}, False),
        (
            {
                "resourceRules": [PODS],
                "namespaceSelector": {
                    "matchExpressions": [
                        {
                            "key": "kubernetes.io/metadata.name",
                            "operator": "NotIn",
                            "values": ["shop"],
                        }
                    ]
                },
            },
            False,
        ),
    ],
)
def test_constraints_of_policy_and_binding_both_narrow(
    constraints: dict[str, Any], matched: bool
) -> None:
    where = namespace("shop", team="a")
    expected = REFUSED if matched else None
    by_policy = [policy("false", matchConstraints=constraints), binding()]
    by_binding = [policy("false"), binding(matchResources=constraints)]
    assert outcome(answers, by_policy, inside=where) is expected
    assert outcome(answers, by_binding, inside=where) is expected


def test_match_conditions_pass_a_policy_over() -> None:
    def with_conditions(*expressions: str, **spec: Any) -> Outcome | None:
        conditions = [{"name": f"c{n}", "expression": e} for n, e in enumerate(expressions)]
        return outcome(answers, bound("false", matchConditions=conditions, **spec))

    broken = "object.spec.hostPID == false"
    assert with_conditions("true") is REFUSED
    assert with_conditions("false") is ADMITTED
    assert with_conditions(broken) is REFUSED
    assert with_conditions(broken, failurePolicy="Ignore") is ADMITTED
    assert with_conditions(broken, "false") is ADMITTED
    assert with_conditions("object.metadata.name.find('a') == 'a'") is UNDECIDED
    assert with_conditions("object.metadata.name.find('a') == 'a'", "false") is ADMITTED
    # The API server gives them no namespace.
    assert with_conditions("namespaceObject == null") is REFUSED
    assert with_conditions("namespaceObject.metadata.name == 'x'") is REFUSED


def test_an_undecided_condition_matters_only_if_a_validation_refuses() -> None:
    conditions = [{"name": "c", "expression": "object.metadata.name.find('a') == 'a'"}]
    documents = bound(NO_HOST_NETWORK, matchConditions=conditions)
    assert outcome(answers, documents, HOST) is UNDECIDED
    assert outcome(answers, documents) is ADMITTED


def test_variables_are_computed_when_they_are_used() -> None:
    variables = [
        {"name": "broken", "expression": "object.spec.hostPID"},
        {"name": "all", "expression": "object.spec.containers"},
        {"name": "names", "expression": "variables.all.map(c, c.name)"},
        {"name": "late", "expression": "variables.later"},
        {"name": "later", "expression": "1"},
        {"name": "unknown", "expression": "object.metadata.name.find('a')"},
    ]
    for text, expected in (
        ("variables.names == ['main']", ADMITTED),
        ("variables.names == ['other']", REFUSED),
        ("variables.broken == true", REFUSED),
        ("variables.broken == true || true", ADMITTED),
        ("has(variables.broken)", UNDECIDED),
        ("variables.late == 1", UNDECIDED),
        ("variables.missing == 1", UNDECIDED),
        ("variables.unknown == 'a'", UNDECIDED),
        ("variables.size() == 0", UNDECIDED),
    ):
        assert outcome(answers, bound(text, variables=variables)) is expected, text


def test_an_undecided_answer_carries_the_expression() -> None:
    text = "object.metadata.name.find('[a-z]+') == 'auditor'"
    [answer] = asked(answers, bound(text))
    assert answer.outcome is UNDECIDED
    assert text in answer.why


def test_a_refusal_counts_beside_what_is_undecided() -> None:
    documents = bound("object.metadata.name.find('a') == 'a'", NO_HOST_NETWORK)
    assert outcome(answers, documents, HOST) is REFUSED
    assert outcome(answers, documents) is UNDECIDED


def test_an_audit_annotation_that_fails_refuses_without_deny() -> None:
    def with_annotation(text: str, **spec: Any) -> Outcome | None:
        annotations = [{"key": "k", "valueExpression": text}]
        documents = [
            policy("true", auditAnnotations=annotations, **spec),
            binding(validationActions=["Audit"]),
        ]
        return outcome(answers, documents)

    assert with_annotation("'x'") is ADMITTED
    assert with_annotation("null") is ADMITTED
    assert with_annotation("string(object.spec.hostPID)") is REFUSED
    assert with_annotation("string(object.spec.hostPID)", failurePolicy="Ignore") is ADMITTED
    assert with_annotation("dyn(1)", failurePolicy="Ignore") is REFUSED


def test_parameters_are_not_read() -> None:
    kind = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}
    given = {"paramRef": {"name": "x", "parameterNotFoundAction": "Deny"}}
    allowed = {"paramRef": {"name": "x", "parameterNotFoundAction": "Allow"}}
    looks = policy("params.data.x == 'y'", **kind)
    assert outcome(answers, [looks, binding(**given)]) is UNDECIDED
    assert outcome(answers, [policy("params == null", **kind), binding()]) is ADMITTED
    # Whatever the parameters are, it refuses; and if they are missing, that refuses too.
    plain = policy(NO_HOST_NETWORK, **kind)
    assert outcome(answers, [plain, binding(**given)], HOST) is REFUSED
    assert outcome(answers, [plain, binding(**given)]) is UNDECIDED
    assert outcome(answers, [plain, binding(**allowed)], HOST) is UNDECIDED
    assert outcome(answers, [plain, binding(**allowed)]) is ADMITTED
    # A policy that takes none ignores the binding's.
    assert outcome(answers, [policy(NO_HOST_NETWORK), binding(**given)], HOST) is REFUSED


def test_who_asks_is_unknown_unless_it_makes_no_difference() -> None:
    assert outcome(answers, bound("!('system:nodes' in request.userInfo.groups)")) is ADMITTED
    assert outcome(answers, bound("request.userInfo.username == 'root'")) is REFUSED
    accounts = "'system:serviceaccounts' in request.userInfo.groups"
    assert outcome(answers, bound(accounts)) is UNDECIDED
    own = "request.userInfo.username.startsWith('system:serviceaccount:' + request.namespace)"
    assert outcome(answers, bound(own)) is UNDECIDED


def test_the_namespace_is_that_of_the_question() -> None:
    documents = bound("namespaceObject.metadata.labels['team'] == 'a'")
    view = view_of(*documents)
    first, second = namespace("one", team="a"), namespace("two", team="b")
    assert [item.outcome for item in answers(COMPLIANT, first, view)] == [ADMITTED]
    assert [item.outcome for item in answers(COMPLIANT, second, view)] == [REFUSED]
    assert [item.outcome for item in answers(COMPLIANT, first, view)] == [ADMITTED]


def test_what_the_snapshot_does_not_hold_is_undecided() -> None:
    long = namespace("shop")
    long.body["metadata"]["annotations"] = {"x": "«dropped: 900 characters»"}
    looks = bound("namespaceObject.metadata.annotations['x'] == 'y'")
    assert outcome(answers, looks, inside=long) is UNDECIDED
    assert outcome(answers, bound("namespaceObject.metadata.name == 'shop'"), inside=long) is (
        ADMITTED
    )
    assert outcome(answers, bound("request.options == null")) is UNDECIDED


def test_a_pod_is_asked_about_with_what_the_api_server_gives_it() -> None:
    made = as_created(pod(hostNetwork=True, hostPID=False), "shop")
    assert made["metadata"]["namespace"] == "shop"
    assert made["spec"]["dnsPolicy"] == "ClusterFirst"
    assert made["spec"]["hostNetwork"] is True
    assert "hostPID" not in made["spec"]
    assert "volumes" not in made["spec"]
    bare = as_created({"metadata": {}, "spec": {"containers": [{"name": "c", "image": "i"}]}}, "x")
    assert bare["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert bare["spec"]["volumes"][0]["projected"]["defaultMode"] == 420
    assert bare["spec"]["containers"][0]["volumeMounts"][0]["readOnly"] is True
    assert as_created(pod(), "shop", token=True)["status"]["qosClass"] == "Burstable"


def test_a_service_account_without_a_token_mounts_none() -> None:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "shop"},
        "automountServiceAccountToken": False,
    }
    mounting = pod()
    del mounting["spec"]["automountServiceAccountToken"]
    documents = bound("has(object.spec.volumes)")
    assert outcome(answers, documents, mounting) is ADMITTED
    assert outcome(answers, [*documents, account], mounting) is REFUSED
    assert outcome(answers, [*documents, account], mounting, namespace("other")) is ADMITTED


def test_two_pods_one_after_the_other_are_not_mixed_up() -> None:
    view = view_of(*bound("object.metadata.name == 'n0'"))
    found = []
    for number in range(2500):
        made = {"metadata": {"name": f"n{number % 2}"}, "spec": {"containers": []}}
        found.append([item.outcome for item in answers(made, namespace(), view)])
    assert found == [[ADMITTED], [REFUSED]] * 1250
