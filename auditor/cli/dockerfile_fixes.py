"""What can be mended in a Dockerfile without a person: the edits, and nothing of files.

Each fixer looks at one file as it was read and returns edits of its text. It mends only what has
one answer; all else it leaves alone. Whoever applies the edits judges the result again.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from auditor.collect.dockerfile.parse import Source
from auditor.model import Finding, Resource
from checks.dockerfile._caches import left_behind
from checks.dockerfile._facts import Instruction, Ran, instructions, ran, shipped, stages
from checks.dockerfile._packages import action_of, actions


class Edit(NamedTuple):
    """Replace the characters from `start` to `end` of a file's text by `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A Dockerfile as it is being mended: its text without secrets, and what was read of it."""

    source: Source
    dockerfile: Resource

    def offset(self, line: int, column: int = 1) -> int:
        """The offset of a place, both counted from 1."""
        return self.source.line_starts[line - 1] + column - 1

    def end_of(self, line: int) -> int:
        """The offset of the end of a line, its trailing spaces left out."""
        start = self.offset(line)
        text = self.source.text[start:].partition("\n")[0]
        return start + len(text.rstrip())

    def begins(self, instruction: Instruction) -> int:
        """The offset of an instruction's first letter."""
        start = self.offset(instruction["line"])
        return start + len(self.source.text[start:]) - len(self.source.text[start:].lstrip())

    def word(self, command: Ran, index: int) -> int | None:
        """The offset of a word of a command; None where it does not stand in the text as it is."""
        start = self.offset(*command.place(index))
        written = str(command.command["words"][index])
        there = self.source.text.startswith(written, start)
        after = self.source.text[start + len(written) :][:1]
        return start if there and (not after or after.isspace() or after in ";&|)") else None

    def is_chain(self, instruction: Instruction) -> bool:
        """Whether a RUN is a plain chain of commands with &&, to which one can be added."""
        commands = instruction.get("commands") or ()
        return (
            bool(commands)
            and not instruction["json"]
            and not instruction["heredocs"]
            and all(item["before"] in {"", "&&"} for item in commands)
            and all(item["via"] is None for item in commands)
            and "#" not in self.source.text[self.offset(instruction["line"]) :].partition("\n")[0]
            and self._last_line(instruction) is not None
        )

    def _last_line(self, instruction: Instruction) -> int | None:
        last = int(instruction["end_line"])
        text = self.source.text[self.offset(last) : self.end_of(last)]
        return None if not text.strip() or "#" in text or text.endswith("\\") else last

    def append(self, instruction: Instruction, command: str) -> Edit:
        """Add a command to the end of a chain, on a line of its own."""
        end = self.end_of(int(instruction["end_line"]))
        return Edit(end, end, f" {self.source.escape}\n && {command}")


Fixer = Callable[[Draft, Sequence[Finding]], Iterator[Edit]]

_COPY_FLAGS = frozenset({"chown", "chmod", "link", "exclude"})


def copy_instead(draft: Draft, failures: Sequence[Finding]) -> Iterator[Edit]:
    """ADD of local files becomes COPY; one that also adds something else stays."""
    lines = {row.line for row in failures}
    for item in instructions(draft.dockerfile):
        if item["cmd"] != "ADD" or item["line"] not in lines or set(item["flags"]) - _COPY_FLAGS:
            continue
        words = item["expanded"][:-1]
        if any(re.search(r"://|^git@|\.git(?:#|$)|\.t(?:ar|gz|bz|xz)|\$\{|^<<", w) for w in words):
            continue
        start = draft.begins(item)
        written = draft.source.text[start : start + 3]
        if written in {"ADD", "add"}:
            yield Edit(start, start + 3, "COPY" if written == "ADD" else "copy")


def no_cache(draft: Draft, failures: Sequence[Finding]) -> Iterator[Edit]:
    """apk and pip get their option; other managers a command at the end of the RUN."""
    appended: set[int] = set()
    for left in left_behind(shipped(draft.dockerfile)):
        if left.open_ends:
            continue
        instruction = left.command.instruction
        if left.manager in {"apk", "pip"}:
            for command in ran([instruction]):
                yield from _with_option(draft, command, left.manager)
            continue
        program = left.command.program
        clean = {
            "apt": "rm -rf /var/lib/apt/lists/*",
            "dnf": f"{program} clean all",
            "zypper": "zypper clean --all",
            "npm": "npm cache clean --force",
            "yarn": "yarn cache clean",
        }.get(left.manager)
        if left.manager == "apt" and _lists_are_needed(draft, instruction):
            continue
        if clean and draft.is_chain(instruction) and instruction["index"] not in appended:
            appended.add(instruction["index"])
            yield draft.append(instruction, clean)


def _lists_are_needed(draft: Draft, instruction: Instruction) -> bool:
    """Whether an installation after this RUN, or a build on it, lives on the lists it leaves."""
    later = instructions(draft.dockerfile)[instruction["index"] + 1 :]
    if "install" not in {action.kind for action in actions([instruction])}:
        return True
    for item in later:
        kinds = {action.kind for action in actions([item]) if action.manager == "apt"}
        if "install" in kinds and "update" not in kinds:
            return True
    return False


def _with_option(draft: Draft, command: Ran, manager: str) -> Iterator[Edit]:
    words = command.words
    if manager == "apk":
        action = action_of(command)
        if action is None or action.manager != "apk" or "--no-cache" in words:
            return
        verbs, option = {"add", "update", "upgrade"}, "--no-cache"
    else:
        named = re.fullmatch(r"pip\d?(?:\.\d+)?", words[0]) or words[1:3] == ("-m", "pip")
        if not named or "--no-cache-dir" in words:
            return
        verbs, option = {"install", "download", "wheel"}, "--no-cache-dir"
    for index, word in enumerate(words):
        if word in verbs:
            start = draft.word(command, index)
            if start is not None:
                yield Edit(start + len(word), start + len(word), f" {option}")
            return


def update_with_install(draft: Draft, failures: Sequence[Finding]) -> Iterator[Edit]:
    """A RUN that only updates package lists joins the RUN after it, which installs."""
    lines = {row.line for row in failures}
    listed = instructions(draft.dockerfile)
    for item, following in itertools.pairwise(listed):
        first, second = list(ran([item])), list(ran([following]))
        if len(first) != 1 or not second or item["line"] not in lines:
            continue
        update = action_of(first[0])
        used = {(action.kind, action.manager) for action in actions([following])}
        if update is None or ("install", update.manager) not in used:
            continue
        place = draft.word(second[0], 0)
        plain = not (item["flags"] or following["flags"] or item["line"] != item["end_line"])
        begin = draft.word(first[0], 0)
        if not plain or place is None or begin is None:
            continue
        if not (draft.is_chain(item) and draft.is_chain(following)):
            continue
        text = draft.source.text[begin : draft.end_of(item["line"])]
        start, end = draft.offset(item["line"]), draft.offset(item["line"] + 1)
        yield Edit(start, end, "")
        yield Edit(place, place, f"{text} {draft.source.escape}\n && ")


def python_defaults(draft: Draft, failures: Sequence[Finding]) -> Iterator[Edit]:
    """The variables that no ENV sets stand in one, after the FROM of the final stage."""
    names = [row.path.rpartition(".")[2] for row in failures if row.observed.startswith("not set")]
    if not names:
        return
    stage = stages(draft.dockerfile)[-1]
    origin = next(item for item in instructions(draft.dockerfile) if item["line"] == stage["line"])
    end = draft.end_of(int(origin["end_line"]))
    joined = f" {draft.source.escape}\n    ".join(f"{name}=1" for name in names)
    yield Edit(end, end, f"\nENV {joined}")


_PLAIN = re.compile(r"[\w./:@%+,-]+(?:=[\w./:@%+,=-]*)?(?:[ \t]+[\w./:@%+,=-]+)*")
_OF_THE_SHELL = frozenset(
    {
        *("alias", "bg", "break", "builtin", "case", "cd", "command", "continue", "declare", "do"),
        *("eval", "exit", "export", "fg", "for", "function", "if", "jobs", "let", "local", "read"),
        *("readonly", "return", "select", "set", "shift", "source", "time", "times", "trap"),
        *("type", "typeset", "ulimit", "umask", "unalias", "unset", "until", "wait", "while", "."),
    }
)


def exec_form(draft: Draft, failures: Sequence[Finding]) -> Iterator[Edit]:
    """A CMD or ENTRYPOINT without anything for a shell to do becomes a list.

    Where both are there it stays: which words the one hands to the other would change.
    """
    lines = {row.line for row in failures}
    found = [item for item in shipped(draft.dockerfile) if item["cmd"] in {"CMD", "ENTRYPOINT"}]
    if len({item["cmd"] for item in found}) != 1:
        return
    shells = [item for item in instructions(draft.dockerfile) if item["cmd"] == "SHELL"]
    for item in found:
        if item["json"] or item["line"] not in lines or shells or len(item["value"]) != 1:
            continue
        text = item["value"][0].strip()
        words = text.removeprefix("exec ").split()
        one_line = item["line"] == item["end_line"]
        if not one_line or not _PLAIN.fullmatch(text) or words[0] in _OF_THE_SHELL:
            continue
        begin, end = draft.begins(item), draft.end_of(item["line"])
        start = draft.source.text.find(text, begin + len(item["cmd"]), end)
        if start > 0 and start + len(text) == end and "=" not in words[0]:
            yield Edit(start, end, json.dumps(words))


FIXERS: Mapping[str, Fixer] = {
    "dockerfile-update-alone": update_with_install,
    "dockerfile-package-cache": no_cache,
    "dockerfile-add-local": copy_instead,
    "dockerfile-env-defaults": python_defaults,
    "dockerfile-exec-form": exec_form,
}
"""What mends the failures of a check, in the order in which they are applied."""


def edited(text: str, edits: Sequence[Edit]) -> str:
    """The text with edits applied. Raises `ValueError` when two of them touch one place."""
    parts: list[str] = []
    position = 0
    for edit in sorted(set(edits)):
        if edit.start < position:
            raise ValueError("two edits touch the same place")
        parts += [text[position : edit.start], edit.text]
        position = edit.end
    return "".join([*parts, text[position:]])
