"""Pods that each break one rule of pod security and nothing else, and one that breaks none.

They are questions: to the reading of policies, and with `--probe-admission` to the API server
itself. A rule has several variants, for a policy that looks at ordinary containers alone, or
only at the pod's own settings, lets the others through. Ephemeral containers cannot be created
with a pod. Each pod is one that the API takes, so where it forces a second setting (a host process
needs the host's network, a privileged container may escalate) the pod has both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import NamedTuple

from auditor.model import Json
from checks.kubernetes._pods import DEFAULT_CAPABILITIES

NAME = "auditor-probe"
"""The name of every pod here."""


class Violation(NamedTuple):
    """A rule of pod security, by the check of workloads that has the same rule.

    `check` is the check that asks whether admission enforces it, `title` says what is broken in
    a few words, and `variants` holds the pods by the words that tell them apart. The pods are
    shared: do not change them.
    """

    id: str
    check: str
    title: str
    variants: Mapping[str, dict[str, Json]]


_CONTAINER: Mapping[str, Json] = {
    "name": "main",
    "image": "registry.k8s.io/pause:3.10",
    "imagePullPolicy": "IfNotPresent",
    "resources": {
        "requests": {"cpu": "10m", "memory": "16Mi"},
        "limits": {"cpu": "50m", "memory": "32Mi"},
    },
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    },
}

COMPLIANT: dict[str, Json] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": NAME, "labels": {"app.kubernetes.io/name": NAME}},
    "spec": {
        "automountServiceAccountToken": False,
        "containers": [deepcopy(_CONTAINER)],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65535,
            "runAsGroup": 65535,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    },
}
"""A pod that the restricted level of every version admits."""

Change = Callable[[dict[str, Json]], None]
"""Changes a pod spec, or a container, in place."""


def _pod(change: Change) -> dict[str, Json]:
    pod = deepcopy(COMPLIANT)
    change(pod["spec"])
    return pod


def _each(what: str, change: Change, pod: Change | None = None) -> dict[str, dict[str, Json]]:
    """Two variants: the change in the container, and in an init container beside a sound one.

    `pod` changes the pod spec of both.
    """

    def in_init(spec: dict[str, Json]) -> None:
        init = deepcopy(dict(_CONTAINER))
        init["name"] = "first"
        change(init)
        spec["initContainers"] = [init]

    def in_container(spec: dict[str, Json]) -> None:
        change(spec["containers"][0])

    def both(where: Change) -> dict[str, Json]:
        def changed(spec: dict[str, Json]) -> None:
            where(spec)
            if pod is not None:
                pod(spec)

        return _pod(changed)

    return {
        f"container with {what}": both(in_container),
        f"init container with {what}": both(in_init),
    }


def _set(**fields: Json) -> Change:
    """Sets fields, of a pod spec or of a container."""

    def change(target: dict[str, Json]) -> None:
        target.update(deepcopy(fields))

    return change


def _secure(**fields: Json) -> Change:
    """Sets fields of the securityContext, of a pod spec or of a container; None takes one out."""

    def change(target: dict[str, Json]) -> None:
        context = target["securityContext"]
        for key, value in fields.items():
            context.pop(key, None)
            if value is not None:
                context[key] = deepcopy(value)

    return change


def _capabilities(drop: Sequence[str], add: Sequence[str] = ()) -> Change:
    found = {key: list(names) for key, names in (("drop", drop), ("add", add)) if names}
    return _secure(capabilities=found)


def _host_path(path: str, *, read_only: bool = False) -> dict[str, dict[str, Json]]:
    mount = {"name": "host", "mountPath": "/host", "readOnly": read_only}
    return _each(
        f"the node's {path} mounted{' read-only' if read_only else ''}",
        _set(volumeMounts=[mount]),
        _set(volumes=[{"name": "host", "hostPath": {"path": path}}]),
    )


_WINDOWS = {"hostProcess": True, "runAsUserName": "NT AUTHORITY\\SYSTEM"}


def _windows_pod(*, in_pod: bool) -> dict[str, Json]:
    """A host process of a pod that says it is for Windows: it may have no field for Linux."""

    def change(spec: dict[str, Json]) -> None:
        options = {"windowsOptions": deepcopy(_WINDOWS)}
        spec["os"] = {"name": "windows"}
        spec["nodeSelector"] = {"kubernetes.io/os": "windows"}
        spec["hostNetwork"] = True
        spec["securityContext"] = {"runAsNonRoot": True, **(options if in_pod else {})}
        container = spec["containers"][0]
        init = {**deepcopy(container), "name": "first"}
        spec["initContainers"] = [init]
        for item in (container, init):
            item["securityContext"] = {} if in_pod else deepcopy(options)

    return _pod(change)


def _unnamed_windows_pod() -> dict[str, Json]:
    """A host process that goes to Windows by its node alone, as before `spec.os` (1.25)."""

    def change(spec: dict[str, Json]) -> None:
        spec["nodeSelector"] = {"kubernetes.io/os": "windows"}
        spec["hostNetwork"] = True
        spec["securityContext"]["windowsOptions"] = deepcopy(_WINDOWS)

    return _pod(change)


_ROOT_ALLOWED = _secure(runAsNonRoot=None, runAsUser=None, runAsGroup=None)
_NO_ROOT_RULE = _secure(runAsNonRoot=None)


def _violation(id: str, title: str, *variants: Mapping[str, dict[str, Json]]) -> Violation:
    # The one that came before the others was named without the word "container".
    check = id.removesuffix("-container") + "-admission"
    merged = {name: pod for group in variants for name, pod in group.items()}
    return Violation(id, check, title, merged)


VIOLATIONS: Sequence[Violation] = (
    _violation(
        "k8s-privileged-container",
        "a privileged container",
        # The API refuses `allowPrivilegeEscalation: false` beside it.
        _each("privileged true", _secure(privileged=True, allowPrivilegeEscalation=None)),
    ),
    _violation(
        "k8s-host-pid",
        "the node's process namespace",
        {"pod with hostPID": _pod(_set(hostPID=True))},
    ),
    _violation(
        "k8s-host-ipc",
        "the node's IPC namespace",
        {"pod with hostIPC": _pod(_set(hostIPC=True))},
    ),
    _violation(
        "k8s-host-network",
        "the node's network",
        {"pod with hostNetwork": _pod(_set(hostNetwork=True))},
    ),
    _violation(
        "k8s-allow-privilege-escalation",
        "a container that may gain privileges",
        _each("allowPrivilegeEscalation true", _secure(allowPrivilegeEscalation=True)),
        _each("allowPrivilegeEscalation not set", _secure(allowPrivilegeEscalation=None)),
    ),
    _violation(
        # Each of these runs as root if its image does not say otherwise. `runAsNonRoot: true`
        # beside `runAsUser: 0` is not one of them: no kubelet starts it.
        "k8s-run-as-non-root",
        "a container that runs as root",
        {
            "pod with neither runAsNonRoot nor runAsUser": _pod(_ROOT_ALLOWED),
            "pod with runAsNonRoot false": _pod(_secure(runAsNonRoot=False, runAsUser=None)),
            "pod with runAsUser 0": _pod(_secure(runAsNonRoot=None, runAsUser=0)),
        },
        _each(
            "runAsNonRoot false, against the pod's true",
            _secure(runAsNonRoot=False),
            _secure(runAsUser=None),
        ),
        _each(
            "runAsUser 0 and runAsNonRoot false, against the pod's",
            _secure(runAsNonRoot=False, runAsUser=0),
        ),
        _each("runAsUser 0, against the pod's user", _secure(runAsUser=0), _NO_ROOT_RULE),
    ),
    _violation(
        "k8s-net-raw",
        "a container that keeps NET_RAW",
        _each("no capabilities dropped", _secure(capabilities=None)),
        _each(
            "all default capabilities dropped but NET_RAW",
            _capabilities(sorted(DEFAULT_CAPABILITIES)),
        ),
        _each("ALL dropped and NET_RAW added", _capabilities(["ALL"], ["NET_RAW"])),
    ),
    _violation(
        "k8s-added-capabilities",
        "a container with capabilities beyond the default ones",
        _each("SYS_ADMIN added", _capabilities(["ALL"], ["SYS_ADMIN"])),
        _each("NET_ADMIN added", _capabilities(["ALL"], ["NET_ADMIN"])),
        # Runtimes read the names in either case; a list of forbidden names may not.
        _each("sys_ptrace added in small letters", _capabilities(["ALL"], ["sys_ptrace"])),
        # Younger than most lists of forbidden names.
        _each("BPF added", _capabilities(["ALL"], ["BPF"])),
        _each("ALL added", _capabilities(["ALL"], ["ALL"])),
    ),
    _violation(
        "k8s-capabilities-dropped",
        "a container that keeps capabilities",
        _each("capabilities not set", _secure(capabilities=None)),
        _each("NET_RAW alone dropped", _capabilities(["NET_RAW"])),
        _each("ALL dropped and CHOWN added", _capabilities(["ALL"], ["CHOWN"])),
    ),
    _violation(
        "k8s-windows-host-process",
        "a Windows host process",
        {
            "Windows pod with hostProcess": _windows_pod(in_pod=True),
            "Windows pod whose containers have hostProcess": _windows_pod(in_pod=False),
            "pod with hostProcess that does not name its system": _unnamed_windows_pod(),
        },
    ),
    _violation(
        "k8s-host-path-volume",
        "a hostPath volume",
        _host_path("/"),
        _host_path("/var/log", read_only=True),
        # A folder that no list of forbidden paths has heard of.
        _host_path("/opt/auditor-probe"),
    ),
    _violation(
        "k8s-host-port",
        "a port of the node",
        _each("hostPort 80", _set(ports=[{"containerPort": 8080, "hostPort": 80}])),
        _each("hostPort 30080", _set(ports=[{"containerPort": 8080, "hostPort": 30080}])),
    ),
)
"""One for each rule, in the order in which CIS section 5.2 has them."""

BY_ID: Mapping[str, Violation] = {item.id: item for item in VIOLATIONS}
