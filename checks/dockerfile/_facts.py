"""Pure helpers: what a Dockerfile's body says, in the terms that its checks use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from auditor.model import Json, Resource

Instruction = Mapping[str, Json]
Stage = Mapping[str, Json]


class Ran(NamedTuple):
    """A simple command, the instruction that runs it, and its words without the program's path."""

    instruction: Instruction
    command: Mapping[str, Json]
    program: str
    words: tuple[str, ...]

    def place(self, index: int = 0) -> tuple[int, int]:
        """The line and column of a word."""
        line, column = self.command["at"][index]
        return line, column


class Image(NamedTuple):
    """An image reference taken apart; `tag` and `digest` are empty when they are not there."""

    repository: str
    tag: str
    digest: str

    @property
    def short(self) -> str:
        """The last part of the repository's name."""
        return self.repository.rsplit("/", 1)[-1]


def image(reference: str) -> Image:
    """Take an image reference apart: `host:5000/team/app:1.2@sha256:…`."""
    name, _, digest = reference.partition("@")
    last = name.rsplit("/", 1)[-1]
    repository, tag = (name, "")
    if ":" in last:
        repository, _, tag = name.rpartition(":")
    return Image(repository.lower(), tag, digest)


def stages(dockerfile: Resource) -> Sequence[Stage]:
    """All stages, in the order of the file."""
    listed: Sequence[Stage] = dockerfile.body["stages"]
    return listed


def instructions(dockerfile: Resource) -> Sequence[Instruction]:
    """All instructions, in the order of the file."""
    listed: Sequence[Instruction] = dockerfile.body["instructions"]
    return listed


def chain(dockerfile: Resource) -> list[Stage]:
    """The stages that the final image consists of, its outermost base first.

    The last stage is what a plain build makes; `FROM stage` makes it inherit another's layers.
    """
    listed = stages(dockerfile)
    found: list[Stage] = []
    index = len(listed) - 1 if listed else None
    while index is not None:
        found.append(listed[index])
        parent = listed[index]["base_stage"]
        # A stage can only be built on an earlier one; anything else would never end.
        index = parent if parent is not None and parent < index else None
    return found[::-1]


def shipped(dockerfile: Resource) -> list[Instruction]:
    """The instructions that make the final image, in the order in which they apply."""
    listed = instructions(dockerfile)
    return [listed[index] for stage in chain(dockerfile) for index in stage["instructions"]]


def final(dockerfile: Resource) -> str:
    """The path of the stage that a plain build makes."""
    return f"stage[{len(stages(dockerfile)) - 1}]"


def root_base(dockerfile: Resource) -> Stage:
    """The stage whose base image the final image is built on."""
    return chain(dockerfile)[0]


def ran(found: Sequence[Instruction], *names: str) -> Iterator[Ran]:
    """Every simple command of the instructions called `names` (RUN alone by default)."""
    wanted = names or ("RUN",)
    for instruction in found:
        if instruction["cmd"] not in wanted:
            continue
        for command in instruction.get("commands") or ():
            words = command["words"]
            if words:
                program = words[0].rsplit("/", 1)[-1]
                yield Ran(instruction, command, program, (program, *words[1:]))


def unreadable(found: Sequence[Instruction]) -> list[Instruction]:
    """The RUN instructions whose commands a shell other than a POSIX one reads."""
    return [item for item in found if item["cmd"] == "RUN" and item.get("commands") is None]


def sources(instruction: Instruction) -> list[str]:
    """The sources of a COPY or ADD: all its words but the last, here-documents left out."""
    words = list(instruction["expanded"] or ())[:-1]
    return [word for word in words if not word.startswith("<<")]


def destination(instruction: Instruction) -> str:
    """The destination of a COPY or ADD."""
    words = instruction["expanded"] or ("",)
    last: str = words[-1]
    return last


def is_open(text: str) -> bool:
    """Whether a text still holds a variable that the Dockerfile does not decide."""
    return bool(re.search(r"\$\{\w+\}|\$\(…\)|\$[0-9@*]", text))


def shown(names: Sequence[str], limit: int = 6) -> str:
    """A list of names that fits a line."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
