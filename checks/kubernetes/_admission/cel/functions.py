"""The functions that Kubernetes adds to CEL, as far as policies about pods use them.

Lists (`sum`, `min`, `isSorted`, …) and quantities, by the API server's own libraries
(`k8s.io/apiserver/pkg/cel/library`, `lists.go` and `quantity.go`). A quantity is a map with one
key, its canonical number, so that equal ones compare equal. URLs, IP addresses, CIDR ranges,
semantic versions, named formats and `find` are not here: an expression with them does not compile,
and stays undecided. `indexOf` of a list cannot be added to that of a string, see `NARROWER`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]

UNSUPPORTED = "auditor does not decide"
"""Stands in an error that is ours and not the expression's."""

NARROWER = frozenset({"indexOf", "lastIndexOf"})
"""Functions with fewer overloads here than on an API server: that none fits proves nothing."""

_QUANTITY = re.compile(
    r"([+-]?)([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})"
    r"([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?"
)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_KEY = "quantity"


def parse_quantity(text: str) -> Decimal | None:
    """A Kubernetes quantity as a number; None when it is none (`resource.Quantity`)."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return None
    sign, digits, suffix = found[1], found[2], found[3] or ""
    with localcontext() as context:
        context.prec = 120
        number = Decimal(digits)
        if suffix in _BINARY:
            number *= Decimal(1024) ** _BINARY[suffix]
        elif suffix in _DECIMAL:
            number = number.scaleb(_DECIMAL[suffix])
        else:
            number = number.scaleb(int(suffix[1:]))
        return -number if sign == "-" else number


def functions() -> list[Any]:
    """The declarations of all functions here, for `cel.NewEnv`."""
    types = cel.Type
    lists, maps, dyn = types.LIST, types.MAP, types.DYN
    members: list[tuple[str, Any, Sequence[Any], Callable[..., Any]]] = [
        ("isSorted", types.BOOL, (lists,), _is_sorted),
        ("sum", dyn, (lists,), _sum),
        ("min", dyn, (lists,), _min),
        ("max", dyn, (lists,), _max),
        ("isInteger", types.BOOL, (maps,), lambda a: _number(a) == _number(a).to_integral_value()),
        ("asInteger", types.INT, (maps,), _as_integer),
        ("asApproximateFloat", types.DOUBLE, (maps,), lambda a: float(_number(a))),
        ("isGreaterThan", types.BOOL, (maps, maps), lambda a, b: _number(a) > _number(b)),
        ("isLessThan", types.BOOL, (maps, maps), lambda a, b: _number(a) < _number(b)),
        ("compareTo", types.INT, (maps, maps), lambda a, b: _compared(_number(a), _number(b))),
        ("add", dyn, (maps, maps), lambda a, b: _made(_number(a) + _number(b))),
        ("add", dyn, (maps, types.INT), lambda a, b: _made(_number(a) + b)),
        ("sub", dyn, (maps, maps), lambda a, b: _made(_number(a) - _number(b))),
        ("sub", dyn, (maps, types.INT), lambda a, b: _made(_number(a) - b)),
    ]
    overloads: dict[str, list[Any]] = {}
    for name, result, parameters, call in members:
        overloads.setdefault(name, []).append(_overload(name, result, parameters, call, True))
    text = (types.STRING,)
    for name, result, call in (
        ("quantity", dyn, _quantity),
        ("isQuantity", types.BOOL, lambda value: parse_quantity(value) is not None),
    ):
        overloads.setdefault(name, []).append(_overload(name, result, text, call, False))
    return [cel.FunctionDecl(name, found) for name, found in overloads.items()]


def _overload(
    name: str, result: Any, parameters: Sequence[Any], call: Callable[..., Any], member: bool
) -> Any:
    id = f"{name}_{'_'.join(item.name().lower() for item in parameters)}"
    return cel.Overload(id, result, list(parameters), is_member=member, impl=call)


def _alike(values: Sequence[Any]) -> Sequence[Any]:
    """The values of a list, all of one kind that has an order; raises for what we do not order."""
    kinds = {type(value) for value in values}
    if len(kinds) > 1 or not kinds <= {int, float, str, bool}:
        raise TypeError(f"{UNSUPPORTED}: a list of {sorted(kind.__name__ for kind in kinds)}")
    return values


def _is_sorted(values: Sequence[Any]) -> bool:
    found = _alike(values)
    return all(found[place] <= found[place + 1] for place in range(len(found) - 1))


def _sum(values: Sequence[Any]) -> Any:
    if any(isinstance(value, str | bool) for value in _alike(values)):
        raise TypeError("no such overload: sum")
    total = sum(values)
    if isinstance(total, int) and not -(2**63) <= total < 2**63:
        raise OverflowError("integer overflow")
    return total


def _min(values: Sequence[Any]) -> Any:
    return min(_alike(values))


def _max(values: Sequence[Any]) -> Any:
    return max(_alike(values))


def _quantity(text: str) -> dict[str, str]:
    number = parse_quantity(text)
    if number is None:
        raise ValueError("quantities must match the regular expression")
    return _made(number)


def _made(number: Decimal) -> dict[str, str]:
    return {_KEY: format(number.normalize(), "f")}


def _number(value: Any) -> Decimal:
    text = value.get(_KEY) if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(text, str):
        raise TypeError("no such overload: not a quantity")
    return Decimal(text)


def _as_integer(value: Any) -> int:
    number = _number(value)
    if number != number.to_integral_value() or not -(2**63) <= number < 2**63:
        raise ValueError("cannot convert value to integer")
    return int(number)


def _compared(left: Decimal, right: Decimal) -> int:
    return (left > right) - (left < right)
