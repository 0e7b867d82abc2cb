"""Who may take more rights than it was given: over roles, nodes, certificates and admission."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from auditor.model import Resource, Severity, Verdict, View
from auditor.registry import check
from checks.kubernetes._accepted import accepted_subject
from checks.kubernetes._rbac import CLUSTER_ADMIN
from checks.kubernetes._rbac_access import (
    ANY,
    NEEDS,
    SETTINGS,
    Access,
    Holding,
    Right,
    by_reach,
    fails,
    judge,
    rights,
)
from checks.kubernetes._rbac_index import RBAC_GROUP, rbac_index
from checks.kubernetes._rbac_shipped import MASTERS
from checks.kubernetes.rbac_access import weigh_accounts

_AUTHENTICATION = "authentication.k8s.io"
_CERTIFICATES = "certificates.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_REQUESTS = "certificatesigningrequests"

ESCALATION = Access(
    (
        # A RoleBinding may bind a ClusterRole, so `bind` on those reaches a namespace too.
        *rights(("bind",), RBAC_GROUP, ("clusterroles", "roles")),
        Right("escalate", RBAC_GROUP, "clusterroles", cluster=True),
        Right("escalate", RBAC_GROUP, "roles"),
        *rights(("impersonate",), "", ("users", "groups"), cluster=True),
        Right("impersonate", "", "serviceaccounts"),
        Right("impersonate", _AUTHENTICATION, "uids", cluster=True),
        Right("impersonate", _AUTHENTICATION, "userextras", ANY, cluster=True),
    ),
    shipped=(
        "admin",
        "cluster-admin",
        "edit",
        "system:controller:clusterrole-aggregation-controller",
    ),
)


_STRONGEST = frozenset({CLUSTER_ADMIN[2], MASTERS[2]})
"""Names that are as good as no limit, for who may bind the role or be in the group."""


@check(
    id="k8s-escalation-access",
    title="Few may bind, escalate or impersonate",
    severity="high",
    applies_to="kubernetes/subject",
    needs=NEEDS,
    settings=SETTINGS,
    excuse=accepted_subject,
)
def escalation_access(subject: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every subject of a binding for the verbs that lift the limits of RBAC itself.

    Why: The API server lets nobody give away rights that he does not hold, with two exceptions:
    `bind` and `escalate`. And `impersonate` lets its holder act as somebody who holds them. Each of
    the three makes what a role grants a matter of what its holder wants.

    Rule: Fails for each binding that gives `bind` or `escalate` on roles or clusterroles, or
    `impersonate` on users, groups, serviceaccounts, uids or userextras. The severity is high in the
    whole cluster and in a namespace of `[rules] system_namespaces`, medium in another namespace,
    and low there if all it gives is to impersonate accounts that may do no more than the subject
    (the shipped roles `admin` and `edit` give this). `resourceNames` take one step off, unless
    `cluster-admin` or `system:masters` is among the names. Only uids or userextras, which do
    nothing without a user to impersonate, are medium. Users, groups, uids and extras belong to no
    namespace: a RoleBinding cannot give them. Does not apply to what Kubernetes itself gives its
    own components. Passes when no binding gives it, which manifests alone cannot show. Unknown when
    a role or bindings could not be read. The verbs of constrained impersonation (`impersonate:…`,
    alpha in 1.35) do not count.

    Fix: Name what may be bound, and where:

        rules:
          - apiGroups: [rbac.authorization.k8s.io]
            resources: [clusterroles]
            resourceNames: [view, edit]
            verbs: [bind]

    Source: CIS Kubernetes 5.1.8; Kubernetes documentation, "Using RBAC Authorization", "User
    impersonation".
    """

    def weigh(holding: Holding) -> Verdict:
        expected = "none of these verbs, or bind on named roles"
        things = {right.resource for right in holding.rights}
        if things == {"serviceaccounts"}:
            severity, note = weigh_accounts(holding, view)
            return fails(holding, expected, severity, note)
        severity = by_reach(holding, view)
        if things <= {"uids", "userextras"}:
            severity = Severity.MEDIUM
        elif not _STRONGEST.isdisjoint(holding.names):
            severity = by_reach(replace(holding, names=frozenset()), view)
        return fails(holding, expected, severity)

    return judge(subject, view, ESCALATION, weigh)


NODE_PROXY = Access(
    rights(("get", "create"), "", ("nodes/proxy",), cluster=True),
    shipped=(
        "cluster-admin",
        "system:controller:generic-garbage-collector",
        "system:controller:namespace-controller",
        "system:controller:storage-version-migrator-controller",
        "system:kubelet-api-admin",
    ),
)


@check(
    id="k8s-node-proxy-access",
    title="Few may reach the kubelets through nodes/proxy",
    severity="high",
    applies_to="kubernetes/subject",
    needs=NEEDS,
    settings=SETTINGS,
    excuse=accepted_subject,
)
def node_proxy_access(subject: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every subject of a binding for the right to use nodes/proxy.

    Why: This right opens the kubelet's own API, where no admission and no audit log stand: code
    in every container of the node. It looks like monitoring and is the node.

    Rule: Fails for each binding that gives `get` or `create` on `nodes/proxy`, `*/proxy` or `*` in
    the whole cluster; medium where `resourceNames` narrow it to named nodes. `get` is enough to run
    commands: the kubelet takes them over a WebSocket, which is a GET request. A RoleBinding cannot
    give it: nodes belong to no namespace. Does not apply to what Kubernetes itself gives its own
    components. Passes when no binding gives it, which manifests alone cannot show. Unknown when a
    role or bindings could not be read.

    Fix: Give monitoring what it reads, nodes/metrics or nodes/stats, instead:

        rules:
          - apiGroups: [""]
            resources: [nodes/metrics]
            verbs: [get]

    Source: CIS Kubernetes 5.1.10; Kubernetes documentation, "RBAC good practices" and "Kubelet
    authentication/authorization".
    """

    def weigh(holding: Holding) -> Verdict:
        return fails(holding, "nodes/metrics or nodes/stats", by_reach(holding, view))

    return judge(subject, view, NODE_PROXY, weigh)


CSR_APPROVAL = Access(
    (
        *rights(("update", "patch"), _CERTIFICATES, (f"{_REQUESTS}/approval",), cluster=True),
        Right("approve", _CERTIFICATES, "signers", cluster=True),
    ),
    shipped=(
        "cluster-admin",
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        "system:certificates.k8s.io:kubelet-serving-approver",
        "system:certificates.k8s.io:legacy-unknown-approver",
        "system:controller:certificate-controller",
        "system:controller:generic-garbage-collector",
        "system:controller:storage-version-migrator-controller",
    ),
)


@check(
    id="k8s-csr-approval-access",
    title="Few may approve certificate signing requests",
    severity="high",
    applies_to="kubernetes/subject",
    needs=NEEDS,
    settings=SETTINGS,
    excuse=accepted_subject,
)
def csr_approval_access(subject: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every subject of a binding for the right to approve certificate requests.

    Why: A client certificate is an identity that nobody can take back: the API server knows no
    revocation. Whoever approves requests makes identities, a node's or an administrator's.

    Rule: Fails for each binding that gives `update` or `patch` on
    `certificatesigningrequests/approval`, or `approve` on `signers`, in the whole cluster. An
    approval takes both: with only one of them the severity is medium. It is low where `approve` is
    for named signers of others than Kubernetes, whose certificates the API server does not trust by
    itself. A RoleBinding cannot give it: requests and signers belong to no namespace. Does not
    apply to what Kubernetes itself gives its own components. Passes when no binding gives it, which
    manifests alone cannot show. Unknown when a role or bindings could not be read.

    Fix: Give the approver one signer, and nobody else any:

        rules:
          - apiGroups: [certificates.k8s.io]
            resources: [certificatesigningrequests/approval]
            verbs: [update]
          - apiGroups: [certificates.k8s.io]
            resources: [signers]
            resourceNames: [kubernetes.io/kubelet-serving]
            verbs: [approve]

    Source: CIS Kubernetes 5.1.11; Kubernetes documentation, "Certificates and Certificate Signing
    Requests".
    """

    def weigh(holding: Holding) -> Verdict:
        expected = "no right to approve, or for one signer"
        index = rbac_index(view)
        signers = [
            grant
            for grant in index.matching(holding.key, "approve", _CERTIFICATES, "signers", name=None)
            if grant.namespace is None
        ]
        approves = any(
            index.can(holding.key, verb, _CERTIFICATES, _REQUESTS, "approval")
            for verb in ("update", "patch")
        )
        severity, note = by_reach(holding, view), ""
        if not holding.grants:
            pass
        elif signers and all(_foreign(grant.names) for grant in signers):
            severity, note = Severity.LOW, "its signers are not those of Kubernetes"
        elif not approves:
            severity, note = Severity.MEDIUM, "it may not update the approval"
        elif not signers:
            severity, note = Severity.MEDIUM, "no signer lets it approve"
        return fails(holding, expected, severity, note)

    return judge(subject, view, CSR_APPROVAL, weigh)


def _foreign(signers: frozenset[str]) -> bool:
    return bool(signers) and not any(name.startswith("kubernetes.io/") for name in signers)


ADMISSION = Access(
    rights(
        ("create", "update", "patch", "delete", "deletecollection"),
        _ADMISSION,
        (
            "validatingwebhookconfigurations",
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
        ),
        cluster=True,
    ),
    shipped=(
        "cluster-admin",
        "system:controller:generic-garbage-collector",
        "system:controller:namespace-controller",
        "system:controller:storage-version-migrator-controller",
    ),
)


@check(
    id="k8s-admission-configuration-access",
    title="Few may change what admission enforces",
    severity="high",
    applies_to="kubernetes/subject",
    needs=NEEDS,
    settings=SETTINGS,
    excuse=accepted_subject,
)
def admission_configuration_access(subject: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every subject of a binding for the right to change webhooks and policies.

    Why: A validating webhook is what refuses a privileged pod; without it, nothing does. A mutating
    one sees every object that passes, secrets among them, and may change it. Whoever changes
    their configuration switches the cluster's rules off, or reads and rewrites what others
    create.

    Rule: Fails for each binding that gives create, update, patch, delete or deletecollection on
    validatingwebhookconfigurations, mutatingwebhookconfigurations, validatingadmissionpolicies,
    mutatingadmissionpolicies or the bindings of those policies, in the whole cluster. Medium where
    `resourceNames` narrow it: an operator that keeps its own webhook's certificate up to date needs
    that, and yet may widen that webhook's rules to everything. A RoleBinding cannot give it: these
    objects belong to no namespace. Does not apply to what Kubernetes itself gives its own
    components. Passes when no binding gives it, which manifests alone cannot show. Unknown when a
    role or bindings could not be read.

    Fix: Name the configuration that an operator owns, and accept the operator with a reason:

        rules:
          - apiGroups: [admissionregistration.k8s.io]
            resources: [validatingwebhookconfigurations]
            resourceNames: [ledger-operator]
            verbs: [get, patch]

    Source: CIS Kubernetes 5.1.12; Kubernetes documentation, "RBAC good practices".
    """

    def weigh(holding: Holding) -> Verdict:
        expected = "get, list and watch, or patch on its own named configuration"
        return fails(holding, expected, by_reach(holding, view))

    return judge(subject, view, ADMISSION, weigh)
