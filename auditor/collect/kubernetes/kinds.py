"""The kinds an audit lists: Kubernetes' own, and those that decide about pods and secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""The form of a list that holds names and labels alone (Kubernetes API concepts)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind to list: its plural, group and known versions.

    `scope` names it in gaps and coverage: the plural of a kind of Kubernetes' own, and
    `plural.group` of one that a custom resource definition brings (`custom`).

    `versions` are tried in order where a server does not serve the first. `page` bounds the
    objects of one page for kinds whose objects can be a megabyte each. `cluster_wide` says that
    its objects stand in no namespace. `unless` is a group that holds the same objects under
    another name: where that one is served, this kind is not listed a second time.
    """

    plural: str
    name: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    accept: str = "application/json"
    page: int = 5000
    cluster_wide: bool = False
    custom: bool = False
    unless: str = ""

    @property
    def scope(self) -> str:
        """The name of the scope that its objects fill; all Gatekeeper constraints fill one."""
        if self.group == CONSTRAINTS:
            return CONSTRAINTS
        return f"{self.plural}.{self.group}" if self.custom else self.plural

    def path(self, version: str) -> str:
        """The collection over all namespaces."""
        base = f"/apis/{self.group}" if self.group else "/api"
        return f"{base}/{version}/{self.plural}"

    def api_version(self, version: str) -> str:
        """The `apiVersion` of its objects, which items of a list leave out."""
        return f"{self.group}/{version}" if self.group else version

    @property
    def rule(self) -> str:
        """The RBAC rule that lets an auditor list it, as one line of YAML."""
        if self.group == CONSTRAINTS:
            return "grant it with deploy/gatekeeper-rbac.yaml"
        return rbac_rule(self.group, self.plural, '"get", "list"')


def rbac_rule(group: str, resource: str, verbs: str) -> str:
    """What mends a 403: a rule as it would stand in a ClusterRole."""
    rule = f'{{apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{verbs}]}}'
    return f"add to the auditor's ClusterRole: - {rule}"


CONSTRAINTS = "constraints.gatekeeper.sh"
"""The group in which Gatekeeper makes a kind for each template; its kinds are asked for."""

_ADMISSION = "admissionregistration.k8s.io"
_RBAC = "rbac.authorization.k8s.io"

# Pods first: they take longest, and everything else is listed beside them.
KINDS: Sequence[Kind] = (
    Kind("pods", "Pod"),
    Kind("replicasets", "ReplicaSet", "apps"),
    Kind("deployments", "Deployment", "apps"),
    Kind("configmaps", "ConfigMap", page=100),
    Kind("statefulsets", "StatefulSet", "apps"),
    Kind("daemonsets", "DaemonSet", "apps"),
    Kind("jobs", "Job", "batch"),
    Kind("cronjobs", "CronJob", "batch", ("v1", "v1beta1")),
    Kind("replicationcontrollers", "ReplicationController"),
    Kind("namespaces", "Namespace", cluster_wide=True),
    Kind("nodes", "Node", cluster_wide=True),
    Kind("serviceaccounts", "ServiceAccount"),
    Kind("roles", "Role", _RBAC),
    Kind("clusterroles", "ClusterRole", _RBAC, cluster_wide=True),
    Kind("rolebindings", "RoleBinding", _RBAC),
    Kind("clusterrolebindings", "ClusterRoleBinding", _RBAC, cluster_wide=True),
    Kind("networkpolicies", "NetworkPolicy", "networking.k8s.io"),
    Kind("ingresses", "Ingress", "networking.k8s.io", ("v1", "v1beta1")),
    Kind("services", "Service"),
    Kind("resourcequotas", "ResourceQuota"),
    Kind("limitranges", "LimitRange"),
    Kind("poddisruptionbudgets", "PodDisruptionBudget", "policy", ("v1", "v1beta1")),
    Kind(
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        _ADMISSION,
        cluster_wide=True,
    ),
    Kind(
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        _ADMISSION,
        cluster_wide=True,
    ),
    Kind(
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        _ADMISSION,
        ("v1", "v1beta1", "v1alpha1"),
        cluster_wide=True,
    ),
    Kind(
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        _ADMISSION,
        ("v1", "v1beta1", "v1alpha1"),
        cluster_wide=True,
    ),
    Kind(
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "apiextensions.k8s.io",
        accept=METADATA_ONLY,
        cluster_wide=True,
    ),
    Kind(
        "certificatesigningrequests",
        "CertificateSigningRequest",
        "certificates.k8s.io",
        cluster_wide=True,
    ),
    Kind("storageclasses", "StorageClass", "storage.k8s.io", cluster_wide=True),
    Kind("persistentvolumes", "PersistentVolume", cluster_wide=True),
    Kind("csidrivers", "CSIDriver", "storage.k8s.io", cluster_wide=True),
)


def _custom(
    group: str, versions: str, *, cluster: str = "", spaced: str = "", unless: str = ""
) -> tuple[Kind, ...]:
    """Kinds of one custom API group; `cluster` and `spaced` hold `plural/Kind` of those that
    stand in no namespace and of those that stand in one. `versions` are all that the group has
    had: a server that serves the group in none of them is newer than this table.
    """
    listed = [(text, True) for text in cluster.split()] + [(text, False) for text in spaced.split()]
    return tuple(
        Kind(
            text.partition("/")[0],
            text.partition("/")[2],
            group,
            tuple(versions.split()),
            page=500,
            cluster_wide=cluster_wide,
            custom=True,
            unless=unless,
        )
        for text, cluster_wide in listed
    )


# Groups, plurals and versions as the projects' published custom resource definitions have them.
CUSTOM_KINDS: Sequence[Kind] = (
    # Admission policies
    *_custom(
        "kyverno.io",
        "v1 v2 v2beta1 v2alpha1 v1beta1",
        cluster="clusterpolicies/ClusterPolicy",
        spaced="policies/Policy policyexceptions/PolicyException",
    ),
    *_custom(
        "policies.kyverno.io",
        "v1 v1beta1 v1alpha1",
        cluster="validatingpolicies/ValidatingPolicy imagevalidatingpolicies/ImageValidatingPolicy",
        spaced="namespacedvalidatingpolicies/NamespacedValidatingPolicy "
        "namespacedimagevalidatingpolicies/NamespacedImageValidatingPolicy "
        "policyexceptions/PolicyException",
    ),
    *_custom(
        "templates.gatekeeper.sh",
        "v1 v1beta1 v1alpha1",
        cluster="constrainttemplates/ConstraintTemplate",
    ),
    *_custom("config.gatekeeper.sh", "v1alpha1", spaced="configs/Config"),
    *_custom(
        "policy.sigstore.dev", "v1beta1 v1alpha1", cluster="clusterimagepolicies/ClusterImagePolicy"
    ),
    # Cluster-wide since Ratify 1.2, which brought the namespaced ones.
    *_custom(
        "config.ratify.deislabs.io",
        "v1beta1 v1alpha1",
        cluster="verifiers/Verifier policies/Policy",
        spaced="namespacedverifiers/NamespacedVerifier namespacedpolicies/NamespacedPolicy",
    ),
    # Network policies of network plugins
    *_custom(
        "cilium.io",
        "v2",
        cluster="ciliumclusterwidenetworkpolicies/CiliumClusterwideNetworkPolicy",
        spaced="ciliumnetworkpolicies/CiliumNetworkPolicy",
    ),
    *_custom(
        "crd.projectcalico.org",
        "v1",
        cluster="globalnetworkpolicies/GlobalNetworkPolicy",
        spaced="networkpolicies/NetworkPolicy",
    ),
    # Calico's newer form; beside the older one it only shows the same objects again, and lists
    # them tier by tier.
    *_custom(
        "projectcalico.org",
        "v3",
        cluster="globalnetworkpolicies/GlobalNetworkPolicy",
        spaced="networkpolicies/NetworkPolicy",
        unless="crd.projectcalico.org",
    ),
    *_custom(
        "policy.networking.k8s.io",
        "v1alpha1 v1alpha2",
        cluster="adminnetworkpolicies/AdminNetworkPolicy "
        "baselineadminnetworkpolicies/BaselineAdminNetworkPolicy "
        "clusternetworkpolicies/ClusterNetworkPolicy",
    ),
    # Stores of secrets outside the cluster
    *_custom(
        "external-secrets.io",
        "v1 v1beta1 v1alpha1",
        cluster="clusterexternalsecrets/ClusterExternalSecret "
        "clustersecretstores/ClusterSecretStore",
        spaced="externalsecrets/ExternalSecret secretstores/SecretStore",
    ),
    *_custom(
        "secrets-store.csi.x-k8s.io",
        "v1 v1alpha1",
        spaced="secretproviderclasses/SecretProviderClass",
    ),
    *_custom(
        "secrets.hashicorp.com",
        "v1beta1",
        spaced="vaultstaticsecrets/VaultStaticSecret vaultdynamicsecrets/VaultDynamicSecret",
    ),
    *_custom("bitnami.com", "v1alpha1", spaced="sealedsecrets/SealedSecret"),
)
"""Kinds that custom resource definitions bring, listed only where a server serves them."""

CUSTOM_GROUPS = frozenset({CONSTRAINTS, *(kind.group for kind in CUSTOM_KINDS)})
