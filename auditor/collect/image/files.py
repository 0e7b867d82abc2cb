"""The layers of one image laid over one another: what its files say, and what lies below.

The result is the `files` part of an image's body:

    {"layers": [{"digest", "size", "entries"}], "entries": n,
     "setuid": [{"path", "mode": "4755", "uid", "gid", "layer"}], "setuid_count": n,
     "world_writable": [{"path", "mode", "directory", "layer"}], "world_writable_count": n,
     "secrets": [{"path", "line", "detector", "length", "certain", "layer", "deleted", "how"}],
     "secrets_count": n, "users": {name: uid} | None, "notes": {what: n},
     "packages": [{"name", "version", "manager"}], "packages_unread": ["rpm"],
     "programs": ["/usr/bin/gcc"]}

Layers are counted from 1, the base first. Permissions are those of the image as it runs; secrets
are those of every layer, because whoever can pull the image can read each layer: `deleted` says
that a later layer hides the file, and `how` which one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from auditor.collect.image.layers import Layer, Permission
from auditor.collect.secrets import redact
from auditor.model import Json

_PASSWD = "etc/passwd"
_LISTED = 200
"""Places of one kind that a body lists; it has the number of all of them beside."""
_LISTED_SETUID = 1000
_LONGEST = 512


def file_facts(layers: Sequence[Layer]) -> dict[str, Json]:
    """Lay the layers of one image over one another, the base first (see the module's text)."""
    setuid = _visible(layers, [layer.setuid for layer in layers])
    writable = _visible(layers, [layer.writable for layer in layers])
    secrets = _secrets(layers)
    notes: Counter[str] = Counter()
    for layer in layers:
        notes.update(layer.notes)
    unlisted = notes["world-writable, not listed"]
    return {
        "layers": [
            {"digest": layer.digest, "size": layer.size, "entries": len(layer.entries)}
            for layer in layers
        ],
        "entries": sum(len(layer.entries) for layer in layers),
        "setuid": [
            {
                "path": shown(item.path),
                "mode": f"{item.mode:04o}",
                "uid": item.uid,
                "gid": item.gid,
                "layer": number,
            }
            for number, item in setuid[:_LISTED_SETUID]
        ],
        "setuid_count": len(setuid),
        "world_writable": [
            {
                "path": shown(item.path),
                "mode": f"{item.mode:04o}",
                "directory": item.directory,
                "layer": number,
            }
            for number, item in writable[:_LISTED]
        ],
        "world_writable_count": len(writable) + unlisted,
        "secrets": secrets[:_LISTED],
        "secrets_count": len(secrets),
        "users": _users(layers),
        **_installed(layers),
        "notes": {key: notes[key] for key in sorted(notes) if notes[key]},
    }


def shown(path: str) -> str:
    """A path as a report may show it: from the root, printable, bounded, without a secret in it."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    text = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    if len(text) > _LONGEST:
        text = text[: _LONGEST // 2] + "…" + text[-_LONGEST // 2 :]
    return "/" + redact(text)[0]


def _hidden(layers: Sequence[Layer], number: int, path: str) -> str:
    """How a later layer hides a path of layer `number`; empty when none does."""
    for index in range(number, len(layers)):
        how = layers[index].hides(path)
        if how:
            return f"{how} by layer {index + 1}"
    return ""


def _visible(
    layers: Sequence[Layer], facts: Iterable[dict[str, Permission]]
) -> list[tuple[int, Permission]]:
    found = [
        (number, item)
        for number, kept in enumerate(facts, start=1)
        for item in kept.values()
        if not _hidden(layers, number, item.path)
    ]
    return sorted(found, key=lambda pair: pair[1].path)


def _secrets(layers: Sequence[Layer]) -> list[dict[str, Json]]:
    rows: dict[tuple[Any, ...], dict[str, Json]] = {}
    for number, layer in enumerate(layers, start=1):
        for item in layer.secrets:
            how = _hidden(layers, number, item.path)
            # A file whose mode was changed is copied up whole: one secret, not two.
            rows[(item.path, item.line, item.detector, item.length)] = {
                "path": shown(item.path),
                "line": item.line,
                "detector": item.detector,
                "length": item.length,
                "certain": item.certain,
                "layer": number,
                "deleted": bool(how),
                "how": how,
            }
    return sorted(
        rows.values(), key=lambda row: (not row["certain"], row["path"], row["line"] or 0)
    )


def _installed(layers: Sequence[Layer]) -> dict[str, Json]:
    """What is installed in the image as it runs: by its databases, and by programs' names."""
    packages: set[tuple[str, str, str]] = set()
    unread: set[str] = set()
    programs: set[str] = set()
    for number, layer in enumerate(layers, start=1):
        for path, database in layer.databases.items():
            if _hidden(layers, number, path):
                continue
            if database.packages is None:
                unread.add(database.kind)
            for package in database.packages or ():
                packages.add((package.name, package.version, database.kind))
        programs.update(path for path in layer.programs if not _hidden(layers, number, path))
    return {
        "packages": [
            {"name": name, "version": version, "manager": manager}
            for name, version, manager in sorted(packages)
        ],
        "packages_unread": sorted(unread),
        "programs": [shown(path) for path in sorted(programs)],
    }


def _users(layers: Sequence[Layer]) -> dict[str, int] | None:
    """Names and ids of the `/etc/passwd` that the running image sees; empty when it has none."""
    for layer in reversed(layers):
        if layer.has_passwd:
            return layer.users
        if layer.hides(_PASSWD):
            return {}
    return {}
