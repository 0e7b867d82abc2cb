"""What the checks of containers share: reading an inspect that may lack anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from auditor.model import Json, Resource, Verdict, View, unknown

_EMPTY: Mapping[str, Json] = {}


def host_config(container: Resource) -> Mapping[str, Json]:
    """The options that the container was created with; empty when the engine gave none."""
    return _part(container, "HostConfig")


def config(container: Resource) -> Mapping[str, Json]:
    """The container's configuration, the image's already merged in by the engine."""
    return _part(container, "Config")


def state(container: Resource) -> Mapping[str, Json]:
    """The state of the container's process."""
    return _part(container, "State")


def missing(part: str) -> Verdict:
    """The verdict where the engine's answer lacks what decides."""
    return unknown(part, "the engine's answer does not have it")


def engine_info(view: View) -> Mapping[str, Json]:
    """What the engine says of itself; empty when it was not read."""
    for engine in view.of_kind("engine"):
        info = engine.body.get("info")
        if isinstance(info, Mapping):
            return info
    return _EMPTY


def security_options(view: View) -> frozenset[str]:
    """The names of the engine's security options: `seccomp`, `userns`, `rootless`, …"""
    options = engine_info(view).get("SecurityOptions")
    rows = options if isinstance(options, list) else []
    parts = (str(row).split(",")[0].removeprefix("name=") for row in rows)
    return frozenset(parts)


def engine_options(view: View) -> Mapping[str, Mapping[str, str]] | None:
    """The engine's security options with their fields; None when the engine does not tell them.

    Engines write `name=seccomp,profile=builtin`; the oldest ones just `seccomp`.
    """
    options = engine_info(view).get("SecurityOptions")
    if not isinstance(options, list):
        return None
    found: dict[str, Mapping[str, str]] = {}
    for row in options:
        first, *rest = str(row).split(",")
        fields = (field.partition("=") for field in rest)
        found[first.removeprefix("name=")] = {key: value for key, _, value in fields}
    return found


def security_opt(container: Resource, name: str) -> str | None:
    """The value of one of the container's `--security-opt`; None where it is not given.

    An option reads `seccomp=unconfined` or, as older clients wrote it, `seccomp:unconfined`; of
    several the last one counts, as it does for the engine.
    """
    found = None
    for option in texts(host_config(container).get("SecurityOpt")):
        key, mark, value = option.partition("=")
        if not mark or ":" in key:
            key, _, value = option.partition(":")
        if key == name:
            found = value
    return found


def containers_by_id(view: View) -> dict[str, Resource]:
    """The containers of the engine by id and by name."""
    found = {}
    for container in view.of_kind("container"):
        found[container.name] = found[str(container.body.get("id") or "")] = container
    return found


def image_of(container: Resource, view: View) -> Resource | None:
    """The image that the container was made from, where its resource was read."""
    return view.index(_images_by_id).get(str(container.body.get("image_id") or ""))


def _images_by_id(view: View) -> dict[str, Resource]:
    return {str(image.body.get("id")): image for image in view.of_kind("image")}


def texts(value: Json) -> list[str]:
    """A list of texts that an engine may give as `null`."""
    return [str(item) for item in value] if isinstance(value, list) else []


def env_hits(env: Json) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """Yield the name of each variable that holds a secret, with what was seen of the secret."""
    for variable in env if isinstance(env, list) else []:
        if isinstance(variable, Mapping):
            for hit in variable.get("hits") or ():
                yield str(variable.get("name")), hit


def seen(hit: Mapping[str, Json]) -> str:
    """One line for what was seen of a secret: never more than its kind and its length."""
    text = f"{hit.get('detector')}, {hit.get('length')} characters"
    return text + (", looks like a placeholder" if hit.get("placeholder") else "")


def inspected(container: Resource, name: str) -> Json:
    """A field of the inspect itself; None where the engine gave none."""
    inspect = container.body.get("inspect")
    return inspect.get(name) if isinstance(inspect, Mapping) else None


def _part(container: Resource, name: str) -> Mapping[str, Json]:
    inspect = container.body.get("inspect")
    part = inspect.get(name) if isinstance(inspect, Mapping) else None
    return part if isinstance(part, Mapping) else _EMPTY
