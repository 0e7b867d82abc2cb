"""Commands that run another command: which words of theirs are the inner one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

SHELLS = frozenset({"sh", "bash", "ash", "dash", "ksh", "zsh"})
"""Programs whose scripts are read."""

ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=(.*)", re.DOTALL)
"""A word that gives a variable a value."""


class Word(NamedTuple):
    """A word after expansion: its text and the offset at which it stands in the script."""

    text: str
    offset: int


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_OPTIONS_WITH_VALUE: Mapping[str, frozenset[str]] = {
    "xargs": _set("-I -i -n -P -L -s -d -E -a --max-args --max-procs --delimiter"),
    "sudo": _set("-u -g -h -p -C -T -U --user --group"),
    "doas": _set("-u -C"),
    "env": _set("-u -C -S --unset --chdir"),
    "nice": _set("-n --adjustment"),
    "timeout": _set("-s -k --signal --kill-after"),
    "exec": _set("-a"),
    "command": _set(""),
    "builtin": _set(""),
    "nohup": _set(""),
    "busybox": _set(""),
    "ionice": _set("-c -n -p"),
    "tini": _set("-p -e"),
    "dumb-init": _set("-r --rewrite"),
}


def shell_script(words: Sequence[Word]) -> Word | None:
    """The script of `sh -c 'script'`, if that is what the words are."""
    for index, word in enumerate(words[1:], start=1):
        if not word.text.startswith(("-", "+")):
            return None
        if re.fullmatch(r"-[a-zA-Z]*c", word.text) and index + 1 < len(words):
            return words[index + 1]
    return None


def wrapped(name: str, words: Sequence[Word]) -> list[Word]:
    """The words of the command that a wrapper runs; none when the words are no wrapper."""
    if name == "find":
        return _find_exec(words)
    with_value = _OPTIONS_WITH_VALUE.get(name)
    if with_value is None:
        return []
    index = 1
    while index < len(words):
        text = words[index].text
        if text == "--":
            index += 1
            break
        if text.startswith("-") and len(text) > 1:
            index += 2 if text in with_value else 1
        elif ASSIGNMENT.fullmatch(text) and name in {"env", "sudo", "doas"}:
            index += 1
        else:
            break
    if name == "timeout":
        index += 1  # its first operand is the time
    return list(words[index:])


def _find_exec(words: Sequence[Word]) -> list[Word]:
    for index, word in enumerate(words):
        if word.text in {"-exec", "-execdir", "-ok", "-okdir"}:
            rest = words[index + 1 :]
            ends = (i for i, item in enumerate(rest) if item.text in {";", "+"})
            return list(rest[: next(ends, len(rest))])
    return []
