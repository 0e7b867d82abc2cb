"""Raw Kubernetes objects to resources: only what a rule can use, and never a secret value.

Values of ConfigMaps, literal environment variables and the `last-applied-configuration`
annotation are searched for secrets here and dropped; what is kept of them is where they stand,
which detector fired, and their length. Of a Secret only its type and the names of its keys are
kept. The raw objects live no longer than one page of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditor.collect.objects.custom import reduce_other
from auditor.collect.objects.metadata import prune_metadata
from auditor.collect.objects.podspec import SpecPool
from auditor.collect.objects.reduce import REDUCERS, reduce_pod
from auditor.model import Json, Resource

__all__ = ["SpecPool", "resource_from"]

_RBAC = frozenset({"rbac.authorization.k8s.io"})
_ADMISSION = frozenset({"admissionregistration.k8s.io"})
_CORE = frozenset({""})
_APPS = frozenset({"apps", "extensions"})

_GROUPS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(
        (
            "ConfigMap",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolume",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ),
        _CORE,
    ),
    **dict.fromkeys(("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"), _RBAC),
    **dict.fromkeys(
        (
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ),
        _ADMISSION,
    ),
    **dict.fromkeys(("DaemonSet", "Deployment", "ReplicaSet"), _APPS),
    "StatefulSet": frozenset({"apps"}),
    **dict.fromkeys(("CronJob", "Job"), frozenset({"batch"})),
    **dict.fromkeys(("CSIDriver", "StorageClass"), frozenset({"storage.k8s.io"})),
    "CertificateSigningRequest": frozenset({"certificates.k8s.io"}),
    "CustomResourceDefinition": frozenset({"apiextensions.k8s.io"}),
    "Ingress": frozenset({"networking.k8s.io", "extensions"}),
    "NetworkPolicy": frozenset({"networking.k8s.io", "extensions"}),
    "PodDisruptionBudget": frozenset({"policy"}),
    "SelfSubjectReview": frozenset({"authentication.k8s.io"}),
    # Kinds of custom resources that are judged. Of those that share a name the one that decides
    # most has it to itself.
    **dict.fromkeys(("ClusterPolicy", "Policy", "PolicyException"), frozenset({"kyverno.io"})),
    **dict.fromkeys(
        (
            "ImageValidatingPolicy",
            "NamespacedImageValidatingPolicy",
            "NamespacedValidatingPolicy",
            "ValidatingPolicy",
        ),
        frozenset({"policies.kyverno.io"}),
    ),
    "ConstraintTemplate": frozenset({"templates.gatekeeper.sh"}),
    "Config": frozenset({"config.gatekeeper.sh"}),
    "ClusterImagePolicy": frozenset({"policy.sigstore.dev"}),
    **dict.fromkeys(
        ("NamespacedPolicy", "NamespacedVerifier", "Verifier"),
        frozenset({"config.ratify.deislabs.io"}),
    ),
    **dict.fromkeys(
        ("CiliumClusterwideNetworkPolicy", "CiliumNetworkPolicy"), frozenset({"cilium.io"})
    ),
    "GlobalNetworkPolicy": frozenset({"crd.projectcalico.org", "projectcalico.org"}),
    **dict.fromkeys(
        ("AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"),
        frozenset({"policy.networking.k8s.io"}),
    ),
    **dict.fromkeys(
        ("ClusterExternalSecret", "ClusterSecretStore", "ExternalSecret", "SecretStore"),
        frozenset({"external-secrets.io"}),
    ),
    "SecretProviderClass": frozenset({"secrets-store.csi.x-k8s.io"}),
    **dict.fromkeys(
        ("VaultDynamicSecret", "VaultStaticSecret"), frozenset({"secrets.hashicorp.com"})
    ),
    "SealedSecret": frozenset({"bitnami.com"}),
}
"""Whose a kind's name is. A kind of any other group that shares it is called `Kind.<group>`, so
that no rule for the one judges the other: Calico has a `NetworkPolicy` of its own."""


def resource_from(
    body: Any,
    *,
    source: str,
    target: str,
    specs: SpecPool | None = None,
    origin: str | None = None,
    line: int | None = None,
) -> Resource:
    """Turn a decoded Kubernetes object into a `Resource` with a lean, harmless body.

    `specs` shares equal pod specs among the pods of one target. A kind that only shares its name
    with one that rules speak of (`Service` of Knative) is called `Service.<group>`.

    Raises `ValueError`, with the place in words, for a body that no API server would hold.
    """
    if not isinstance(body, Mapping):
        raise ValueError("the object is not a mapping")
    kind, version = body.get("kind"), body.get("apiVersion")
    if not isinstance(kind, str) or not kind or not isinstance(version, str):
        raise ValueError("kind or apiVersion is missing")
    group = version.rpartition("/")[0]
    if kind in _GROUPS and group not in _GROUPS[kind]:
        kind = f"{kind}.{group or 'core'}"
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        raise ValueError("metadata is missing")
    reduce = REDUCERS.get(kind, reduce_other)
    kept: dict[str, Json] = {
        "apiVersion": version,
        "kind": kind,
        "metadata": prune_metadata(metadata, reduce),
    }
    if kind == "Pod":
        kept.update(reduce_pod(body, specs))
    else:
        kept.update(reduce(body))
    namespace = metadata.get("namespace")
    return Resource(
        source=source,
        target=target,
        kind=kind,
        namespace=str(namespace) if namespace else None,
        name=_name(metadata),
        body=kept,
        origin=origin,
        line=line,
    )


def _name(metadata: Mapping[str, Json]) -> str:
    name = metadata.get("name")
    if isinstance(name, (str, int, float)) and str(name):
        return str(name)
    prefix = metadata.get("generateName")
    if isinstance(prefix, str) and prefix:
        return f"{prefix}*"
    raise ValueError("metadata.name is missing")
