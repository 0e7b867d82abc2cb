"""Text that came from somewhere else, made fit to be shown: cleaned, isolated, clipped.

Autoescaping keeps markup from being read as markup; what is left are characters that HTML
forbids, that turn the reading direction around, or that go on for ten thousand columns.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

NAME_LIMIT = 120
"""Characters of a name or a path that are shown; JSON and CSV have all of them."""

TEXT_LIMIT = 300
"""Characters of other evidence that are shown."""

# C0 and C1 controls, line and paragraph separators, surrogates, non-characters, and the marks
# that override or embed a direction (U+202A to U+202E, U+2066 to U+2069): a name must not be able
# to show itself backwards. Letters of right-to-left scripts stay; <bdi> keeps them to themselves.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)

_BREAK = re.compile(r"(?<=[./])(?=[^./])")


def clean(value: object) -> object:
    """Replace what cannot be shown by U+FFFD in a string; leave any other value alone."""
    if type(value) is str and not (value.isascii() and value.isprintable()):
        return _UNFIT.sub("\ufffd", value)
    return value


def clip(text: str, limit: int) -> str:
    """Clean a string and cut it at `limit` characters, saying how many are left out."""
    shown = str(clean(text[: limit + 1]))
    if len(text) <= limit:
        return shown
    return f"{shown[:limit]}… ({len(text) - limit:,} more characters)"


def short(value: str | None) -> str:
    """A name as `name` shows it, for an attribute; empty for None."""
    return clip(value or "", NAME_LIMIT)


def name(value: str | None) -> Markup:
    """A name or path in an element that isolates its direction; nothing for None or empty."""
    return _isolated(value, NAME_LIMIT)


def text(value: str | None) -> Markup:
    """Evidence in an element that isolates its direction; nothing for None or empty."""
    return _isolated(value, TEXT_LIMIT)


def path(value: str | None) -> Markup:
    """A path, isolated as a name is, that may break after its dots and slashes."""
    from markupsafe import Markup, escape

    if not value:
        return Markup()
    parts = _BREAK.split(clip(value, NAME_LIMIT))
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(escape(part) for part in parts))


def _isolated(value: str | None, limit: int) -> Markup:
    from markupsafe import Markup

    return Markup("<bdi>{}</bdi>").format(clip(value, limit)) if value else Markup()


def snippet(value: str) -> Markup:
    """A snippet of several lines, each cleaned; its line breaks stay."""
    from markupsafe import Markup, escape

    return Markup("\n").join(escape(clean(line)) for line in value.split("\n"))


def when(taken_at: str) -> str:
    """An RFC 3339 time in UTC to the second, as people read it; anything else as it stands."""
    moment = moment_of(taken_at)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else taken_at


def moment_of(taken_at: str) -> datetime | None:
    """The moment an RFC 3339 string names, in UTC, or None if it is not one."""
    try:
        moment = datetime.fromisoformat(taken_at)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def percent(score: float | None) -> str:
    """A score in whole percent, rounded down: 99.9 % must never read as 100 %."""
    return "–" if score is None else f"{int(score * 100 + 1e-9)} %"


def number(value: int) -> str:
    """A count with thousands separators."""
    return f"{value:,}"


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text in a paragraph; `code` is set for what stood between backticks."""

    text: str
    code: bool


@dataclass(frozen=True, slots=True)
class Block:
    """One block of prose: `kind` is `text`, `list` or `code`; code has one span an item."""

    kind: str
    items: tuple[tuple[Span, ...], ...]


def prose(source: str) -> tuple[Block, ...]:
    """Split a part of a check's docstring into paragraphs, lists and indented snippets.

    The lines that go on with the first one may hang by some spaces, which are no part of the
    text. After an empty line, further indentation makes a snippet, shown as it stands. Lines that
    start with `- `, `* ` or `1. ` are list items; a line that follows one belongs to it. The first
    letter is made a capital, as it follows a heading.
    """
    first, *lines = source.expandtabs(4).strip("\n").split("\n")
    going_on = itertools.takewhile(str.strip, lines)
    margin = min((len(line) - len(line.lstrip()) for line in going_on), default=0)
    hanging = re.compile(f" {{0,{margin}}}")
    return tuple(_blocks([_capital(first), *(hanging.sub("", line, count=1) for line in lines)]))


_ITEM = re.compile(r"(?:[-*]|\d+\.) +")


def _capital(line: str) -> str:
    return line[:1].upper() + line[1:]


def _blocks(lines: list[str]) -> Iterator[Block]:
    start = 0
    while start < len(lines):
        line = lines[start]
        if not line.strip():
            start += 1
            continue
        end = start
        if line.startswith("  ") and not _ITEM.match(line.lstrip()):
            while end < len(lines) and (lines[end].startswith("  ") or not lines[end].strip()):
                end += 1
            yield Block("code", ((Span(_dedent(lines[start:end]), True),),))
        else:
            while end < len(lines) and lines[end].strip():
                end += 1
            yield from _paragraphs(lines[start:end])
        start = end


def _paragraphs(lines: list[str]) -> Iterator[Block]:
    words: list[str] = []
    items: list[str] = []
    for line in lines:
        stripped = line.strip()
        marker = _ITEM.match(stripped)
        if marker:
            items.append(stripped[marker.end() :])
        elif items:
            items[-1] += f" {stripped}"
        else:
            words.append(stripped)
    if words:
        yield Block("text", (_spans(" ".join(words)),))
    if items:
        yield Block("list", tuple(_spans(item) for item in items))


def _dedent(lines: list[str]) -> str:
    filled = [line for line in lines if line.strip()]
    margin = min(len(line) - len(line.lstrip()) for line in filled)
    return "\n".join(line[margin:].rstrip() for line in lines).strip("\n")


def _spans(source: str) -> tuple[Span, ...]:
    parts = re.split(r"`+([^`]+)`+", source)
    return tuple(Span(part, bool(position % 2)) for position, part in enumerate(parts) if part)
