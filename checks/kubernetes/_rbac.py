"""Roles and bindings joined once for a view, and what Kubernetes itself ships.

Only names are listed here; whether an object is the shipped one is decided by its label *and*
its name, and never by its rules alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from auditor.model import Json, Resource, View
from checks.kubernetes._pods import mapping, objects
from checks.kubernetes._rbac_shipped_rules import SHIPPED_RULES
from checks.kubernetes._scopes import labels_of

RoleKey = tuple[str, str | None, str]
"""Kind, namespace and name of a role; the namespace of a ClusterRole is None."""

CLUSTER_ADMIN: RoleKey = ("ClusterRole", None, "cluster-admin")

ALL_VERBS = frozenset(
    {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
)
"""The verbs that the API server has for objects; all of them by name amount to every verb."""

SHIPPED_WITH_WILDCARD = frozenset(
    {
        "cluster-admin",
        "system:controller:disruption-controller",
        "system:controller:generic-garbage-collector",
        "system:controller:horizontal-pod-autoscaler",
        "system:controller:namespace-controller",
        "system:controller:resourcequota-controller",
        "system:controller:storage-version-migrator-controller",
        "system:kube-controller-manager",
        "system:kubelet-api-admin",
    }
)
"""ClusterRoles that a kube-apiserver of 1.30 or later makes with a wildcard in a rule."""

SHIPPED_FOR_PEOPLE: frozenset[RoleKey] = frozenset(
    {
        *(("ClusterRole", None, name) for name in SHIPPED_RULES if name != CLUSTER_ADMIN[2]),
        ("Role", "kube-system", "extension-apiserver-authentication-reader"),
    }
)
"""Roles that Kubernetes ships for others to bind, none of which amounts to cluster-admin."""


def is_shipped(resource: Resource) -> bool:
    """Whether an object has the label that Kubernetes gives the RBAC objects it makes."""
    return labels_of(resource).get("kubernetes.io/bootstrapping") == "rbac-defaults"


def role_key(binding: Resource) -> RoleKey:
    """The role that a binding names."""
    reference = mapping(binding.body.get("roleRef"))
    kind, name = str(reference.get("kind")), str(reference.get("name"))
    return kind, None if kind == "ClusterRole" else binding.namespace, name


def roles(view: View) -> Mapping[RoleKey, Resource]:
    """Every role of the view by its key."""
    return view.index(_roles)


def _roles(view: View) -> dict[RoleKey, Resource]:
    return {
        (role.kind, role.namespace if kind == "Role" else None, role.name): role
        for kind in ("Role", "ClusterRole")
        for role in view.of_kind(kind)
    }


def bindings_of_roles(view: View) -> Mapping[RoleKey, list[str]]:
    """For each role the bindings that give it to somebody, as `Kind/name` or `Kind/ns/name`."""
    return view.index(_bindings_of_roles)


def _bindings_of_roles(view: View) -> dict[RoleKey, list[str]]:
    found: dict[RoleKey, list[str]] = {}
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        for binding in view.of_kind(kind):
            if objects(binding.body.get("subjects")):
                found.setdefault(role_key(binding), []).append(shown_name(binding))
    return found


def shown_name(resource: Resource) -> str:
    """`Kind/name`, or `Kind/namespace/name`."""
    return "/".join(filter(None, (resource.kind, resource.namespace, resource.name)))


def amounts_to_admin(role: Resource) -> bool:
    """Whether a role's rules together give every verb on every resource of every group.

    All the verbs of the API by name count as every verb: the rest need only the first step.
    """
    verbs: set[str] = set()
    for rule in objects(role.body.get("rules")):
        everything = "*" in words(rule, "apiGroups") and "*" in words(rule, "resources")
        if everything and not rule.get("resourceNames"):
            verbs |= words(rule, "verbs")
    return "*" in verbs or verbs >= ALL_VERBS


def words(rule: Mapping[str, Json], key: str) -> set[str]:
    """One list of a rule as a set."""
    listed = rule.get(key)
    return {str(item) for item in listed} if isinstance(listed, list) else set()
