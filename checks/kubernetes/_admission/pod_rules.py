"""Each rule of the Pod Security Standards: what of a pod it forbids, in words.

The values are those of Kubernetes 1.35 (k8s.io/pod-security-admission, package policy); which
rule belongs to which level and version stands in `pod_security`. The rules look at ephemeral
containers like at all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from auditor.model import Json
from checks.kubernetes._admission.answers import Pod
from checks.kubernetes._pods import DEFAULT_CAPABILITIES, mapping, objects

Rule = Callable[[Pod], str]

_SECURITY = "securityContext"


def _spec(pod: Pod) -> Mapping[str, Json]:
    return mapping(pod.get("spec"))


def _pod_security(pod: Pod) -> Mapping[str, Json]:
    return mapping(_spec(pod).get(_SECURITY))


def _containers(pod: Pod) -> Iterator[tuple[str, Mapping[str, Json], Mapping[str, Json]]]:
    """Name, body and securityContext of each container."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for body in objects(_spec(pod).get(key)):
            yield str(body.get("name")), body, mapping(body.get(_SECURITY))


def _annotations(pod: Pod) -> Mapping[str, Json]:
    return mapping(mapping(pod.get("metadata")).get("annotations"))


def _listed(value: Json) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _who(names: Sequence[str], what: str) -> str:
    """One sentence about some containers; empty when there are none."""
    if not names:
        return ""
    word = "container" if len(names) == 1 else "containers"
    return f"{word} {', '.join(names)}: {what}"


def on_linux(rule: Rule) -> Rule:
    """The rule, which a pod that says it is for Windows cannot keep and need not (1.25)."""

    def relaxed(pod: Pod) -> str:
        return "" if mapping(_spec(pod).get("os")).get("name") == "windows" else rule(pod)

    return relaxed


def outside_user_namespace(rule: Rule) -> Rule:
    """The rule, from which a pod in a user namespace of its own is free (1.35)."""

    def relaxed(pod: Pod) -> str:
        return "" if _spec(pod).get("hostUsers") is False else rule(pod)

    return relaxed


# --- baseline ---------------------------------------------------------------------------------


def privileged(pod: Pod) -> str:
    """Privileged containers."""
    return _who([name for name, _, own in _containers(pod) if own.get("privileged")], "privileged")


def host_namespaces(pod: Pod) -> str:
    """The node's network, process and IPC namespaces."""
    return ", ".join(
        field for field in ("hostNetwork", "hostPID", "hostIPC") if _spec(pod).get(field)
    )


"""What may be added to a container that has it anyway: the default set without NET_RAW."""


def added_capabilities(pod: Pod) -> str:
    """Capabilities beyond the default ones."""
    found: dict[str, set[str]] = {}
    for name, _, own in _containers(pod):
        added = set(_listed(mapping(own.get("capabilities")).get("add"))) - DEFAULT_CAPABILITIES
        if added:
            found[name] = added
    return _who(list(found), f"adds {', '.join(sorted(set().union(*found.values())))}")


def host_paths(pod: Pod) -> str:
    """Volumes of the node's file system."""
    volumes = objects(_spec(pod).get("volumes"))
    names = [str(item.get("name")) for item in volumes if item.get("hostPath") is not None]
    return f"hostPath volume {', '.join(names)}" if names else ""


def host_ports(pod: Pod) -> str:
    """Ports of the node."""
    found = {
        name: str(port["hostPort"])
        for name, body, _ in _containers(pod)
        for port in objects(body.get("ports"))
        if port.get("hostPort")
    }
    return _who(list(found), f"hostPort {', '.join(sorted(set(found.values())))}")


_HANDLERS = (
    ("livenessProbe",),
    ("readinessProbe",),
    ("startupProbe",),
    ("lifecycle", "postStart"),
    ("lifecycle", "preStop"),
)


def probe_hosts(pod: Pod) -> str:
    """Probes and lifecycle handlers that make the kubelet call another host than the pod."""
    return _who(
        [name for name, body, _ in _containers(pod) if any(_hosts(body))],
        "a probe or lifecycle handler names a host",
    )


def _hosts(container: Mapping[str, Json]) -> Iterator[Json]:
    for path in _HANDLERS:
        handler = container
        for part in path:
            handler = mapping(handler.get(part))
        for action in ("httpGet", "tcpSocket"):
            yield mapping(handler.get(action)).get("host")


def proc_mount(pod: Pod) -> str:
    """A /proc without its masks."""
    return _who(
        [
            name
            for name, _, own in _containers(pod)
            if own.get("procMount") not in (None, "Default")
        ],
        "procMount is not Default",
    )


def host_process(pod: Pod) -> str:
    """Processes of a Windows node outside of any container."""
    found = [
        name
        for name, own in (
            ("the pod", _pod_security(pod)),
            *((f"container {name}", own) for name, _, own in _containers(pod)),
        )
        if mapping(own.get("windowsOptions")).get("hostProcess")
    ]
    return f"hostProcess in {', '.join(found)}" if found else ""


def app_armor(pod: Pod) -> str:
    """An AppArmor profile other than the runtime's or the node's own."""
    prefix = "container.apparmor.security.beta.kubernetes.io/"
    found = {
        str(mapping(own.get("appArmorProfile")).get("type"))
        for own in (_pod_security(pod), *(own for _, _, own in _containers(pod)))
        if isinstance(own.get("appArmorProfile"), dict)
    } - {"RuntimeDefault", "Localhost"}
    found |= {
        f"annotation {value}"
        for key, value in _annotations(pod).items()
        if key.startswith(prefix)
        and value not in ("", "runtime/default")
        and not str(value).startswith("localhost/")
    }
    return f"AppArmor profile {', '.join(sorted(found))}" if found else ""


_SE_LINUX_TYPES = frozenset(("", "container_t", "container_init_t", "container_kvm_t"))
_SE_LINUX_TYPES_31 = _SE_LINUX_TYPES | {"container_engine_t"}


def se_linux(minor: int) -> Rule:
    """A type, user or role of SELinux that containers do not have by themselves."""
    types = _SE_LINUX_TYPES_31 if minor >= 31 else _SE_LINUX_TYPES

    def rule(pod: Pod) -> str:
        for own in (_pod_security(pod), *(own for _, _, own in _containers(pod))):
            options = mapping(own.get("seLinuxOptions"))
            if (
                (options.get("type") or "") not in types
                or options.get("user")
                or options.get("role")
            ):
                return f"seLinuxOptions {dict(options)}"
        return ""

    return rule


_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


def seccomp_annotations(pod: Pod) -> str:
    """A seccomp profile by annotation, other than the runtime's or the node's own (to 1.18)."""
    annotations = _annotations(pod)
    keys = (_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{name}" for name, _, _ in _containers(pod)))
    found = [
        str(annotations[key])
        for key in keys
        if key in annotations
        and annotations[key] not in ("runtime/default", "docker/default")
        and not str(annotations[key]).startswith("localhost/")
    ]
    return f"seccomp annotation {', '.join(found)}" if found else ""


_SECCOMP = frozenset(("RuntimeDefault", "Localhost"))


def _profile(own: Mapping[str, Json]) -> str | None:
    profile = own.get("seccompProfile")
    return str(profile.get("type")) if isinstance(profile, dict) else None


def seccomp_field(pod: Pod) -> str:
    """A seccomp profile other than the runtime's or the node's own, as Unconfined (from 1.19)."""
    found = {
        profile
        for own in (_pod_security(pod), *(own for _, _, own in _containers(pod)))
        if (profile := _profile(own)) is not None
    } - _SECCOMP
    return f"seccompProfile {', '.join(sorted(found))}" if found else ""


_SYSCTLS: Mapping[int, Sequence[str]] = {
    0: (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    ),
    27: ("net.ipv4.ip_local_reserved_ports",),
    29: (
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    ),
    32: ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
}
"""The sysctls that are of the pod alone, by the version that came to allow them."""


def sysctls(minor: int) -> Rule:
    """Sysctls that reach beyond the pod."""
    allowed = {name for since, names in _SYSCTLS.items() if since <= minor for name in names}

    def rule(pod: Pod) -> str:
        found = [str(item.get("name")) for item in objects(_pod_security(pod).get("sysctls"))]
        wrong = [name for name in found if name not in allowed]
        return f"sysctl {', '.join(wrong)}" if wrong else ""

    return rule


# --- restricted -------------------------------------------------------------------------------


def escalation(pod: Pod) -> str:
    """Containers that do not give up gaining privileges (from 1.8, when the field came)."""
    return _who(
        [
            name
            for name, _, own in _containers(pod)
            if own.get("allowPrivilegeEscalation") is not False
        ],
        "allowPrivilegeEscalation is not false",
    )


def capabilities(pod: Pod) -> str:
    """Containers that do not drop all capabilities, or add others than one (from 1.22)."""
    keeping, adding = [], []
    for name, _, own in _containers(pod):
        held = mapping(own.get("capabilities"))
        if "ALL" not in _listed(held.get("drop")):
            keeping.append(name)
        if set(_listed(held.get("add"))) - {"NET_BIND_SERVICE"}:
            adding.append(name)
    found = (
        _who(keeping, "does not drop ALL capabilities"),
        _who(adding, "adds others than NET_BIND_SERVICE"),
    )
    return "; ".join(filter(None, found))


_VOLUMES = frozenset(
    (
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    )
)


def volume_types(pod: Pod) -> str:
    """Volumes that the pod itself ties to a file system outside, a hostPath above all."""
    found = []
    for volume in objects(_spec(pod).get("volumes")):
        # A volume without any source is an emptyDir.
        sources = {key for key, value in volume.items() if value is not None} - {"name"}
        if sources and not sources & _VOLUMES:
            found.append(f"{volume.get('name')} ({', '.join(sorted(sources))})")
    return f"volume {', '.join(found)}" if found else ""


def non_root(pod: Pod) -> str:
    """Containers that may run as root."""
    by_pod = _pod_security(pod).get("runAsNonRoot")
    if by_pod is False:
        return "the pod sets runAsNonRoot to false"
    return _who(
        [
            name
            for name, _, own in _containers(pod)
            if own.get("runAsNonRoot", None) is False
            or (own.get("runAsNonRoot") is None and by_pod is not True)
        ],
        "runAsNonRoot is not true",
    )


def user_zero(pod: Pod) -> str:
    """Containers that are told to run as user 0 (from 1.23)."""
    found = ["the pod"] if _is_zero(_pod_security(pod)) else []
    found += [f"container {name}" for name, _, own in _containers(pod) if _is_zero(own)]
    return f"runAsUser 0 in {', '.join(found)}" if found else ""


def _is_zero(own: Mapping[str, Json]) -> bool:
    user = own.get("runAsUser")
    return user == 0 and user is not False


def seccomp_required(pod: Pod) -> str:
    """Containers without a seccomp profile, their own or the pod's (from 1.19)."""
    wrong = seccomp_field(pod)
    if wrong or _profile(_pod_security(pod)) in _SECCOMP:
        return wrong
    return _who(
        [name for name, _, own in _containers(pod) if _profile(own) is None],
        "no seccompProfile",
    )
