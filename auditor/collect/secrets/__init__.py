"""Finds secrets while collecting, so that their values never get any further.

Nothing here keeps, logs, caches or hashes a value. A hit says which detector fired, how many
characters the value has, and whether it is only a placeholder for one. Three detectors:

- by shape: private keys, issuers' tokens, passwords in URLs (see `shapes`);
- by name: any value under a name that means a credential (see `names`), detector
  `credential name`, even where the value is a placeholder: the place is the finding;
- by entropy: a random-looking value, only under a name that hints at a credential.

Where two of them see the same value the shape names it, for it says more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from auditor.collect.secrets.names import (
    hints_at_credential,
    is_credential_name,
    is_literal,
    is_placeholder,
)
from auditor.collect.secrets.shapes import HIGH_ENTROPY, Span, is_random, load_detectors, shaped
from auditor.collect.secrets.text import assigned

__all__ = [
    "CREDENTIAL_NAME",
    "Found",
    "Hit",
    "detect",
    "is_credential_name",
    "load_detectors",
    "locate",
    "redact",
    "redact_args",
    "scrub_env",
]

CREDENTIAL_NAME = "credential name"
"""The detector of values whose name means a credential."""

_SHORT = 4
"""A value shorter than this is masked where it stands only: it may be part of any word."""
_TOO_MANY = 200
"""A text with more hits than this is dropped whole: it is a store of secrets, not prose."""


class Hit(NamedTuple):
    """A secret that was seen: never its value.

    `detector` says what it is or why it counts, `length` is the number of characters of the value
    (its quotes not included), and `placeholder` is true for `changeme`, `{YOUR_TOKEN}`, ….
    """

    detector: str
    length: int
    placeholder: bool


class Found(NamedTuple):
    """A hit and where it stands: `text[start:end]`; `name` is what the text calls it, if anything.

    For collectors that point at a line. It holds places, not values, and stays in the collector.
    """

    start: int
    end: int
    hit: Hit
    name: str | None


def detect(text: str, key: str | None = None, *, assignments: bool = False) -> tuple[Hit, ...]:
    """Return the secrets in `text`, in the order in which they stand.

    `key` is the name under which the text stands (a variable, a field), if any: a credential's
    name makes the whole text one hit, unless it is empty, a yes or no, purely a reference, a file's
    path or a URL. `assignments=True` also looks for `name=value` and the like inside the text, as
    `redact` does: right for commands and configuration, too eager for source code.

    Never raises; takes time linear in the length of the text.
    """
    return tuple(found.hit for found in _find(text, key, assignments=assignments))


def locate(text: str, key: str | None = None, *, assignments: bool = True) -> list[Found]:
    """Like `detect`, with the place of each hit, in the order of the text, none overlapping."""
    return _find(text, key, assignments=assignments)


def redact(text: str, key: str | None = None) -> tuple[str, tuple[Hit, ...]]:
    """Return `text` without its secrets, and what they were, in the order in which they stand.

    Each is replaced by `«redacted: <detector>, <n> characters»`. Besides what `detect` finds this
    understands assignments inside the text: `KEY=value`, `--password=value`, `--password value`,
    `ENV KEY value`, `key: value`, `"key": "value"`. A found value of four characters or more is
    masked wherever else it occurs in the text, too. A text with more than 200 is replaced whole.
    """
    found = _find(text, key, assignments=True)
    if not found:
        return text, ()
    hits = tuple(item.hit for item in found)
    if len(hits) > _TOO_MANY:
        return f"«redacted: {len(hits)} secrets, {len(text)} characters»", hits
    pieces: list[tuple[str, bool]] = []
    position = 0
    for start, end, hit, _ in found:
        pieces.append((text[position:start], True))
        pieces.append((_marker(hit), False))
        position = end
    pieces.append((text[position:], True))
    again = {text[start:end]: hit for start, end, hit, _ in found if end - start >= _SHORT}
    for value in sorted(again, key=len, reverse=True):
        pieces = _mask(pieces, value, _marker(again[value]))
    return "".join(piece for piece, _ in pieces), hits


def redact_args(args: Sequence[str]) -> tuple[list[str], tuple[Hit, ...]]:
    """Redact the words of one command: like `redact`, and `["--password", "value"]` as a pair."""
    words: list[str] = []
    hits: list[Hit] = []
    flag: str | None = None
    for arg in args:
        word, found = redact(arg, None if arg.startswith("-") else flag)
        words.append(word)
        hits.extend(found)
        flag = arg.lstrip("-") if arg.startswith("-") and "=" not in arg else None
    return words, tuple(hits)


def scrub_env(pairs: Iterable[str]) -> list[dict[str, Any]]:
    """Turn `["NAME=value", …]` into what may be kept of it; values are dropped, all of them.

    Each entry is `{"name": str, "length": int, "hits": [{"detector", "length", "placeholder"}]}`.
    """
    entries: list[dict[str, Any]] = []
    for pair in pairs:
        name, _, value = pair.partition("=")
        hits = [hit._asdict() for hit in detect(value, name)]
        entries.append({"name": name, "length": len(value), "hits": hits})
    return entries


def _find(text: str, key: str | None, *, assignments: bool) -> list[Found]:
    spans = shaped(text)
    if key is not None and is_credential_name(key):
        # A URL or a reference under such a name can still carry a password of its own.
        assignments = True
        start, end = _stripped(text, 0, len(text))
        if is_literal(text[start:end]):
            spans.append(Span(start, end, CREDENTIAL_NAME, key))
    elif key is not None and hints_at_credential(key):
        start, end = _stripped(text, 0, len(text))
        if is_literal(text[start:end]) and is_random(text[start:end]):
            spans.append(Span(start, end, HIGH_ENTROPY, key))
    if assignments:
        spans.extend(_assignments(text))
    spans = [span for span in spans if _is_value(text[span.start : span.end])]
    return [_found(text, group) for group in _overlapping(spans)]


def _assignments(text: str) -> Iterable[Span]:
    for item in assigned(text):
        start, end = _stripped(text, item.start, item.end)
        value = text[start:end]
        if not is_literal(value):
            continue
        if item.certain:
            yield Span(start, end, CREDENTIAL_NAME, item.name)
        elif is_random(value):
            yield Span(start, end, HIGH_ENTROPY, item.name)


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out white space and one pair of quotes around a value."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if end - start >= 2 and text[start] == text[end - 1] and text[start] in "\"'":
        return start + 1, end - 1
    return start, end


def _is_value(value: str) -> bool:
    """Whether a shape's match is a value and not a reference to one (`https://u:${PW}@host`)."""
    return bool(value) and (len(value) > 200 or is_literal(value))


def _overlapping(spans: list[Span]) -> Iterable[list[Span]]:
    """Group spans that share characters, groups in the order of the text."""
    group: list[Span] = []
    end = -1
    for span in sorted(spans, key=lambda span: (span.start, span.end, span.detector)):
        if group and span.start >= end:
            yield group
            group = []
        group.append(span)
        end = max(end, span.end) if len(group) > 1 else span.end
    if group:
        yield group


def _found(text: str, group: list[Span]) -> Found:
    start, end = group[0].start, max(span.end for span in group)
    shapes = [span.detector for span in group if span.detector not in _BY_NAME]
    detector = shapes[0] if shapes else min(span.detector for span in group)
    name = next((span.name for span in group if span.name is not None), None)
    return Found(
        start, end, Hit(detector, end - start, is_placeholder(text[start:end], name)), name
    )


_BY_NAME = frozenset({CREDENTIAL_NAME, HIGH_ENTROPY})


def _marker(hit: Hit) -> str:
    unit = "character" if hit.length == 1 else "characters"
    return f"«redacted: {hit.detector}, {hit.length} {unit}»"


def _mask(pieces: list[tuple[str, bool]], value: str, marker: str) -> list[tuple[str, bool]]:
    """Replace a value in every piece that is still the text's own."""
    masked: list[tuple[str, bool]] = []
    for piece, own in pieces:
        if not own or value not in piece:
            masked.append((piece, own))
            continue
        for index, part in enumerate(piece.split(value)):
            if index:
                masked.append((marker, False))
            masked.append((part, True))
    return masked
