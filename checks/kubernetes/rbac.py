"""Who may do everything: subjects that hold cluster-admin, and roles with wildcards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from auditor.model import (
    Json,
    Resource,
    Severity,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
    unknown,
)
from auditor.registry import check
from checks.kubernetes._accepted import accepted_name, accepted_subject
from checks.kubernetes._pods import some
from checks.kubernetes._rbac import (
    ALL_VERBS,
    CLUSTER_ADMIN,
    SHIPPED_WITH_WILDCARD,
    RoleKey,
    amounts_to_admin,
    bindings_of_roles,
    is_shipped,
    role_key,
    shown_name,
    words,
)
from checks.kubernetes._rbac_access import (
    NEEDS,
    SETTINGS,
    bindings_gap,
    granted_nothing,
    unread_bindings,
    unread_roles,
)
from checks.kubernetes._rbac_index import (
    Grant,
    RbacIndex,
    SubjectKey,
    key_of,
    natural_groups,
    rbac_index,
    shown_subject,
    subjects_of,
)
from checks.kubernetes._rbac_rules import rules_of
from checks.kubernetes._rbac_shipped import MASTERS
from checks.kubernetes._scopes import gap_of, is_system, labels_of


@check(
    id="k8s-cluster-admin-binding",
    title="Nobody holds cluster-admin but the built-in group",
    severity="critical",
    applies_to="kubernetes/subject",
    needs=NEEDS,
    settings=SETTINGS,
    excuse=accepted_subject,
)
def cluster_admin_binding(subject: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every subject of a binding for `cluster-admin`, or a role as strong.

    Why: cluster-admin may read every secret, become everybody and switch off every control,
    admission and auditing among them. Each subject that holds it is a way to lose the cluster.

    Rule: Fails for each ClusterRoleBinding that binds the subject to `cluster-admin`, or to a role
    whose rules amount to it: every verb, on every resource, of every API group. Fails as well where
    several ClusterRoleBindings give that together and none does alone. A RoleBinding to such a role
    fails at a lower severity, for it reaches one namespace: high in a namespace of `[rules]
    system_namespaces`, medium in another. What an installer or a cloud binds fails like the rest,
    such as kubeadm's group `kubeadm:cluster-admins`, until `[rules] accepted_subjects` names it
    with a reason. Not asked is `system:masters` about the binding that Kubernetes ships, recognised
    by label and name; any other subject of that binding fails, and `system:masters` fails in any
    other binding. Not applicable either to a subject whose roles do not exist (k8s-dangling-binding
    lists those). Passes when no binding gives it, which manifests alone cannot show. Unknown when a
    role or bindings could not be read; `cluster-admin` is known by its name even then.

    Fix: Bind what the subject really does, in the namespace where it does it:

        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: deployer
          namespace: ledger
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: edit
        subjects:
          - kind: Group
            apiGroup: rbac.authorization.k8s.io
            name: ledger-deployers

    Source: CIS Kubernetes 5.1.1.
    """
    index, key = rbac_index(view), key_of(subject)
    by_binding: dict[int, list[Grant]] = {}
    for grant in index.direct(key):
        by_binding.setdefault(id(grant.binding), []).append(grant)
    found = given = wide = False
    for grants in by_binding.values():
        first = grants[0]
        if not _is_admin(grants):
            continue
        if first.role.name == CLUSTER_ADMIN[2] and index.is_shipped_grant(key, first):
            given = True
            continue
        found = True
        wide = wide or first.namespace is None
        yield _holds(key, first.binding, (first.role.kind, None, first.role.name), view)
    for binding in index.dangling(key):
        # Not there now, but the API server makes it again whenever it starts.
        if role_key(binding) == CLUSTER_ADMIN:
            found = True
            wide = wide or binding.kind == "ClusterRoleBinding"
            yield _holds(key, binding, CLUSTER_ADMIN, view)
    if not (wide or given) and (parts := _together(key, index)):
        found = True
        yield failed(
            f"together: {', '.join(parts)}",
            f"{shown_subject(key)} holds roles that only together amount to cluster-admin",
            "roles that name what the subject does",
        )
    unread = unread_bindings(key, index)
    if unread:
        yield unread_roles(unread, view)
    elif given and not found and bindings_gap(view) is None:
        yield not_applicable("the binding that Kubernetes ships")
    elif not found:
        yield granted_nothing(key, index, view)


def _together(key: SubjectKey, index: RbacIndex) -> list[str]:
    """The bindings that make a subject cluster-admin together, where no single one does.

    Those of its groups count; a group that is cluster-admin by itself is the group's finding.
    """
    # The API server asks no RBAC about system:masters: no bindings make it what it is.
    if key == MASTERS or not index.is_admin(key) or any(map(index.is_admin, natural_groups(key))):
        return []
    return sorted(
        {
            shown_name(grant.binding)
            for grant in index.effective(key)
            if grant.namespace is None
            and "*" in grant.groups
            and "*" in grant.resources
            and not grant.names
        }
    )


def _is_admin(grants: Sequence[Grant]) -> bool:
    """Whether a role is cluster-admin, or its rules together amount to it."""
    role = grants[0].role
    if role.kind == "ClusterRole" and role.name == CLUSTER_ADMIN[2]:
        return True
    verbs: set[str] = set()
    for grant in grants:
        if "*" in grant.groups and "*" in grant.resources and not grant.names:
            verbs |= grant.verbs
    return "*" in verbs or verbs >= ALL_VERBS


def _holds(key: SubjectKey, binding: Resource, role: RoleKey, view: View) -> Verdict:
    severity, reach = None, "the whole cluster"
    if binding.kind != "ClusterRoleBinding":
        severity = Severity.HIGH if is_system(binding.namespace, view) else Severity.MEDIUM
        reach = f"namespace {binding.namespace}"
    power = "" if role == CLUSTER_ADMIN else ", whose rules amount to cluster-admin"
    return failed(
        f"{shown_name(binding)}: {role[0]}/{role[2]}",
        f"{shown_subject(key)} holds {role[0]} {role[2]}{power}, over {reach}",
        "a role that names what the subject does",
        severity=severity,
    )


def accepted_holders(check_id: str, role: Resource, view: View) -> str | None:
    """Why a role may have a wildcard: everybody who holds it is accepted for the check."""
    if gap_of(view, "rolebindings", "clusterrolebindings") is not None:
        return None
    key = (role.kind, role.namespace if role.kind == "Role" else None, role.name)
    reasons = [
        accepted_name(check_id, shown_subject(subject), view)
        for subject in view.index(_holders).get(key, ())
    ]
    named = [reason for reason in reasons if reason is not None]
    if not reasons or len(named) < len(reasons):
        return None
    return "; ".join(dict.fromkeys(named))


def _holders(view: View) -> dict[RoleKey, list[SubjectKey]]:
    found: dict[RoleKey, list[SubjectKey]] = {}
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        for binding in view.of_kind(kind):
            found.setdefault(role_key(binding), []).extend(subjects_of(binding))
    return found


@check(
    id="k8s-rbac-wildcard",
    title="Roles name what they allow",
    severity="high",
    applies_to="kubernetes/role",
    needs=("rolebindings", "clusterrolebindings"),
    settings=("accepted_subjects",),
    excuse=accepted_holders,
)
def rbac_wildcard(role: Resource, view: View) -> Iterator[Verdict]:
    """Looks for `*` in the verbs, resources and API groups of every rule of every role.

    Why: A wildcard grants what nobody thought of: subresources such as `pods/exec`, verbs such as
    `escalate`, and every kind that is installed next year.

    Rule: Fails for each rule with `*`, or `*/subresource`, in `verbs`, `resources` or `apiGroups`;
    at low severity when all bindings were read and none gives the role to anybody. Waived where
    `[rules] accepted_subjects` accepts every subject that holds the role. Roles that Kubernetes
    ships with wildcards, recognised by label and name, are not asked; a wildcard in a shipped
    role that has none by itself fails, and so does one that only `cluster-admin` may have. Passes
    when no rule has a wildcard. Unknown when roles could not be listed, and for a role of manifests
    that gathers rules of others (`aggregationRule`) where no rule gathered from those manifests
    has one.

    Fix: Name verbs, resources and groups:

        rules:
          - apiGroups: [""]
            resources: [pods, pods/log]
            verbs: [get, list, watch]

    Source: CIS Kubernetes 5.1.3.
    """
    wild = [
        (index, rule, fields)
        for index, rule in enumerate(rules_of(role, view.index(_cluster_roles)))
        if (fields := _wild_fields(rule))
    ]
    gathers = bool(role.body.get("aggregationRule"))
    if not wild:
        # What a role gathers lies in others; manifests may not hold them all.
        gap = gap_of(view, "clusterroles") if gathers and role.source == "manifest" else None
        if gap is None:
            yield passed(stands=True)
        else:
            observed = f"it gathers rules of other roles: {gap.reason}: {gap.detail}"
            yield unknown("aggregationRule", observed, "names instead of *")
        return
    if (
        role.kind == "ClusterRole"
        and role.name in SHIPPED_WITH_WILDCARD
        and is_shipped(role)
        and (role.name == CLUSTER_ADMIN[2] or not amounts_to_admin(role))
    ):
        yield not_applicable("shipped by Kubernetes with this wildcard")
        return
    note, severity = _use(role, view)
    if gathers:
        note += "; gathered from other roles by its aggregationRule"
    for index, rule, fields in wild:
        observed = f"* in {', '.join(fields)} ({_shown(rule)}); {note}"
        yield failed(f"rules[{index}]", observed, "names instead of *", severity=severity)


def _cluster_roles(view: View) -> dict[str, Resource]:
    return {role.name: role for role in view.of_kind("ClusterRole")}


def _wild_fields(rule: Mapping[str, Json]) -> list[str]:
    return [
        field
        for field in ("verbs", "resources", "apiGroups")
        if any(word == "*" or word.startswith("*/") for word in words(rule, field))
    ]


def _use(role: Resource, view: View) -> tuple[str, Severity | None]:
    """Whether anybody has the role, in words, and the severity if nobody has."""
    key = (role.kind, role.namespace if role.kind == "Role" else None, role.name)
    bindings = bindings_of_roles(view).get(key, [])
    if bindings:
        return f"bound by {some(bindings)}", None
    aggregated = "rbac.authorization.k8s.io/aggregate-to-"
    if any(label.startswith(aggregated) for label in labels_of(role)):
        return "aggregated into other roles", None
    everywhere = () if role.kind == "Role" else ("clusterrolebindings",)
    gap = gap_of(view, "rolebindings", *everywhere)
    if gap is not None:
        return f"who is bound could not be read: {gap.detail}", None
    return "no binding gives it to anybody", Severity.LOW


def _shown(rule: Mapping[str, Json]) -> str:
    parts = []
    for field in ("verbs", "resources", "apiGroups", "nonResourceURLs"):
        named = [word or "core" for word in sorted(words(rule, field))]
        if named:
            parts.append(f"{field}: {some(named, 6)}")
    return "; ".join(parts)
