"""The syntax tree of a compiled CEL expression, macros expanded.

The CEL library gives it as a serialised `cel.expr.CheckedExpr` (cel-spec, `checked.proto` and
`syntax.proto`); the few fields that are needed are read here, so that no protobuf runtime is. The
tree answers what an expression looks at, and how much work it can be (see `cost`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Node(NamedTuple):
    """One node. `name` is a constant's text, an identifier, a field, or a function.

    `kind` is `const`, `ident`, `select`, `has` (a select that only tests), `call`, `list`,
    `struct` or `fold` (what macros such as `all` and `map` become). A fold's `name` is its
    accumulator, its `variables` are those of the iteration, and its children are the range, the
    initial value, the condition, the step and the result, in this order.
    """

    kind: str
    name: str = ""
    children: tuple[Node, ...] = ()
    variables: tuple[str, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def decode(serialised: bytes) -> Node:
    """Read a serialised `Any` that holds a `CheckedExpr`. Raises `ValueError` if it is none."""
    checked = _first(_fields(serialised), 2)
    if not isinstance(checked, bytes):
        raise ValueError("not a serialised expression")
    expr = _first(_fields(checked), 4)
    if not isinstance(expr, bytes):
        raise ValueError("the serialised expression holds no syntax tree")
    return _expr(expr)


def chain_of(node: Node) -> tuple[str, ...] | None:
    """`object.spec.?x` and `object.spec["x"]` as `("object", "spec", "x")`; None for all else."""
    if node.kind == "ident":
        return (node.name,)
    field: str | None = None
    if node.kind in ("select", "has"):
        field = node.name
    elif node.kind == "call" and node.name in ("_?._", "_[_]", "_[?_]") and len(node.children) == 2:
        key = node.children[1]
        field = key.name if key.kind == "const" else None
    if field is None:
        return None
    above = chain_of(node.children[0])
    return None if above is None else (*above, field)


Fields = Mapping[int, list[Any]]


def _expr(data: bytes) -> Node:
    fields = _fields(data)
    for number, read in _READERS.items():
        value = _first(fields, number)
        if isinstance(value, bytes):
            return read(_fields(value))
    return Node("const")  # an Expr without a kind is the constant null


def _const(fields: Fields) -> Node:
    for number in (6, 7):  # a string, bytes
        value = _first(fields, number)
        if isinstance(value, bytes):
            return Node("const", value.decode("utf-8", "replace"))
    for number in (3, 4):  # an int64, a uint64
        if number in fields:
            return Node("const", str(_first(fields, number)))
    return Node("const")


def _ident(fields: Fields) -> Node:
    return Node("ident", _text(fields, 1))


def _select(fields: Fields) -> Node:
    kind = "has" if _first(fields, 3) else "select"
    return Node(kind, _text(fields, 2), tuple(_exprs(fields, 1)))


def _call(fields: Fields) -> Node:
    return Node("call", _text(fields, 2), (*_exprs(fields, 1), *_exprs(fields, 3)))


def _list(fields: Fields) -> Node:
    return Node("list", "", tuple(_exprs(fields, 1)))


def _struct(fields: Fields) -> Node:
    children: list[Node] = []
    for entry in fields.get(2, ()):
        found = _fields(entry)
        children += [*_exprs(found, 3), *_exprs(found, 4)]
    return Node("struct", _text(fields, 1), tuple(children))


def _fold(fields: Fields) -> Node:
    variables = tuple(name for name in (_text(fields, 1), _text(fields, 8)) if name)
    parts = tuple(next(iter(_exprs(fields, number)), Node("const")) for number in (2, 4, 5, 6, 7))
    return Node("fold", _text(fields, 3), parts, variables)


_READERS = {3: _const, 4: _ident, 5: _select, 6: _call, 7: _list, 8: _struct, 9: _fold}


def _exprs(fields: Fields, number: int) -> Iterator[Node]:
    for value in fields.get(number, ()):
        yield _expr(value)


def _text(fields: Fields, number: int) -> str:
    value = _first(fields, number)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _first(fields: Fields, number: int) -> Any:
    values = fields.get(number)
    return values[0] if values else None


def _fields(data: bytes) -> Fields:
    """Split a protobuf message into its fields: numbers as `int`, all else as `bytes`."""
    found: dict[int, list[Any]] = {}
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        value: int | bytes
        if wire == 0:
            value, position = _varint(data, position)
        elif wire == 2:
            length, position = _varint(data, position)
            value, position = data[position : position + length], position + length
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            value, position = data[position : position + width], position + width
        else:
            raise ValueError(f"wire type {wire} in a serialised expression")
        found.setdefault(number, []).append(value)
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data):
            raise ValueError("a serialised expression that ends too early")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
