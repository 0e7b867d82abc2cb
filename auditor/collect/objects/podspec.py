"""Pod specs made lean and harmless: literal values searched and dropped, equal specs shared.

What only says *where* a pod runs (its node, its host name, scheduling wishes) is taken out, and
the token volume that the API server names at random gets one name, so that all pods of one
template have one spec. Checks then judge each distinct spec once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import orjson

from auditor.collect.secrets import Hit, detect, redact, redact_args
from auditor.model import Json

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
# Scheduling wishes decide no rule, and a DaemonSet's affinity names each pod's own node.
_PLACEMENT = frozenset(
    {"affinity", "tolerations", "topologySpreadConstraints", "nodeName", "hostname"}
)
_TOKEN_VOLUME = re.compile(r"kube-api-access-[a-z0-9]{5}")
_TOKEN_NAME = "kube-api-access"
_REFERENCE = re.compile(r"\$\([A-Za-z_][A-Za-z0-9_.-]*\)")
_RECENT = 64


class SpecPool:
    """The distinct pod specs of one target; equal specs come back as one object.

    Callers must not change what they get. Not thread-safe: one thread lists the pods.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Mapping[str, Json]] = {}
        # Siblings stand side by side in a list, so a short memory of raw specs saves most of the
        # work. It is short because raw specs hold literal values, which must not be kept.
        self._recent: dict[bytes, Mapping[str, Json]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def share(self, raw: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the pruned form of a raw pod spec. Raises `ValueError` when it is malformed."""
        placed = {key: value for key, value in raw.items() if key not in _PLACEMENT}
        placed = _with_one_token_name(placed)
        # Unsorted: an API server writes siblings alike, and another order would only cost time.
        key = orjson.dumps(placed, option=orjson.OPT_NON_STR_KEYS)
        recent = self._recent.get(key)
        if recent is None:
            recent = self._equal(_pruned(placed))
            if len(self._recent) >= _RECENT:
                del self._recent[next(iter(self._recent))]
            self._recent[key] = recent
        return recent

    def _equal(self, pruned: Mapping[str, Json]) -> Mapping[str, Json]:
        digest = blake2b(orjson.dumps(pruned, option=_SORTED), digest_size=16).digest()
        return self._known.setdefault(digest, pruned)


def prune_pod_spec(raw: Json) -> dict[str, Json]:
    """Return a pod spec without literal values, credentials on command lines and placement.

    An `env` entry with a literal becomes `{"name", "literal": {"length", "hits"}}`. A container
    whose command or probes held a credential gets `redacted`: a list of hits with their `path`
    inside the container.

    Raises `ValueError`, naming the place, when the spec has a shape no API server would take.
    """
    if not isinstance(raw, dict):
        raise ValueError("the pod spec is not an object")
    spec = {key: value for key, value in raw.items() if key not in _PLACEMENT}
    return _pruned(_with_one_token_name(spec))


def _pruned(placed: Mapping[str, Json]) -> dict[str, Json]:
    """The same for a spec without placement, whose token volume has its one name already."""
    spec = dict(placed)
    if not listed(spec, "containers", "spec"):
        raise ValueError("spec.containers is empty or not there")
    _object(spec, "securityContext", "spec")
    for key in _CONTAINER_LISTS:
        if spec.get(key) is not None:
            spec[key] = [
                _container(item, f"spec.{key}[{index}]")
                for index, item in enumerate(listed(spec, key, "spec"))
            ]
    if spec.get("volumes") is not None:
        spec["volumes"] = [_volume(volume) for volume in listed(spec, "volumes", "spec")]
    return spec


def listed(parent: Mapping[str, Json], key: str, path: str) -> list[Mapping[str, Json]]:
    """Return a list of objects, empty when absent. Raises `ValueError` for anything else."""
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{path}.{key} is not a list")
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise ValueError(f"{path}.{key}[{index}] is not an object")
    return value


def hit_rows(hits: Sequence[Hit]) -> list[dict[str, Json]]:
    """Hits as they are stored in a body."""
    return [hit._asdict() for hit in hits]


def summary_of(text: str, hits: Sequence[Hit]) -> dict[str, Json]:
    """What may be kept of a dropped value: its length in characters and what was seen in it."""
    return {"length": len(text), "hits": hit_rows(hits)}


def as_text(value: Json) -> str:
    """A scalar as the text Kubernetes would store; an unquoted number in YAML is none yet."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _object(parent: Mapping[str, Json], key: str, path: str) -> Mapping[str, Json]:
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{path}.{key} is not an object")
    return value


def _with_one_token_name(spec: dict[str, Json]) -> dict[str, Json]:
    """Give the projected token volume, and its mounts, a name without the random suffix."""
    volumes = spec.get("volumes")
    if not isinstance(volumes, list):
        return spec
    random = {
        volume["name"]
        for volume in volumes
        if isinstance(volume, dict)
        and "projected" in volume
        and isinstance(volume.get("name"), str)
        and _TOKEN_VOLUME.fullmatch(volume["name"])
    }
    if len(random) != 1:
        return spec
    renamed = dict(spec)
    renamed["volumes"] = [_renamed(volume, random) for volume in volumes]
    for key in _CONTAINER_LISTS:
        containers = spec.get(key)
        if isinstance(containers, list):
            renamed[key] = [_mounts_renamed(container, random) for container in containers]
    return renamed


def _renamed(item: Json, names: set[str]) -> Json:
    if isinstance(item, dict) and item.get("name") in names:
        return {**item, "name": _TOKEN_NAME}
    return item


def _mounts_renamed(container: Json, names: set[str]) -> Json:
    mounts = container.get("volumeMounts") if isinstance(container, dict) else None
    if not isinstance(mounts, list):
        return container
    return {**container, "volumeMounts": [_renamed(mount, names) for mount in mounts]}


def _container(raw: Mapping[str, Json], path: str) -> dict[str, Json]:
    container = dict(raw)
    container.pop("terminationMessagePath", None)
    container.pop("terminationMessagePolicy", None)
    security = _object(container, "securityContext", path)
    _object(security, "capabilities", f"{path}.securityContext")
    resources = _object(container, "resources", path)
    for key in ("requests", "limits"):
        _object(resources, key, f"{path}.resources")
    listed(container, "volumeMounts", path)
    if container.get("env") is not None:
        container["env"] = [_env(entry) for entry in listed(container, "env", path)]
    seen: list[dict[str, Json]] = []
    for key in ("command", "args"):
        if container.get(key) is not None:
            container[key] = _words(container[key], key, f"{path}.{key}", seen)
    for key in _PROBES:
        if container.get(key) is not None:
            container[key] = _handler(_object(container, key, path), key, path, seen)
    lifecycle = _object(container, "lifecycle", path)
    if lifecycle:
        container["lifecycle"] = {
            hook: _handler(_object(lifecycle, hook, path), f"lifecycle.{hook}", path, seen)
            for hook in lifecycle
        }
    if seen:
        container["redacted"] = seen
    return container


def _env(entry: Mapping[str, Json]) -> dict[str, Json]:
    name = as_text(entry.get("name"))
    if entry.get("valueFrom") is not None:
        return {"name": name, "valueFrom": entry["valueFrom"]}
    value = as_text(entry.get("value"))
    # $(OTHER) is another variable of the container, judged where that one stands.
    hits = () if _REFERENCE.fullmatch(value) else detect(value, name)
    return {"name": name, "literal": summary_of(value, hits)}


def _words(value: Json, place: str, path: str, seen: list[dict[str, Json]]) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(f"{path} is not a list")
    words, hits = redact_args([as_text(word) for word in value])
    seen.extend({"path": place, **row} for row in hit_rows(hits))
    return words


def _handler(
    handler: Mapping[str, Json], place: str, path: str, seen: list[dict[str, Json]]
) -> dict[str, Json]:
    """A probe or a lifecycle hook: its command and its HTTP headers are searched."""
    result = dict(handler)
    command = _object(result, "exec", f"{path}.{place}")
    if command.get("command") is not None:
        where = f"{place}.exec.command"
        words = _words(command["command"], where, f"{path}.{where}", seen)
        result["exec"] = {**command, "command": words}
    http = _object(result, "httpGet", f"{path}.{place}")
    headers = listed(http, "httpHeaders", f"{path}.{place}.httpGet")
    if headers:
        kept = []
        for header in headers:
            name = as_text(header.get("name"))
            value, hits = redact(as_text(header.get("value")), name)
            seen.extend({"path": f"{place}.httpGet.httpHeaders", **row} for row in hit_rows(hits))
            kept.append({"name": name, "value": value})
        result["httpGet"] = {**http, "httpHeaders": kept}
    return result


_DRIVER_OPTIONS = (("csi", "volumeAttributes"), ("flexVolume", "options"))


def _volume(raw: Mapping[str, Json]) -> Mapping[str, Json]:
    """Drivers take free options, and people put credentials there."""
    for driver, options in _DRIVER_OPTIONS:
        settings = _object(raw, driver, "spec.volumes")
        given = _object(settings, options, f"spec.volumes.{driver}")
        if given:
            kept = {str(key): redact(as_text(value), str(key))[0] for key, value in given.items()}
            return {**raw, driver: {**settings, options: kept}}
    return raw
