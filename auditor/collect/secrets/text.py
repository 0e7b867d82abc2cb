"""Assignments of credentials inside longer text: commands, history lines, configuration.

Understood are `KEY=value`, `KEY = value`, `key: value`, `"key": "value"`, `--key=value`,
`--key value`, `["--key", "value"]` and `ENV KEY value`. The text is walked from one credential
word to the next, so the time is linear in its length. When it is unclear where a value ends, more
is taken rather than less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from auditor.collect.secrets.names import hints_at_credential, is_credential_name

_MAX_NAME = 64
_MAX_CALL = 500
"""Longest word taken for a function call: bounds the time spent on hostile text."""
_MAX_TRIM = 16
_STEM = re.compile(
    r"pass|pwd|token|secret|cred|key|auth|conn|jwt|salt|cookie|session|licen[cs]e|[_\-]pat\b",
    re.IGNORECASE,
)
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_OPERATOR = re.compile(r"([\"']?)([ \t]*)(=>|:=|=|:)([ \t]*)")
_NEXT_WORD = re.compile(r"[\"']?(?:[ \t]*,[ \t]*(?=[\"'])|[ \t]+)(?![-\s,;|&])")
_ENV_LINE = re.compile(r"(?:^|\n|#\(nop\)[ \t]+)[ \t]*(?:ENV|LABEL)[ \t]+$", re.IGNORECASE)
# One shell word: references and quoted parts whole, then anything that does not end a word.
_SHELL_WORD = re.compile(
    r"""(?: \$\((?:[^()\n]|\([^()\n]*\))*\) | \$\{[^}\n]{0,500}\} | `[^`\n]*` | \{\{[^{}\n]*\}\}
          | "(?:\\.|[^"\\])*" | '[^']*' | \\. | &(?!&) | [^\s"'`;|&\\] | ["'] )+""",
    re.VERBOSE | re.DOTALL,
)
_QUOTED = re.compile(r"\"((?:\\.|[^\"\\])*)\"|'([^']*)'", re.DOTALL)
_REST_OF_LINE = re.compile(r"(?:\{\{[^{}\n]*\}\}|\$\{[^{}\n]{0,500}\}|[^\n\"'}])*")
_STATEMENT = re.compile(r"(?:^|[\n;{,(\[])[ \t]*[\"']?$")
_WHOLE_LINE = re.compile(r"[^\n]*")
_CALL = re.compile(r"[A-Za-z_][\w.:]*(?:\(.*\)|\[.*\])[\w.()\[\]]*,?", re.DOTALL)


class Assigned(NamedTuple):
    """A value given to a name in a text: `text[start:end]`, its quotes not included."""

    name: str
    start: int
    end: int
    certain: bool
    """Whether the name means a credential; otherwise it only hints at one."""


def assigned(text: str) -> Iterator[Assigned]:
    """Yield every value that `text` assigns to a credential's name, in order."""
    position = 0
    while (stem := _STEM.search(text, position)) is not None:
        start, end = _name_around(text, stem.start(), stem.end(), position)
        position = end
        name = text[start:end]
        certain = is_credential_name(name)
        if not certain and not hints_at_credential(name):
            continue
        value = _value_after(text, start, end)
        if value is not None:
            yield Assigned(name.lstrip("-"), value[0], value[1], certain)
            position = max(position, value[1])


def _name_around(text: str, start: int, end: int, floor: int) -> tuple[int, int]:
    """Widen a word's place to the whole name, at most 64 characters to each side."""
    lowest, highest = max(floor, start - _MAX_NAME), min(len(text), end + _MAX_NAME)
    while start > lowest and text[start - 1] in _NAME_CHARACTERS:
        start -= 1
    while end < highest and text[end] in _NAME_CHARACTERS:
        end += 1
    return start, end


def _value_after(text: str, start: int, end: int) -> tuple[int, int] | None:
    quoted = start > 0 and text[start - 1] in "\"'"
    operator = _OPERATOR.match(text, end)
    if operator is not None:
        if operator.group(2) and not _STATEMENT.search(text, max(0, start - 40), start):
            return None  # `[ $TOKEN = x ]` compares; `token = x` assigns where it stands first
        if operator.group(3) == ":":
            return _after_colon(text, operator, quoted)
        if operator.group(4) and not operator.group(2):
            return None  # `KEY= command` gives KEY nothing
        if text.startswith("=", operator.end()):
            return None  # a comparison
        return _word(text, operator.end())
    if text[start] == "-":
        following = _NEXT_WORD.match(text, end)
        return _word(text, following.end()) if following else None
    if _ENV_LINE.search(text, max(0, start - 40), start):
        space = re.compile(r"[ \t]+").match(text, end)
        return _trimmed(text, space.end(), _WHOLE_LINE) if space else None
    return None


def _after_colon(text: str, operator: re.Match[str], quoted: bool) -> tuple[int, int] | None:
    start = operator.end()
    if not (operator.group(4) or quoted or text[start : start + 1] in {'"', "'"}):
        return None  # `secret:latest` names an image
    match = _QUOTED.match(text, start)
    if match is not None:
        return match.span(1) if match.group(1) is not None else match.span(2)
    return _trimmed(text, start, _REST_OF_LINE)


def _word(text: str, start: int) -> tuple[int, int] | None:
    match = _QUOTED.match(text, start)
    if match is not None and not _SHELL_WORD.match(text, match.end()):
        return match.span(1) if match.group(1) is not None else match.span(2)
    match = _SHELL_WORD.match(text, start)
    if match is None:
        return None
    end = match.end()
    if end - start <= _MAX_CALL and _CALL.fullmatch(match.group()):
        return None  # source code: the value is computed
    for _ in range(_MAX_TRIM):
        if text[end - 1] not in "),]}\"'" or _is_balanced(text[start:end]):
            break
        end -= 1
    return (start, end) if end > start else None


def _is_balanced(word: str) -> bool:
    pairs = (("(", ")"), ("[", "]"), ("{", "}"))
    even = all(word.count(quote) % 2 == 0 for quote in "\"'")
    return even and not word.endswith(",") and all(word.count(a) == word.count(b) for a, b in pairs)


def _trimmed(text: str, start: int, pattern: re.Pattern[str]) -> tuple[int, int] | None:
    match = pattern.match(text, start)
    if match is None:
        return None
    value = match.group().rstrip()
    return (start, start + len(value)) if value else None
