"""What one layer of an image holds, from one pass over its tar archive, in bounded memory.

A layer is read once and says: setuid and setgid files, what everybody may write, secrets, users,
and enough of its names to know later what it hides of the layers below it. Names are kept as
64-bit hashes (8 bytes an entry; Python's string hash, keyed anew in each process, so that nobody
can craft a collision): a layer of a million files costs 16 MB.

Nothing is extracted and no link is followed. The whiteout rules are those of the OCI image
specification 1.1, "Representing Changes".
"""

from __future__ import annotations

import stat
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from tarfile import TarInfo
from typing import NamedTuple

from auditor.collect.image.packages import (
    MAX_DATABASE,
    Database,
    is_program,
    kind_of,
    read_database,
)
from auditor.collect.image.places import Found, by_content, by_place
from auditor.collect.image.streams import ArchiveError, Budget, ForwardStream, entries
from auditor.model import Reason

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."
MAX_WRITABLE = 1000
"""World-writable entries that are listed of a layer; the others are counted."""
_MAX_USERS = 10_000
_PASSWD = "etc/passwd"


class Limits(NamedTuple):
    """The bounds of one scan: `scan_bytes` is the largest file that is searched for secrets."""

    budget: Budget
    scan_bytes: int


class Permission(NamedTuple):
    """The mode and owner of a file or directory that has a fact to tell."""

    path: str
    mode: int
    uid: int
    gid: int
    directory: bool


class Names:
    """A set of paths of which only hashes are kept; `freeze` makes it ready for questions."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, path: str) -> None:
        """Put a path in."""
        self._hashes.append(hash(path))

    def freeze(self) -> None:
        """Sort, so that `__contains__` can search."""
        self._hashes = array("q", sorted(self._hashes))

    def __contains__(self, path: str) -> bool:
        wanted = hash(path)
        index = bisect_left(self._hashes, wanted)
        return index < len(self._hashes) and self._hashes[index] == wanted


@dataclass(slots=True)
class Layer:
    """The facts of one layer. `digest` is the SHA-256 of its uncompressed archive, if computed.

    `users` maps names to user ids where the layer has an `/etc/passwd`; None is a passwd file that
    could not be read as one. `problems` say what was not looked at, `notes` count curiosities.
    """

    digest: str = ""
    size: int = 0
    entries: Names = field(default_factory=Names)
    files: Names = field(default_factory=Names)
    whiteouts: Names = field(default_factory=Names)
    opaques: Names = field(default_factory=Names)
    setuid: dict[str, Permission] = field(default_factory=dict)
    writable: dict[str, Permission] = field(default_factory=dict)
    secrets: list[Found] = field(default_factory=list)
    databases: dict[str, Database] = field(default_factory=dict)
    programs: set[str] = field(default_factory=set)
    has_passwd: bool = False
    users: dict[str, int] | None = None
    problems: list[tuple[Reason, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def hides(self, path: str) -> str | None:
        """Say how this layer hides a path of a layer below it; None when it does not."""
        if path in self.entries:
            return "overwritten"
        if path in self.whiteouts:
            return "deleted"
        for parent in parents(path):
            if parent in self.whiteouts or parent in self.opaques or parent in self.files:
                return "deleted"
        return None


def parents(path: str) -> Iterator[str]:
    """Yield the directories above a path, the nearest first, the root as an empty string."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def clean(name: str) -> str | None:
    """Turn an entry's name into a path below the root, without a leading slash.

    Returns None for a name that leads outside.
    """
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def scan_layer(stream: ForwardStream, limits: Limits) -> Layer:
    """Read a layer's archive to its end.

    A layer that is hostile or broken is returned with what was read of it and its `problems`.
    Raises `ArchiveError` only for a deadline that passed.
    """
    layer = Layer()
    try:
        for info in entries(stream):
            limits.budget.member()
            _take(layer, info, stream, limits)
        digest, zero = stream.finish()
        layer.digest = digest
        if not zero:
            _problem(layer, Reason.MALFORMED, "bytes after the end of its archive were not read")
    except ArchiveError as error:
        if error.reason is Reason.TIMED_OUT:
            raise
        _problem(layer, error.reason, error.detail)
    layer.size = stream.tell()
    for names in (layer.entries, layer.files, layer.whiteouts, layer.opaques):
        names.freeze()
    return layer


def _take(layer: Layer, info: TarInfo, stream: ForwardStream, limits: Limits) -> None:
    path = clean(info.name)
    if path is None:
        layer.notes["paths outside"] += 1
        _problem(layer, Reason.REFUSED, "an entry's path leads outside (../)")
        return
    if info.name.startswith("/"):
        layer.notes["absolute paths"] += 1
    if not path:
        return
    parent, _, name = path.rpartition("/")
    if name.startswith(WHITEOUT):
        if name == OPAQUE:
            layer.opaques.add(parent)
        elif not name.startswith(_AUFS):
            layer.whiteouts.add(f"{parent}/{name[4:]}" if parent else name[4:])
        return
    layer.entries.add(path)
    # Of two entries of one name the last one is what unpacking leaves.
    if layer.setuid.pop(path, None) or layer.writable.pop(path, None):
        layer.notes["duplicates"] += 1
    if info.isdir():
        _permissions(layer, info, path, limits.budget)
        return
    layer.files.add(path)
    layer.databases.pop(path, None)
    layer.programs.discard(path)
    if is_program(path, info.linkname):
        layer.programs.add(path)
    if path == _PASSWD:
        layer.has_passwd, layer.users = True, None
    if info.issym() or info.islnk():
        _link(layer, info, path, limits.budget)
        return
    if not info.isreg():
        layer.notes["devices" if info.isdev() else "entries of an unknown type"] += 1
        return
    _permissions(layer, info, path, limits.budget)
    _content(layer, info, path, stream, limits)


def _link(layer: Layer, info: TarInfo, path: str, budget: Budget) -> None:
    base = path.rpartition("/")[0] if info.issym() else ""
    target = info.linkname if info.linkname.startswith("/") else f"{base}/{info.linkname}"
    if clean(target) is None:
        layer.notes["links outside"] += 1
        if info.islnk():
            _problem(layer, Reason.REFUSED, "a hard link leads outside (../)")
    if info.islnk():
        # Unpacking gives the shared file the mode that stands in the link's own header.
        _permissions(layer, info, path, budget)


def _permissions(layer: Layer, info: TarInfo, path: str, budget: Budget) -> None:
    mode = info.mode & 0o7777
    directory = info.isdir()
    privileged = bool(mode & (stat.S_ISUID | stat.S_ISGID)) and not directory
    writable = bool(mode & stat.S_IWOTH) and not (directory and mode & stat.S_ISVTX)
    if not (privileged or writable):
        return
    owner, group = (number if 0 <= number < 2**32 else -1 for number in (info.uid, info.gid))
    seen = Permission(path, mode, owner, group, directory)
    if privileged:
        budget.fact()
        layer.setuid[path] = seen
    if writable and len(layer.writable) < MAX_WRITABLE:
        layer.writable[path] = seen
    elif writable:
        layer.notes["world-writable, not listed"] += 1


def _content(layer: Layer, info: TarInfo, path: str, stream: ForwardStream, limits: Limits) -> None:
    placed = by_place(path, info.size)
    found = [placed] if placed is not None else []
    searched = not info.issparse() and info.size <= limits.scan_bytes
    kind = kind_of(path)
    listed = kind not in {None, "rpm"} and not info.issparse() and info.size <= MAX_DATABASE
    data = stream.read(info.size) if info.size and (searched or listed) else b""
    if len(data) < info.size and (searched or listed):
        raise ArchiveError(Reason.MALFORMED, "it is cut short")
    if kind is not None:
        layer.databases[path] = read_database(kind, data) if listed else Database(kind, None)
    if not searched:
        layer.notes["files not searched for secrets"] += 1
    elif info.size:
        if path == _PASSWD:
            layer.users = parse_passwd(data)
        found += by_content(path, data)
    elif path == _PASSWD:
        layer.users = {}
    for item in found:
        limits.budget.fact()
        layer.secrets.append(item)


def parse_passwd(data: bytes) -> dict[str, int]:
    """Read `name:x:uid:…` lines; the first line of a name counts, as it does for the C library."""
    users: dict[str, int] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[2].isdecimal() and len(fields[2]) <= 10:
            users.setdefault(fields[0], int(fields[2]))
            if len(users) >= _MAX_USERS:
                break
    return users


def _problem(layer: Layer, reason: Reason, detail: str) -> None:
    if (reason, detail) not in layer.problems:
        layer.problems.append((reason, detail))
