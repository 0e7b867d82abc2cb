"""Kyverno's policies by what they enforce: matching, patterns, conditions, CEL, exceptions."""

from __future__ import annotations

from typing import Any

import pytest

from checks.kubernetes._admission.answers import Outcome
from checks.kubernetes._admission.kyverno import answers
from checks.kubernetes._admission.kyverno_conditions import met
from checks.kubernetes._admission.kyverno_pattern import Match, fits, is_like, match_pattern
from checks.kubernetes._admission.kyverno_query import query, substituted
from checks.kubernetes._admission.matching import MalformedError
from tests.support.admission import asked, namespace, outcome, pod

REFUSED, UNDECIDED, ADMITTED = Outcome.REFUSED, Outcome.UNDECIDED, Outcome.ADMITTED
DROP = "securityContext.capabilities.drop[]"
ALL = "[ephemeralContainers, initContainers, containers][]"
PRIVILEGED = pod({"privileged": True})
IN_INIT = pod({"privileged": True}, init=True)
NOT_PRIVILEGED = {
    "spec": {
        "=(ephemeralContainers)": [{"=(securityContext)": {"=(privileged)": "false"}}],
        "=(initContainers)": [{"=(securityContext)": {"=(privileged)": "false"}}],
        "containers": [{"=(securityContext)": {"=(privileged)": "false"}}],
    }
}
KINDS = {"any": [{"resources": {"kinds": ["Pod"]}}]}


def hook(**more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "kyverno-resource-validating-webhook-cfg"},
        "webhooks": [
            {
                "name": "validate.kyverno.svc-fail",
                "clientConfig": {"service": {"name": "kyverno-svc", "namespace": "kyverno"}},
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["pods", "pods/ephemeralcontainers"],
                        "scope": "Namespaced",
                    }
                ],
                **more,
            }
        ],
    }


def rule(validate: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "r", "match": KINDS, "validate": {"message": "no", **validate}, **more}


def policy(*rules: dict[str, Any], **spec: Any) -> list[dict[str, Any]]:
    return [
        hook(),
        {
            "apiVersion": "kyverno.io/v1",
            "kind": "ClusterPolicy",
            "metadata": {"name": "p"},
            "spec": {"validationFailureAction": "Enforce", "rules": list(rules), **spec},
        },
    ]


def says(validate: dict[str, Any], of: dict[str, Any] | None = None, **more: Any) -> Any:
    return outcome(answers, policy(rule(validate, **more)), of)


def test_a_pattern_that_enforces_refuses_what_breaks_it() -> None:
    for breaking in (PRIVILEGED, IN_INIT):
        assert says({"pattern": NOT_PRIVILEGED}, breaking) is REFUSED
    assert says({"pattern": NOT_PRIVILEGED}) is ADMITTED
    [answer] = asked(answers, policy(rule({"pattern": NOT_PRIVILEGED})), PRIVILEGED)
    assert answer.by == "Kyverno ClusterPolicy p, rule r"
    assert "spec.containers[0].securityContext.privileged is true" in answer.why


@pytest.mark.parametrize(
    ("spec", "validate", "expected"),
    [
        ({"validationFailureAction": "Enforce"}, {}, REFUSED),
        ({"validationFailureAction": "enforce"}, {}, REFUSED),
        ({"validationFailureAction": "Audit"}, {}, None),
        ({"validationFailureAction": None}, {}, None),
        ({"validationFailureAction": "Audit"}, {"failureAction": "Enforce"}, REFUSED),
        ({"validationFailureAction": "Enforce"}, {"failureAction": "Audit"}, None),
        (
            {
                "validationFailureAction": "Audit",
                "validationFailureActionOverrides": [{"action": "Enforce", "namespaces": ["sh*"]}],
            },
            {},
            REFUSED,
        ),
        (
            {"validationFailureActionOverrides": [{"action": "Audit", "namespaces": ["shop"]}]},
            {},
            None,
        ),
        (
            {"validationFailureActionOverrides": [{"action": "Audit", "namespaces": ["x"]}]},
            {},
            REFUSED,
        ),
        (
            {
                "validationFailureActionOverrides": [
                    {"action": "Audit", "namespaceSelector": {"matchLabels": {"team": "a"}}}
                ]
            },
            {},
            None,
        ),
        (
            {},
            {"failureActionOverrides": [{"action": "Audit", "namespaces": ["shop"]}]},
            None,
        ),
        ({"admission": False}, {}, None),
    ],
)
def test_only_enforce_refuses(spec: Any, validate: Any, expected: Any) -> None:
    documents = policy(rule({"pattern": NOT_PRIVILEGED, **validate}), **spec)
    found = outcome(answers, documents, PRIVILEGED, namespace("shop", team="a"))
    assert found is expected


def test_rules_of_one_policy_with_different_actions_are_undecided() -> None:
    audits = {**rule({"pattern": NOT_PRIVILEGED, "failureAction": "Audit"}), "name": "other"}
    assert outcome(answers, policy(rule({"pattern": NOT_PRIVILEGED}), audits), PRIVILEGED) is (
        UNDECIDED
    )


def test_without_the_webhook_nothing_is_enforced() -> None:
    _, alone = policy(rule({"pattern": NOT_PRIVILEGED}))
    [answer] = asked(answers, [alone], PRIVILEGED)
    assert answer.outcome is ADMITTED
    assert "no webhook" in answer.why
    elsewhere = hook(namespaceSelector={"matchLabels": {"x": "y"}})
    assert outcome(answers, [elsewhere, alone], PRIVILEGED) is ADMITTED
    services = hook(rules=[{**hook()["webhooks"][0]["rules"][0], "resources": ["services"]}])
    assert outcome(answers, [services, alone], PRIVILEGED) is ADMITTED


def test_a_webhook_that_is_asked_under_conditions_is_undecided_when_they_are() -> None:
    _, alone = policy(rule({"pattern": NOT_PRIVILEGED}))

    def under(text: str) -> Any:
        conditions = [{"name": "c", "expression": text}]
        return outcome(answers, [hook(matchConditions=conditions), alone], PRIVILEGED)

    assert under("object.metadata.name != 'x'") is REFUSED
    assert under("false") is ADMITTED
    assert under("object.metadata.name.find('x') == ''") is UNDECIDED


def test_namespaces_that_kyverno_leaves_out_by_default_are_undecided() -> None:
    documents = policy(rule({"pattern": NOT_PRIVILEGED}))
    for name in ("kyverno", "kube-system"):
        assert outcome(answers, documents, PRIVILEGED, namespace(name)) is UNDECIDED
        assert outcome(answers, documents, pod(), namespace(name)) is ADMITTED


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"resources": {"kinds": ["Pod"]}}, REFUSED),
        ({"all": [{"resources": {"kinds": ["v1/Pod"]}}]}, REFUSED),
        ({"any": [{"resources": {"kinds": ["*"]}}]}, REFUSED),
        ({"any": [{"resources": {"kinds": ["*/*"]}}]}, REFUSED),
        ({"any": [{"resources": {"kinds": ["*/v1/Pod"]}}]}, REFUSED),
        ({"any": [{"resources": {"kinds": ["P?d"]}}]}, REFUSED),
        ({"any": [{"resources": {"kinds": ["Pod/exec"]}}]}, None),
        ({"any": [{"resources": {"kinds": ["Pod.exec"]}}]}, None),
        ({"any": [{"resources": {"kinds": ["apps/v1/Pod"]}}]}, None),
        ({"any": [{"resources": {"kinds": ["Deployment"]}}]}, None),
        ({"any": [{"resources": {"kinds": ["Deployment", "Pod"]}}]}, REFUSED),
        ({"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["sh*"]}}]}, REFUSED),
        ({"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["x"]}}]}, None),
        ({"any": [{"resources": {"kinds": ["Pod"], "names": ["auditor-*"]}}]}, REFUSED),
        ({"any": [{"resources": {"kinds": ["Pod"], "name": "x*"}}]}, None),
        ({"any": [{"resources": {"kinds": ["Pod"], "operations": ["UPDATE"]}}]}, None),
        ({"any": [{"resources": {"kinds": ["Pod"], "operations": ["CREATE"]}}]}, REFUSED),
        (
            {
                "any": [
                    {
                        "resources": {
                            "kinds": ["Pod"],
                            "namespaceSelector": {"matchLabels": {"team": "a"}},
                        }
                    }
                ]
            },
            REFUSED,
        ),
        (
            {
                "any": [
                    {"resources": {"kinds": ["Pod"], "selector": {"matchLabels": {"app*": "*"}}}}
                ]
            },
            REFUSED,
        ),
        (
            {"any": [{"resources": {"kinds": ["Pod"], "selector": {"matchLabels": {"x": "*"}}}}]},
            None,
        ),
        ({"any": [{"resources": {"kinds": ["Pod"], "annotations": {"x": "*"}}}]}, None),
        ({"any": [{"resources": {"kinds": ["Pod"]}, "subjects": [{"kind": "User"}]}]}, UNDECIDED),
        ({"any": [{"resources": {"kinds": ["Job"]}, "subjects": [{"kind": "User"}]}]}, None),
        ({}, None),
        ({"any": [{"resources": {"kinds": "Pod"}}]}, UNDECIDED),
    ],
)
def test_match(match: Any, expected: Any) -> None:
    documents = policy(rule({"pattern": NOT_PRIVILEGED}, match=match))
    assert outcome(answers, documents, PRIVILEGED, namespace("shop", team="a")) is expected


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        ({"any": [{"resources": {"namespaces": ["shop"]}}]}, None),
        ({"any": [{"resources": {"namespaces": ["x"]}}]}, REFUSED),
        (
            {"all": [{"resources": {"namespaces": ["shop"]}}, {"resources": {"names": ["x"]}}]},
            REFUSED,
        ),
        ({"any": [{"clusterRoles": ["cluster-admin"]}]}, UNDECIDED),
        ({}, REFUSED),
    ],
)
def test_exclude(exclude: Any, expected: Any) -> None:
    assert says({"pattern": NOT_PRIVILEGED}, PRIVILEGED, exclude=exclude) is expected


def test_any_pattern_wants_one_of_several() -> None:
    patterns = [
        {"spec": {"securityContext": {"runAsNonRoot": True}}},
        {"spec": {"containers": [{"securityContext": {"runAsNonRoot": True}}]}},
    ]
    assert says({"anyPattern": patterns}) is ADMITTED
    broken = pod(securityContext={"runAsNonRoot": False})
    assert says({"anyPattern": patterns}, broken) is REFUSED


def test_deny_conditions_with_variables() -> None:
    added = "{{ request.object.spec." + ALL + ".securityContext.capabilities.add[] }}"
    validate = {
        "deny": {
            "conditions": {
                "all": [{"key": added, "operator": "AnyNotIn", "value": ["NET_BIND_SERVICE"]}]
            }
        }
    }
    when = {
        "all": [
            {
                "key": "{{ request.operation || 'BACKGROUND' }}",
                "operator": "NotEquals",
                "value": "DELETE",
            }
        ]
    }
    adds = pod({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}})
    allowed = pod({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}})
    assert says(validate, adds, preconditions=when) is REFUSED
    assert says(validate, allowed, preconditions=when) is ADMITTED
    assert says(validate, pod(), preconditions=when) is ADMITTED
    assert says({"deny": {}}) is REFUSED
    never = {"all": [{"key": "a", "operator": "Equals", "value": "b"}]}
    assert says(validate, adds, preconditions=never) is ADMITTED
    unknown = {"all": [{"key": "{{ random('x') }}", "operator": "Equals", "value": "b"}]}
    assert says(validate, adds, preconditions=unknown) is UNDECIDED
    assert says(validate, pod(), preconditions=unknown) is ADMITTED


def test_foreach_over_containers() -> None:
    validate = {
        "foreach": [
            {
                "list": f"request.object.spec.{ALL}",
                "deny": {
                    "conditions": {
                        "all": [
                            {
                                "key": "ALL",
                                "operator": "AnyNotIn",
                                "value": "{{ element." + DROP + " || `[]` }}",
                            }
                        ]
                    }
                },
            }
        ]
    }
    assert says(validate) is ADMITTED
    assert says(validate, pod({"capabilities": {"drop": ["NET_RAW"]}})) is REFUSED
    assert says(validate, pod({"capabilities": {}}, init=True)) is REFUSED
    pattern = {
        "foreach": [
            {
                "list": "request.object.spec.containers",
                "pattern": {"securityContext": {"readOnlyRootFilesystem": True}},
            }
        ]
    }
    assert says(pattern) is ADMITTED
    assert says(pattern, pod({"readOnlyRootFilesystem": False})) is REFUSED
    none = {"foreach": [{"list": "request.object.spec.nothing", "deny": {}}]}
    assert says(none) is ADMITTED
    for further in ({"context": [{"name": "x"}]}, {"foreach": []}, {"elementScope": False}):
        [entry] = validate["foreach"]
        if further != {"foreach": []}:
            found = {"foreach": [{**entry, **further}]}
            assert says(found, pod({"capabilities": {}})) is UNDECIDED


def test_pod_security_by_level_and_version() -> None:
    baseline = {"podSecurity": {"level": "baseline", "version": "latest"}}
    restricted = {"podSecurity": {"level": "restricted", "version": "v1.29"}}
    assert says(baseline, PRIVILEGED) is REFUSED
    assert says(baseline) is ADMITTED
    assert says(restricted) is ADMITTED
    assert says(restricted, pod({"capabilities": {}})) is REFUSED
    excluded = {"podSecurity": {"level": "baseline", "exclude": [{"controlName": "Capabilities"}]}}
    assert says(excluded, PRIVILEGED) is UNDECIDED
    assert says(excluded) is ADMITTED
    assert says({"podSecurity": {"level": "strict"}}) is UNDECIDED
    assert says({"podSecurity": {"level": "baseline", "version": "2"}}) is UNDECIDED


def test_cel_in_a_rule() -> None:
    cel = {"cel": {"expressions": [{"expression": "!object.spec.?hostPID.orValue(false)"}]}}
    assert says(cel, pod(hostPID=True)) is REFUSED
    assert says(cel) is ADMITTED
    never = [{"name": "c", "expression": "object.metadata.name == 'x'"}]
    assert says(cel, pod(hostPID=True), celPreconditions=never) is ADMITTED
    own = {"cel": {"expressions": [{"expression": "images.containers.size() > 0"}]}}
    assert says(own) is UNDECIDED


def test_what_a_rule_looks_up_elsewhere_is_undecided() -> None:
    context = [{"name": "c", "configMap": {"name": "x", "namespace": "y"}}]
    assert says({"pattern": NOT_PRIVILEGED}, PRIVILEGED, context=context) is UNDECIDED
    assert says({"manifests": {}}) is UNDECIDED
    assert says({"pattern": {"spec": {"hostPID": "{{ x }}"}}}) is UNDECIDED
    assert says({"pattern": {"a": "«redacted: credential name, 9 characters»"}}) is UNDECIDED
    one = policy(rule({"pattern": NOT_PRIVILEGED}), applyRules="One")
    assert outcome(answers, one, PRIVILEGED) is UNDECIDED


def test_rules_that_do_not_validate_say_nothing() -> None:
    images = {"name": "v", "match": KINDS, "verifyImages": [{"imageReferences": ["*"]}]}
    assert outcome(answers, policy(images), PRIVILEGED) is None


def test_a_namespaced_policy_speaks_of_its_namespace() -> None:
    _, wide = policy(rule({"pattern": NOT_PRIVILEGED}))
    own = {**wide, "kind": "Policy", "metadata": {"name": "p", "namespace": "shop"}}
    assert outcome(answers, [hook(), own], PRIVILEGED) is REFUSED
    assert outcome(answers, [hook(), own], PRIVILEGED, namespace("other")) is None


def exception(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kyverno.io/v2",
        "kind": "PolicyException",
        "metadata": {"name": "e", "namespace": "shop"},
        "spec": {
            "exceptions": [{"policyName": "p", "ruleNames": ["r*"]}],
            "match": KINDS,
            **spec,
        },
    }


def test_an_exception_that_may_apply_leaves_it_undecided() -> None:
    documents = policy(rule({"pattern": NOT_PRIVILEGED}))
    elsewhere = {"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["x"]}}]}
    other = [{"policyName": "q", "ruleNames": ["*"]}]
    assert outcome(answers, [*documents, exception()], PRIVILEGED) is UNDECIDED
    assert outcome(answers, [*documents, exception()]) is ADMITTED
    assert outcome(answers, [*documents, exception(match=elsewhere)], PRIVILEGED) is REFUSED
    assert outcome(answers, [*documents, exception(exceptions=other)], PRIVILEGED) is REFUSED
    assert outcome(answers, [*documents, exception(exceptions="x")], PRIVILEGED) is UNDECIDED


def validating(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policies.kyverno.io/v1alpha1",
        "kind": "ValidatingPolicy",
        "metadata": {"name": "v"},
        "spec": {
            "validationActions": ["Deny"],
            "matchConstraints": {"resourceRules": [hook()["webhooks"][0]["rules"][0]]},
            "variables": [{"name": "host", "expression": "object.spec.?hostPID.orValue(false)"}],
            "validations": [{"expression": "!variables.host", "message": "no"}],
            **spec,
        },
    }


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, REFUSED),
        ({"validationActions": None}, REFUSED),
        ({"validationActions": ["Audit"]}, None),
        ({"evaluation": {"admission": {"enabled": False}}}, None),
        ({"evaluation": {"mode": "JSON"}}, None),
        ({"matchConditions": [{"name": "c", "expression": "false"}]}, ADMITTED),
        ({"matchConstraints": {"namespaceSelector": {"matchLabels": {"x": "y"}}}}, None),
        ({"validations": [{"expression": "image(object.x).registry() == 'x'"}]}, UNDECIDED),
        ({"validations": "x"}, UNDECIDED),
    ],
)
def test_validating_policy(spec: Any, expected: Any) -> None:
    assert outcome(answers, [hook(), validating(**spec)], pod(hostPID=True)) is expected


def test_validating_policy_admits_what_is_as_it_wants_and_heeds_exceptions() -> None:
    assert outcome(answers, [hook(), validating()]) is ADMITTED
    excepted = {
        "apiVersion": "policies.kyverno.io/v1alpha1",
        "kind": "PolicyException",
        "metadata": {"name": "e", "namespace": "x"},
        "spec": {"policyRefs": [{"name": "v", "kind": "ValidatingPolicy"}]},
    }
    assert outcome(answers, [hook(), validating(), excepted], pod(hostPID=True)) is UNDECIDED


# --- patterns ---------------------------------------------------------------------------------

MET, FAILED, SKIPPED, BROKEN = Match.MET, Match.FAILED, Match.SKIPPED, Match.BROKEN


@pytest.mark.parametrize(
    ("value", "pattern", "expected"),
    [
        ({"a": 1}, {"a": 1}, MET),
        ({"a": 2}, {"a": 1}, FAILED),
        ({}, {"a": "*"}, FAILED),
        ({"a": ""}, {"a": "*"}, MET),
        ({}, {"a": "?*"}, FAILED),
        ({}, {"a": {"b": 1}}, FAILED),
        ({}, {"a": None}, MET),
        ({"a": {}}, {"a": None}, FAILED),
        ({}, {"=(a)": 1}, MET),
        ({"a": 2}, {"=(a)": 1}, FAILED),
        ({}, {"X(a)": "null"}, MET),
        ({"a": 1}, {"X(a)": "null"}, FAILED),
        ({"a": "x", "b": 1}, {"(a)": "x", "b": 1}, MET),
        ({"a": "x", "b": 2}, {"(a)": "x", "b": 1}, FAILED),
        ({"a": "y", "b": 2}, {"(a)": "x", "b": 1}, SKIPPED),
        ({"b": 2}, {"(a)": "x", "b": 1}, SKIPPED),
        ({"a": "y", "b": 2}, {"<(a)": "x", "b": 1}, SKIPPED),
        ({"b": 1}, {"<(a)": "x", "b": 1}, MET),
        ({"a": [{"n": 1}, {"n": 2}]}, {"^(a)": [{"n": 2}]}, MET),
        ({"a": [{"n": 1}]}, {"^(a)": [{"n": 2}]}, FAILED),
        ({}, {"^(a)": [{"n": 2}]}, MET),
        ({"a": "x"}, {"^(a)": [{"n": 2}]}, FAILED),
        ({"b": 2}, {"^(a)": [{"n": 2}], "b": 1}, BROKEN),
        ({"a": [{"n": 1}, {"n": 1}]}, {"a": [{"n": 1}]}, MET),
        ({"a": [{"n": 1}, {"n": 2}]}, {"a": [{"n": 1}]}, FAILED),
        ({"a": []}, {"a": [{"n": 1}]}, MET),
        ({"a": [{"n": 1, "k": 1}, {"n": 2}]}, {"a": [{"(n)": 1, "k": 1}]}, MET),
        ({"a": [{"n": 1, "k": 2}, {"n": 2}]}, {"a": [{"(n)": 1, "k": 1}]}, FAILED),
        ({"a": [{"n": 2}]}, {"a": [{"(n)": 1, "k": 1}]}, SKIPPED),
        ({"a": ["x", "y"]}, {"a": ["x | y"]}, MET),
        ({"a": ["x", "z"]}, {"a": ["x | y"]}, FAILED),
        ({"a": ["x"]}, {"a": "x"}, MET),
        ({"a": "x"}, {"a": ["x"]}, FAILED),
        ({"a": [[1]]}, {"a": [[1]]}, MET),
        ({"a": []}, {"a": [[1]]}, FAILED),
        ({"a": [1]}, {"a": []}, FAILED),
        ([], {"a": 1}, FAILED),
    ],
)
def test_patterns(value: Any, pattern: Any, expected: Match) -> None:
    assert match_pattern(value, pattern)[0] is expected


@pytest.mark.parametrize(
    "pattern",
    [
        {"+(a)": 1},
        {"a": ["x", "y"]},
        {"a": "{{ x }}"},
        {"a": "$(x)"},
        {1: 2},
        {"a": object()},
    ],
)
def test_patterns_that_no_release_documents(pattern: Any) -> None:
    with pytest.raises(MalformedError):
        match_pattern({"a": ["z"]}, pattern)


@pytest.mark.parametrize(
    ("value", "pattern", "expected"),
    [
        (True, True, True),
        ("true", True, False),
        (False, "false", True),
        (None, "false", False),
        (1, 1, True),
        ("1", 1, True),
        (1.0, 1, True),
        ("x", 1, False),
        (None, None, True),
        (0, None, True),
        ("x", None, False),
        (80, ">0", True),
        (0, ">0", False),
        (None, ">0", False),
        (None, "0", True),
        (None, "<1", True),
        (1000, "1-2000", True),
        (3000, "1-2000", False),
        (3000, "1!-2000", True),
        (5, "1!-2000", False),
        ("1Gi", "<=1024Mi", True),
        ("2Gi", "<=1024Mi", False),
        ("1024Mi", "1Gi", True),
        ("RuntimeDefault", "RuntimeDefault | Localhost", True),
        ("Unconfined", "RuntimeDefault | Localhost", False),
        ("x", "!x", False),
        ("y", "!x", True),
        (None, "!x", False),
        ("abc", "a* & !*d", True),
        ("abd", "a* & !*d", False),
        ("nginx:1", "*:*", True),
        ("nginx", "*:*", False),
        ("nginx:latest", "!*:latest", False),
        ({}, "x", False),
        ("", "?*", False),
    ],
)
def test_values_and_their_patterns(value: Any, pattern: Any, expected: bool) -> None:
    assert fits(value, pattern) is expected


def test_wildcards_take_no_time_to_speak_of() -> None:
    assert is_like("a" * 4000, "a*" * 1000)
    assert not is_like("a" * 4000, "*a" * 1000 + "b")
    assert is_like("", "*")
    assert not is_like("", "?")
    with pytest.raises(MalformedError):
        is_like("a" * 10_000, "*")


# --- conditions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "operator", "value", "expected"),
    [
        ("a", "Equals", "a", True),
        ("abc", "Equals", "a*", True),
        ("a", "NotEquals", "b", True),
        (1, "Equals", 1, True),
        (1, "Equals", "1", None),
        (True, "Equals", True, True),
        (True, "Equals", "true", None),
        ("1Gi", "Equals", "1024Mi", None),
        ("10", "Equals", "10", True),
        (["a"], "Equals", ["a"], True),
        (5, "GreaterThan", 3, True),
        (3, "LessThanOrEquals", 3, True),
        ("5", "GreaterThan", 3, None),
        ("a", "AnyIn", ["a", "b"], True),
        ("c", "AnyIn", ["a", "b"], False),
        (["a", "c"], "AnyIn", ["a", "b"], True),
        (["a", "c"], "AllIn", ["a", "b"], False),
        (["a"], "AllIn", ["a*"], True),
        (["a", "c"], "AnyNotIn", ["a", "b"], True),
        (["a"], "AnyNotIn", ["a", "b"], False),
        ([], "AnyNotIn", ["a"], False),
        (["c"], "AllNotIn", ["a"], True),
        (["a"], "AllNotIn", ["a"], False),
        (["a", "c"], "AllNotIn", ["a"], None),
        ([], "AllNotIn", ["a"], None),
        ("a", "In", "a", True),
        ("a", "AnyIn", '["a", "b"]', True),
        (5, "AnyIn", "1-10", None),
        (True, "AnyIn", ["true"], None),
        ([{}], "AnyIn", ["a"], None),
        ("a", "Sometimes", "a", None),
        ("{{ x.y }}", "Equals", "z", True),
        ("{{ x.none }}", "Equals", "z", None),
        ("{{ x.none || 'z' }}", "Equals", "z", True),
        ("{{ x", "Equals", "z", None),
    ],
)
def test_conditions(key: Any, operator: str, value: Any, expected: bool | None) -> None:
    condition = {"key": key, "operator": operator, "value": value}
    assert met({"all": [condition]}, {"x": {"y": "z"}}) is expected
    assert met([condition], {"x": {"y": "z"}}) is expected


def test_any_and_all_hold_together() -> None:
    yes = {"key": "a", "operator": "Equals", "value": "a"}
    no = {"key": "a", "operator": "Equals", "value": "b"}
    what = {"key": "a", "operator": "Sometimes", "value": "b"}
    assert met(None, {}) is True
    assert met({}, {}) is True
    assert met({"any": [no, yes]}, {}) is True
    assert met({"any": [no, what]}, {}) is None
    assert met({"any": [yes], "all": [no]}, {}) is False
    assert met({"any": [what], "all": [no]}, {}) is False
    assert met([{"any": [yes]}, {"all": [what]}], {}) is None
    for bad in ("x", {"some": []}, {"any": "x"}, {"any": [1]}, [1]):
        with pytest.raises(MalformedError):
            met(bad, {})


def test_variables_and_queries() -> None:
    context = {"a": {"b": ["x", "y"]}, "t": "text"}
    assert query("a.b[0]", context) == "x"
    assert query("a.none", context) is None
    assert substituted("{{ a.b }}", context) == ["x", "y"]
    assert substituted("pre-{{ t }}", context) == "pre-text"
    assert substituted({"k": ["{{t}}", 1]}, context) == {"k": ["text", 1]}
    for bad in (
        "{{ a.none }}",
        "x{{ a.b }}",
        "{{ a.[ }}",
        "$(./x)",
        "{{ to_upper(t) }}",
        "{{ " + "@.[@,@][] | " * 40 + "@ }}",
        "{{ " + "a." * 600 + "a }}",
        "{{ map(&@, a.b) }}",
    ):
        with pytest.raises(MalformedError):
            substituted(bad, context)
