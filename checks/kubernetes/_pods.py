"""What the checks of pod specs share: reading fields with the API's rules, never guessing.

A container's setting wins over its pod's, an absent field has the API's default, and evidence
says "not set" where nothing was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from auditor.model import Container, ContainerKind, Json, Resource, passed

NOT_SET = "not set"
WINDOWS = "a Windows pod: the field is for Linux"

LONG_RUNNING = frozenset({ContainerKind.CONTAINER, ContainerKind.SIDECAR})
"""Containers that stay: the others run to their end, or are put in for a debugging session."""

PASSED = passed()
"""A pass of one place: no path or value is kept of a pass, so one verdict serves them all."""

ALL = "ALL"
"""The word that stands for every capability."""


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
    value = container.body.get("securityContext")
    return value if isinstance(value, dict) else {}


def pod_security(workload: Resource) -> Mapping[str, Json]:
    """The securityContext of the pod as a whole."""
    value = workload.spec.get("securityContext")
    return value if isinstance(value, dict) else {}


def effective(workload: Resource, container: Container, field: str) -> Json:
    """A field of the securityContext that containers and pods both have; None when not set."""
    own = security(container).get(field)
    return own if own is not None else pod_security(workload).get(field)


def windows_option(workload: Resource, container: Container, field: str) -> Json:
    """A field of `windowsOptions`, which a container overrides one by one; None when not set."""
    own = mapping(security(container).get("windowsOptions")).get(field)
    if own is not None:
        return own
    return mapping(pod_security(workload).get("windowsOptions")).get(field)


def is_windows(workload: Resource) -> bool:
    """Whether the pod says that it runs on Windows (`spec.os.name`, Kubernetes 1.25 on).

    A pod that only selects Windows nodes is taken as one too: the API lets older ones say it so.
    """
    spec = workload.spec
    if "os" not in spec and "nodeSelector" not in spec:
        return False
    selector = mapping(spec.get("nodeSelector"))
    named = mapping(spec.get("os")).get("name") or selector.get("kubernetes.io/os")
    return named == "windows"


def is_on(value: Json) -> bool:
    """Whether a switch that is off by default is on: anything but false and not set."""
    return value is not None and value is not False


def privileged(own: Mapping[str, Json]) -> bool:
    """Whether a container's securityContext makes it privileged."""
    return is_on(own.get("privileged"))


def dropped(own: Mapping[str, Json]) -> AbstractSet[str]:
    """The capabilities that a container drops, in capitals, else as they are written.

    A name with `CAP_` stays apart from the one without it: the API's names have none, and
    containerd puts its own in front, so that dropping `CAP_NET_RAW` drops nothing there.
    """
    return _names(own, "drop")


def added(own: Mapping[str, Json]) -> AbstractSet[str]:
    """The capabilities that a container adds, in capitals and without `CAP_`."""
    names = _names(own, "add")
    return {name.removeprefix("CAP_") for name in names} if names else names


_NOTHING: AbstractSet[str] = frozenset()


def _names(own: Mapping[str, Json], key: str) -> AbstractSet[str]:
    capabilities = own.get("capabilities")
    listed = capabilities.get(key) if isinstance(capabilities, dict) else None
    return {str(name).upper() for name in listed} if isinstance(listed, list) else _NOTHING


def in_own_users(workload: Resource) -> bool:
    """Whether the pod has a user namespace of its own: `hostUsers: false` (Kubernetes 1.25 on)."""
    return workload.spec.get("hostUsers") is False


def named(container: Container) -> str:
    """A container's name, and its kind where it is not an ordinary one."""
    if container.kind is ContainerKind.CONTAINER:
        return container.name
    return f"{container.kind} {container.name}"


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


DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
"""What a runtime gives a container that asks for nothing, NET_RAW aside (Docker, containerd).

It is also what the Pod Security Standards let a baseline pod add.
"""
