"""Ways to cluster-admin that no single grant shows, and bindings that wait for a role."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import (
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
from checks.kubernetes._accepted import accepted_subject
from checks.kubernetes._pods import objects, some
from checks.kubernetes._rbac import SHIPPED_FOR_PEOPLE, role_key, roles
from checks.kubernetes._rbac_access import bindings_gap
from checks.kubernetes._rbac_index import (
    is_builtin_subject,
    rbac_index,
    shown_subject,
    subjects_of,
)
from checks.kubernetes._rbac_paths import WEAKER, added_path, shown_path
from checks.kubernetes._scopes import gap_of, only_partial


@check(
    id="k8s-path-to-cluster-admin",
    title="Nobody can make themselves cluster-admin",
    severity="critical",
    applies_to="kubernetes/subject",
    needs=(
        "clusterroles",
        "roles",
        "clusterrolebindings",
        "rolebindings",
        "serviceaccounts",
        "pods",
    ),
    settings=("accepted_subjects",),
    excuse=accepted_subject,
)
def path_to_cluster_admin(subject: Resource, view: View) -> Iterator[Verdict]:
    """Looks for the shortest chain of rights by which a subject could become cluster-admin.

    Why: Who may create pods beside a strong service account, mint its token or bind roles holds
    cluster-admin in all but name. No single grant shows it, so a review of roles passes over it,
    and an intruder finds it with the first tool for the purpose.

    Rule: Fails for a subject that is not cluster-admin itself and can become it, step by step,
    with what RBAC grants; the shortest chain is the evidence, each step with its grant. A step
    is one of: bind cluster-admin, or extend one's own role by `escalate`; impersonate a user,
    group or service account; create a service account's token, or a token secret that one can
    read; create or change pods, or what makes pods, where a stronger account lives; run code in a
    pod that has its token; approve a client certificate that one requested; take the nodes by
    nodes/proxy, node certificates or hostPath volumes; change objects as others write them, by
    mutating webhooks or policies. High instead of critical where the chain ends at the nodes or
    at others' writes. Steps that admission may refuse, such as a privileged pod that takes its
    node, and reading secrets whose type is not known do not count. An account counts if it
    exists, if the subject may create or impersonate it, or if accounts could not be read. Passes
    when no chain is found. Does not apply to subjects that are cluster-admin (another check judges
    those) and to parts of Kubernetes with no more than Kubernetes gives them. Subjects in `[rules]
    accepted_subjects` are waived. Unknown when roles, bindings, accounts or pods could not be
    read and no chain is found in the rest.

    Fix: Break the first step: grant it in a namespace that has no strong account, or take it
    away. A controller that has to create pods belongs in a namespace of its own, its workloads
    in another:

        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: builder
          namespace: builds
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: edit
        subjects:
          - kind: ServiceAccount
            name: builder
            namespace: build-system

    Source: Kubernetes documentation, Role Based Access Control Good Practices. Extends CIS
    Kubernetes 5.1.1, 5.1.4 and 5.1.8.
    """
    index = rbac_index(view)
    key = (subject.kind, subject.namespace, subject.name)
    if is_builtin_subject(key):
        if not index.added(key) and bindings_gap(view) is None:
            yield not_applicable("a part of Kubernetes, with what Kubernetes gives it")
            return
        path = added_path(view, key)
    else:
        path = index.path_to_admin(key)
    if path == () or index.is_admin(key):
        yield not_applicable("is cluster-admin already")
    elif path is not None:
        length = f"{len(path)} step{'s' if len(path) > 1 else ''} to cluster-admin"
        yield failed(
            observed=f"{length}: {shown_path(path)}",
            expected="no chain of rights that ends in cluster-admin",
            severity=Severity.HIGH if path[-1].gains in WEAKER else None,
        )
    elif index.unread(key):
        names = some(f"{item.kind}/{item.name}" for item in index.unread(key))
        gap = gap_of(view, "clusterroles", "roles")
        why = f": {gap.reason}: {gap.detail}" if gap else ""
        yield unknown(observed=f"the roles of {names} could not be read{why}")
    else:
        yield passed()


@check(
    id="k8s-dangling-binding",
    title="Bindings name roles that exist",
    severity="low",
    applies_to="kubernetes/binding",
)
def dangling_binding(binding: Resource, view: View) -> Iterator[Verdict]:
    """Looks for bindings to a role that does not exist.

    Why: Such a binding grants nothing today. Whoever may create a role of that name decides
    tomorrow what its subjects get, and nobody will look at the binding again.

    Rule: Fails when the Role or ClusterRole that a binding names does not exist and the binding
    has subjects. Passes when it exists. Does not apply to a binding that names nobody. Unknown
    when roles could not be read; from manifests, unless the manifests hold the role or Kubernetes
    ships it.

    Fix: Delete the binding, or create the role that it means:

        kubectl delete rolebinding NAME --namespace NAMESPACE

    Source: Kubernetes API reference, RoleBinding.roleRef.
    """
    subjects = [shown_subject(key) for key in subjects_of(binding)]
    key = role_key(binding)
    kind, _, name = key
    scope = "clusterroles" if kind == "ClusterRole" else "roles"
    if not objects(binding.body.get("subjects")):
        yield not_applicable("names nobody")
    elif key in roles(view):
        yield passed("roleRef", stands=True)
    elif (gap := gap_of(view, scope, name=name)) is None:
        observed = f"{kind} {name} does not exist; waiting for it: {some(subjects)}"
        yield failed("roleRef", observed, "a role that exists")
    elif only_partial(view, scope) and (key in SHIPPED_FOR_PEOPLE or name == "cluster-admin"):
        yield passed("roleRef", stands=True)
    else:
        observed = f"{kind} {name} could not be read: {gap.reason}: {gap.detail}"
        yield unknown("roleRef", observed, "a role that exists")
