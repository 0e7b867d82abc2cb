"""Pods grouped under the object that a person would change: their root owner.

A cluster has few distinct pod specs, so this is where 5,000 pods become a few hundred subjects.
Every live pod is judged as it lives (an injected sidecar, a debug container); a workload without
a live pod (scaled to zero, suspended) is judged by its template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from auditor.model import Json, Resource

TEMPLATE_PATHS: Mapping[str, str] = {
    "Deployment": "spec.template.spec",
    "ReplicaSet": "spec.template.spec",
    "StatefulSet": "spec.template.spec",
    "DaemonSet": "spec.template.spec",
    "Job": "spec.template.spec",
    "ReplicationController": "spec.template.spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
    "PodTemplate": "template.spec",
}
"""Where the pod spec stands inside each kind that makes pods."""

_MAX_OWNERS = 8


def group_workloads(resources: Iterable[Resource]) -> list[Resource]:
    """Return the workloads of one target, one for each distinct pod spec of each root owner.

    Each has its owner's kind and name, `spec_path` inside that owner, `count` live pods (0 for a
    template that nothing runs), and a body with `spec`, `metadata` (of the pod or template),
    `pods` (up to three names) and `owner` (the owner's own metadata, where it was read).
    An owner that could not be read is named as the pod names it.
    """
    items = list(resources)
    owners = {(item.kind, item.namespace, item.name): item for item in items if item.kind != "Pod"}
    grouped: dict[tuple[str, str | None, str, int], list[Resource]] = {}
    roots: dict[tuple[str, str | None, str], Resource | None] = {}
    for pod in items:
        if pod.kind != "Pod":
            continue
        kind, name, owner = _root(pod, owners)
        roots[(kind, pod.namespace, name)] = owner
        # The collector shares one object among equal specs, so identity is equality here.
        grouped.setdefault((kind, pod.namespace, name, id(pod.spec)), []).append(pod)

    result = [_live(key, pods, roots[key[:3]]) for key, pods in grouped.items()]
    result.extend(
        _template(item)
        for item in items
        if item.kind in TEMPLATE_PATHS
        and (item.kind, item.namespace, item.name) not in roots
        and not _controlled(item, owners)
        and isinstance(_dig(item.body, TEMPLATE_PATHS[item.kind]), Mapping)
    )
    result.sort(key=lambda item: (item.namespace or "", item.kind, item.name, -item.count))
    return result


def _dig(body: Mapping[str, Json], path: str) -> Json:
    value: Json = body
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _controller(resource: Resource) -> tuple[str, str] | None:
    """The (kind, name) of the owner that controls a resource, if it has one."""
    owners = resource.metadata.get("ownerReferences") or ()
    for owner in owners:
        if isinstance(owner, Mapping) and owner.get("controller"):
            return str(owner.get("kind")), str(owner.get("name"))
    return None


def _root(
    pod: Resource, owners: Mapping[tuple[str, str | None, str], Resource]
) -> tuple[str, str, Resource | None]:
    kind, name = pod.kind, pod.name
    current: Resource | None = pod
    for _ in range(_MAX_OWNERS):
        controller = _controller(current) if current else None
        # A node (static pods) or an operator's own kind has no pod template to point into:
        # the last object that has one is what a person can read and change.
        if controller is None or controller[0] not in TEMPLATE_PATHS:
            break
        kind, name = controller
        current = owners.get((kind, pod.namespace, name))
    return kind, name, current if kind != "Pod" else None


def _controlled(item: Resource, owners: Mapping[tuple[str, str | None, str], Resource]) -> bool:
    """Whether another resource that was read makes this one: its template is judged instead."""
    controller = _controller(item)
    return controller is not None and (controller[0], item.namespace, controller[1]) in owners


def _live(
    key: tuple[str, str | None, str, int],
    pods: Sequence[Resource],
    owner: Resource | None,
) -> Resource:
    kind, namespace, name, _ = key
    first = pods[0]
    body = {
        "spec": first.spec,
        "metadata": first.metadata,
        "pods": [pod.name for pod in pods[:3]],
        "owner": owner.metadata if owner else {},
    }
    return Resource(
        source=first.source,
        target=first.target,
        kind=kind,
        namespace=namespace,
        name=name,
        body=body,
        spec_path="spec" if kind == "Pod" else TEMPLATE_PATHS.get(kind, "spec.template.spec"),
        count=len(pods),
        origin=first.origin,
        line=first.line,
    )


def _template(item: Resource) -> Resource:
    path = TEMPLATE_PATHS[item.kind]
    metadata = _dig(item.body, path.removesuffix("spec") + "metadata")
    body = {
        "spec": _dig(item.body, path),
        "metadata": metadata if isinstance(metadata, Mapping) else {},
        "pods": [],
        "owner": item.metadata,
    }
    return Resource(
        source=item.source,
        target=item.target,
        kind=item.kind,
        namespace=item.namespace,
        name=item.name,
        body=body,
        spec_path=path,
        count=0,
        origin=item.origin,
        line=item.line,
    )
