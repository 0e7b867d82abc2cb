"""What RBAC objects Kubernetes itself makes: names and subjects, as an API server lists them.

Names of bindings, roles and subjects are facts of Kubernetes: those of 1.35 were listed from a
running kube-apiserver (a live test holds this list against one), with those that stand behind
its feature gates or that 1.23 and later had by other gates. A name alone proves nothing; see
`checks.kubernetes._rbac_subjects`.
"""

from __future__ import annotations

from collections.abc import Mapping

from auditor.model import SubjectKey

BindingKey = tuple[str | None, str]
"""Namespace (None for a ClusterRoleBinding) and name."""

MASTERS: SubjectKey = ("Group", None, "system:masters")
AUTHENTICATED: SubjectKey = ("Group", None, "system:authenticated")
UNAUTHENTICATED: SubjectKey = ("Group", None, "system:unauthenticated")
ACCOUNTS: SubjectKey = ("Group", None, "system:serviceaccounts")
ANONYMOUS: SubjectKey = ("User", None, "system:anonymous")

_MANAGER: SubjectKey = ("User", None, "system:kube-controller-manager")
_SCHEDULER: SubjectKey = ("User", None, "system:kube-scheduler")


def _account(name: str) -> SubjectKey:
    return "ServiceAccount", "kube-system", name


CONTROLLERS = frozenset(
    {
        "attachdetach-controller",
        "certificate-controller",
        "clusterrole-aggregation-controller",
        "cronjob-controller",
        "daemon-set-controller",
        "deployment-controller",
        "device-taint-eviction-controller",
        "disruption-controller",
        "endpoint-controller",
        "endpointslice-controller",
        "endpointslicemirroring-controller",
        "ephemeral-volume-controller",
        "expand-controller",
        "generic-garbage-collector",
        "horizontal-pod-autoscaler",
        "job-controller",
        "kube-apiserver-serving-clustertrustbundle-publisher",
        "legacy-service-account-token-cleaner",
        "namespace-controller",
        "node-controller",
        "persistent-volume-binder",
        "pod-garbage-collector",
        "podcertificaterequestcleaner",
        "pv-protection-controller",
        "pvc-protection-controller",
        "replicaset-controller",
        "replication-controller",
        "resource-claim-controller",
        "resourcequota-controller",
        "root-ca-cert-publisher",
        "route-controller",
        "selinux-warning-controller",
        "service-account-controller",
        "service-cidrs-controller",
        "service-controller",
        "statefulset-controller",
        "storage-version-garbage-collector",
        "storage-version-migrator-controller",
        "ttl-after-finished-controller",
        "ttl-controller",
        "validatingadmissionpolicy-status-controller",
        "volumeattributesclass-protection-controller",
    }
)
"""Controllers whose account, ClusterRole and ClusterRoleBinding Kubernetes ships."""

SHIPPED_BINDINGS: Mapping[BindingKey, tuple[str, frozenset[SubjectKey]]] = {
    **{
        (None, f"system:controller:{name}"): (
            f"system:controller:{name}",
            frozenset({_account(name)}),
        )
        for name in CONTROLLERS
    },
    (None, "cluster-admin"): ("cluster-admin", frozenset({MASTERS})),
    (None, "system:basic-user"): ("system:basic-user", frozenset({AUTHENTICATED})),
    (None, "system:discovery"): ("system:discovery", frozenset({AUTHENTICATED})),
    (None, "system:public-info-viewer"): (
        "system:public-info-viewer",
        frozenset({AUTHENTICATED, UNAUTHENTICATED}),
    ),
    (None, "system:service-account-issuer-discovery"): (
        "system:service-account-issuer-discovery",
        frozenset({ACCOUNTS}),
    ),
    (None, "system:cluster-trust-bundle-discovery"): (
        "system:cluster-trust-bundle-discovery",
        frozenset({ACCOUNTS}),
    ),
    (None, "system:kube-controller-manager"): (
        "system:kube-controller-manager",
        frozenset({_MANAGER}),
    ),
    (None, "system:kube-dns"): ("system:kube-dns", frozenset({_account("kube-dns")})),
    (None, "system:kube-scheduler"): ("system:kube-scheduler", frozenset({_SCHEDULER})),
    (None, "system:volume-scheduler"): ("system:volume-scheduler", frozenset({_SCHEDULER})),
    (None, "system:monitoring"): (
        "system:monitoring",
        frozenset({("Group", None, "system:monitoring")}),
    ),
    (None, "system:node"): ("system:node", frozenset()),
    (None, "system:node-proxier"): (
        "system:node-proxier",
        frozenset({("User", None, "system:kube-proxy")}),
    ),
    ("kube-public", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        frozenset({_account("bootstrap-signer")}),
    ),
    ("kube-system", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        frozenset({_account("bootstrap-signer")}),
    ),
    ("kube-system", "system:controller:cloud-provider"): (
        "system:controller:cloud-provider",
        frozenset({_account("cloud-provider")}),
    ),
    ("kube-system", "system:controller:token-cleaner"): (
        "system:controller:token-cleaner",
        frozenset({_account("token-cleaner")}),
    ),
    ("kube-system", "system::extension-apiserver-authentication-reader"): (
        "extension-apiserver-authentication-reader",
        frozenset({_MANAGER, _SCHEDULER}),
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        "system::leader-locking-kube-controller-manager",
        frozenset(
            {
                _MANAGER,
                _account("kube-controller-manager"),
                _account("leader-election-controller"),
            }
        ),
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        "system::leader-locking-kube-scheduler",
        frozenset({_SCHEDULER, _account("kube-scheduler")}),
    ),
}
"""For each binding that Kubernetes makes: the name of its role, and the subjects it ships with."""

EVERYONE = frozenset({AUTHENTICATED, UNAUTHENTICATED, ACCOUNTS, ANONYMOUS})
"""Subjects that stand for everybody: shipped bindings name them, yet they are no component."""

COMPONENTS = frozenset(
    {
        *(subject for _, subjects in SHIPPED_BINDINGS.values() for subject in subjects),
        ("Group", None, "system:nodes"),
        ("User", None, "system:apiserver"),
        ("User", None, "system:kube-proxy"),
    }
    - EVERYONE
)
"""Subjects that are parts of Kubernetes itself."""

DISCOVERY_URLS = frozenset(
    {
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/",
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/openid/v1/jwks",
        "/openid/v1/jwks/",
        "/readyz",
        "/version",
        "/version/",
    }
)
"""Paths that Kubernetes lets everybody read who is authenticated, and some of them anybody."""
