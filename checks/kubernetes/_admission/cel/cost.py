"""How much work and memory an expression can be at most, before it is evaluated.

Policies come with a snapshot, and a snapshot can come from anybody. The CEL library bounds the
number of iterations (10,000 in one evaluation) and the depth of an expression, but not the size of
what it builds: `[s].map(x, x + x)` repeated forty times makes a terabyte. The API server has an
estimator for the same reason (`k8s.io/apiserver/pkg/cel/library/cost.go`); this one is coarser.

A size counts characters and values. Inside a loop it is linear in the loop's own variables, so
that a loop over a list costs what the whole list costs and not the list times itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from checks.kubernetes._admission.cel.tree import Node, chain_of

ITERATIONS = 10_000
"""What the library allows in one evaluation (cel-cpp, `comprehension_max_iterations`)."""

MAX_COST = 100_000_000.0
"""Steps, or characters copied; well below a second."""

MAX_SIZE = 4_000_000.0
"""Characters and values of one intermediate result."""

Form = Mapping[str, float]
"""A linear bound: a constant under the empty name, and a factor for each loop variable."""

Scope = Mapping[str, tuple[Form, Form]]
"""The sizes of loop variables, and how many elements they have."""

_FLAT = frozenset({"_&&_", "_||_", "!_", "@not_strictly_false"})
_COMPARED = frozenset(
    {
        *("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "compareTo", "contains"),
        *("endsWith", "hasValue", "indexOf", "isGreaterThan", "isLessThan", "isSorted"),
        *("lastIndexOf", "matches", "size", "startsWith"),
    }
)
_PRODUCTS = frozenset({"matches", "sets.contains", "sets.equivalent", "sets.intersects"})
_SAME_ITEMS = frozenset({"orValue", "or", "value", "optional.of", "dyn"})
_PICKED = frozenset({"_[_]", "_?._", "_[?_]", "value", "optional.of", "min", "max", "dyn"})


Path = tuple[str, ...]
"""A chain of fields below a variable of the environment."""


class Measure(NamedTuple):
    """How large a value is, and how many elements a loop over it has at most."""

    size: float
    items: float


class _Work(NamedTuple):
    """`size` and `items` of the result (see `Measure`), `cost` with every loop run to its end,
    `once` with each run once.
    """

    size: Form
    items: Form
    cost: Form
    once: Form


def affordable(node: Node, measures: Mapping[Path, Measure]) -> bool:
    """Whether an expression stays within the limits, given how large what it looks at is."""
    estimate = _Estimate(measures)
    work = estimate.of(node, {})
    nested = estimate.number(work.cost)
    shared = estimate.number(work.once) + ITERATIONS * estimate.dearest
    return min(nested, shared) <= MAX_COST and estimate.largest <= MAX_SIZE


class _Estimate:
    """One walk over a tree; `largest` is the biggest result seen, `dearest` the dearest step."""

    def __init__(self, measures: Mapping[Path, Measure]) -> None:
        self.measures = measures
        self.bounds: dict[str, float] = {}
        self.largest = 0.0
        self.dearest = 0.0
        self.loops = 0

    def number(self, form: Form) -> float:
        """The bound as a number: each loop variable at its largest."""
        return sum(
            factor * (self.bounds[name] if name else 1.0) for name, factor in form.items() if factor
        )

    def of(self, node: Node, scope: Scope) -> _Work:
        """The work of one node; `scope` holds the variables of the loops around it."""
        work = self._work(node, scope)
        self.largest = max(self.largest, self.number(work.size))
        return work

    def _work(self, node: Node, scope: Scope) -> _Work:
        chain = chain_of(node)
        if chain is not None and chain[0] not in scope and chain in self.measures:
            measure = self.measures[chain]
            steps = {"": float(len(chain))}
            if node.kind == "has":
                return _Work(_ONE, _ONE, steps, steps)
            return _Work({"": measure.size}, {"": measure.items}, steps, steps)
        if node.kind == "const":
            return _Work({"": len(node.name) + 1.0}, _ONE, _ONE, _ONE)
        if node.kind == "ident":
            size_of, items = scope.get(node.name, (_ONE, _ONE))
            return _Work(size_of, items, _ONE, _ONE)
        if node.kind == "fold":
            return self._fold(node, scope)
        parts = [self.of(child, scope) for child in node.children]
        cost = _plus(_ONE, *(part.cost for part in parts))
        once = _plus(_ONE, *(part.once for part in parts))
        sizes = [part.size for part in parts]
        if node.kind == "has":
            return _Work(_ONE, _ONE, cost, once)
        if node.kind == "select":
            return _Work(sizes[0], sizes[0], cost, once)
        if node.kind in ("list", "struct"):
            return _Work(_plus(_ONE, *sizes), {"": float(len(parts))}, cost, once)
        size, extra = self._call(node, sizes)
        items = self._items(node.name, [part.items for part in parts], size)
        return _Work(size, items, _plus(cost, extra), _plus(once, extra))

    @staticmethod
    def _items(name: str, items: list[Form], size: Form) -> Form:
        """How many elements the list has that a call gives."""
        if name == "_+_":
            return _plus(*items)
        if name == "_?_:_" and len(items) == 3:
            return _most(items[1], items[2])
        if name in _SAME_ITEMS:
            most: Form = {}
            for form in items:
                most = _most(most, form)
            return most
        return size

    def _call(self, node: Node, sizes: list[Form]) -> tuple[Form, Form]:
        """The size of a call's result, and what the call itself costs beyond its arguments."""
        total = _plus(_ONE, *sizes)
        name = node.name
        if name in _FLAT:
            return _ONE, {}
        if name == "_?_:_" and len(sizes) == 3:
            return _most(sizes[1], sizes[2]), {}
        if name == "_+_" and len(sizes) == 2:
            # A loop's own list is appended to in place.
            grows = node.children[0].kind == "ident" and node.children[0].name.startswith("@")
            return _plus(*sizes), sizes[1] if grows else total
        if name in _PRODUCTS and len(sizes) == 2:
            return _ONE, self._product(*sizes)
        if name in _COMPARED:
            return _ONE, total
        if name in _PICKED and sizes:
            return sizes[0], {}
        if name == "replace" and len(sizes) >= 3:
            size = self._product(_plus(_ONE, sizes[0]), _plus(_ONE, sizes[2]))
            return size, _plus(total, size)
        if name == "join" and len(sizes) == 2:
            size = _plus(sizes[0], self._product(sizes[0], sizes[1]))
            return size, size
        if name == "distinct":
            return sizes[0], self._product(sizes[0], sizes[0])
        if name == "lists.range":
            first = node.children[0]
            wanted = float(first.name) if first.kind == "const" and first.name else math.inf
            return {"": wanted}, {"": wanted}
        if name == "string":
            return _plus(total, {"": 32.0}), total
        if name in ("format", "sort"):
            # `%b` writes eight characters for one, and a number is written out.
            return _scaled(_plus(total, {"": 32.0 * len(sizes)}), 10.0), _scaled(total, 20.0)
        return _plus(total, {"": 32.0}), total

    def _product(self, left: Form, right: Form) -> Form:
        if set(left) <= {""}:
            return _scaled(right, left.get("", 0.0))
        if set(right) <= {""}:
            return _scaled(left, right.get("", 0.0))
        return {"": self.number(left) * self.number(right)}

    def _fold(self, node: Node, scope: Scope) -> _Work:
        span = self.of(node.children[0], scope)
        start = self.of(node.children[1], scope)
        self.loops += 1
        names = [f"{name}#{self.loops}" for name in (*node.variables, node.name)]
        for name in names:
            self.bounds[name] = self.number(span.size)
        accumulated = names[-1]
        inner = dict(scope)
        for given, name in zip((*node.variables, node.name), names, strict=True):
            inner[given] = ({name: 1.0}, {name: 1.0})
        # Macros only append to an accumulator, or test it: it is in no product.
        self.bounds[accumulated] = 0.0
        condition, step = self.of(node.children[2], inner), self.of(node.children[3], inner)
        if step.size.get(accumulated, 0.0) > 1.0:
            self.largest = math.inf
        grown = {name: factor for name, factor in step.size.items() if name != accumulated}
        size = _plus(start.size, self._every(grown, span, names))
        self.bounds[accumulated] = self.number(size)
        self.dearest = max(self.dearest, self.number(_plus(condition.once, step.once)))
        items = size
        if _appends_one(node.children[3], node.name):
            items = _plus(start.items, span.items)
        result = self.of(node.children[4], {**scope, node.name: (size, items)})
        each = self._known(_plus(condition.cost, step.cost), accumulated)
        total = _plus(span.cost, start.cost, result.cost, self._every(each, span, names))
        once = _plus(span.once, start.once, result.once)
        return _Work(result.size, result.items, total, once)

    def _known(self, form: Form, name: str) -> Form:
        """A form in which one variable is replaced by its bound."""
        rest = {key: value for key, value in form.items() if key != name}
        return _plus(rest, {"": form.get(name, 0.0) * self.bounds[name]})

    def _every(self, form: Form, span: _Work, names: list[str]) -> Form:
        """A form for each element of a range, added up: together they are as large as it is."""
        own = sum(form.get(name, 0.0) for name in names[:-1])
        rest = {key: value for key, value in form.items() if key not in names}
        return _plus(_scaled(span.size, own), self._product(span.items, rest))


_ONE: Form = {"": 1.0}


def _appends_one(step: Node, accumulator: str) -> bool:
    """Whether a step appends one element or none: `map` and `filter` do."""
    if step.name == "_?_:_" and len(step.children) == 3:
        return all(_appends_one(child, accumulator) for child in step.children[1:])
    if step.kind == "ident":
        return step.name == accumulator
    return (
        step.name == "_+_"
        and len(step.children) == 2
        and step.children[0] == Node("ident", accumulator)
        and step.children[1].kind == "list"
        and len(step.children[1].children) == 1
    )


def _plus(*forms: Form) -> Form:
    total: dict[str, float] = {}
    for form in forms:
        for name, factor in form.items():
            total[name] = total.get(name, 0.0) + factor
    return total


def _most(left: Form, right: Form) -> Form:
    return {name: max(left.get(name, 0.0), right.get(name, 0.0)) for name in {*left, *right}}


def _scaled(form: Form, factor: float) -> Form:
    return {name: value * factor for name, value in form.items() if value}
