"""A ValidatingAdmissionPolicy for each rule of CIS 5.2, written as such policies are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RULE_LABEL = "auditor.example.com/rules"
"""The label of a namespace that says which of the policies are bound there, and how."""

_DEFAULTS = (
    "['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD',"
    " 'NET_BIND_SERVICE', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT']"
)
_HELD = "has(c.securityContext) && has(c.securityContext.capabilities)"
_DROP = f"{_HELD} && has(c.securityContext.capabilities.drop)"
_ADD = f"{_HELD} && has(c.securityContext.capabilities.add)"

POLICIES: Mapping[str, str] = {
    "k8s-privileged-container": (
        "variables.containers.all(c, !has(c.securityContext) ||"
        " !has(c.securityContext.privileged) || !c.securityContext.privileged)"
    ),
    "k8s-privileged-container-partly": (
        "object.spec.containers.all(c, !c.?securityContext.?privileged.orValue(false))"
    ),
    "k8s-host-pid": "!has(object.spec.hostPID) || object.spec.hostPID == false",
    "k8s-host-ipc": "!object.spec.?hostIPC.orValue(false)",
    "k8s-host-network": "!(has(object.spec.hostNetwork) && object.spec.hostNetwork)",
    "k8s-allow-privilege-escalation": (
        "variables.containers.all(c, has(c.securityContext) &&"
        " has(c.securityContext.allowPrivilegeEscalation) &&"
        " !c.securityContext.allowPrivilegeEscalation)"
    ),
    "k8s-run-as-non-root": (
        "variables.containers.all(c, has(c.securityContext) && has(c.securityContext.runAsNonRoot)"
        " ? c.securityContext.runAsNonRoot"
        " : has(object.spec.securityContext.runAsNonRoot)"
        " && object.spec.securityContext.runAsNonRoot)"
    ),
    "k8s-net-raw": (
        f"variables.containers.all(c, {_DROP} &&"
        " c.securityContext.capabilities.drop.exists(d, d in ['ALL', 'NET_RAW']) &&"
        f" !({_ADD} && c.securityContext.capabilities.add.exists(a, a == 'NET_RAW')))"
    ),
    "k8s-added-capabilities": (
        f"variables.containers.all(c, !({_ADD}) ||"
        f" c.securityContext.capabilities.add.all(a, a in {_DEFAULTS}))"
    ),
    "k8s-capabilities-dropped": (
        f"variables.containers.all(c, {_DROP} &&"
        " c.securityContext.capabilities.drop.exists_one(d, d == 'ALL') &&"
        f" (!({_ADD}) ||"
        " c.securityContext.capabilities.add.filter(a, a != 'NET_BIND_SERVICE').size() == 0))"
    ),
    "k8s-windows-host-process": (
        "!object.spec.?securityContext.?windowsOptions.?hostProcess.orValue(false) &&"
        " !variables.containers.exists(c,"
        " c.?securityContext.?windowsOptions.?hostProcess.orValue(false))"
    ),
    "k8s-host-path-volume": (
        "!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.hostPath))"
    ),
    "k8s-host-port": (
        "variables.containers.map(c, has(c.ports) ? c.ports : []).all(ports,"
        " ports.all(p, !has(p.hostPort) || p.hostPort == 0))"
    ),
}
"""By rule: what must be true of a pod. One more looks at ordinary containers alone."""

_API = "admissionregistration.k8s.io/v1"


def policy(name: str) -> dict[str, Any]:
    """The policy of a rule, for pods."""
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["pods"],
    }
    return {
        "apiVersion": _API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "variables": [
                {
                    "name": "containers",
                    "expression": "object.spec.containers + (has(object.spec.initContainers)"
                    " ? object.spec.initContainers : [])",
                }
            ],
            "validations": [{"expression": POLICIES[name], "message": f"broken: {name}"}],
        },
    }


def bindings(name: str) -> list[dict[str, Any]]:
    """How a policy is bound: with Deny where a namespace names it, or all; else it only warns."""
    return [
        {
            "apiVersion": _API,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": f"{name}-{'-'.join(actions).lower()}"},
            "spec": {
                "policyName": name,
                "validationActions": actions,
                "matchResources": {
                    "namespaceSelector": {
                        "matchExpressions": [
                            {"key": RULE_LABEL, "operator": "In", "values": values}
                        ]
                    }
                },
            },
        }
        for actions, values in ((["Deny"], [name, "all"]), (["Warn", "Audit"], ["warned"]))
    ]
