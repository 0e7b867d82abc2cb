"""Kyverno's patterns: whether an object looks as `validate.pattern` wants it.

An object is walked along its pattern. Anchors around a key say what an absent or a different field
means; a text may hold operators, ranges, wildcards, `|` and `&`. Source: kyverno/kyverno 1.10 to
1.15, `pkg/engine/validate`, `pkg/engine/anchor`, `pkg/engine/pattern`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from auditor.model import Json
from checks.kubernetes._admission.cel.functions import parse_quantity
from checks.kubernetes._admission.matching import MalformedError

MAX_STEPS = 100_000
"""Comparisons of one pattern with one pod; wildcards are bounded on their own."""


class Match(StrEnum):
    """What comes of an object and a pattern."""

    MET = "met"
    FAILED = "failed"
    SKIPPED = "skipped"
    """A condition in the pattern is not met: the rule does not speak of the object."""
    BROKEN = "broken"
    """Kyverno calls it an error: the pattern fails, and one of its anchors is not in the object."""


def match_pattern(value: Json, pattern: Json) -> tuple[Match, str]:
    """Compare an object with a pattern; the text says where and why it is not met.

    Raises `MalformedError` for what no release of Kyverno documents.
    """
    walk = _Walk()
    try:
        walk.element(value, pattern, "")
    except _SkipError as error:
        return Match.SKIPPED, str(error)
    except _NegatedError as error:
        return Match.FAILED, str(error)
    except _FailError as error:
        missing = any(not seen for seen in walk.anchors.values())
        return (Match.BROKEN if missing else Match.FAILED), str(error)
    return Match.MET, ""


class _FailError(Exception):
    pass


class _NegatedError(_FailError):
    pass


class _SkipError(Exception):
    pass


_ANCHOR = re.compile(r"([=^<X+]?)\((.+)\)")
_CONDITION, _GLOBAL, _EXISTENCE, _EQUALITY, _NEGATION, _ADDITION = "", "<", "^", "=", "X", "+"


class _Walk:
    def __init__(self) -> None:
        self.anchors: dict[str, bool] = {}
        self.steps = 0

    def element(self, value: Json, pattern: Json, path: str) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise MalformedError(f"the pattern takes more than {MAX_STEPS} comparisons")
        if isinstance(pattern, dict):
            if not isinstance(value, dict):
                raise _FailError(f"{path or 'the object'} is {_kind(value)}, not an object")
            self._map(value, pattern, path)
        elif isinstance(pattern, list):
            if not isinstance(value, list):
                raise _FailError(f"{path} is {_kind(value)}, not a list")
            self._list(value, pattern, path)
        elif isinstance(value, list):
            for item in value:
                self._scalar(item, pattern, path)
        else:
            self._scalar(value, pattern, path)

    def _scalar(self, value: Json, pattern: Json, path: str) -> None:
        if not fits(value, pattern):
            raise _FailError(f"{path} is {_kind(value)}, not {pattern}")

    def _map(self, value: Mapping[str, Json], pattern: Mapping[str, Json], path: str) -> None:
        anchors: list[tuple[str, str, Json]] = []
        plain: list[tuple[str, Json]] = []
        for key, wanted in pattern.items():
            if not isinstance(key, str):
                raise MalformedError("a key of the pattern is no text")
            if path in ("metadata.labels", "metadata.annotations") and set(key) & set("*?"):
                raise MalformedError(f"the wildcard in the key {key}")
            found = _ANCHOR.fullmatch(key)
            if found is None:
                plain.append((key, wanted))
                continue
            kind, name = found[1], found[2]
            if kind == _ADDITION:
                raise MalformedError(f"the anchor {key} in a pattern to validate")
            if kind in (_CONDITION, _EXISTENCE, _NEGATION):
                self.anchors[key] = self.anchors.get(key, False) or value.get(name) is not None
            anchors.append((kind, name, wanted))
        # Kyverno takes anchors in any order: what does not depend on it comes first.
        for kind, name, wanted in sorted(anchors, key=lambda item: item[0] != _NEGATION):
            self._anchor(kind, name, wanted, value, _join(path, name))
        for key, wanted in sorted(plain, key=lambda item: not _holds_anchor(item[1])):
            self._plain(key, wanted, value, _join(path, key))

    def _plain(self, key: str, wanted: Json, value: Mapping[str, Json], path: str) -> None:
        found = value.get(key)
        if wanted == "*":
            if found is None:
                raise _FailError(f"{path} is not set")
            return
        self.element(found, wanted, path)

    def _anchor(
        self, kind: str, name: str, wanted: Json, value: Mapping[str, Json], path: str
    ) -> None:
        present = name in value
        if kind == _NEGATION:
            if present:
                raise _NegatedError(f"{path} is set")
        elif kind == _EXISTENCE:
            if present:
                self._exists(value[name], wanted, path)
        elif present:
            try:
                self.element(value[name], wanted, path)
            except (_FailError, _SkipError) as error:
                if kind == _EQUALITY:
                    raise
                raise _SkipError(str(error)) from error
        elif kind == _CONDITION:
            raise _SkipError(f"{path} is not set")

    def _exists(self, found: Json, wanted: Json, path: str) -> None:
        if not isinstance(found, list) or not isinstance(wanted, list):
            raise _FailError(f"{path} is {_kind(found)}, not a list")
        for pattern in wanted:
            if not isinstance(pattern, dict):
                raise _FailError(f"{path}: the pattern holds no objects")
            if not any(self._accepts(item, pattern, path) for item in found):
                raise _FailError(f"no entry of {path} is as wanted")

    def _accepts(self, item: Json, pattern: Json, path: str) -> bool:
        try:
            self.element(item, pattern, path)
        except (_FailError, _SkipError):
            return False
        return True

    def _list(self, value: Sequence[Json], pattern: Sequence[Json], path: str) -> None:
        if not pattern:
            raise _FailError(f"{path}: the pattern's list is empty")
        first = pattern[0]
        if isinstance(first, dict):
            pairs = [(item, first) for item in value]
        elif isinstance(first, list):
            if len(value) < len(pattern):
                raise _FailError(f"{path} has {len(value)} entries, not {len(pattern)}")
            pairs = list(zip(value, pattern, strict=False))
        else:
            # A list of texts: its first is a pattern for every entry.
            if len(pattern) > 1:
                raise MalformedError(f"a list of {len(pattern)} values as the pattern of {path}")
            self.element(list(value), first, path)
            return
        skipped: list[str] = []
        for place, (item, wanted) in enumerate(pairs):
            try:
                self.element(item, wanted, f"{path}[{place}]")
            except _SkipError as error:
                skipped.append(str(error))
        if skipped and len(skipped) == len(pairs):
            raise _SkipError("; ".join(skipped[:3]))


def _holds_anchor(pattern: Json) -> bool:
    """Whether a pattern has an anchor at its top: such keys are looked at first."""
    if isinstance(pattern, list):
        return any(_holds_anchor(item) for item in pattern)
    if isinstance(pattern, dict):
        return any(
            _ANCHOR.fullmatch(str(key)) or _holds_anchor(item) for key, item in pattern.items()
        )
    return False


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _kind(value: Json) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else str(value)[:60]


# --- values -----------------------------------------------------------------------------------


def fits(value: Json, pattern: Json) -> bool:
    """Whether a value is as a scalar pattern wants it."""
    if isinstance(pattern, bool):
        return value is pattern
    if isinstance(pattern, int):
        return _as_number(value, whole=True) == pattern
    if isinstance(pattern, float):
        return _as_number(value, whole=False) == pattern
    if pattern is None:
        return not isinstance(value, dict | list) and value in (None, 0, "", False)
    if not isinstance(pattern, str):
        raise MalformedError(f"a pattern of the type {type(pattern).__name__}")
    if "{{" in pattern or "$(" in pattern:
        raise MalformedError(f"the variable in the pattern {pattern}")
    if value == pattern:
        return True
    return any(
        all(_one(value, part.strip(" ")) for part in choice.split("&"))
        for choice in pattern.split("|")
    )


def _as_number(value: Json, *, whole: bool) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        try:
            return int(value) if whole else float(value)
        except ValueError:
            return None
    return None


_ENDPOINT = r"([-|+]?\d+(?:\.\d+)?[A-Za-z]*)"
_RANGE = re.compile(f"{_ENDPOINT}-{_ENDPOINT}")
_NOT_RANGE = re.compile(f"{_ENDPOINT}!-{_ENDPOINT}")
_OPERATORS = (">=", "<=", ">", "<", "!")


def _one(value: Json, pattern: str) -> bool:
    """One comparison: a range, or an operator with its operand."""
    inside, outside = _RANGE.fullmatch(pattern), _NOT_RANGE.fullmatch(pattern)
    if inside:
        return _compare(value, ">=", inside[1]) and _compare(value, "<=", inside[2])
    if outside:
        return _compare(value, "<", outside[1]) or _compare(value, ">", outside[2])
    if len(pattern) >= 2:
        for operator in _OPERATORS:
            if pattern.startswith(operator):
                return _compare(value, operator, pattern.removeprefix(operator).strip())
    return _compare(value, "", pattern)


_DURATION = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|[smh])(.*)")


def _compare(value: Json, operator: str, operand: str) -> bool:
    if isinstance(value, str) and _DURATION.fullmatch(value) and _DURATION.fullmatch(operand):
        # "10m" is ten minutes and a hundredth both.
        raise MalformedError(f"the duration in the pattern {operand}")
    wanted, found = parse_quantity(operand), _quantity(value)
    if wanted is not None and found is not None and _ordered(found, operator, wanted):
        return True
    if operator not in ("", "!"):
        return False
    if value is None or isinstance(value, dict | list):
        return False
    if isinstance(value, float):
        raise MalformedError("a number with a fraction, compared as a text")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return is_like(text, operand) is (operator == "")


def _quantity(value: Json) -> Decimal | None:
    """A value as a quantity; an absent one counts as 0, and a yes or no as none."""
    if value is None:
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return parse_quantity(str(value))


def _ordered(found: Decimal, operator: str, wanted: Decimal) -> bool:
    return {
        "": found == wanted,
        "!": found != wanted,
        ">": found > wanted,
        "<": found < wanted,
        ">=": found >= wanted,
        "<=": found <= wanted,
    }[operator]


MAX_NAME = 4096
"""Characters of a text, or a pattern with wildcards, that are compared."""


def is_like(text: str, pattern: str) -> bool:
    """Whether a text matches a pattern in which `*` is any text and `?` any character.

    Takes time in the product of both lengths at most.
    """
    if len(text) > MAX_NAME or len(pattern) > MAX_NAME:
        raise MalformedError("a text too long for wildcards")
    place = start = 0
    star = -1
    index = 0
    while index < len(text):
        if place < len(pattern) and pattern[place] == "*":
            star, start = place, index
            place += 1
        elif place < len(pattern) and pattern[place] in (text[index], "?"):
            place += 1
            index += 1
        elif star >= 0:
            start += 1
            place, index = star + 1, start
        else:
            return False
    return all(character == "*" for character in pattern[place:])


def any_like(text: str, patterns: Iterator[str] | Sequence[str]) -> bool:
    """Whether a text matches any of several patterns."""
    return any(is_like(text, pattern) for pattern in patterns)
