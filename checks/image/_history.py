"""Pure helpers: the instructions that an image's history tells of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from auditor.model import Json, Resource
from checks.dockerfile._facts import Ran

_NOP = re.compile(r"^/bin/sh -c #\(nop\)\s+")
_BUILDKIT = re.compile(r"\s*# buildkit$")
_ARGUMENTS = re.compile(r"^\|\d+ ")
_SHELL = re.compile(r"(?:^|\s)(?:/bin/|/usr/bin/)?(?:ba|da|a)?sh (?:-\w+ (?:pipefail )?)*-\w*c\s+")
_ENDS = re.compile(r"&&|\|\||[;|&\n(){}]")
_QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_WORDS_BEFORE = frozenset({"sudo", "exec", "then", "do", "else", "!", "time", "if"})
_LONGEST = 20_000
"""Characters of an entry that are looked at: what follows in a longer one is data."""


class Step(NamedTuple):
    """One entry of a history: its place, the instruction, what follows it, and whether BuildKit
    wrote it (which keeps the words as the Dockerfile has them).
    """

    path: str
    instruction: str
    text: str
    buildkit: bool


def steps(image: Resource) -> list[Step] | None:
    """The history of an image, the base first; None when it was not read."""
    history = image.body.get("history")
    if not isinstance(history, list):
        return None
    return [
        _step(f"history[{index}].created_by", str(entry.get("created_by") or ""))
        for index, entry in enumerate(history)
        if isinstance(entry, Mapping)
    ]


def _step(path: str, text: str) -> Step:
    text = text[:_LONGEST]
    buildkit = bool(_BUILDKIT.search(text))
    text = _BUILDKIT.sub("", text)
    nop = _NOP.match(text)
    if nop:
        text = text[nop.end() :]
    word, _, rest = text.partition(" ")
    if re.fullmatch(r"[A-Z]+", word) and (nop or buildkit):
        return Step(path, word, rest.strip(), buildkit)
    # The classic builder writes only what RUN runs, build arguments in front.
    shell = _SHELL.search(text)
    return Step(path, "RUN" if shell or _ARGUMENTS.match(text) else "", text, buildkit)


def commands(step: Step) -> Iterator[Ran]:
    """The simple commands that a RUN of a history ran, as far as words show them."""
    if step.instruction != "RUN":
        return
    shell = _SHELL.search(step.text)
    script = step.text[shell.end() :] if shell else step.text
    # What quotes hold is data here: a package manager is hardly ever called from inside them.
    script = _QUOTED.sub("…", script.replace("\\\n", " "))
    for part in _ENDS.split(script):
        words = part.split()
        while words and (words[0] in _WORDS_BEFORE or re.match(r"\w+=", words[0])):
            words.pop(0)
        if words:
            yield Ran({}, _command(words), words[0].rsplit("/", 1)[-1], tuple(words))


def _command(words: list[str]) -> Mapping[str, Json]:
    return {"words": words, "at": [[1, 1]] * len(words), "redirects": [], "via": None}
