"""Pure helpers: what a command does with the package manager of a programming language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from checks.dockerfile._facts import Instruction, Ran, ran


class Asked(NamedTuple):
    """A package that a command asks for, as written, and where it stands among the words."""

    written: str
    place: int


class Install(NamedTuple):
    """A command that installs: with which manager, which packages by name, and for what version.

    `version` is that of an option which counts for all of them (`gem install x -v 1.2`).
    """

    manager: str
    command: Ran
    packages: tuple[Asked, ...]
    version: str | None = None


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PYTHON = re.compile(r"python\d?(?:\.\d+)?")
_PIP = re.compile(r"pip\d?(?:\.\d+)?")
_FILES = _set("-r --requirement --requirements -c --constraint -e --editable")
_WITH_VALUE: Mapping[str, frozenset[str]] = {
    "pip": _FILES
    | _set(
        """
        -i --index-url
        --extra-index-url
        -f --find-links -t --target --prefix --root --platform
        --python-version --implementation --abi --trusted-host --cache-dir --proxy --retries
        --timeout --progress-bar --upgrade-strategy --no-binary --only-binary --log --python
        --index --default-index --src -d --dest -w --wheel-dir --cert --config-settings
        """
    ),
    "npm": _set("--prefix --registry --cache --loglevel -C --tag -w --workspace --omit --include"),
    "gem": _set("-v --version -i --install-dir -n --bindir -s --source -P --trust-policy"),
    "go": _set("-tags -ldflags -gcflags -mod -C -o -p"),
    "cargo": _set(
        "--version --vers --root --path --git --rev --tag --branch --features --registry"
    ),
}
_VERBS: Mapping[str, frozenset[str]] = {
    "pip": _set("install download wheel"),
    "npm": _set("install i add ci update"),
    "yarn": _set("install add"),
    "pnpm": _set("install i add update"),
    "gem": _set("install"),
    "go": _set("install get"),
    "cargo": _set("install"),
}
_OWN_FILES = re.compile(r"^[./~]|\.(?:whl|gz|zip|tgz|gem|bz2)(?:\[.*\])?$|^file:")


def installs(found: Sequence[Instruction]) -> Iterator[Install]:
    """Every installation by the manager of a language that the RUN instructions do, in order."""
    for command in ran(found):
        manager, start = _manager(command.words)
        if manager is None:
            continue
        install = _install(manager, command, start)
        if install is not None:
            yield install


def _manager(words: Sequence[str]) -> tuple[str | None, int]:
    """Which manager the words start, and the index of its first argument."""
    program = words[0]
    if _PYTHON.fullmatch(program) and tuple(words[1:3]) == ("-m", "pip"):
        return "pip", 3
    if program == "uv" and words[1:2] == ("pip",):
        return "pip", 2
    if _PIP.fullmatch(program) or program == "pipx":
        return "pip", 1
    return (program if program in _VERBS else None), 1


def _install(manager: str, command: Ran, start: int) -> Install | None:
    family = "npm" if manager in {"yarn", "pnpm"} else manager
    verb: str | None = None
    version: str | None = None
    packages: list[Asked] = []
    index = start
    words = command.words
    while index < len(words):
        word = words[index]
        name, equals, value = word.partition("=")
        if word.startswith("-") and len(word) > 1:
            takes_next = name in _WITH_VALUE[family] and not equals
            if name in {"-v", "--version", "--vers", "--rev", "--tag"} and family != "npm":
                version = value or "".join(words[index + 1 : index + 2])
            elif name == "--path":
                version = "its own folder"
            index += takes_next
        elif verb is None:
            if word == "global" and manager == "yarn":
                pass
            elif word not in _VERBS[manager]:
                return None
            else:
                verb = word
        elif not _OWN_FILES.search(word):
            packages.append(Asked(word, index))
        index += 1
    if verb is None and manager == "yarn":
        verb = "install"  # what a bare yarn does
    return None if verb is None else Install(manager, command, tuple(packages), version)


_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_pinned(install: Install, package: str) -> bool:
    """Whether a package is asked for in a version that somebody chose."""
    if install.version is not None:
        return any(map(str.isdigit, install.version)) or install.version == "its own folder"
    if install.manager == "pip":
        return _pip_pinned(package)
    if install.manager == "gem":
        return any(map(str.isdigit, package.partition(":")[2]))
    if install.manager == "go" and "@" not in package:
        return True  # of the module that is being built, whose go.mod decides
    if "://" in package or package.startswith(("git+", "github:")):
        return _reference(package.partition("#")[2])
    return any(map(str.isdigit, package.lstrip("@").partition("@")[2])) or _open(package)


def _pip_pinned(package: str) -> bool:
    package = package.partition(";")[0]
    address = re.search(r"(?:git|hg|svn|bzr)\+\S+", package)
    if address:
        return _reference(address.group().partition("#")[0].rpartition("/")[2].partition("@")[2])
    return "://" in package or bool(re.search(r"(?:===?|~=)\s*[^\s,]", package))


def _reference(text: str) -> bool:
    """Whether a Git reference stays what it is: a commit, or a tag with a number in it."""
    return bool(_COMMIT.fullmatch(text)) or any(map(str.isdigit, text)) or _open(text)


def _open(package: str) -> bool:
    """Whether a variable stands for the version: then somebody names one at build time."""
    return bool(re.search(r"[@#:]?\$\{\w+\}", package.lstrip("@").partition("@")[2]))
