"""Pure helpers: what package managers leave behind in a layer, and what takes it away again."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from checks.dockerfile._facts import Instruction, Ran, is_open, ran
from checks.dockerfile._languages import installs
from checks.dockerfile._packages import action_of


class Left(NamedTuple):
    """A command that fills a cache which the layer keeps, and how to do without.

    `open_ends` says that a variable without a value here may take it away after all.
    """

    manager: str
    command: Ran
    keeps: str
    instead: str
    open_ends: bool = False


class _Cache(NamedTuple):
    """Where a manager keeps what it fetched, the commands that empty it, and what to do."""

    folders: tuple[str, ...]
    cleans: re.Pattern[str]
    keeps: str
    instead: str


_NEVER = re.compile(r"(?!)")
_CACHES: Mapping[str, _Cache] = {
    "apk": _Cache(
        ("/var/cache/apk", "/etc/apk/cache"), _NEVER, "the package index", "apk add --no-cache"
    ),
    "apt": _Cache(
        ("/var/lib/apt/lists", "/var/lib/apt"),
        re.compile(r"apt(?:-get)? dist-?clean\b"),
        "the package lists",
        "rm -rf /var/lib/apt/lists/* in the same RUN, or a cache mount",
    ),
    "dnf": _Cache(
        ("/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5"),
        re.compile(r"(?:\w*dnf5?|yum)(?: -\S+)* clean (?:\S+ )*all\b"),
        "metadata and packages",
        "dnf clean all in the same RUN, or a cache mount",
    ),
    "zypper": _Cache(
        ("/var/cache/zypp",),
        re.compile(r"zypper(?: -\S+)* (?:clean|cc)\b"),
        "metadata and packages",
        "zypper clean --all in the same RUN, or a cache mount",
    ),
    "pacman": _Cache(
        ("/var/cache/pacman", "/var/cache/pacman/pkg"),
        re.compile(r"pacman(?: \S+)* -Sc+\b"),
        "downloaded packages",
        "pacman -Scc in the same RUN, or a cache mount",
    ),
    "pip": _Cache(
        ("/root/.cache", "/root/.cache/pip", "/root/.cache/uv", "~/.cache", "~/.cache/pip"),
        re.compile(r"(?:pip\d?(?:\.\d+)?|uv) cache (?:purge|clean)\b"),
        "downloaded archives",
        "pip install --no-cache-dir, PIP_NO_CACHE_DIR=1, or a cache mount",
    ),
    "npm": _Cache(
        ("/root/.npm", "~/.npm", "/root/.npm/_cacache", "~/.npm/_cacache"),
        re.compile(r"npm cache (?:clean|rm|clear)\b"),
        "downloaded archives",
        "npm cache clean --force in the same RUN, or a cache mount",
    ),
    "yarn": _Cache(
        ("/usr/local/share/.cache", "/usr/local/share/.cache/v6", "/root/.cache", "~/.cache"),
        re.compile(r"yarn cache clean\b"),
        "downloaded archives",
        "yarn cache clean in the same RUN, or a cache mount",
    ),
    "pnpm": _Cache(
        ("/root/.local/share/pnpm/store", "/root/.local/share/pnpm", "~/.local/share/pnpm/store"),
        re.compile(r"pnpm store prune\b"),
        "downloaded archives",
        "a cache mount for the store",
    ),
}
_OFF = frozenset({"", "0", "false", "no", "off", "f", "n"})


def left_behind(found: Sequence[Instruction]) -> Iterator[Left]:
    """The caches that the RUN instructions given, those of one image in order, leave in it.

    One for each manager of an instruction: the first command that fills its cache.
    """
    pip_off = False
    for instruction in found:
        if instruction["cmd"] in {"ENV", "ARG"}:
            for pair in instruction.get("pairs", ()):
                if pair["name"] in {"PIP_NO_CACHE_DIR", "UV_NO_CACHE"}:
                    pip_off = (pair["value"] or "").strip().lower() not in _OFF
        elif instruction["cmd"] == "RUN":
            yield from _of_one(instruction, pip_off)


def _of_one(instruction: Instruction, pip_off: bool) -> Iterator[Left]:
    done = list(ran([instruction]))
    seen: set[str] = set()
    emptied: dict[str, tuple[int, int]] = {}
    inline = re.search(r"(?:PIP_NO_CACHE_DIR|UV_NO_CACHE)=(\w+)", _text(instruction))
    pip_off = pip_off or (inline is not None and inline.group(1).lower() not in _OFF)
    for place, command in enumerate(done):
        manager = _fills(command, pip_off)
        if manager is None or manager in seen or _mounted(instruction, manager):
            continue
        cache = _CACHES[manager]
        if manager not in emptied:
            emptied[manager] = _last_emptied(done, cache)
        surely, perhaps = emptied[manager]
        if surely > place:
            continue
        seen.add(manager)
        yield Left(manager, command, cache.keeps, cache.instead, perhaps > place)


def _last_emptied(done: Sequence[Ran], cache: _Cache) -> tuple[int, int]:
    """Which command is the last that empties a cache, and the last that perhaps does; else -1."""
    surely = perhaps = -1
    for place, command in enumerate(done):
        empties = _empties(command, cache)
        if empties:
            surely = place
        elif empties is None:
            perhaps = place
    return surely, perhaps


def _fills(command: Ran, pip_off: bool) -> str | None:
    """The manager whose cache a command fills, or None."""
    action = action_of(command)
    if action is not None:
        filling = {"update"} if action.manager == "apt" else {"install", "update", "upgrade"}
        if action.kind not in filling:
            return None
        quiet = action.manager == "apk" and "--no-cache" in command.words
        return None if quiet else action.manager
    for install in installs([{**command.instruction, "commands": [command.command]}]):
        if install.manager not in _CACHES:
            return None
        if install.manager != "pip":
            return install.manager
        return None if pip_off or {"--no-cache-dir", "--no-cache"} & set(command.words) else "pip"
    return None


def _text(instruction: Instruction) -> str:
    return " ".join([instruction["text"], *(item["text"] for item in instruction["heredocs"])])


def _mounted(instruction: Instruction, manager: str) -> bool:
    """Whether the cache lies on a mount of this RUN, and so in no layer."""
    for mount in instruction["flags"].get("mount", ()):
        options = dict(part.partition("=")[::2] for part in mount.split(","))
        if options.get("type", "bind") not in {"cache", "tmpfs"}:
            continue
        target = options.get("target") or options.get("dst") or options.get("destination") or ""
        if any(_covers(target, folder) for folder in _CACHES[manager].folders):
            return True
        # A cache in the home of another user than root.
        tail = {"npm": ".npm", "yarn": "yarn", "pnpm": "pnpm"}.get(manager, "cache/")
        if manager in {"pip", "npm", "yarn", "pnpm"} and (
            tail in f"{target}/" or (manager == "pip" and re.search(r"pip|/uv|\.cache", target))
        ):
            return True
    return False


def _empties(command: Ran, cache: _Cache) -> bool | None:
    """Whether a command empties a cache; None when a variable keeps that from being told."""
    if cache.cleans.search(" ".join(command.words)):
        return True
    if command.program not in {"rm", "find"}:
        return False
    named = [path for word in command.words[1:] for path in _braces(word)]
    if command.program == "find" and not {"-delete", "rm"} & set(command.words):
        return False
    if any(_covers(path, folder) for path in named for folder in cache.folders):
        return True
    return None if any(map(is_open, named)) and not any("/" in path for path in named) else False


def _covers(path: str, folder: str) -> bool:
    """Whether taking `path` away takes `folder` away: itself, all in it, or one above it."""
    path = re.sub(r"^(?:\$\{?HOME\}?)", "~", path)
    path = re.sub(r"/(?:\*|\.|\*_\*|\*\.\*|\.\?\*)?$", "", path) or "/"
    if not path.startswith(("/", "~")):
        return False
    path = posixpath.normpath(path)
    return path != "/" and (folder == path or folder.startswith(f"{path}/"))


def _braces(word: str, limit: int = 64) -> list[str]:
    """`/var/{lib/apt,cache}` as the paths that a shell makes of it."""
    done: list[str] = []
    todo = [word]
    while todo and len(done) + len(todo) <= limit:
        current = todo.pop()
        match = re.search(r"(?<!\$)\{([^{}]*)\}", current)
        if match is None or "," not in match.group(1):
            done.append(current)
            continue
        before, after = current[: match.start()], current[match.end() :]
        todo += [before + part + after for part in match.group(1).split(",")]
    return done + todo
