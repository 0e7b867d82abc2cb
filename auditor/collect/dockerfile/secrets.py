"""Takes the secrets out of a Dockerfile before anything else looks at it.

Each character of a secret becomes a filler character, so that every place, line and column stays
what it was, and whatever is read from the text afterwards cannot hold a value any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.collect.dockerfile.parse import Instruction, ParseError, Source, parse
from auditor.collect.secrets import Found, Hit, locate

_FILLER = "\x7f"
# DEL: one ASCII character that no editor leaves in a file and every parser takes as it is.
_FILLED = re.compile(_FILLER + "+")
_SHORT = 4
_TOO_MANY = 500


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret of one instruction: its name there, its hit, and the offsets of its characters."""

    name: str | None
    hit: Hit
    places: Sequence[int]

    def facts(self, source: Source) -> dict[str, Any]:
        """What may be told of it: never the value."""
        line, column = source.place(self.places[0])
        return {"key": self.name, **self.hit._asdict(), "line": line, "column": column}


def shown(text: str) -> str:
    """A text as it may be told: each secret that was taken out becomes `«redacted»`."""
    return _FILLED.sub("«redacted»", text)


def take_out(source: Source) -> tuple[Source, list[list[Secret]]]:
    """Return the source without its secrets, and those of each instruction in order.

    Raises `ParseError` when they cannot be taken out for certain.
    """
    secrets = [_secrets(instruction) for instruction in source.instructions]
    count = sum(map(len, secrets))
    if not count:
        return source, secrets
    if count > _TOO_MANY:
        raise ParseError(f"it holds more than {_TOO_MANY} secrets")
    characters = list(source.text)
    values: set[str] = set()
    for instruction, found in zip(source.instructions, secrets, strict=True):
        if found and not instruction.exact:
            raise ParseError("its secrets cannot be told from the rest of it")
        for secret in found:
            values.add("".join(source.text[place] for place in secret.places))
            for place in secret.places:
                characters[place] = "\n" if source.text[place] == "\n" else _FILLER
    text = "".join(characters)
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORT and "\n" not in value:
            text = text.replace(value, _FILLER * len(value))
    cleaned = parse(text)
    before = [item.cmd for item in source.instructions]
    if [item.cmd for item in cleaned.instructions] != before:
        raise ParseError("its secrets cannot be told from the rest of it")
    return cleaned, secrets


def pairs_of(instruction: Instruction) -> list[tuple[str, str | None]]:
    """The (name, value as written) pairs of an ENV, LABEL or ARG; an ARG may have no value."""
    if instruction.cmd == "ARG":
        split = (word.partition("=") for word in instruction.value)
        return [(name, value if equals else None) for name, equals, value in split]
    if instruction.cmd in {"ENV", "LABEL"}:
        return list(zip(instruction.value[::2], instruction.value[1::2], strict=False))
    return []


def _secrets(instruction: Instruction) -> list[Secret]:
    found = [*_named(instruction), *locate(instruction.text)]
    secrets = [
        Secret(item.name, item.hit, instruction.places[item.start : item.end])
        for item in _merged(found)
    ]
    for heredoc in instruction.heredocs:
        secrets += [
            Secret(
                item.name, item.hit, range(heredoc.offset + item.start, heredoc.offset + item.end)
            )
            for item in locate(heredoc.content)
        ]
    return secrets


def _named(instruction: Instruction) -> Iterator[Found]:
    """The hits among the pairs that the grammar itself sees."""
    position = 0
    for name, value in pairs_of(instruction):
        position = max(instruction.text.find(name, position), position)
        if not value:
            continue
        position = max(instruction.text.find(value, position + len(name)), position)
        for item in locate(value, name):
            yield item._replace(
                start=item.start + position, end=item.end + position, name=item.name or name
            )
        position += len(value)


def _merged(found: list[Found]) -> list[Found]:
    """Make hits that share characters one: with all of their characters, and a name if any has."""
    merged: list[Found] = []
    for item in sorted(found, key=lambda item: (item.start, -item.end)):
        if not merged or item.start >= merged[-1].end:
            merged.append(item)
            continue
        last = merged[-1]
        end = max(last.end, item.end)
        hit = last.hit._replace(length=end - last.start)
        merged[-1] = Found(last.start, end, hit, last.name or item.name)
    return merged
