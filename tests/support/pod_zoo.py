"""Pods beside those of the rules of CIS 5.2: each tries a rule of the Pod Security Standards.

Every one is admitted by some level and version and refused by another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from checks.kubernetes._admission.violations import COMPLIANT

_SECCOMP = "seccomp.security.alpha.kubernetes.io"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/main"


def _pod(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    pod = deepcopy(COMPLIANT)
    change(pod)
    return pod


def _spec(**fields: Any) -> dict[str, Any]:
    return _pod(lambda pod: pod["spec"].update(fields))


def _secure(**fields: Any) -> dict[str, Any]:
    return _pod(lambda pod: pod["spec"]["securityContext"].update(fields))


def _container(**fields: Any) -> dict[str, Any]:
    return _pod(lambda pod: pod["spec"]["containers"][0].update(fields))


def _container_secure(pod: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The container's securityContext with these fields, the pod's with those of `pod`."""

    def change(body: dict[str, Any]) -> None:
        body["spec"]["securityContext"].update(pod or {})
        body["spec"]["containers"][0]["securityContext"].update(fields)

    return _pod(change)


def _annotated(key: str, value: str) -> dict[str, Any]:
    """A pod with an annotation and, for the API lets the two not differ, no seccomp profile."""

    def change(pod: dict[str, Any]) -> None:
        pod["metadata"]["annotations"] = {key: value}
        del pod["spec"]["securityContext"]["seccompProfile"]

    return _pod(change)


def _volume(**source: Any) -> dict[str, Any]:
    return _spec(volumes=[{"name": "data", **source}])


def _sysctl(name: str, value: str) -> dict[str, Any]:
    return _secure(sysctls=[{"name": name, "value": value}])


def _windows() -> dict[str, Any]:
    """A Windows pod in order: it may have none of the fields that are for Linux."""

    def change(pod: dict[str, Any]) -> None:
        pod["spec"].update(os={"name": "windows"}, securityContext={"runAsNonRoot": True})
        pod["spec"]["containers"][0]["securityContext"] = {}

    return _pod(change)


def _sidecar() -> dict[str, Any]:
    def change(pod: dict[str, Any]) -> None:
        sidecar = deepcopy(pod["spec"]["containers"][0])
        sidecar.update(name="beside", restartPolicy="Always")
        sidecar["securityContext"]["runAsNonRoot"] = False
        pod["spec"]["initContainers"] = [sidecar]

    return _pod(change)


def _without_pod_settings(**fields: Any) -> dict[str, Any]:
    """All that the pod says is said by its container instead, with other fields changed."""

    def change(pod: dict[str, Any]) -> None:
        own = pod["spec"].pop("securityContext")
        pod["spec"]["containers"][0]["securityContext"].update({**own, **fields})

    return _pod(change)


_GET = {"httpGet": {"port": 80, "host": "10.0.0.1"}}
_TCP = {"tcpSocket": {"port": 80, "host": "10.0.0.1"}}

OTHER_PODS: Mapping[str, dict[str, Any]] = {
    "Windows pod in order": _windows(),
    "sidecar that may run as root": _sidecar(),
    "container that says what the pod does not, but for a profile": _without_pod_settings(
        seccompProfile=None
    ),
    "container that says what the pod does not, but for root": _without_pod_settings(
        runAsNonRoot=None, runAsUser=None
    ),
    "runAsUser 0 in the pod, runAsNonRoot true": _secure(runAsUser=0),
    "runAsUser 0 in the container, runAsNonRoot true": _container_secure(runAsUser=0),
    "root in a user namespace": _pod(
        lambda pod: pod["spec"].update(
            hostUsers=False, securityContext={"seccompProfile": {"type": "RuntimeDefault"}}
        )
    ),
    "runAsUser 0 in a user namespace": _pod(
        lambda pod: (
            pod["spec"].update(hostUsers=False),
            pod["spec"]["securityContext"].update(runAsUser=0, runAsNonRoot=False),
        )
    ),
    "procMount Unmasked in a user namespace": _pod(
        lambda pod: (
            pod["spec"].update(hostUsers=False),
            pod["spec"]["containers"][0]["securityContext"].update(procMount="Unmasked"),
        )
    ),
    "seccomp Unconfined in the pod": _secure(seccompProfile={"type": "Unconfined"}),
    "seccomp Unconfined in the container": _container_secure(seccompProfile={"type": "Unconfined"}),
    "no seccomp profile": _secure(seccompProfile=None),
    "seccomp profile in the container alone, Unconfined in the pod": _container_secure(
        {"seccompProfile": {"type": "Unconfined"}}, seccompProfile={"type": "RuntimeDefault"}
    ),
    "seccomp annotation of the pod": _annotated(f"{_SECCOMP}/pod", "unconfined"),
    "seccomp annotation of the container": _annotated(f"container.{_SECCOMP}/main", "unconfined"),
    "AppArmor unconfined by annotation": _annotated(_APP_ARMOR, "unconfined"),
    "AppArmor Unconfined in the pod": _secure(appArmorProfile={"type": "Unconfined"}),
    "AppArmor Unconfined in the container": _container_secure(
        appArmorProfile={"type": "Unconfined"}
    ),
    "SELinux type of the host": _secure(seLinuxOptions={"type": "spc_t"}),
    "SELinux type of an engine": _container_secure(seLinuxOptions={"type": "container_engine_t"}),
    "SELinux user": _container_secure(seLinuxOptions={"user": "system_u"}),
    "SELinux role": _secure(seLinuxOptions={"role": "system_r", "type": "container_t"}),
    "sysctl of the node": _sysctl("kernel.msgmax", "65536"),
    "sysctl allowed from 1.27": _sysctl("net.ipv4.ip_local_reserved_ports", "8080"),
    "sysctl allowed from 1.29": _sysctl("net.ipv4.tcp_keepalive_time", "60"),
    "sysctl allowed from 1.32": _sysctl("net.ipv4.tcp_rmem", "4096 131072 6291456"),
    "CHOWN added": _container_secure(capabilities={"drop": ["ALL"], "add": ["CHOWN"]}),
    "CAP_CHOWN added": _container_secure(capabilities={"drop": ["ALL"], "add": ["CAP_CHOWN"]}),
    "all dropped in small letters": _container_secure(capabilities={"drop": ["all"]}),
    "NFS volume": _volume(nfs={"server": "nfs.example.com", "path": "/"}),
    "iSCSI volume": _volume(
        iscsi={"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2001-04.com.example:disk", "lun": 0}
    ),
    "liveness probe of another host": _container(livenessProbe=_GET),
    "readiness probe of another host": _container(readinessProbe=_TCP),
    "startup probe of another host": _container(startupProbe=_GET),
    "handler that calls another host": _container(lifecycle={"preStop": _GET}),
    "handler that calls another host at the start": _container(lifecycle={"postStart": _GET}),
}
