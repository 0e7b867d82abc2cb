"""Who RBAC speaks of: the subjects of bindings, the groups they are in, and what is shipped."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, SubjectKey, subject_key
from checks.kubernetes._pods import objects
from checks.kubernetes._rbac import is_shipped
from checks.kubernetes._rbac_rules import Grant
from checks.kubernetes._rbac_shipped import (
    ACCOUNTS,
    ANONYMOUS,
    AUTHENTICATED,
    COMPONENTS,
    DISCOVERY_URLS,
    EVERYONE,
    SHIPPED_BINDINGS,
    UNAUTHENTICATED,
)

_ACCOUNT_GROUP = "system:serviceaccounts:"


def subjects_of(binding: Resource) -> Iterator[SubjectKey]:
    """Who a binding names: those that it grants something to, as the authorizer sees them."""
    for subject in objects(binding.body.get("subjects")):
        key = subject_key(subject, binding)
        kind, namespace, _ = key
        if kind in ("User", "Group") or (kind == "ServiceAccount" and namespace):
            yield key


def key_of(subject: Resource) -> SubjectKey:
    """The subject that a resource of the kind `kubernetes/subject` stands for."""
    return subject.kind, subject.namespace, subject.name


def natural_groups(key: SubjectKey) -> tuple[SubjectKey, ...]:
    """The groups that a subject is in whatever else it is in.

    Members of any group but `system:unauthenticated` are authenticated.
    """
    kind, namespace, name = key
    if kind == "ServiceAccount":
        return ("Group", None, f"{_ACCOUNT_GROUP}{namespace}"), ACCOUNTS, AUTHENTICATED
    if key == ANONYMOUS:
        return (UNAUTHENTICATED,)
    if key in (AUTHENTICATED, UNAUTHENTICATED):
        return ()
    if kind == "Group" and name.startswith(_ACCOUNT_GROUP):
        return ACCOUNTS, AUTHENTICATED
    return (AUTHENTICATED,)


def is_builtin_subject(key: SubjectKey) -> bool:
    """Whether a subject is a part of Kubernetes itself: a component, a node, a controller.

    Groups that stand for everybody (`system:authenticated`, …) are not. What such a part holds
    beyond what Kubernetes gives it is to be judged all the same: see `RbacIndex.added`.
    """
    kind, _, name = key
    return key in COMPONENTS or (kind == "User" and name.startswith("system:node:"))


def shown_subject(key: SubjectKey) -> str:
    """A subject as `[rules] accepted_subjects` writes it: `ServiceAccount:namespace:name`."""
    return ":".join(part for part in key if part)


def is_shipped_grant(key: SubjectKey, grant: Grant) -> bool:
    """Whether Kubernetes itself gives this to this subject, or to a group that it is in.

    That is so when binding and role have the label and the names that Kubernetes gives them,
    and the binding ships with this subject. What was added to a shipped binding is not
    shipped, and of what everybody holds only what Kubernetes gives everybody is.
    """
    if not (is_shipped(grant.binding) and is_shipped(grant.role)):
        return False
    shipped = SHIPPED_BINDINGS.get((grant.namespace, grant.binding.name))
    if shipped is None or grant.role.name != shipped[0]:
        return False
    given = shipped[1] & {key, *natural_groups(key)}
    if not given:
        return False
    return bool(given - EVERYONE) or _harmless(grant)


def _harmless(grant: Grant) -> bool:
    """Whether a grant holds no more than Kubernetes gives everybody.

    That is discovery, what concerns one's own rights, and the public trust bundles.
    """
    if not grant.resources:
        return grant.verbs == {"get"} and grant.urls <= DISCOVERY_URLS
    if grant.resources == {"clustertrustbundles"}:
        return grant.groups == {"certificates.k8s.io"} and grant.verbs <= {"get", "list", "watch"}
    return (
        grant.verbs == {"create"}
        and grant.groups <= {"authorization.k8s.io", "authentication.k8s.io"}
        and all(name.startswith("selfsubject") for name in grant.resources)
    )
