"""Who may do everything: bindings to cluster-admin, and roles with wildcards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from auditor.model import (
    Json,
    Resource,
    Severity,
    Status,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
    review,
    unknown,
)
from auditor.registry import check
from checks.kubernetes._accepted import accepted_name
from checks.kubernetes._pods import objects, some
from checks.kubernetes._rbac import (
    CLUSTER_ADMIN,
    MASTERS,
    SHIPPED_FOR_PEOPLE,
    SHIPPED_WITH_WILDCARD,
    RoleKey,
    amounts_to_admin,
    bindings_of_roles,
    is_shipped,
    role_key,
    roles,
    subject_name,
    words,
)
from checks.kubernetes._scopes import gap_of, is_system, labels_of, only_partial


@check(
    id="k8s-cluster-admin-binding",
    title="Nobody holds cluster-admin but the built-in group",
    severity="critical",
    applies_to="kubernetes/binding",
    needs=("clusterroles", "roles"),
    settings=("accepted_subjects", "system_namespaces"),
)
def cluster_admin_binding(binding: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every subject of every binding to `cluster-admin` or to a role as strong.

    Why: cluster-admin may read every secret, become everybody and switch off every control,
    admission and auditing among them. Each subject that holds it is a way to lose the cluster.

    Rule: Fails for each subject that a ClusterRoleBinding binds to `cluster-admin`, or to a role
    whose rules amount to it: every verb, on every resource, of every API group. A RoleBinding to
    such a role fails at a lower severity, for it reaches one namespace; high in a system
    namespace. Passes for `system:masters` in the binding that Kubernetes ships, recognised by
    label and name, and for bindings to other roles. Subjects in `[rules] accepted_subjects` are
    waived. Gives a review for a binding to a role that does not exist: it grants nothing today.
    Unknown when the role, or bindings, could not be read.

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
    key = role_key(binding)
    role = roles(view).get(key)
    if role is None and key != CLUSTER_ADMIN:
        yield _unseen(key, view)
        return
    if key != CLUSTER_ADMIN and role is not None and not amounts_to_admin(role):
        yield passed("roleRef", "the role does not amount to cluster-admin", stands=True)
        return
    yield from _subjects(binding, key, view)
    yield passed("subjects", "nobody else is bound", stands=True)


def _subjects(binding: Resource, key: RoleKey, view: View) -> Iterator[Verdict]:
    cluster_wide = binding.kind == "ClusterRoleBinding"
    shipped = cluster_wide and binding.name == CLUSTER_ADMIN[2] and is_shipped(binding)
    severity = None
    reach = "the whole cluster"
    if not cluster_wide:
        severity = Severity.HIGH if is_system(binding.namespace, view) else Severity.MEDIUM
        reach = f"namespace {binding.namespace}"
    power = "" if key == CLUSTER_ADMIN else ", whose rules amount to cluster-admin"
    for index, subject in enumerate(objects(binding.body.get("subjects"))):
        name = subject_name(subject, binding)
        if shipped and name == MASTERS:
            continue
        verdict = failed(
            f"subjects[{index}]",
            f"{name} holds {key[0]} {key[2]}{power}, over {reach}",
            "no subject but those that accepted_subjects names",
            severity=severity,
        )
        reason = accepted_name("k8s-cluster-admin-binding", name, view)
        yield verdict if reason is None else replace(verdict, status=Status.WAIVED, waiver=reason)


def _unseen(key: RoleKey, view: View) -> Verdict:
    """A role that was not read, or is not there."""
    kind, _, name = key
    scope = "clusterroles" if kind == "ClusterRole" else "roles"
    gap = gap_of(view, scope, name=name)
    if gap is None:
        observed = f"{kind} {name} does not exist: it grants nothing today, and all it gets later"
        return review("roleRef", observed, "a role that exists, or no binding")
    if key in SHIPPED_FOR_PEOPLE and only_partial(view, scope):
        return passed("roleRef", "a role as Kubernetes ships it", stands=True)
    return unknown("roleRef", f"{kind} {name} could not be read: {gap.detail}", "a role to judge")


@check(
    id="k8s-rbac-wildcard",
    title="Roles name what they allow",
    severity="high",
    applies_to="kubernetes/role",
    needs=("rolebindings", "clusterrolebindings"),
)
def rbac_wildcard(role: Resource, view: View) -> Iterator[Verdict]:
    """Looks for `*` in the verbs, resources and API groups of every rule of every role.

    Why: A wildcard grants what nobody thought of: subresources such as `pods/exec`, verbs such as
    `escalate`, and every kind that is installed next year.

    Rule: Fails for each rule with `*`, or `*/subresource`, in `verbs`, `resources` or `apiGroups`;
    at low severity when all bindings were read and none gives the role to anybody. Roles that
    Kubernetes ships with wildcards, recognised by label and name, are not asked; a wildcard in a
    shipped role that has none by itself fails, and so does one that only `cluster-admin` may have.
    Passes when no rule has a wildcard. Unknown when roles could not be listed.

    Fix: Name verbs, resources and groups:

        rules:
          - apiGroups: [""]
            resources: [pods, pods/log]
            verbs: [get, list, watch]

    Source: CIS Kubernetes 5.1.3.
    """
    wild = [
        (index, rule, fields)
        for index, rule in enumerate(objects(role.body.get("rules")))
        if (fields := _wild_fields(rule))
    ]
    if not wild:
        yield passed(stands=True)
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
    for index, rule, fields in wild:
        observed = f"* in {', '.join(fields)} ({_shown(rule)}); {note}"
        yield failed(f"rules[{index}]", observed, "names instead of *", severity=severity)


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
