"""Checks of the permissions that a Dockerfile gives to files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from auditor.model import Resource, Severity, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.dockerfile._facts import Ran, is_open, ran, shipped, unreadable

_CLAUSE = re.compile(r"([ugoa]*)([-+=][rwxXstugo]*)+")
_ACTION = re.compile(r"([-+=])([rwxXstugo]*)")
_EXPECTED = "755 or less for others, or no write and no recursive read for all"


class _Grant(NamedTuple):
    """What a mode gives: write to others, a setuid bit, read to others in symbols."""

    write: bool = False
    setuid: bool = False
    read: bool = False


@check(
    id="dockerfile-file-permissions",
    title="Files are not opened to everybody",
    severity="high",
    applies_to="dockerfile/Dockerfile",
)
def file_permissions(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at chmod, install -m, mkdir -m, umask and COPY or ADD --chmod of the final image.

    Why: A file that others may write lets any process of the container change what it runs next.
    A tree that all may read shows its configuration and keys to whoever gets in with least rights.
    Rule: fails (high) for a grant of write to others, except on a directory with the sticky bit
    (1777), for a setuid bit, and for `umask 000`. Fails (medium) for a recursive grant of read to
    all or others in symbols (`chmod -R a+r`, `o+r`, `a=rX`), also through `find` and `xargs`.
    Passes otherwise; `755` passes although it lets everybody read: it is what the guide itself
    recommends. Unknown when the mode is a variable without a value here, or when commands are
    for a shell that is no POSIX one.
    Fix: give files to the user that needs them, and take write away where nothing is written.

        COPY --chown=app:app --chmod=750 src/ /opt/app/
        RUN chmod -R 755 /opt/app && chmod -R a-w /opt/app/lib

    Source: hardening guide, issue 3 (file permissions); CIS Docker 4.8 for the setuid bit.
    """
    found = shipped(dockerfile)
    clean = True
    for command in ran(found):
        for verdict in _command(command):
            clean = False
            yield verdict
    for instruction in found:
        for mode in instruction["flags"].get("chmod", ()):
            line = instruction["line"]
            for verdict in _mode(f"{instruction['path']}.chmod", mode, False, line, 1):
                clean = False
                yield verdict
    for instruction in unreadable(found):
        clean = False
        yield unknown(instruction["path"], "its commands are for a shell that is not read here")
    if clean:
        yield passed("", "no grant to others")


def _command(command: Ran) -> Iterator[Verdict]:
    path = command.instruction["path"]
    if command.program == "umask":
        bits = command.words[1] if len(command.words) > 1 else ""
        if re.fullmatch(r"[0-7]{1,4}", bits) and not int(bits, 8) & 0o2:
            line, column = command.place()
            seen = f"umask {bits}: new files are writable by others"
            yield failed(path, seen, "umask 022 or stricter", line=line, column=column)
        return
    index = _mode_index(command)
    if index is None:
        return
    mode = command.words[index].removeprefix("--mode=")
    mode = re.sub(r"^-m(?=.)", "", mode)
    options = [word for word in command.words[1:index] if word.startswith("-")]
    recursive = command.program == "chmod" and (
        command.command["via"] in {"find", "xargs"}
        or any(word == "--recursive" or re.fullmatch(r"-\w*R\w*", word) for word in options)
        or any(word in {"-R", "--recursive"} for word in command.words[index + 1 :])
    )
    line, column = command.place(index)
    yield from _mode(path, mode, recursive, line, column)


def _mode_index(command: Ran) -> int | None:
    """Where the mode stands among the words of a command, if it sets one."""
    words = command.words
    if command.program == "chmod":
        for index, word in enumerate(words[1:], start=1):
            if word.startswith("--reference"):
                return None
            if not word.startswith("-") or re.fullmatch(r"-[rwxXst]+", word):
                return index
    if command.program in {"install", "mkdir"}:
        for index, word in enumerate(words[1:], start=1):
            if word in {"-m", "--mode"} and index + 1 < len(words):
                return index + 1
            if word.startswith("--mode=") or re.fullmatch(r"-m[0-7]{3,4}", word):
                return index
    return None


def _mode(path: str, mode: str, recursive: bool, line: int, column: int) -> Iterator[Verdict]:
    if is_open(mode):
        yield unknown(path, f"mode {mode}: not decided in the Dockerfile", _EXPECTED)
        return
    grant = _grant(mode)
    if grant.write:
        seen = f"mode {mode}: others may write"
        yield failed(path, seen, _EXPECTED, line=line, column=column)
    if grant.setuid:
        yield failed(path, f"mode {mode}: setuid", "no setuid bit", line=line, column=column)
    if grant.read and recursive and not grant.write:
        seen = f"recursive mode {mode}: everybody may read all of it"
        medium = Severity.MEDIUM
        yield failed(path, seen, _EXPECTED, line=line, column=column, severity=medium)


def _grant(mode: str) -> _Grant:
    if re.fullmatch(r"[0-7]{1,5}", mode):
        bits = int(mode, 8)
        return _Grant(write=bool(bits & 0o2) and not bits & 0o1000, setuid=bool(bits & 0o4000))
    write = setuid = read = sticky = False
    for clause in mode.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            continue
        who = match.group(1)
        for operator, letters in _ACTION.findall(clause[len(who) :]):
            if operator == "-":
                continue
            others = "o" in who or "a" in who
            # Without a letter for whom, the umask takes write to others away, never read.
            write = write or (others and "w" in letters)
            read = read or ((others or not who) and "r" in letters)
            setuid = setuid or ("s" in letters and (not who or "u" in who or "a" in who))
            sticky = sticky or "t" in letters
    return _Grant(write=write and not sticky, setuid=setuid, read=read)
