"""What the checks of pod specs share: reading fields with the API's rules, never guessing.

A container's setting wins over its pod's, an absent field has the API's default, and evidence
says "not set" where nothing was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from auditor.model import Container, ContainerKind, Json, Resource

NOT_SET = "not set"
WINDOWS = "a Windows pod: the field is for Linux"

LONG_RUNNING = frozenset({ContainerKind.CONTAINER, ContainerKind.SIDECAR})
"""Containers that stay: the others run to their end, or are put in for a debugging session."""


def mapping(value: Json) -> Mapping[str, Json]:
    """The value when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: Json) -> list[Mapping[str, Json]]:
    """The objects of a list; empty when it is none."""
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict)]


def security(container: Container) -> Mapping[str, Json]:
    """A container's own securityContext."""
    return mapping(container.body.get("securityContext"))


def effective(workload: Resource, container: Container, field: str) -> Json:
    """A field of the securityContext that containers and pods both have; None when not set."""
    own = security(container).get(field)
    if own is not None:
        return own
    return mapping(workload.spec.get("securityContext")).get(field)


def is_windows(workload: Resource) -> bool:
    """Whether the pod says that it runs on Windows (`spec.os.name`, Kubernetes 1.25 on).

    A pod that only selects Windows nodes is taken as one too: the API lets older ones say it so.
    """
    spec = workload.spec
    selector = mapping(spec.get("nodeSelector"))
    named = mapping(spec.get("os")).get("name") or selector.get("kubernetes.io/os")
    return named == "windows"


def shown(value: Json) -> str:
    """A field's value as evidence: `not set`, `true`, `0`, `RuntimeDefault`."""
    if value is None:
        return NOT_SET
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def some(names: Iterable[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {rest} more" if rest > 0 else "")
