"""What is installed in an image: package databases, and programs that say it by their names.

Databases of apk (`P:` and `V:` lines) and of dpkg (control stanzas; also the `status.d` parts of
images without dpkg) are read. One of rpm is recognised and not read: what it holds is unknown.
Names and versions are kept only if they look like ones, for they come from a stranger's file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_DATABASE = 32 * 1024 * 1024
"""Largest database that is read: ten times that of a full desktop system."""
_MAX_PACKAGES = 20_000

_APK = frozenset({"lib/apk/db/installed", "usr/lib/apk/db/installed"})
_DPKG = "var/lib/dpkg/status"
_DPKG_PART = re.compile(r"var/lib/dpkg/status\.d/(?!.*\.md5sums$)[^/]+")
_RPM = re.compile(r"(?:var/lib/rpm|usr/lib/sysimage/rpm)/(?:rpmdb\.sqlite|Packages(?:\.db)?)")

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_:~^-]{0,127}")
_BINARIES = re.compile(r"(?:usr/(?:local/)?)?s?bin")
_PROGRAMS = frozenset(
    {
        *("apk", "apt", "apt-get", "aptitude", "dnf", "dnf5", "dpkg", "microdnf", "pacman", "rpm"),
        *("tdnf", "yum", "zypper"),
        *("as", "c++", "cargo", "cc", "clang", "cmake", "g++", "gcc", "gfortran", "go", "javac"),
        *("ld", "make", "ninja", "rustc", "tcc"),
    }
)
"""Programs that are listed where an image has them: package managers and compilers."""


class Package(NamedTuple):
    """A package that is installed, in which version."""

    name: str
    version: str


class Database(NamedTuple):
    """A package database: its kind, and what it lists; None when it was not read."""

    kind: str
    packages: tuple[Package, ...] | None


def kind_of(path: str) -> str | None:
    """The kind of package database that lies at a path, or None."""
    if path in _APK:
        return "apk"
    if path == _DPKG or _DPKG_PART.fullmatch(path):
        return "dpkg"
    return "rpm" if _RPM.fullmatch(path) else None


def is_program(path: str, link: str = "") -> bool:
    """Whether a path is that of a program which is listed; `link` is what it links to, if it does.

    BusyBox has applets under the names of package managers, which unpack and do not install.
    """
    folder, _, name = path.rpartition("/")
    applet = link.rpartition("/")[2] in {"busybox", "["}
    return name in _PROGRAMS and bool(_BINARIES.fullmatch(folder)) and not applet


def read_database(kind: str, data: bytes) -> Database:
    """Read a database of apk or dpkg; one of rpm, or with too many packages, stays unread."""
    if kind == "rpm":
        return Database(kind, None)
    found: list[Package] = []
    text = data.decode("utf-8", "replace")
    for package in _apk(text) if kind == "apk" else _dpkg(text):
        if len(found) >= _MAX_PACKAGES:
            return Database(kind, None)
        found.append(package)
    return Database(kind, tuple(found))


def _apk(text: str) -> Iterator[Package]:
    name = version = ""
    for line in [*text.splitlines(), ""]:
        if not line.strip():
            if _WORD.fullmatch(name):
                yield Package(name, _version(version))
            name = version = ""
        elif line.startswith("P:"):
            name = line[2:].strip()
        elif line.startswith("V:"):
            version = line[2:].strip()


def _dpkg(text: str) -> Iterator[Package]:
    fields: dict[str, str] = {}
    for line in [*text.splitlines(), ""]:
        if not line.strip():
            status = fields.get("status", "install ok installed").split()
            if _WORD.fullmatch(fields.get("package", "")) and status[-1:] == ["installed"]:
                yield Package(fields["package"], _version(fields.get("version", "")))
            fields = {}
            continue
        key, colon, value = line.partition(":")
        if colon and key.lower() in {"package", "version", "status"}:
            fields.setdefault(key.lower(), value.strip())


def _version(text: str) -> str:
    return text if _WORD.fullmatch(text) else ""
