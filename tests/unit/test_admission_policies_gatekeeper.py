"""Gatekeeper's constraints by what their templates do: the library's, CEL, and unknown code."""

from __future__ import annotations

from typing import Any

import pytest

from checks.kubernetes._admission.answers import Outcome
from checks.kubernetes._admission.gatekeeper import answers
from checks.kubernetes._admission.gatekeeper_library import LIBRARY
from tests.support.admission import asked, namespace, outcome, pod

REFUSED, UNDECIDED, ADMITTED = Outcome.REFUSED, Outcome.UNDECIDED, Outcome.ADMITTED
PRIVILEGED = pod({"privileged": True})


def hook(**more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "gatekeeper-validating-webhook-configuration"},
        "webhooks": [
            {
                "name": "validation.gatekeeper.sh",
                "clientConfig": {"service": {"name": "gatekeeper-webhook-service"}},
                "rules": [
                    {
                        "apiGroups": ["*"],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["*"],
                    }
                ],
                **more,
            }
        ],
    }


def template(kind: str, *codes: dict[str, Any], **annotations: str) -> dict[str, Any]:
    title = LIBRARY[kind].title if kind in LIBRARY else "x"
    target: dict[str, Any] = {"target": "admission.k8s.gatekeeper.sh"}
    if codes:
        target["code"] = list(codes)
    else:
        target["rego"] = "package x\nviolation[{}] { true }"
    return {
        "apiVersion": "templates.gatekeeper.sh/v1",
        "kind": "ConstraintTemplate",
        "metadata": {
            "name": kind.lower(),
            "annotations": {
                "metadata.gatekeeper.sh/title": title,
                "metadata.gatekeeper.sh/version": "1.1.0",
                **annotations,
            },
        },
        "spec": {"crd": {"spec": {"names": {"kind": kind}}}, "targets": [target]},
    }


def constraint(kind: str, parameters: Any = None, **spec: Any) -> dict[str, Any]:
    match = {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}
    return {
        "apiVersion": "constraints.gatekeeper.sh/v1beta1",
        "kind": kind,
        "metadata": {"name": "c"},
        "spec": {"match": match, "parameters": parameters, **spec},
    }


def says(kind: str, parameters: Any = None, of: Any = None, **spec: Any) -> Outcome | None:
    return outcome(answers, [hook(), template(kind), constraint(kind, parameters, **spec)], of)


HOST_PATH = pod(
    volumes=[{"name": "v", "hostPath": {"path": "/var/log/x"}}],
    containers=[
        {
            **pod()["spec"]["containers"][0],
            "volumeMounts": [{"name": "v", "mountPath": "/x", "readOnly": True}],
        }
    ],
)
WRITABLE = pod(
    volumes=[{"name": "v", "hostPath": {"path": "/var/log/x"}}],
    containers=[
        {
            **pod()["spec"]["containers"][0],
            "volumeMounts": [{"name": "v", "mountPath": "/x"}],
        }
    ],
)
PORT = pod(
    containers=[
        {**pod()["spec"]["containers"][0], "ports": [{"containerPort": 80, "hostPort": 80}]}
    ]
)
ROOT = pod(securityContext={"runAsUser": 0})
NOBODY = pod(securityContext={})
RANGE = {"rule": "MustRunAs", "ranges": [{"min": 1, "max": 65535}]}


@pytest.mark.parametrize(
    ("kind", "parameters", "of", "expected"),
    [
        ("K8sPSPPrivilegedContainer", None, PRIVILEGED, REFUSED),
        ("K8sPSPPrivilegedContainer", None, pod({"privileged": True}, init=True), REFUSED),
        ("K8sPSPPrivilegedContainer", None, pod(), ADMITTED),
        (
            "K8sPSPPrivilegedContainer",
            {"exemptImages": ["registry.k8s.io/*"]},
            PRIVILEGED,
            ADMITTED,
        ),
        ("K8sPSPPrivilegedContainer", {"exemptImages": ["registry"]}, PRIVILEGED, REFUSED),
        ("K8sPSPPrivilegedContainer", {"exemptImages": "x"}, PRIVILEGED, UNDECIDED),
        ("K8sPSPHostNamespace", None, pod(hostPID=True), REFUSED),
        ("K8sPSPHostNamespace", None, pod(hostIPC=True), REFUSED),
        ("K8sPSPHostNamespace", None, pod(hostNetwork=True), ADMITTED),
        ("K8sPSPHostNetworkingPorts", None, pod(hostNetwork=True), REFUSED),
        ("K8sPSPHostNetworkingPorts", {"hostNetwork": True}, pod(hostNetwork=True), ADMITTED),
        ("K8sPSPHostNetworkingPorts", {"min": 8000, "max": 9000}, PORT, REFUSED),
        ("K8sPSPHostNetworkingPorts", {"min": 80, "max": 80}, PORT, ADMITTED),
        ("K8sPSPHostNetworkingPorts", None, PORT, ADMITTED),
        ("K8sPSPHostNetworkingPorts", {"min": "x"}, PORT, UNDECIDED),
        (
            "K8sPSPAllowPrivilegeEscalationContainer",
            None,
            pod({"allowPrivilegeEscalation": None}),
            REFUSED,
        ),
        ("K8sPSPAllowPrivilegeEscalationContainer", None, pod(), ADMITTED),
        ("K8sPSPReadOnlyRootFilesystem", None, pod({"readOnlyRootFilesystem": False}), REFUSED),
        ("K8sPSPReadOnlyRootFilesystem", None, pod(), ADMITTED),
        ("K8sPSPCapabilities", {"requiredDropCapabilities": ["ALL"]}, pod(), ADMITTED),
        (
            "K8sPSPCapabilities",
            {"requiredDropCapabilities": ["ALL"]},
            pod({"capabilities": {}}),
            REFUSED,
        ),
        (
            "K8sPSPCapabilities",
            {"requiredDropCapabilities": ["NET_RAW"]},
            pod({"capabilities": {"drop": ["all"]}}),
            ADMITTED,
        ),
        (
            "K8sPSPCapabilities",
            {"allowedCapabilities": ["chown"]},
            pod({"capabilities": {"add": ["CHOWN"]}}),
            ADMITTED,
        ),
        (
            "K8sPSPCapabilities",
            {"allowedCapabilities": ["CHOWN"]},
            pod({"capabilities": {"add": ["SYS_ADMIN"]}}),
            REFUSED,
        ),
        (
            "K8sPSPCapabilities",
            {"allowedCapabilities": ["*"]},
            pod({"capabilities": {"add": ["SYS_ADMIN"]}}),
            ADMITTED,
        ),
        ("K8sPSPHostFilesystem", None, HOST_PATH, REFUSED),
        ("K8sPSPHostFilesystem", None, pod(), ADMITTED),
        (
            "K8sPSPHostFilesystem",
            {"allowedHostPaths": [{"pathPrefix": "/var"}]},
            WRITABLE,
            ADMITTED,
        ),
        ("K8sPSPHostFilesystem", {"allowedHostPaths": [{"pathPrefix": "/va"}]}, WRITABLE, REFUSED),
        (
            "K8sPSPHostFilesystem",
            {"allowedHostPaths": [{"pathPrefix": "/", "readOnly": True}]},
            HOST_PATH,
            ADMITTED,
        ),
        (
            "K8sPSPHostFilesystem",
            {"allowedHostPaths": [{"pathPrefix": "/", "readOnly": True}]},
            WRITABLE,
            REFUSED,
        ),
        ("K8sPSPAllowedUsers", {"runAsUser": RANGE}, pod(), ADMITTED),
        ("K8sPSPAllowedUsers", {"runAsUser": RANGE}, ROOT, REFUSED),
        ("K8sPSPAllowedUsers", {"runAsUser": RANGE}, NOBODY, REFUSED),
        ("K8sPSPAllowedUsers", {"runAsUser": {"rule": "MustRunAsNonRoot"}}, ROOT, REFUSED),
        ("K8sPSPAllowedUsers", {"runAsUser": {"rule": "MustRunAsNonRoot"}}, NOBODY, REFUSED),
        ("K8sPSPAllowedUsers", {"runAsUser": {"rule": "MustRunAsNonRoot"}}, pod(), ADMITTED),
        ("K8sPSPAllowedUsers", {"runAsUser": {"rule": "RunAsAny"}}, ROOT, ADMITTED),
        ("K8sPSPAllowedUsers", {"runAsUser": {"rule": "x"}}, ROOT, UNDECIDED),
        (
            "K8sPSPAllowedUsers",
            {"runAsUser": {"rule": "MustRunAs", "ranges": [{}]}},
            ROOT,
            UNDECIDED,
        ),
        ("K8sPSPAllowedUsers", {"runAsGroup": RANGE}, NOBODY, REFUSED),
        ("K8sPSPAllowedUsers", {"runAsGroup": {**RANGE, "rule": "MayRunAs"}}, NOBODY, ADMITTED),
        ("K8sPSPAllowedUsers", {"fsGroup": RANGE}, pod(), REFUSED),
        (
            "K8sPSPAllowedUsers",
            {"supplementalGroups": {**RANGE, "rule": "MayRunAs"}},
            pod(securityContext={"supplementalGroups": [5, 0]}),
            REFUSED,
        ),
        ("K8sPSPProcMount", None, pod({"procMount": "Unmasked"}), REFUSED),
        ("K8sPSPProcMount", {"procMount": "Unmasked"}, pod({"procMount": "Unmasked"}), ADMITTED),
        ("K8sPSPProcMount", None, pod({"procMount": "Default"}), ADMITTED),
        ("K8sPSPSeccomp", {"allowedProfiles": ["RuntimeDefault"]}, pod(), ADMITTED),
        ("K8sPSPSeccomp", {"allowedProfiles": ["runtime/default"]}, pod(), ADMITTED),
        ("K8sPSPSeccomp", {"allowedProfiles": ["RuntimeDefault"]}, NOBODY, REFUSED),
        ("K8sPSPSeccomp", {"allowedProfiles": ["*"]}, NOBODY, ADMITTED),
        (
            "K8sPSPSeccomp",
            {"allowedProfiles": ["Localhost"], "allowedLocalhostFiles": ["p.json"]},
            pod(
                securityContext={
                    "seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}
                }
            ),
            ADMITTED,
        ),
        (
            "K8sPSPSeccomp",
            {"allowedProfiles": ["Unconfined"]},
            pod({"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}}),
            REFUSED,
        ),
        ("K8sPSPVolumeTypes", {"volumes": ["secret"]}, HOST_PATH, REFUSED),
        ("K8sPSPVolumeTypes", {"volumes": ["hostPath"]}, HOST_PATH, ADMITTED),
        ("K8sPSPVolumeTypes", {"volumes": ["*"]}, HOST_PATH, ADMITTED),
        (
            "K8sPSPHostProcess",
            None,
            pod({"windowsOptions": {"hostProcess": True}}),
            REFUSED,
        ),
        (
            "K8sPSPHostProcess",
            None,
            pod(securityContext={"windowsOptions": {"hostProcess": True}}),
            REFUSED,
        ),
        ("K8sPSPHostProcess", None, pod(), ADMITTED),
        # What these ask for a pod can have, privileged or not.
        ("K8sAllowedRepos", {"repos": ["registry.example.com/"]}, PRIVILEGED, ADMITTED),
        ("K8sContainerLimits", {"cpu": "1m", "memory": "1Mi"}, PRIVILEGED, ADMITTED),
        ("K8sContainerRequests", {"cpu": "1m"}, PRIVILEGED, ADMITTED),
        ("K8sDisallowedTags", {"tags": ["latest"]}, PRIVILEGED, ADMITTED),
        ("K8sImageDigests", None, PRIVILEGED, ADMITTED),
        ("K8sRequiredAnnotations", {"annotations": [{"key": "owner"}]}, PRIVILEGED, ADMITTED),
        ("K8sRequiredLabels", {"labels": [{"key": "owner"}]}, PRIVILEGED, ADMITTED),
        ("K8sRequiredProbes", {"probes": ["readinessProbe"]}, PRIVILEGED, ADMITTED),
        ("K8sRequiredResources", {"limits": ["cpu"]}, PRIVILEGED, ADMITTED),
    ],
)
def test_the_librarys_rules(kind: str, parameters: Any, of: Any, expected: Outcome) -> None:
    assert says(kind, parameters, of) is expected


def test_every_rule_of_the_library_is_asked_above() -> None:
    marks = test_the_librarys_rules.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for mark in marks for case in mark.args[1]} == set(LIBRARY)


def test_evidence_says_what_the_code_is_taken_for() -> None:
    kind = "K8sPSPPrivilegedContainer"
    [answer] = asked(answers, [hook(), template(kind), constraint(kind)], PRIVILEGED)
    assert answer.by == f"Gatekeeper constraint {kind} c"
    assert "container main is privileged" in answer.why
    assert "says that it is version 1.1.0" in answer.why


def test_a_template_that_does_not_say_it_is_the_librarys_is_undecided() -> None:
    kind = "K8sPSPPrivilegedContainer"
    renamed = template(kind, **{"metadata.gatekeeper.sh/title": "Mine"})
    undated = template(kind, **{"metadata.gatekeeper.sh/version": ""})
    for made in (renamed, undated):
        assert outcome(answers, [hook(), made, constraint(kind)], PRIVILEGED) is UNDECIDED
    assert outcome(answers, [hook(), constraint(kind)], PRIVILEGED) is UNDECIDED
    other = [hook(), template("MyKind"), constraint("MyKind")]
    assert outcome(answers, other, PRIVILEGED) is UNDECIDED
    elsewhere = constraint("MyKind", match={"namespaces": ["x"]})
    assert outcome(answers, [hook(), template("MyKind"), elsewhere], PRIVILEGED) is None


NATIVE = {
    "engine": "K8sNativeValidation",
    "source": {
        "variables": [{"name": "all", "expression": "variables.anyObject.spec.containers"}],
        "validations": [
            {
                "expression": "variables.all.all(c, !c.?securityContext.?privileged.orValue(false)"
                " || c.image in variables.params.images)",
                "message": "no",
            }
        ],
    },
}
REGO = {"engine": "Rego", "source": {"rego": "package x"}}


def test_cel_of_a_template_is_evaluated_with_its_parameters() -> None:
    made = template("MyKind", NATIVE)
    given = {"images": ["registry.k8s.io/pause:3.10"]}
    none: dict[str, Any] = {"images": []}
    assert outcome(answers, [hook(), made, constraint("MyKind", none)], PRIVILEGED) is REFUSED
    assert outcome(answers, [hook(), made, constraint("MyKind", given)], PRIVILEGED) is ADMITTED
    assert outcome(answers, [hook(), made, constraint("MyKind", none)]) is ADMITTED
    # Without parameters the expression fails, and failurePolicy is Fail.
    assert outcome(answers, [hook(), made, constraint("MyKind")], PRIVILEGED) is REFUSED


def test_two_forms_of_code_must_say_the_same() -> None:
    kind = "K8sPSPPrivilegedContainer"
    both = template(kind, NATIVE, REGO)
    given = {"images": ["registry.k8s.io/pause:3.10"]}
    assert outcome(answers, [hook(), both, constraint(kind, {"images": []})], PRIVILEGED) is REFUSED
    assert outcome(answers, [hook(), both, constraint(kind, given)], PRIVILEGED) is UNDECIDED
    assert outcome(answers, [hook(), both, constraint(kind, given)]) is ADMITTED
    unknown = template("MyKind", NATIVE, REGO)
    assert outcome(answers, [hook(), unknown, constraint("MyKind", given)]) is UNDECIDED


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, REFUSED),
        ({"enforcementAction": "deny"}, REFUSED),
        ({"enforcementAction": "dryrun"}, None),
        ({"enforcementAction": "warn"}, None),
        (
            {
                "enforcementAction": "scoped",
                "scopedEnforcementActions": [
                    {
                        "action": "deny",
                        "enforcementPoints": [{"name": "validation.gatekeeper.sh"}],
                    }
                ],
            },
            REFUSED,
        ),
        (
            {
                "enforcementAction": "scoped",
                "scopedEnforcementActions": [
                    {"action": "warn", "enforcementPoints": [{"name": "*"}]},
                    {"action": "deny", "enforcementPoints": [{"name": "audit.gatekeeper.sh"}]},
                ],
            },
            None,
        ),
        ({"enforcementAction": 5}, UNDECIDED),
    ],
)
def test_only_deny_refuses(spec: Any, expected: Any) -> None:
    assert says("K8sPSPPrivilegedContainer", None, PRIVILEGED, **spec) is expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({}, REFUSED),
        (None, REFUSED),
        ({"kinds": [{"apiGroups": ["*"], "kinds": ["*"]}]}, REFUSED),
        ({"kinds": [{"apiGroups": ["apps"], "kinds": ["Deployment"]}]}, None),
        ({"namespaces": ["sh*"]}, REFUSED),
        ({"namespaces": ["x"]}, None),
        ({"excludedNamespaces": ["*op"]}, None),
        ({"excludedNamespaces": ["kube-*"]}, REFUSED),
        ({"scope": "Cluster"}, None),
        ({"scope": "Namespaced"}, REFUSED),
        ({"name": "auditor-*"}, REFUSED),
        ({"name": "x"}, None),
        ({"source": "Generated"}, None),
        ({"labelSelector": {"matchLabels": {"x": "y"}}}, None),
        ({"namespaceSelector": {"matchLabels": {"team": "a"}}}, REFUSED),
        (
            {
                "namespaceSelector": {
                    "matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]
                }
            },
            None,
        ),
        ({"namespaces": "x"}, UNDECIDED),
        ({"namespaces": ["a[b]c"]}, UNDECIDED),
    ],
)
def test_match(match: Any, expected: Any) -> None:
    kind = "K8sPSPPrivilegedContainer"
    documents = [hook(), template(kind), constraint(kind, match=match)]
    assert outcome(answers, documents, PRIVILEGED, namespace("shop", team="a")) is expected


def test_without_the_webhook_nothing_is_enforced() -> None:
    kind = "K8sPSPPrivilegedContainer"
    alone = [template(kind), constraint(kind)]
    assert outcome(answers, alone, PRIVILEGED) is ADMITTED
    ignored = {
        "matchExpressions": [{"key": "admission.gatekeeper.sh/ignore", "operator": "DoesNotExist"}]
    }
    documents = [hook(namespaceSelector=ignored), *alone]
    assert outcome(answers, documents, PRIVILEGED) is REFUSED
    exempt = namespace("shop", **{"admission.gatekeeper.sh/ignore": "yes"})
    assert outcome(answers, documents, PRIVILEGED, exempt) is ADMITTED


@pytest.mark.parametrize(
    ("processes", "names", "expected"),
    [
        (["*"], ["shop"], None),
        (["webhook"], ["sh*"], None),
        (["audit", "sync"], ["shop"], REFUSED),
        (["*"], ["x"], REFUSED),
        ("x", ["shop"], UNDECIDED),
    ],
)
def test_gatekeepers_configuration_takes_namespaces_out(
    processes: Any, names: Any, expected: Any
) -> None:
    kind = "K8sPSPPrivilegedContainer"
    config = {
        "apiVersion": "config.gatekeeper.sh/v1alpha1",
        "kind": "Config",
        "metadata": {"name": "config", "namespace": "gatekeeper-system"},
        "spec": {"match": [{"processes": processes, "excludedNamespaces": names}]},
    }
    documents = [hook(), template(kind), constraint(kind), config]
    assert outcome(answers, documents, PRIVILEGED) is expected
