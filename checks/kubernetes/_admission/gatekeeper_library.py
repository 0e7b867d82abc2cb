"""What the pod security templates of Gatekeeper's library refuse, by their kind.

Each rule says in words what it refuses of a pod, or nothing. They follow the Rego of
open-policy-agent/gatekeeper-library (`src/pod-security-policy`, `src/general`), versions 1.0.0 and
later, which are those that carry their title and version as annotations. Parameters of another
shape than the templates' schemas allow raise `MalformedError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from auditor.model import Json
from checks.kubernetes._admission.matching import MalformedError, items, obj, text, words
from checks.kubernetes._pods import mapping, objects

Parameters = Mapping[str, Json]
Rule = Callable[[Mapping[str, Json], Parameters], str]


class Known(NamedTuple):
    """A template of the library: its title, and what it refuses."""

    title: str
    rule: Rule


_LISTS = ("containers", "initContainers", "ephemeralContainers")


def _spec(pod: Mapping[str, Json]) -> Mapping[str, Json]:
    return mapping(pod.get("spec"))


def _containers(pod: Mapping[str, Json], parameters: Parameters) -> Iterator[Mapping[str, Json]]:
    """The containers whose image is not exempt; an entry that ends in `*` is a prefix."""
    exempt = words(parameters.get("exemptImages"), "exemptImages")
    for key in _LISTS:
        for container in objects(_spec(pod).get(key)):
            image = str(container.get("image") or "")
            if not any(
                image.startswith(entry[:-1]) if entry.endswith("*") else image == entry
                for entry in exempt
            ):
                yield container


def _context(container: Mapping[str, Json]) -> Mapping[str, Json]:
    return mapping(container.get("securityContext"))


def _privileged(pod: Mapping[str, Json], parameters: Parameters) -> str:
    return _first(
        f"container {item.get('name')} is privileged"
        for item in _containers(pod, parameters)
        if _context(item).get("privileged")
    )


def _escalation(pod: Mapping[str, Json], parameters: Parameters) -> str:
    return _first(
        f"container {item.get('name')} may escalate"
        for item in _containers(pod, parameters)
        if _context(item).get("allowPrivilegeEscalation") is not False
    )


def _read_only_root(pod: Mapping[str, Json], parameters: Parameters) -> str:
    return _first(
        f"container {item.get('name')} has a root file system that can be written"
        for item in _containers(pod, parameters)
        if _context(item).get("readOnlyRootFilesystem") is not True
    )


def _host_namespaces(pod: Mapping[str, Json], _: Parameters) -> str:
    return _first(f"{key} is set" for key in ("hostPID", "hostIPC") if _spec(pod).get(key))


def _host_network(pod: Mapping[str, Json], parameters: Parameters) -> str:
    if not parameters.get("hostNetwork") and _spec(pod).get("hostNetwork"):
        return "hostNetwork is set"
    least, most = _number(parameters, "min"), _number(parameters, "max")
    return _first(
        f"container {item.get('name')} has the host port {port['hostPort']}"
        for item in _containers(pod, parameters)
        for port in objects(item.get("ports"))
        if isinstance(port.get("hostPort"), int)
        and (
            (least is not None and port["hostPort"] < least)
            or (most is not None and port["hostPort"] > most)
        )
    )


def _capabilities(pod: Mapping[str, Json], parameters: Parameters) -> str:
    allowed = {item.lower() for item in _list(parameters, "allowedCapabilities")}
    wanted = {item.lower() for item in _list(parameters, "requiredDropCapabilities")}
    for item in _containers(pod, parameters):
        capabilities = mapping(_context(item).get("capabilities"))
        added = {str(name).lower() for name in _seen(capabilities.get("add"))}
        dropped = {str(name).lower() for name in _seen(capabilities.get("drop"))}
        if "*" not in allowed and added - allowed:
            return f"container {item.get('name')} adds {', '.join(sorted(added - allowed))}"
        if wanted - dropped and "all" not in dropped:
            return f"container {item.get('name')} keeps {', '.join(sorted(wanted - dropped))}"
    return ""


def _host_files(pod: Mapping[str, Json], parameters: Parameters) -> str:
    allowed = items(parameters.get("allowedHostPaths"), "allowedHostPaths")
    for volume in objects(_spec(pod).get("volumes")):
        if not volume.get("hostPath"):
            continue
        path = str(mapping(volume["hostPath"]).get("path") or "")
        if not any(_path_allowed(entry, path, volume, pod) for entry in allowed):
            return f"volume {volume.get('name')} is the node's {path}"
    return ""


def _path_allowed(
    entry: Mapping[str, Json], path: str, volume: Mapping[str, Json], pod: Mapping[str, Json]
) -> bool:
    prefix, found = _parts(text(entry.get("pathPrefix"), "pathPrefix")), _parts(path)
    if found[: len(prefix)] != prefix:
        return False
    writable = any(
        mount.get("name") == volume.get("name") and not mount.get("readOnly")
        for container in _containers(pod, {})
        for mount in objects(container.get("volumeMounts"))
    )
    return not (entry.get("readOnly") and writable)


def _parts(path: str) -> list[str]:
    return [] if path == "/" else path.strip("/").split("/")


def _proc_mount(pod: Mapping[str, Json], parameters: Parameters) -> str:
    if text(parameters.get("procMount"), "procMount").lower() == "unmasked":
        return ""
    return _first(
        f"container {item.get('name')} has procMount {kind}"
        for item in _containers(pod, parameters)
        if (kind := _context(item).get("procMount")) and str(kind).lower() != "default"
    )


def _volume_types(pod: Mapping[str, Json], parameters: Parameters) -> str:
    allowed = set(_list(parameters, "volumes"))
    if "*" in allowed:
        return ""
    return _first(
        f"volume {volume.get('name')} is of the type {kind}"
        for volume in objects(_spec(pod).get("volumes"))
        for kind in volume
        if kind != "name" and kind not in allowed
    )


_GROUPS = ("runAsGroup", "supplementalGroups", "fsGroup")


def _users(pod: Mapping[str, Json], parameters: Parameters) -> str:
    own = mapping(_spec(pod).get("securityContext"))
    for item in _containers(pod, parameters):
        found = {
            **own,
            **{key: value for key, value in _context(item).items() if value is not None},
        }
        why = _user(found, obj(parameters.get("runAsUser"), "runAsUser"))
        for group in _GROUPS:
            why = why or _group(group, found, obj(parameters.get(group), group))
        if why:
            return f"container {item.get('name')} {why}"
    return ""


def _user(found: Mapping[str, Json], wanted: Parameters) -> str:
    rule, user = text(wanted.get("rule"), "runAsUser.rule"), found.get("runAsUser")
    if rule not in ("", "RunAsAny", "MustRunAs", "MustRunAsNonRoot"):
        raise MalformedError(f"the rule {rule} of runAsUser")
    if rule == "MustRunAs" and not (user is not None and _within(user, wanted)):
        return f"runs as {'no stated user' if user is None else f'the user {user}'}"
    if rule == "MustRunAsNonRoot":
        if user == 0:
            return "runs as the user 0"
        if user is None and not found.get("runAsNonRoot"):
            return "has neither runAsNonRoot nor runAsUser"
    return ""


def _group(name: str, found: Mapping[str, Json], wanted: Parameters) -> str:
    rule, value = text(wanted.get("rule"), f"{name}.rule"), found.get(name)
    if rule not in ("", "RunAsAny", "MustRunAs", "MayRunAs"):
        raise MalformedError(f"the rule {rule} of {name}")
    if rule in ("", "RunAsAny"):
        return ""
    values = value if isinstance(value, list) else [value]
    if value is None or not values:
        return f"has no {name}" if rule == "MustRunAs" else ""
    outside = [item for item in values if not _within(item, wanted)]
    return f"has {name} {outside[0]}" if outside else ""


def _within(value: Json, wanted: Parameters) -> bool:
    ranges = items(wanted.get("ranges"), "ranges")
    return isinstance(value, int) and any(
        _bound(entry, "min") <= value <= _bound(entry, "max") for entry in ranges
    )


def _bound(entry: Parameters, key: str) -> int:
    value = _number(entry, key)
    if value is None:
        raise MalformedError(f"a range without {key}")
    return value


_SECCOMP = {
    "RuntimeDefault": ("runtime/default", "docker/default"),
    "Unconfined": ("unconfined",),
}
_SECCOMP_NAMES = {"RuntimeDefault": "runtime/default", "Unconfined": "unconfined"}
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


def _seccomp(pod: Mapping[str, Json], parameters: Parameters) -> str:
    profiles = _list(parameters, "allowedProfiles")
    if "*" in profiles:
        return ""
    allowed = {*profiles, *(name for item in profiles for name in _SECCOMP.get(item, ()))}
    if "Localhost" in profiles:
        allowed |= {f"localhost/{name}" for name in _list(parameters, "allowedLocalhostFiles")}
    annotations = mapping(mapping(pod.get("metadata")).get("annotations"))
    own = mapping(_spec(pod).get("securityContext")).get("seccompProfile")
    for item in _containers(pod, parameters):
        given = _context(item).get("seccompProfile") or own
        if given:
            kind = str(mapping(given).get("type"))
            local = f"localhost/{mapping(given).get('localhostProfile')}"
            profile = _SECCOMP_NAMES.get(kind, local)
        else:
            key = f"{_SECCOMP_CONTAINER}{item.get('name')}"
            profile = str(annotations.get(key) or annotations.get(_SECCOMP_POD) or "not configured")
        local_allowed = profile.startswith("localhost/") and "localhost/*" in allowed
        if profile not in allowed and not local_allowed:
            return f"container {item.get('name')} has the seccomp profile {profile}"
    return ""


def _host_process(pod: Mapping[str, Json], parameters: Parameters) -> str:
    own = mapping(mapping(_spec(pod).get("securityContext")).get("windowsOptions"))
    if own.get("hostProcess"):
        return "the pod is a host process"
    return _first(
        f"container {item.get('name')} is a host process"
        for item in _containers(pod, parameters)
        if mapping(_context(item).get("windowsOptions")).get("hostProcess")
    )


def _first(found: Iterator[str]) -> str:
    return next(found, "")


def _list(parameters: Parameters, key: str) -> Sequence[str]:
    return words(parameters.get(key), key)


def _seen(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()


def _number(parameters: Parameters, key: str) -> int | None:
    value = parameters.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise MalformedError(f"{key} is not a number")
    return value


def _elsewhere(pod: Mapping[str, Json], parameters: Parameters) -> str:
    """Nothing: the template asks for labels, images, resources or probes, which a pod can have
    whatever rule of pod security it breaks.
    """
    return ""


LIBRARY: Mapping[str, Known] = {
    "K8sPSPAllowPrivilegeEscalationContainer": Known(
        "Allow Privilege Escalation in Container", _escalation
    ),
    "K8sPSPAllowedUsers": Known("Allowed Users", _users),
    "K8sPSPCapabilities": Known("Capabilities", _capabilities),
    "K8sPSPHostFilesystem": Known("Host Filesystem", _host_files),
    "K8sPSPHostNamespace": Known("Host Namespace", _host_namespaces),
    "K8sPSPHostNetworkingPorts": Known("Host Networking Ports", _host_network),
    "K8sPSPHostProcess": Known("Host Process", _host_process),
    "K8sPSPPrivilegedContainer": Known("Privileged Container", _privileged),
    "K8sPSPProcMount": Known("Proc Mount", _proc_mount),
    "K8sPSPReadOnlyRootFilesystem": Known("Read Only Root Filesystem", _read_only_root),
    "K8sPSPSeccomp": Known("Seccomp", _seccomp),
    "K8sPSPVolumeTypes": Known("Volume Types", _volume_types),
    "K8sAllowedRepos": Known("Allowed Repositories", _elsewhere),
    "K8sContainerLimits": Known("Container Limits", _elsewhere),
    "K8sContainerRequests": Known("Container Requests", _elsewhere),
    "K8sDisallowedTags": Known("Disallow tags", _elsewhere),
    "K8sImageDigests": Known("Image Digests", _elsewhere),
    "K8sRequiredAnnotations": Known("Required Annotations", _elsewhere),
    "K8sRequiredLabels": Known("Required Labels", _elsewhere),
    "K8sRequiredProbes": Known("Required Probes", _elsewhere),
    "K8sRequiredResources": Known("Required Resources", _elsewhere),
}
"""The kinds of the library that speak of the rules of pod security, and those of its general ones
that are often about pods and speak of none.
"""
