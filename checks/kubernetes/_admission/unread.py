"""Plugins of API servers that may refuse a pod by rules which an audit does not read.

PodSecurityPolicies and OpenShift's SecurityContextConstraints are granted by RBAC, one by one, to
those who create pods. That they may refuse a pod is all that is said here, and it must be said
before anybody is told that nothing does. `--probe-admission` asks them.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, View
from checks.kubernetes._admission.answers import Answer, Outcome, Pod
from checks.kubernetes._admission.pod_security import server_minor
from checks.kubernetes._admission.server_flags import Flags

POLICIES_GONE = 25
"""The minor version that knows PodSecurityPolicies no more."""

_OPENSHIFT = "openshift-config"
"""A namespace that every OpenShift cluster has; the platform takes such names for itself."""

_WHY = "may refuse the pod; what they allow is not read"


def answers(pod: Pod, namespace: Resource, view: View) -> Iterator[Answer]:
    """One answer, always undecided, for each such plugin that the server may have."""
    for by in view.index(_plugins):
        yield Answer(Outcome.UNDECIDED, by, _WHY)


def _plugins(view: View) -> list[str]:
    found: list[str] = []
    flags, minor = view.index(Flags), server_minor(view)
    if minor is not None and minor < POLICIES_GONE:
        if flags.policies:
            found.append(f"PodSecurityPolicies ({flags.policies})")
        elif not flags.seen:
            found.append("PodSecurityPolicies (the API server's flags are not seen)")
    if any(item.name == _OPENSHIFT for item in view.of_kind("Namespace")):
        found.append("SecurityContextConstraints of OpenShift")
    return found
