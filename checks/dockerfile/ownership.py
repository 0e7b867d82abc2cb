"""Checks of who may write the application's own code in the image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.model import Resource, Verdict, View, failed, not_applicable, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import (
    Instruction,
    Ran,
    destination,
    is_open,
    ran,
    shipped,
    shown,
    sources,
    unreadable,
)
from checks.dockerfile._modes import clauses, is_recursive, mode_index
from checks.dockerfile.user import last_user, name_of

_ROOT = frozenset({"root", "0", ""})
_EXPECTED = "owned by root, or without the right to write (chmod -R a-w)"


_MOST = 100_000
"""Pairs of a copied place and a target of chown that are looked at in one file."""


class _TooMuchError(Exception):
    """A file has more of them."""


@dataclass(slots=True)
class _Place:
    """What one COPY or ADD brought, who owns it, and whether that owner and group may write."""

    instruction: Instruction
    path: str
    folder: bool
    owner: str
    group: str
    line: int
    by: str
    owner_write: bool = True
    group_write: bool = False
    closed: str = ""
    """The part of it from which write was taken away again."""


@check(
    id="dockerfile-writable-code",
    title="The application cannot change its own code",
    severity="medium",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def writable_code(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at whether the user that runs the image may write what COPY and ADD brought into it.

    Why: Whoever gets into a program that may write its own code stays: what was changed runs again
    after each restart, in every container that shares the layer's volume or is started from it.
    Rule: follows what COPY and ADD of the final stage, and the stages it is built on, bring, with
    --chown and --chmod, through later chown, chgrp and chmod. Fails when the user of the last USER
    (by name or number, as an instruction that creates it tells) owns it, or its group may write
    it, and the right to write is still there; and when that user is root, who may write
    everything. Passes when root owns it, or when write was taken from all of it or from a folder
    inside it, as in the guide's example, where the rest is for what the program puts out. What RUN
    itself creates is not followed. Not applicable when nothing is copied. Unknown when a variable
    without a value here names the owner, or commands are for a shell that is no POSIX one.
    Fix: leave the code to root, and give the user a folder for what it writes.

        COPY app/ /opt/app/
        RUN chmod -R 755 /opt/app && chmod -R a-w /opt/app/lib
        USER 10001:10001

    Source: hardening guide, issue 3 (the second line of its example).
    """
    found = shipped(dockerfile)
    try:
        places = _places(found)
    except _TooMuchError:
        yield unknown("", "more copies and changes of owner than are followed", _EXPECTED)
        return
    if not places:
        yield not_applicable("nothing is copied into the final image")
        return
    user = last_user(dockerfile)
    name = name_of(user) if user is not None else ""
    if name.lower() in _ROOT:
        line = user["line"] if user is not None else places[0].instruction["line"]
        seen = f"root runs the image and may write {shown([item.path for item in places], 3)}"
        yield failed("", seen, "a USER that is not root", line=line)
        return
    closed_shell = bool(unreadable(found))
    users, groups = _identities(found, user, name)
    clean = True
    for place in places:
        verdict = _judged(place, users, groups)
        if verdict is None and closed_shell and not place.closed:
            verdict = unknown(place.instruction["path"], "a later command is not read here")
        if verdict is not None:
            clean = False
            yield verdict
    if clean:
        yield passed("", f"{name} may write none of {shown([item.path for item in places], 3)}")


def _judged(place: _Place, users: set[str], groups: set[str]) -> Verdict | None:
    owns = place.owner in users and place.owner_write
    shares = place.group in groups and place.group_write
    if (owns or shares) and not place.closed:
        how = "owns" if owns else "is in the group of"
        seen = f"the user of the image {how} {place.path} and may write it ({place.by})"
        path = place.instruction["path"]
        return failed(path, seen, _EXPECTED, line=place.line)
    hidden = place.owner if place.owner_write else ""
    hidden += place.group if place.group_write else ""
    if place.closed or owns or shares:
        return None
    open_user = any(map(is_open, users))
    if is_open(hidden) or (open_user and hidden not in {"", "0", "root"}):
        return unknown(place.instruction["path"], f"{place.path}: its owner is not decided here")
    return None


def _places(found: Sequence[Instruction]) -> list[_Place]:
    """What was copied, as the last instruction leaves it. Raises `_TooMuchError`."""
    places: list[_Place] = []
    folder = "/"
    left = _MOST
    for instruction in found:
        if instruction["cmd"] == "WORKDIR":
            folder = posixpath.join(folder, (instruction["expanded"] or ("",))[0])
        elif instruction["cmd"] in {"COPY", "ADD"}:
            places.append(_place(instruction, folder))
        elif instruction["cmd"] == "RUN":
            left = _follow(places, instruction, folder, left)
    return places


def _place(instruction: Instruction, folder: str) -> _Place:
    into = destination(instruction)
    owner, _, group = next(iter(instruction["flags"].get("chown", ())), "0:0").partition(":")
    mode = next(iter(instruction["flags"].get("chmod", ())), "")
    named = sources(instruction)
    is_folder = (
        into.endswith(("/", "."))
        or len(named) > 1
        or any(source.endswith("/") or posixpath.normpath(source) == "." for source in named)
    )
    place = _Place(
        instruction=instruction,
        path=posixpath.normpath(posixpath.join(folder, into)),
        folder=is_folder,
        owner=owner,
        group=group or owner,
        line=instruction["line"],
        by=f"--chown={owner}",
    )
    _apply(place, mode)
    return place


def _apply(place: _Place, mode: str) -> None:
    """What a mode does to the rights of the owner and the group to write."""
    if re.fullmatch(r"[0-7]{3,5}", mode):
        bits = int(mode, 8)
        place.owner_write, place.group_write = bool(bits & 0o200), bool(bits & 0o020)
        return
    for who, operator, letters in clauses(mode):
        gives = "w" in letters
        if not gives and operator != "=":
            continue
        value = gives and operator != "-"
        if not who or "a" in who or "u" in who:
            place.owner_write = value
        if "a" in who or "g" in who or (not who and not value):
            place.group_write = value


def _follow(places: list[_Place], instruction: Instruction, folder: str, left: int) -> int:
    """Apply the chown, chgrp, chmod of a RUN to the places that they name; return what is left."""
    current, searched = folder, ""
    for command in ran([instruction]):
        if command.program == "cd" and len(command.words) > 1:
            current = posixpath.join(current, command.words[1])
        elif command.program == "find" and len(command.words) > 1:
            searched = command.words[1]
        elif command.program in {"chown", "chgrp", "chmod"}:
            inside = command.command["via"] in {"find", "xargs"}
            first = _first_operand(command)
            if first is None:
                continue
            operands = [word for word in command.words[first + 1 :] if not word.startswith("-")]
            targets = [searched] if inside else operands
            left -= len(targets) * len(places)
            if left < 0:
                raise _TooMuchError
            for target in targets:
                whole = posixpath.normpath(
                    posixpath.join(current, re.sub(r"(?:^|/)\*$", "", target) or ".")
                )
                for place in places:
                    _touch(place, command, command.words[first], whole)
    return left


def _first_operand(command: Ran) -> int | None:
    if command.program == "chmod":
        return mode_index(command)
    return next((i for i, word in enumerate(command.words) if i and not word.startswith("-")), None)


def _touch(place: _Place, command: Ran, what: str, target: str) -> None:
    recursive = is_recursive(command) or target != posixpath.normpath(target)
    above = place.path == target or place.path.startswith(target.rstrip("/") + "/")
    below = target.startswith(place.path.rstrip("/") + "/")
    if command.program == "chmod":
        if below:
            probe = _Place(place.instruction, target, True, "", "", 0, "")
            _apply(probe, what)
            if not probe.owner_write and not probe.group_write:
                place.closed = target
        elif above and (recursive or (place.path == target and not place.folder)):
            _apply(place, what)
    elif above and (recursive or place.path == target):
        line, _ = command.place()
        if command.program == "chgrp":
            place.group = what
        else:
            owner, separator, group = what.partition(":")
            place.owner = owner or place.owner
            place.group = group or (owner if separator else place.group)
        place.line, place.by = line, f"{command.program} {what}"


def _identities(
    found: Sequence[Instruction], user: Instruction | None, name: str
) -> tuple[set[str], set[str]]:
    """The names and numbers of the user that runs, and of the groups it is in."""
    words = (user["expanded"] if user is not None else None) or ("",)
    group = str(words[0]).partition(":")[2]
    users, groups = {name}, {group} - {""}
    for command in ran(found):
        numbers = _options(command, "u", "uid")
        last = command.words[-1]
        if command.program in {"adduser", "useradd", "usermod"} and (
            name in command.words[1:] if not name.isdigit() else name in numbers
        ):
            users |= {last, *numbers, name}
            groups |= {*_options(command, "g", "gid"), *_options(command, "G", "ingroup")}
    groups |= {item for item in users if not item.isdigit()} if not group else set()
    for command in ran(found):
        numbers = _options(command, "g", "gid")
        if command.program in {"addgroup", "groupadd"} and {command.words[-1], *numbers} & groups:
            groups |= {command.words[-1], *numbers}
    return users, groups - _ROOT


def _options(command: Ran, short: str, long: str) -> set[str]:
    found: set[str] = set()
    for index, word in enumerate(command.words):
        match = re.fullmatch(rf"(?:-{short}|--{long})(?:=(.+))?", word)
        if match:
            found |= {match.group(1)} if match.group(1) else set(command.words[index + 1 :][:1])
    return found
