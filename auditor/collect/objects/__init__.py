"""Raw Kubernetes objects to resources: only what a rule can use, and never a secret value.

Values of ConfigMaps, literal environment variables and the `last-applied-configuration`
annotation are searched for secrets here and dropped; what is kept of them is where they stand,
which detector fired, and their length. Of a Secret only its type and the names of its keys are
kept. The raw objects live no longer than one page of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auditor.collect.objects.metadata import prune_metadata
from auditor.collect.objects.podspec import SpecPool
from auditor.collect.objects.reduce import REDUCERS, reduce_other, reduce_pod
from auditor.model import Json, Resource

__all__ = ["SpecPool", "resource_from"]

_GROUPS: Mapping[str, frozenset[str]] = {
    "ConfigMap": frozenset({""}),
    "CronJob": frozenset({"batch"}),
    "DaemonSet": frozenset({"apps", "extensions"}),
    "Deployment": frozenset({"apps", "extensions"}),
    "Ingress": frozenset({"networking.k8s.io", "extensions"}),
    "Job": frozenset({"batch"}),
    "Namespace": frozenset({""}),
    "NetworkPolicy": frozenset({"networking.k8s.io", "extensions"}),
    "Node": frozenset({""}),
    "Pod": frozenset({""}),
    "PodTemplate": frozenset({""}),
    "ReplicaSet": frozenset({"apps", "extensions"}),
    "ReplicationController": frozenset({""}),
    "Secret": frozenset({""}),
    "Service": frozenset({""}),
    "ServiceAccount": frozenset({""}),
    "StatefulSet": frozenset({"apps"}),
} | dict.fromkeys(
    ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"),
    frozenset({"rbac.authorization.k8s.io"}),
)


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
    with one of Kubernetes' own (`Service` of Knative) is called `Service.<group>`.

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
