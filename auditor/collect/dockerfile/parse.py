"""A Dockerfile as instructions, each with the exact place of every character of it.

BuildKit's own grammar (PyPI `dockerfile`) decides what the instructions are. It joins the lines of
an instruction and forgets where they were, so the joining is done once more here, character by
character, and kept only where it gives the same text as the grammar's.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass

import dockerfile

KNOWN = frozenset(name.upper() for name in dockerfile.all_cmds())
"""The instructions of the Dockerfile format."""

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")
_ONLY_HEREDOC = re.compile(r"\s*<<-?\s*([\"']?)[^\s\"'<>]+\1\s*")


class ParseError(Exception):
    """The text is no Dockerfile; the message is one line and quotes nothing of the text."""


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document of an instruction: its text, and where that begins in the source."""

    name: str
    content: str
    offset: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. `places[i]` is the offset in the source of character `i` of `text`.

    Where `exact` is false the places are not known and all of them are the instruction's first.
    """

    cmd: str
    sub: str | None
    json: bool
    value: tuple[str, ...]
    flags: tuple[str, ...]
    text: str
    places: Sequence[int]
    line: int
    end_line: int
    heredocs: tuple[Heredoc, ...]
    exact: bool = True

    @property
    def is_script(self) -> bool:
        """Whether a RUN is nothing but one here-document, which then is the script itself."""
        whole = len(self.value) == 1 and _ONLY_HEREDOC.fullmatch(self.value[0])
        return bool(whole) and len(self.heredocs) == 1


@dataclass(frozen=True, slots=True)
class Source:
    """A Dockerfile's text with line ends made `\\n`, its directives, and its instructions."""

    text: str
    directives: dict[str, str]
    instructions: tuple[Instruction, ...]
    line_starts: tuple[int, ...]

    @property
    def escape(self) -> str:
        """The escape character in force: a backslash unless a directive says otherwise."""
        return self.directives.get("escape", "\\")

    def place(self, offset: int) -> tuple[int, int]:
        """The 1-based line and column of an offset in the text."""
        line = bisect.bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1


def parse(text: str) -> Source:
    """Parse a Dockerfile's text. Raises `ParseError` when BuildKit's grammar refuses it.

    The text must hold no NUL and no lone surrogate: the grammar's binding stops at the one and
    ends the whole process at the other, so both are refused here.
    """
    if "\0" in text or not _is_unicode(text):
        raise ParseError("it holds bytes that no text has")
    text = text.replace("\r\n", "\n")
    try:
        commands = dockerfile.parse_string(text)
    except dockerfile.GoParseError as error:
        raise ParseError(_without_quotes(str(error))) from None
    except UnicodeDecodeError:
        # The binding cuts some characters in two (those with a byte 0x85 or 0xA0 in a flag).
        raise ParseError("an option holds a character that the parser cannot read") from None
    lines = text.split("\n")
    starts = [0]
    for line in lines[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    directives = _directives(lines)
    escape = directives.get("escape", "\\")
    instructions = tuple(
        _instruction(command, lines, starts, escape)
        for command in commands
        if command.cmd  # a line of nothing but a continuation has none
    )
    return Source(text, directives, instructions, tuple(starts))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_quotes(message: str) -> str:
    """The parser's message up to the first thing it quotes: that may be a secret."""
    return re.split(r"[\"'`]", message, maxsplit=1)[0].strip(" :,-\n")[:120] or "it is malformed"


def _directives(lines: list[str]) -> dict[str, str]:
    """The parser directives: comments of the form `# key=value` before anything else."""
    found: dict[str, str] = {}
    for line in lines:
        match = _DIRECTIVE.match(line.removeprefix("\ufeff").strip())
        if match is None or match.group(1).lower() in found:
            break
        found[match.group(1).lower()] = match.group(2)
    if found.get("escape") not in (None, "\\", "`"):
        del found["escape"]
    return found


def _instruction(
    command: dockerfile.Command, lines: list[str], starts: list[int], escape: str
) -> Instruction:
    text, places, last = _joined(command.start_line, command.end_line, lines, starts, escape)
    original = command.original.split("\n", 1)[0] if command.heredocs else command.original
    exact = text.strip() == original.strip()
    if not exact:
        # An oddity of joining that is not copied here: keep the text, point at its first line.
        text, places = original, [starts[command.start_line - 1]] * len(original)
        last = command.start_line
    return Instruction(
        cmd=command.cmd.upper(),
        sub=command.sub_cmd.upper() if command.sub_cmd else None,
        json=command.json,
        value=tuple(command.value),
        flags=tuple(command.flags),
        text=text,
        places=places,
        line=command.start_line,
        end_line=command.end_line,
        heredocs=_heredocs(command, starts, last),
        exact=exact,
    )


def _joined(
    first: int, last: int, lines: list[str], starts: list[int], escape: str
) -> tuple[str, list[int], int]:
    """Join the lines `first` to `last` (1-based) as BuildKit does; also tell the last one used."""
    characters: list[str] = []
    places: list[int] = []
    continued = re.compile(rf"(?:(?<=[^{re.escape(escape)}])|^){re.escape(escape)}[ \t]*$")
    number = first
    while number <= last:
        line = lines[number - 1]
        start = starts[number - 1]
        if number == first:
            line = line.removeprefix("\ufeff")
            stripped = line.lstrip()
            start += len(lines[number - 1]) - len(stripped)
            line = stripped
        elif line.lstrip().startswith("#") or not line.strip():
            number += 1
            continue
        end = continued.search(line)
        kept = line[: end.start()] if end else line
        characters.append(kept)
        places.extend(range(start, start + len(kept)))
        if end is None:
            break
        number += 1
    return "".join(characters), places, min(number, last)


def _heredocs(command: dockerfile.Command, starts: list[int], last: int) -> tuple[Heredoc, ...]:
    found = []
    line = last + 1
    for item in command.heredocs:
        offset = starts[line - 1] if line <= len(starts) else starts[-1]
        found.append(Heredoc(item.name, item.content, offset))
        line += item.content.count("\n") + 1
    return tuple(found)
