"""CEL expressions as the API server takes them: compiled once, evaluated within bounds.

The language is Google's own implementation in C++ (`cel-expr-python`), with the extensions that a
Kubernetes API server has (`k8s.io/apiserver/pkg/cel/environment/base.go`) where the library or
`functions` has them. Three things can come out of an evaluation, and they are kept apart: a value;
an error of the expression, which an API server would have as well (`CelError`); and that we cannot
tell (`UnsupportedError`), which is never turned into either.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]

from auditor.model import Json
from checks.kubernetes._admission.cel.cost import MAX_COST, Measure, Path, affordable
from checks.kubernetes._admission.cel.functions import NARROWER, UNSUPPORTED, functions
from checks.kubernetes._admission.cel.tree import Node, chain_of, decode

MAX_LENGTH = 10_000
"""Characters of an expression; longer ones are left to a person."""

MAX_DEPTH = 40
MAX_WEIGHT = 200_000.0
"""Nesting, and characters and values, of what an expression may look at."""

_EXTENSIONS = ("optional", "strings", "sets", "lists", "two-var-comprehensions")
_ROOTS = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
_PLAIN = frozenset({"BOOL", "INT", "DOUBLE", "STRING", "NULL", "DURATION", "TIMESTAMP"})


class UnsupportedError(Exception):
    """We cannot tell what an expression gives; the message says why."""


class CelError(Exception):
    """The expression fails where an API server evaluates it, too."""


class Expression:
    """A compiled expression, and what it looks at."""

    def __init__(self, text: str) -> None:
        """Compile. Raises `UnsupportedError` for what is not in the language as we have it."""
        if not isinstance(text, str) or len(text) > MAX_LENGTH:
            raise UnsupportedError(
                f"the expression is longer than {MAX_LENGTH} characters or no text"
            )
        try:
            self._program = _environment().compile(text)
            self.tree = decode(self._program.serialize())
            self.paths = frozenset(_paths(self.tree))
            self._narrow = any(node.name in NARROWER for node in self.tree.walk())
        except (RuntimeError, ValueError, TypeError, RecursionError) as error:
            raise UnsupportedError(f"not compiled: {_first_line(error)}") from error
        self.text = text
        self._paid: Mapping[Path, Measure] | None = None

    def uses(self, *path: str) -> bool:
        """Whether the value at a path, a part of it, or something that holds it, is looked at."""
        return any(path[: len(found)] == found[: len(path)] for found in self.paths)

    @property
    def variables(self) -> frozenset[str]:
        """The names of the policy's variables that it uses; `*` when it takes them all at once."""
        return frozenset(
            path[1] if len(path) > 1 else "*" for path in self.paths if path[0] == "variables"
        )

    def evaluate(self, data: Data) -> Json:
        """The expression's value. Raises `CelError` and `UnsupportedError`."""
        try:
            self._afford(data)
            result = self._program.eval(data.activation)
            kind = result.type().name()
            if kind == "ERROR":
                message = str(result.value())
            elif kind in _PLAIN:
                return result.value()
            else:
                return _plain(result.plain_value())
        except (RuntimeError, TypeError, ValueError, MemoryError, OverflowError) as error:
            raise UnsupportedError(f"not evaluated: {_first_line(error)}") from error
        if UNSUPPORTED in message or self._is_ours(message):
            raise UnsupportedError(message)
        raise CelError(message)

    def _is_ours(self, message: str) -> bool:
        """Whether an error may be one of this library alone: a function with fewer overloads.

        An optional field of null (`oldObject.?spec`) is nothing to cel-go, and an error here.
        """
        if "No matching overloads" not in message:
            return False
        return self._narrow or "_?._(null" in message or "_[?_](null" in message

    def _afford(self, data: Data) -> None:
        """Refuse what may take too long; what was affordable is for all that is no larger."""
        seen = {path: data.measure(path) for path in self.paths}
        paid = self._paid
        if paid is not None and all(_within(seen[path], paid[path]) for path in seen):
            return
        larger = seen
        if paid is not None:
            larger = {path: _larger(measure, paid[path]) for path, measure in seen.items()}
        if affordable(self.tree, larger):
            self._paid = larger
        elif not affordable(self.tree, seen):
            raise UnsupportedError(f"it may take more than {MAX_COST:.0f} steps")


def _within(measure: Measure, limit: Measure) -> bool:
    return measure.size <= limit.size and measure.items <= limit.items


def _larger(one: Measure, other: Measure) -> Measure:
    return Measure(max(one.size, other.size), max(one.items, other.items))


class Data:
    """What expressions may look at: the variables of the API server's environment, by name.

    Raises `UnsupportedError` for data that the library must not be given: too deep, too much, or
    not JSON.
    """

    def __init__(
        self, values: Mapping[str, Json], measured: dict[Path, Measure] | None = None
    ) -> None:
        """Take values by name; `measured` is where what was measured of them is kept."""
        self.values = {name: values.get(name) for name in _ROOTS}
        self.measured = {} if measured is None else measured
        if sum(self.measure((name,)).size for name in _ROOTS) > MAX_WEIGHT:
            raise UnsupportedError("the objects are too large")
        self.activation = _environment().Activation(self.values)

    def measure(self, path: Path) -> Measure:
        """How large the value at a path is, or what the path gets to before it leaves objects."""
        if path not in self.measured:
            value: Json = self.values
            complete = True
            for key in path:
                complete = isinstance(value, dict)
                if not complete:
                    break
                value = value.get(key)
            size = weigh(value)
            listed = complete and isinstance(value, dict | list)
            self.measured[path] = Measure(size, float(len(value)) if listed else size)
        return self.measured[path]

    def with_variables(self, variables: Mapping[str, Json]) -> Data:
        """The same, with the policy's variables."""
        rest = {path: found for path, found in self.measured.items() if path[0] != "variables"}
        return Data({**self.values, "variables": dict(variables)}, rest)


def weigh(value: Json, depth: int = 0) -> float:
    """How large a JSON value is. Raises `UnsupportedError` if it is none, or too deeply nested."""
    if depth > MAX_DEPTH:
        raise UnsupportedError(f"nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool | float):
        return 1.0
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise UnsupportedError("a number of more than 64 bits")
        return 1.0
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedError("a text that is not Unicode") from error
        return 1.0 + len(value)
    if isinstance(value, dict):
        return 1.0 + sum(
            weigh(key if isinstance(key, str) else object(), depth + 1) + weigh(item, depth + 1)
            for key, item in value.items()
        )
    if isinstance(value, list):
        return 1.0 + sum(weigh(item, depth + 1) for item in value)
    raise UnsupportedError(f"a value of type {type(value).__name__}")


@cache
def _environment() -> Any:
    config = "extensions:\n" + "".join(f"- name: {name}\n" for name in _EXTENSIONS)
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(config),
        variables=dict.fromkeys(_ROOTS, cel.Type.DYN),
        functions=functions(),
    )


def _plain(value: Any) -> Json:
    weigh(value)
    return value


def _paths(node: Node) -> list[tuple[str, ...]]:
    """The longest chains of fields below each of the environment's variables."""
    found: list[tuple[str, ...]] = []
    _collect(node, frozenset(), found)
    return found


def _collect(node: Node, hidden: frozenset[str], found: list[tuple[str, ...]]) -> None:
    chain = chain_of(node)
    if chain is not None:
        if chain[0] in _ROOTS and chain[0] not in hidden:
            found.append(chain)
        return
    below = hidden
    if node.kind == "fold":
        # A loop's variable may be called `object`; the range is outside of its reach.
        _collect(node.children[0], hidden, found)
        below = hidden | {*node.variables, node.name}
        for child in node.children[1:]:
            _collect(child, below, found)
        return
    for child in node.children:
        _collect(child, below, found)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
