"""Kyverno's conditions: `preconditions` and `deny.conditions`, as far as they can be computed.

Each compares a key with a value by an operator. Where releases of Kyverno differ, or where a type
is one that they treat in their own way, the answer is None: undecided. Source: kyverno/kyverno,
`pkg/engine/variables/operator`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from auditor.model import Json
from checks.kubernetes._admission.kyverno_pattern import is_like
from checks.kubernetes._admission.kyverno_query import substituted
from checks.kubernetes._admission.matching import MalformedError, items, text

Answer3 = bool | None


def every(answers: Iterable[Answer3]) -> Answer3:
    """Whether all hold: one that does not settles it, else one unknown leaves it unknown."""
    found = list(answers)
    if False in found:
        return False
    return None if None in found else True


def some(answers: Iterable[Answer3]) -> Answer3:
    """Whether any holds: one that does settles it, else one unknown leaves it unknown."""
    found = list(answers)
    if True in found:
        return True
    return None if None in found else False


def met(conditions: Json, context: Mapping[str, Json]) -> Answer3:
    """Whether conditions hold: `{any, all}`, or a list that must hold altogether.

    Raises `MalformedError` for another shape.
    """
    if conditions is None:
        return True
    if isinstance(conditions, list):
        return every(
            met(entry, context)
            if isinstance(entry, dict) and set(entry) <= {"any", "all"}
            else _one(entry, context)
            for entry in items(conditions, "conditions")
        )
    if not isinstance(conditions, dict) or not set(conditions) <= {"any", "all"}:
        raise MalformedError("conditions are neither any/all nor a list")
    choices = items(conditions.get("any"), "any")
    needed = items(conditions.get("all"), "all")
    parts = [every(_one(entry, context) for entry in needed)]
    if choices:
        parts.append(some(_one(entry, context) for entry in choices))
    return every(parts)


def _one(condition: Mapping[str, Json], context: Mapping[str, Json]) -> Answer3:
    operator = text(condition.get("operator"), "operator").lower()
    compare = _OPERATORS.get(operator)
    if compare is None:
        return None
    try:
        key = substituted(condition.get("key"), context)
        value = substituted(condition.get("value"), context)
    except MalformedError:
        return None
    return compare(key, value)


# --- equality ---------------------------------------------------------------------------------


def _equals(key: Json, value: Json) -> Answer3:
    if isinstance(key, bool) or isinstance(value, bool):
        return key is value if isinstance(key, bool) and isinstance(value, bool) else None
    if isinstance(key, int | float) and isinstance(value, int | float):
        return key == value
    if isinstance(key, list) and isinstance(value, list):
        return key == value
    if isinstance(key, dict) and isinstance(value, dict):
        return key == value
    if isinstance(key, str) and isinstance(value, str):
        if key == value:
            return True
        # Texts that are quantities or durations are compared as such.
        return None if _numeric(key) and _numeric(value) else is_like(key, value)
    return None


def _not_equals(key: Json, value: Json) -> Answer3:
    found = _equals(key, value)
    return None if found is None else not found


def _numeric(value: str) -> bool:
    return value[:1].isdigit() or value[:1] in "+-."


def _ordered(compare: Callable[[float, float], bool]) -> Callable[[Json, Json], Answer3]:
    def decide(key: Json, value: Json) -> Answer3:
        left, right = _number(key), _number(value)
        return None if left is None or right is None else compare(left, right)

    return decide


def _number(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


# --- membership -------------------------------------------------------------------------------


def _words(value: Json) -> list[str] | None:
    """The texts that Go prints for a list's values; None for what is not printed alike."""
    if not isinstance(value, list):
        return None
    if not all(isinstance(item, str | int) for item in value):
        return None
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in value]


def _allowed(value: Json) -> list[str] | None:
    """The values to look in: a list, one text, or a text that is a JSON list."""
    if not isinstance(value, str):
        return _words(value)
    if "-" in value and value[:1].isdigit():
        return None  # a range
    if value[:1] not in '["{' and value not in ("true", "false", "null") and not _numeric(value):
        return [value]
    try:
        listed = json.loads(value)
    except (ValueError, RecursionError):
        return [value]
    return _words(listed) if isinstance(listed, list) else None


def _in(word: str, allowed: Sequence[str]) -> bool:
    return any(is_like(word, item) or is_like(item, word) for item in allowed)


def _member(
    decide: Callable[[int, int], Answer3],
) -> Callable[[Json, Json], Answer3]:
    """An operator that looks at how many of the key's words are among the values, of how many."""

    def compare(key: Json, value: Json) -> Answer3:
        allowed = _allowed(value)
        if allowed is None or isinstance(key, bool):
            return None
        words = [str(key)] if isinstance(key, str | int) else _words(key)
        if words is None:
            return None
        return decide(sum(_in(word, allowed) for word in words), len(words))

    return compare


def _none_in(found: int, total: int) -> Answer3:
    # Up to 1.6, one that is not there was enough, and none at all was not.
    if total and found == 0:
        return True
    return False if total and found == total else None


_ALL_IN = _member(lambda found, total: found == total)
_ANY_IN = _member(lambda found, total: found > 0)
_ANY_NOT_IN = _member(lambda found, total: found < total)
_ALL_NOT_IN = _member(_none_in)

_OPERATORS: Mapping[str, Callable[[Json, Json], Answer3]] = {
    "equal": _equals,
    "equals": _equals,
    "notequal": _not_equals,
    "notequals": _not_equals,
    "greaterthan": _ordered(lambda left, right: left > right),
    "greaterthanorequals": _ordered(lambda left, right: left >= right),
    "lessthan": _ordered(lambda left, right: left < right),
    "lessthanorequals": _ordered(lambda left, right: left <= right),
    "in": _ALL_IN,
    "allin": _ALL_IN,
    "anyin": _ANY_IN,
    "notin": _ALL_NOT_IN,
    "allnotin": _ALL_NOT_IN,
    "anynotin": _ANY_NOT_IN,
}
