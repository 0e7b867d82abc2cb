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
    objects of one page for kinds whose objects can be a megabyte each.
    """

    plural: str
    name: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    accept: str = "application/json"
    page: int = 5000
    custom: bool = False

    @property
    def scope(self) -> str:
        """The name of the scope that its objects fill."""
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
        return rbac_rule(self.group, self.plural, '"get", "list"')


def rbac_rule(group: str, resource: str, verbs: str) -> str:
    """What mends a 403: a rule as it would stand in a ClusterRole."""
    rule = f'{{apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{verbs}]}}'
    return f"add to the auditor's ClusterRole: - {rule}"


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
    Kind("namespaces", "Namespace"),
    Kind("nodes", "Node"),
    Kind("serviceaccounts", "ServiceAccount"),
    Kind("roles", "Role", _RBAC),
    Kind("clusterroles", "ClusterRole", _RBAC),
    Kind("rolebindings", "RoleBinding", _RBAC),
    Kind("clusterrolebindings", "ClusterRoleBinding", _RBAC),
    Kind("networkpolicies", "NetworkPolicy", "networking.k8s.io"),
    Kind("ingresses", "Ingress", "networking.k8s.io", ("v1", "v1beta1")),
    Kind("services", "Service"),
    Kind("resourcequotas", "ResourceQuota"),
    Kind("limitranges", "LimitRange"),
    Kind("poddisruptionbudgets", "PodDisruptionBudget", "policy", ("v1", "v1beta1")),
    Kind("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", _ADMISSION),
    Kind("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", _ADMISSION),
    Kind(
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        _ADMISSION,
        ("v1", "v1beta1", "v1alpha1"),
    ),
    Kind(
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        _ADMISSION,
        ("v1", "v1beta1", "v1alpha1"),
    ),
    Kind(
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "apiextensions.k8s.io",
        accept=METADATA_ONLY,
    ),
    Kind("certificatesigningrequests", "CertificateSigningRequest", "certificates.k8s.io"),
    Kind("storageclasses", "StorageClass", "storage.k8s.io"),
    Kind("persistentvolumes", "PersistentVolume"),
    Kind("csidrivers", "CSIDriver", "storage.k8s.io"),
)


def _custom(group: str, versions: str, *kinds: str) -> tuple[Kind, ...]:
    """Kinds of one custom API group; each of `kinds` is `plural/Kind`."""
    return tuple(
        Kind(plural, name, group, tuple(versions.split()), page=500, custom=True)
        for plural, _, name in (text.partition("/") for text in kinds)
    )


CUSTOM_KINDS: Sequence[Kind] = (
    # Admission policies
    *_custom("kyverno.io", "v1 v2beta1", "clusterpolicies/ClusterPolicy", "policies/Policy"),
    *_custom("kyverno.io", "v2 v2beta1 v2alpha1", "policyexceptions/PolicyException"),
    *_custom(
        "policies.kyverno.io",
        "v1 v1beta1 v1alpha1",
        "validatingpolicies/ValidatingPolicy",
        "namespacedvalidatingpolicies/NamespacedValidatingPolicy",
        "imagevalidatingpolicies/ImageValidatingPolicy",
        "policyexceptions/PolicyException",
    ),
    *_custom(
        "templates.gatekeeper.sh", "v1 v1beta1 v1alpha1", "constrainttemplates/ConstraintTemplate"
    ),
    *_custom("config.gatekeeper.sh", "v1alpha1", "configs/Config"),
    *_custom("policy.sigstore.dev", "v1beta1 v1alpha1", "clusterimagepolicies/ClusterImagePolicy"),
    *_custom("config.ratify.deislabs.io", "v1beta1", "verifiers/Verifier", "policies/Policy"),
    # Network policies of network plugins
    *_custom(
        "cilium.io",
        "v2",
        "ciliumnetworkpolicies/CiliumNetworkPolicy",
        "ciliumclusterwidenetworkpolicies/CiliumClusterwideNetworkPolicy",
    ),
    *_custom(
        "crd.projectcalico.org",
        "v1",
        "networkpolicies/NetworkPolicy",
        "globalnetworkpolicies/GlobalNetworkPolicy",
    ),
    *_custom(
        "policy.networking.k8s.io",
        "v1alpha1",
        "adminnetworkpolicies/AdminNetworkPolicy",
        "baselineadminnetworkpolicies/BaselineAdminNetworkPolicy",
    ),
    # Stores of secrets outside the cluster
    *_custom(
        "external-secrets.io",
        "v1 v1beta1",
        "externalsecrets/ExternalSecret",
        "clusterexternalsecrets/ClusterExternalSecret",
        "secretstores/SecretStore",
        "clustersecretstores/ClusterSecretStore",
    ),
    *_custom(
        "secrets-store.csi.x-k8s.io", "v1 v1alpha1", "secretproviderclasses/SecretProviderClass"
    ),
    *_custom(
        "secrets.hashicorp.com",
        "v1beta1",
        "vaultstaticsecrets/VaultStaticSecret",
        "vaultdynamicsecrets/VaultDynamicSecret",
    ),
    *_custom("bitnami.com", "v1alpha1", "sealedsecrets/SealedSecret"),
)
"""Kinds that custom resource definitions bring, listed only where a server serves their group."""

CONSTRAINTS = "constraints.gatekeeper.sh"
"""The group in which Gatekeeper makes a kind for each template; its kinds are asked for."""
