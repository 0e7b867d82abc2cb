"""Pure helpers: the file modes that instructions set, and what they give."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from checks.dockerfile._facts import Instruction, Ran, ran

_CLAUSE = re.compile(r"([ugoa]*)([-+=][rwxXstugo]*)+")
_ACTION = re.compile(r"([-+=])([rwxXstugo]*)")


class Mode(NamedTuple):
    """A mode as it is written, by which program or flag, where, and whether for a whole tree."""

    mode: str
    program: str
    path: str
    recursive: bool
    line: int
    column: int


class Grant(NamedTuple):
    """What a mode gives: write to others, setuid, setgid, read to others in symbols."""

    write: bool = False
    setuid: bool = False
    setgid: bool = False
    read: bool = False


def modes(found: Sequence[Instruction]) -> Iterator[Mode]:
    """Every mode that the instructions set: chmod, install, mkdir, umask and --chmod."""
    for command in ran(found):
        mode = _of_command(command)
        if mode is not None:
            yield mode
    for instruction in found:
        for written in instruction["flags"].get("chmod", ()):
            path = f"{instruction['path']}.chmod"
            yield Mode(written, "--chmod", path, False, instruction["line"], 1)


def _of_command(command: Ran) -> Mode | None:
    path = command.instruction["path"]
    if command.program == "umask":
        bits = command.words[1] if len(command.words) > 1 else ""
        return Mode(bits, "umask", path, False, *command.place())
    index = mode_index(command)
    if index is None:
        return None
    mode = re.sub(r"^-m(?=.)", "", command.words[index].removeprefix("--mode="))
    recursive = command.program == "chmod" and is_recursive(command)
    return Mode(mode, command.program, path, recursive, *command.place(index))


def is_recursive(command: Ran) -> bool:
    """Whether a chmod, chown or chgrp works on whole trees, by itself or through find or xargs."""
    return command.command["via"] in {"find", "xargs"} or any(
        word == "--recursive" or re.fullmatch(r"-[A-Za-z]*R[A-Za-z]*", word)
        for word in command.words[1:]
    )


def mode_index(command: Ran) -> int | None:
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


def grant(mode: str) -> Grant:
    """What a mode, in digits or symbols, gives."""
    if re.fullmatch(r"[0-7]{1,5}", mode):
        bits = int(mode, 8)
        return Grant(
            write=bool(bits & 0o2) and not bits & 0o1000,
            setuid=bool(bits & 0o4000),
            setgid=bool(bits & 0o2000),
        )
    write = setuid = setgid = read = sticky = False
    for who, operator, letters in clauses(mode):
        if operator == "-":
            continue
        others = "o" in who or "a" in who
        # Without a letter for whom, the umask takes write to others away, never read.
        write = write or (others and "w" in letters)
        read = read or ((others or not who) and "r" in letters)
        setuid = setuid or ("s" in letters and (not who or "u" in who or "a" in who))
        setgid = setgid or ("s" in letters and (not who or "g" in who or "a" in who))
        sticky = sticky or "t" in letters
    return Grant(write=write and not sticky, setuid=setuid, setgid=setgid, read=read)


def clauses(mode: str) -> Iterator[tuple[str, str, str]]:
    """The (who, operator, letters) of a mode in symbols; nothing for another text."""
    for clause in mode.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is not None:
            who = match.group(1)
            for operator, letters in _ACTION.findall(clause[len(who) :]):
                yield who, operator, letters
