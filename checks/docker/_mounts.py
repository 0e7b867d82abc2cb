"""What a container has mounted, and what of the host each mount shows."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from auditor.model import Json, Resource, View
from checks.docker._inspect import host_config, inspected, texts


class Mount(NamedTuple):
    """One mount: its place in the inspect, what it shows of the host, and words for it.

    `source` is empty where it shows nothing of the host; `volume` says that a volume lies between.
    """

    path: str
    source: str
    target: str
    shown: str
    writable: bool
    volume: bool
    propagation: str


def mounts(container: Resource, view: View) -> Iterator[Mount]:
    """Yield each mount of a container, also those that only its options have."""
    found = inspected(container, "Mounts")
    bound = set()
    for index, mount in enumerate(found if isinstance(found, list) else ()):
        source, target = str(mount.get("Source") or ""), str(mount.get("Destination") or "")
        path, writable = f"Mounts[{index}].Source", bool(mount.get("RW", True))
        note = "" if writable else ", read-only"
        spread = str(mount.get("Propagation") or "")
        if mount.get("Type") == "volume":
            name = str(mount.get("Name") or "")
            device = view.index(_devices).get(name, "")
            shown = f"volume {name} of {device or 'the engine'} at {target}{note}"
            yield Mount(path, device, target, shown, writable, True, spread)
        else:
            bound.add(target)
            shown = f"{source} at {target}{note}"
            yield Mount(path, source, target, shown, writable, False, spread)
    for index, bind in enumerate(texts(host_config(container).get("Binds"))):
        source, _, rest = bind.partition(":")
        target, _, words = rest.partition(":")
        if source.startswith("/") and target not in bound:
            options = words.split(",")
            spread = next((word for word in options if word in _PROPAGATIONS), "")
            writable = "ro" not in options
            note = "" if writable else ", read-only"
            path = f"HostConfig.Binds[{index}]"
            yield Mount(
                path, source, target, f"{source} at {target}{note}", writable, False, spread
            )


def mounts_told(container: Resource) -> bool:
    """Whether the engine's answer has the list of mounts at all, be it `null` for none."""
    inspect = container.body.get("inspect")
    return isinstance(inspect, Mapping) and "Mounts" in inspect


_PROPAGATIONS = frozenset({"shared", "rshared", "slave", "rslave", "private", "rprivate"})


def host_path(source: str) -> str:
    """A path of the host in one form: `..` resolved, `/var/run` as the `/run` that it links to."""
    path = posixpath.normpath("/" + source.lstrip("/"))
    if path == "/var/run" or path.startswith("/var/run/"):
        return path.removeprefix("/var")
    return path


def _devices(view: View) -> dict[str, str]:
    """The directory that each volume of the local driver binds, by the volume's name."""
    found = {}
    for volume in view.of_kind("volume"):
        options: Json = volume.body.get("Options")
        if isinstance(options, Mapping) and {"bind", "rbind"} & set(
            str(options.get("o") or "").split(",")
        ):
            found[volume.name] = str(options.get("device") or "")
    return found
