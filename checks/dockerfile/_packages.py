"""Pure helpers: what a command does with a package manager."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from checks.dockerfile._facts import Instruction, Ran, is_open, ran


class Package(NamedTuple):
    """A package as a command names it: without its version, where it stands, and as written."""

    name: str
    line: int
    column: int
    written: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """`kind` is `install`, `remove`, `upgrade`, `update` (lists only) or `mark-all` (apt-mark).

    `group` is the virtual package of apk; `dependencies` says that unneeded packages go too;
    `open_ends` that a variable without a value here names packages.
    """

    kind: str
    manager: str
    packages: tuple[Package, ...]
    group: str | None
    dependencies: bool
    open_ends: bool
    command: Ran


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_KINDS: Mapping[str, Mapping[str, str]] = {
    "apk": {"add": "install", "del": "remove", "update": "update", "upgrade": "upgrade"},
    "apt": {
        "install": "install",
        "build-dep": "install",
        "reinstall": "install",
        "satisfy": "install",
        "remove": "remove",
        "purge": "remove",
        "autoremove": "remove",
        "update": "update",
        "upgrade": "upgrade",
        "dist-upgrade": "upgrade",
        "full-upgrade": "upgrade",
    },
    "dnf": {
        "install": "install",
        "localinstall": "install",
        "groupinstall": "install",
        "reinstall": "install",
        "remove": "remove",
        "erase": "remove",
        "autoremove": "remove",
        "makecache": "update",
        "check-update": "update",
        "update": "upgrade",
        "upgrade": "upgrade",
    },
    "zypper": {
        "install": "install",
        "in": "install",
        "remove": "remove",
        "rm": "remove",
        "refresh": "update",
        "ref": "update",
        "update": "upgrade",
        "up": "upgrade",
        "dist-upgrade": "upgrade",
        "dup": "upgrade",
    },
}
_MANAGERS = {
    "apk": "apk",
    "apt": "apt",
    "apt-get": "apt",
    "aptitude": "apt",
    "dnf": "dnf",
    "dnf5": "dnf",
    "microdnf": "dnf",
    "tdnf": "dnf",
    "yum": "dnf",
    "zypper": "zypper",
}
_WITH_VALUE: Mapping[str, frozenset[str]] = {
    "apk": _set(
        """
        -t --virtual -X --repository -p --root --arch --keys-dir --repositories-file --cache-dir
        --wait --progress-fd --timeout --cache-max-age
        """
    ),
    "apt": _set("-o --option -t --target-release --default-release -c --config-file"),
    "dnf": _set("-c --config -x --exclude --releasever --installroot --setopt"),
    "zypper": _set("-r --repo -R --root --from -t --type -D --reposd-dir"),
}
_VERSION = re.compile(r"[=~<>@].*$|:(?:any|native|amd64|arm64|i386|armhf)$")


def actions(found: Sequence[Instruction]) -> list[Action]:
    """Every use of a package manager by the RUN instructions given, in order."""
    return [action for command in ran(found) if (action := action_of(command)) is not None]


def action_of(command: Ran) -> Action | None:
    """What a command does with a package manager, or None when it does nothing with one."""
    if command.program == "apt-mark" and command.words[1:2] == ("auto",):
        everything = any(word in {".*", "*"} for word in command.words[2:])
        return Action("mark-all", "apt", (), None, False, False, command) if everything else None
    if command.program == "pacman":
        return _pacman(command)
    manager = _MANAGERS.get(command.program)
    if manager is None:
        return None
    operands: list[int] = []
    group: str | None = None
    dependencies = False
    index = 1
    while index < len(command.words):
        word = command.words[index]
        if not word.startswith("-") or word == "-":
            operands.append(index)
        else:
            name, _, value = word.partition("=")
            takes_next = name in _WITH_VALUE[manager] and not value
            if name in {"-t", "--virtual"} and manager == "apk":
                group = value or "".join(command.words[index + 1 : index + 2])
            dependencies = dependencies or name in {"--auto-remove", "--autoremove", "-u"}
            index += takes_next
        index += 1
    if not operands:
        return None
    word = command.words[operands[0]]
    kind = _KINDS[manager].get(word)
    if kind is None:
        return None
    rest = operands[1:]
    return Action(
        kind=kind,
        manager=manager,
        packages=_packages(command, rest),
        group=group,
        dependencies=dependencies or word == "autoremove",
        open_ends=any(is_open(command.words[place]) for place in rest),
        command=command,
    )


def _packages(command: Ran, places: Sequence[int]) -> tuple[Package, ...]:
    found = []
    for place in places:
        name = _VERSION.sub("", command.words[place].partition("/")[0]).lower()
        if command.words[place].startswith("@"):  # a group of dnf, not a version
            name = command.words[place].lower()
        if name and not is_open(command.words[place]):
            found.append(Package(name, *command.place(place), command.words[place]))
    return tuple(found)


class Stays(NamedTuple):
    """What one RUN leaves installed: packages with apk's group, and what variables hide."""

    kept: tuple[Package, ...]
    open_removal: bool
    open_install: bool


def stays(instruction: Instruction) -> Stays:
    """Return the packages that an instruction installs and does not remove again."""
    kept: list[tuple[Package, str | None]] = []
    open_removal = open_install = everything = False
    for action in actions([instruction]):
        if action.kind == "install":
            kept += [(package, action.group) for package in action.packages]
            open_install = open_install or action.open_ends
        elif action.kind == "mark-all":
            everything = True
        elif action.kind == "remove":
            open_removal = open_removal or (action.open_ends and not everything)
            # `apt-mark auto '.*'` and an automatic removal: all that nothing else needs goes.
            kept = [] if everything and action.dependencies else _without(kept, action)
    return Stays(tuple(package for package, _ in kept), open_removal, open_install)


def _without(
    kept: Sequence[tuple[Package, str | None]], action: Action
) -> list[tuple[Package, str | None]]:
    names = [package.name for package in action.packages]
    return [
        (package, group)
        for package, group in kept
        if (group or "").lower() not in names
        and not any(fnmatch.fnmatchcase(package.name, name) for name in names)
    ]


def _pacman(command: Ran) -> Action | None:
    options = "".join(word for word in command.words[1:] if re.fullmatch(r"-[A-Za-z]+", word))
    places = [
        place for place, word in enumerate(command.words) if place and not word.startswith("-")
    ]
    kind = {"S": "install", "R": "remove", "U": "install"}.get(options[:2].lstrip("-"))
    if kind == "install" and not places:
        kind = "upgrade" if "u" in options else "update"
    if kind is None:
        return None
    open_ends = any(is_open(command.words[place]) for place in places)
    return Action(kind, "pacman", _packages(command, places), None, False, open_ends, command)


_BUILD_TOOLS = _set(
    """
    alpine-sdk autoconf automake base-devel binutils bison build-base build-essential c++ cargo cc
    clang cmake default-jdk default-jdk-headless dpkg-dev flex g++ gcc gcc-c++ gdb gfortran gmake go
    golang golang-go gradle kernel-headers libtool linux-headers llvm m4 make maven meson nasm ninja
    ninja-build patch pkg-config pkgconf pkgconf-pkg-config pkgconfig rust rustc swig yasm
    @development @development-tools
    """
)
_BUILD_PATTERNS = (
    "*-dev",
    "*-devel",
    "*-headers",
    "linux-headers-*",
    "gcc-[0-9]*",
    "g++-[0-9]*",
    "clang[0-9]*",
    "clang-[0-9]*",
    "llvm[0-9]*",
    "llvm-[0-9]*",
    "openjdk*-jdk*",
    "java-*-devel",
    "golang-[0-9]*",
    "rust-*",
    "development tools",
)


def is_build_tool(name: str) -> bool:
    """Whether a package is for building: a compiler, its helpers, or headers to build against."""
    if name.endswith("-base"):  # gcc-12-base: a document that Debian's C library depends on
        return False
    return name in _BUILD_TOOLS or any(
        fnmatch.fnmatchcase(name, pattern) for pattern in _BUILD_PATTERNS
    )
