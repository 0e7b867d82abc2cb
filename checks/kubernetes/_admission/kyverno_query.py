"""JMESPath in Kyverno's policies: variables such as `{{ request.object.spec.x }}`, and lists.

The language is that of the `jmespath` library. Kyverno adds functions of its own, and an error
where a variable is not found; both stay undecided here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jmespath  # type: ignore[import-untyped]
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]

from auditor.model import Json
from checks.kubernetes._admission.matching import MalformedError

MAX_LENGTH = 1000
MAX_GROWTH = 1000.0
"""Characters of an expression; and how many times its result may be larger than what it sees."""

_VARIABLE = re.compile(r"\{\{([^{}]*)\}\}")
_SIMPLE = frozenset(
    {
        *("abs", "avg", "ceil", "contains", "ends_with", "floor", "keys", "length", "max", "min"),
        *("not_null", "reverse", "sort", "starts_with", "sum", "to_array", "to_number", "type"),
        "values",
    }
)
"""Functions that both have, that do the same, and that make nothing larger."""


def query(expression: str, context: Mapping[str, Json]) -> Json:
    """Evaluate an expression; None where it finds nothing. Raises `MalformedError`."""
    try:
        return _compiled(expression.strip()).search(context)
    except (JMESPathError, TypeError, ValueError, KeyError, RecursionError) as error:
        raise MalformedError(f"the expression {expression.strip()[:100]}: {error}") from error


def substituted(value: Json, context: Mapping[str, Json]) -> Json:
    """A value with its variables replaced. Raises `MalformedError` where one finds nothing."""
    if isinstance(value, list):
        return [substituted(item, context) for item in value]
    if isinstance(value, dict):
        if any("{{" in str(key) for key in value):
            raise MalformedError("a variable in a key")
        return {key: substituted(item, context) for key, item in value.items()}
    if not isinstance(value, str) or not ("{{" in value or "$(" in value):
        return value
    if "$(" in value or "\\{{" in value:
        raise MalformedError(f"the reference in {value[:100]}")
    whole = _VARIABLE.fullmatch(value)
    if whole:
        found = query(whole[1], context)
        if found is None:
            raise MalformedError(f"the variable {value[:100]} finds nothing")
        if isinstance(found, str) and "{{" in found:
            raise MalformedError("a variable within a variable")
        return found
    text = _VARIABLE.sub(lambda part: _text(query(part[1], context), part[0]), value)
    if "{{" in text:
        raise MalformedError(f"a variable within a variable: {value[:100]}")
    return text


def _text(value: Json, variable: str) -> str:
    if not isinstance(value, str):
        raise MalformedError(f"the variable {variable[:100]} is no text")
    return value


@lru_cache(maxsize=2000)
def _compiled(expression: str) -> Any:
    if len(expression) > MAX_LENGTH:
        raise MalformedError("an expression too long")
    parsed = jmespath.compile(expression)
    if _growth(parsed.parsed) > MAX_GROWTH:
        raise MalformedError(f"the expression {expression[:100]} may grow too large")
    return parsed


def _growth(node: Mapping[str, Any]) -> float:
    """How many times the result of a node can be larger than what it is given, at most."""
    kind, children = node["type"], node.get("children", [])
    factors = [_growth(child) for child in children]
    if kind in ("multi_select_list", "multi_select_dict", "function_expression"):
        if kind == "function_expression" and node.get("value") not in _SIMPLE:
            raise MalformedError(f"the function {node.get('value')}")
        return sum(factors) + 1.0
    if kind in (
        "subexpression",
        "pipe",
        "projection",
        "value_projection",
        "filter_projection",
        "index_expression",
        "flatten",
        "key_val_pair",
    ):
        product = 1.0
        # The condition of a filter decides, and adds nothing.
        for factor in factors[:2]:
            product *= max(factor, 1.0)
        return product
    return max(factors, default=1.0)
