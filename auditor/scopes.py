"""Which scopes must have been read for which checks, and so what a gap hides."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.model import Check, Gap, View

SCOPES: Mapping[str, tuple[str, ...]] = {
    "kubernetes/workload": (
        "pods",
        "deployments",
        "replicasets",
        "statefulsets",
        "daemonsets",
        "jobs",
        "cronjobs",
        "replicationcontrollers",
    ),
    # Who is bound to a role, and the cluster as a whole, which is always there to be judged.
    "kubernetes/subject": ("rolebindings", "clusterrolebindings"),
    "kubernetes/cluster": (),
    "kubernetes/Pod": ("pods",),
    "kubernetes/Namespace": ("namespaces",),
    "kubernetes/ServiceAccount": ("serviceaccounts",),
    "kubernetes/Role": ("roles",),
    "kubernetes/ClusterRole": ("clusterroles",),
    "kubernetes/RoleBinding": ("rolebindings",),
    "kubernetes/ClusterRoleBinding": ("clusterrolebindings",),
    "kubernetes/ConfigMap": ("configmaps",),
    "kubernetes/NetworkPolicy": ("networkpolicies",),
    "kubernetes/Service": ("services",),
    "kubernetes/Ingress": ("ingresses",),
    "kubernetes/CertificateSigningRequest": ("certificatesigningrequests",),
    "kubernetes/SelfSubjectReview": ("selfsubjectreviews",),
    "docker/container": ("containers",),
    "docker/engine": ("engine",),
    "image/image": ("images",),
    "dockerfile/Dockerfile": ("dockerfiles",),
    "app-config/file": ("app-config",),
}
"""The scopes that must have been read for the subjects of a check to be all of them."""

ROLE_KINDS = ("Role", "ClusterRole")
BINDING_KINDS = ("RoleBinding", "ClusterRoleBinding")
GROUPS: Mapping[str, tuple[str, ...]] = {"role": ROLE_KINDS, "binding": BINDING_KINDS}
"""`kubernetes/role` and `kubernetes/binding` stand for both kinds: their rules are the same."""

TARGET_PLATFORMS: Mapping[str, frozenset[str]] = {
    "kubernetes": frozenset({"kubernetes"}),
    "docker": frozenset({"docker", "image"}),
    "image": frozenset({"image"}),
}
"""The platforms that a target of each source has something to say about; files tell by scope."""

EVERYTHING = "*"
"""The scope of a gap that hides a whole target: it could not be reached at all."""

MANIFESTS = "manifests"
"""The scope of a gap that hides a manifest file: it may have held any kind of object."""


def subject_scopes(check: Check) -> tuple[str, ...]:
    """The scopes that hold the subjects of a check."""
    kinds = GROUPS.get(check.subject, (check.subject,))
    return tuple(
        scope
        for kind in kinds
        for scope in SCOPES.get(f"{check.platform}/{kind}", (kind.lower() + "s",))
    )


def platforms_of(view: View) -> frozenset[str]:
    """The platforms whose checks have something to say about a target, read or not."""
    known = TARGET_PLATFORMS.get(view.target.source)
    if known is not None:
        return known
    scopes = set(view.covered) | {gap.scope for gap in view.gaps}
    return frozenset(
        subject.partition("/")[0] for subject, needs in SCOPES.items() if scopes & set(needs)
    )


def describe(gap: Gap) -> str:
    """One line for what a gap hides and why."""
    where = f"{gap.scope}/{gap.name}" if gap.name else gap.scope
    where += f" in namespace {gap.namespace}" if gap.namespace else ""
    where = "the target" if gap.scope == EVERYTHING else where
    return f"could not read {where}: {gap.reason}: {gap.detail}"
