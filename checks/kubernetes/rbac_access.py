"""Who may read secrets, start pods, make volumes of nodes' disks, or take accounts' tokens."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Severity, Status, Verdict, View, passed, unknown
from auditor.registry import check
from checks.kubernetes._accepted import accepted_subject
from checks.kubernetes._rbac_access import (
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
from checks.kubernetes._rbac_accounts import stronger_account
from checks.kubernetes._rbac_index import rbac_index
from checks.kubernetes._rbac_shipped import EVERYONE
from checks.kubernetes._scopes import is_system

SECRETS = Access(
    rights(("get", "list", "watch", "patch", "deletecollection"), "", ("secrets",)),
    shipped=(
        "admin",
        "cluster-admin",
        "edit",
        "system:controller:bootstrap-signer",
        "system:controller:expand-controller",
        "system:controller:generic-garbage-collector",
        "system:controller:legacy-service-account-token-cleaner",
        "system:controller:namespace-controller",
        "system:controller:persistent-volume-binder",
        "system:controller:resourcequota-controller",
        "system:controller:storage-version-migrator-controller",
        "system:controller:token-cleaner",
        "system:kube-controller-manager",
        "system:node",
    ),
)


@check(
    id="k8s-secret-access",
    title="Few may read secrets beyond their own namespaces",
    severity="high",
    applies_to="kubernetes/subject",
    needs=NEEDS,
    settings=SETTINGS,
    excuse=accepted_subject,
)
def secret_access(subject: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every subject of a binding for the right to read secrets.

    Why: Secrets hold what opens everything else: database passwords, TLS keys, tokens of other
    accounts. Whoever lists them cluster-wide has every application's credentials at once.

    Rule: Fails for each binding by which a subject can read secrets in the whole cluster or in a
    namespace of `[rules] system_namespaces`. Reading is `get`, `list` and `watch`, which all return
    the values, and `patch` and `deletecollection`, which the API server answers with the values
    too, even as a dry run that changes nothing. It fails at medium severity where `resourceNames`
    narrow such a grant to named secrets: what those hold is not read, so the name alone excuses
    nothing. In any other namespace a grant of named secrets passes, and one of all of them is
    listed as a review of severity info, unless the subject fails anyway for the whole cluster:
    whether it should read all that the namespace keeps is for the namespace's owner to say. One to
    everybody (`system:authenticated`, `system:unauthenticated`, `system:serviceaccounts`,
    `system:anonymous`) fails wherever it is. What a subject holds through a group is the group's
    finding. Does not apply to what Kubernetes itself gives its own components, nor to a subject
    whose roles do not exist. Passes when no binding gives it, which manifests alone cannot show.
    Unknown when a role or bindings could not be read.

    Fix: Name the secrets, in the namespace where they are:

        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: ledger-credentials
          namespace: ledger
        rules:
          - apiGroups: [""]
            resources: [secrets]
            resourceNames: [ledger-database]
            verbs: [get]

    Source: CIS Kubernetes 5.1.2; Kubernetes documentation, "RBAC good practices".
    """

    def weigh(holding: Holding) -> Verdict:
        expected = "get on named secrets, in a namespace that is not the platform's"
        namespace = holding.namespace
        if namespace is None or is_system(namespace, view) or holding.key in EVERYONE:
            return fails(holding, expected, by_reach(holding, view))
        if holding.names or any(
            rbac_index(view).can(holding.key, verb, "", "secrets") for verb in SECRETS.verbs
        ):
            return passed(holding.path, holding.observed(), stands=True)
        return Verdict(
            Status.REVIEW, holding.path, holding.observed(), expected, severity=Severity.INFO
        )

    return judge(subject, view, SECRETS, weigh)


_PEOPLE = ("admin", "cluster-admin", "edit")
_CORE_MAKERS = ("pods", "replicationcontrollers")
_APPS = ("daemonsets", "deployments", "replicasets", "statefulsets")

PODS = Access(
    (
        *rights(("create",), "", ("pods",)),
        *rights(("create", "update", "patch"), "", ("replicationcontrollers",)),
        *rights(("create", "update", "patch"), "apps", _APPS),
        *rights(("create",), "batch", ("jobs",)),
        *rights(("create", "update", "patch"), "batch", ("cronjobs",)),
    ),
    shipped=(
        *_PEOPLE,
        "system:controller:cronjob-controller",
        "system:controller:daemon-set-controller",
        "system:controller:deployment-controller",
        "system:controller:generic-garbage-collector",
        "system:controller:job-controller",
        "system:controller:persistent-volume-binder",
        "system:controller:replicaset-controller",
        "system:controller:replication-controller",
        "system:controller:statefulset-controller",
        "system:controller:storage-version-migrator-controller",
        "system:node",
    ),
)


@check(
    id="k8s-pod-creation-access",
    title="Few may start pods with the rights of others",
    severity="high",
    applies_to="kubernetes/subject",
    needs=NEEDS,
    settings=SETTINGS,
    excuse=accepted_subject,
)
def pod_creation_access(subject: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every subject of a binding for the right to create pods, or what makes pods.

    Why: Whoever creates a pod chooses its service account, mounts any secret of the namespace
    and, where admission allows it, the node's disk: it is the usual way from one account's
    rights to those of all accounts beside it.

    Rule: Looks for `create` on pods, deployments, daemonsets, statefulsets, replicasets,
    replicationcontrollers, jobs and cronjobs, and for `update` and `patch` on those whose template
    may be changed afterwards (all but pods and jobs), which start a pod just as well. Fails for
    each binding that gives it in the whole cluster, in a namespace of `[rules]
    system_namespaces`, to everybody (`system:authenticated` and the like), or in a namespace with
    a service account that may do something that the subject may not: what both hold is compared
    rule by rule, groups included, and the evidence names the account and a right that it has
    more. An account that bindings name and that does not exist counts where the subject may create
    it. Passes for grants in other namespaces: no account there lends the subject a right that
    it has not, though a pod may still mount that namespace's secrets. Not counted are custom
    resources whose operators make pods. `create` with `resourceNames` counts only together with
    `patch` on a name, by which a server-side apply creates it. Does not apply to what Kubernetes
    itself gives its own components. Unknown when a role, bindings or an account's rights could not
    be read; a grant in manifests in one namespace is unknown where they hold no stronger account,
    for the cluster may have one.

    Fix: Let people and pipelines deploy to their own namespaces only, and keep strong accounts
    (operators, controllers) in namespaces where nobody else may create pods:

        kubectl create rolebinding deployers --clusterrole=edit --group=ledger-deployers -n ledger

    Source: CIS Kubernetes 5.1.4; Kubernetes documentation, "RBAC good practices".
    """

    def weigh(holding: Holding) -> Verdict:
        namespace = holding.namespace
        expected = "create pods only where no service account may do more than the subject"
        if namespace is None or is_system(namespace, view) or holding.key in EVERYONE:
            return fails(holding, expected, by_reach(holding, view))
        stronger = stronger_account(holding.key, namespace, view)
        if stronger is None:
            return passed(holding.path, holding.observed("no account there may do more"))
        if stronger.grant is None:
            return unknown(holding.path, holding.observed(stronger.note), expected)
        return fails(holding, expected, by_reach(holding, view), stronger.note)

    return judge(subject, view, PODS, weigh)


VOLUMES = Access(
    rights(("create",), "", ("persistentvolumes",), cluster=True),
    shipped=(
        "cluster-admin",
        "system:controller:persistent-volume-binder",
        "system:controller:storage-version-migrator-controller",
        "system:persistent-volume-provisioner",
    ),
)


@check(
    id="k8s-persistent-volume-creation",
    title="Only provisioners may create persistent volumes",
    severity="medium",
    applies_to="kubernetes/subject",
    needs=NEEDS,
    settings=SETTINGS,
    excuse=accepted_subject,
)
def persistent_volume_creation(subject: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every subject of a binding for the right to create persistent volumes.

    Why: A persistent volume may be of type hostPath. Pod security standards refuse that type in
    pods but do not look behind a claim, so such a volume opens the node's disk where a pod may
    not, kubelet's credentials and other pods' secrets included.

    Rule: Fails for each binding that gives `create` on persistentvolumes in the whole cluster;
    people need claims, which are another resource, and a provisioner makes the volumes. A
    RoleBinding cannot give it: volumes belong to no namespace. A provisioner of a storage driver
    needs it and fails as well, until `[rules] accepted_subjects` names it with a reason. Does not
    apply to what Kubernetes itself gives its own components. Passes when no binding gives it, which
    manifests alone cannot show. Unknown when a role or bindings could not be read.

    Fix: Take `persistentvolumes` out of roles for people, and accept the provisioners:

        [rules]
        accepted_subjects = [
          { subject = "ServiceAccount:storage:csi-provisioner",
            checks = ["k8s-persistent-volume-creation"], reason = "provisions our volumes" },
        ]

    Source: CIS Kubernetes 5.1.9; Kubernetes documentation, "RBAC good practices".
    """

    def weigh(holding: Holding) -> Verdict:
        expected = "persistentvolumeclaims, and volumes made by a provisioner"
        return fails(holding, expected, by_reach(holding, view))

    return judge(subject, view, VOLUMES, weigh)


TOKENS = Access(
    (Right("create", "", "serviceaccounts", "token"),),
    shipped=(
        *_PEOPLE,
        "system:controller:storage-version-migrator-controller",
        "system:kube-controller-manager",
        "system:node",
    ),
)


@check(
    id="k8s-token-creation-access",
    title="Few may issue tokens of service accounts",
    severity="high",
    applies_to="kubernetes/subject",
    needs=NEEDS,
    settings=SETTINGS,
    excuse=accepted_subject,
)
def token_creation_access(subject: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every subject of a binding for the right to create tokens of service accounts.

    Why: A token of an account is that account, for as long as it lives: whoever issues tokens
    may do what any of those accounts may, and its own name stands in no audit log after that.

    Rule: Fails for each binding that gives `create` on `serviceaccounts/token`, `*/token` or `*`:
    high in the whole cluster or in a namespace of `[rules] system_namespaces`, medium in another
    namespace, and low where no account there may do more than the subject. `resourceNames` do
    narrow this right, for the account stands in the request: only the named accounts are then
    compared. One that bindings name and that does not exist counts where the subject may create it.
    The shipped roles `admin` and `edit` hold this right, so whoever has them in a namespace fails
    there, at the severity that the accounts in that namespace make of it. Does not apply to what
    Kubernetes itself gives its own components. Passes when no binding gives it, which manifests
    alone cannot show. Unknown when a role or bindings could not be read.

    Fix: Name the accounts, or let the kubelet deliver the token as a projected volume instead:

        rules:
          - apiGroups: [""]
            resources: [serviceaccounts/token]
            resourceNames: [ledger-backup]
            verbs: [create]

    Source: CIS Kubernetes 5.1.13; Kubernetes documentation, "RBAC good practices".
    """

    def weigh(holding: Holding) -> Verdict:
        expected = "no right to issue tokens, or for named accounts that may do no more"
        severity, note = weigh_accounts(holding, view)
        return fails(holding, expected, severity, note)

    return judge(subject, view, TOKENS, weigh)


def weigh_accounts(holding: Holding, view: View) -> tuple[Severity | None, str]:
    """How bad it is to become service accounts, by what they may do more, and that in words."""
    namespace = holding.namespace
    severity = by_reach(holding, view)
    if namespace is None or is_system(namespace, view) or holding.key in EVERYONE:
        return severity, ""
    impersonates = any(right.verb == "impersonate" for right in holding.rights)
    stronger = stronger_account(holding.key, namespace, view, holding.names, absent=impersonates)
    if stronger is None:
        return Severity.LOW, "no account there is known to may do more"
    return Severity.MEDIUM, stronger.note
