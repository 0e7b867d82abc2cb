"""What variables stand for in a Dockerfile, by Docker's own rules of scope and quoting.

An `ARG` before the first `FROM` counts in `FROM` lines only, unless a stage declares it again
without a value. Inside a stage an `ENV` wins over an `ARG` of the same name. A stage built on
another one inherits both. A variable whose value is decided elsewhere (a build argument without a
default, a variable of the base image) stays in the text as `${NAME}` and is listed as unresolved.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_VALUE = 64 * 1024
"""Longest value that is expanded: values that double each other grow without bound."""

PLATFORM_ARGS = frozenset(
    f"{side}{part}"
    for side in ("BUILD", "TARGET")
    for part in ("PLATFORM", "OS", "ARCH", "VARIANT")
)
"""Build arguments that BuildKit sets by itself; their values depend on the machine."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-])(.*)\}", re.DOTALL)
_MAX_TRIM = 1000
_MAX_BRACED = 1024


@dataclass(slots=True)
class Scope:
    """The variables of one stage at one point of it. A None is declared without a value.

    `complete` says that nothing else can set a variable (the stage begins from scratch).
    """

    args: dict[str, str | None] = field(default_factory=dict)
    env: dict[str, str | None] = field(default_factory=dict)
    complete: bool = False

    def lookup(self, name: str) -> str | None:
        """The value of a variable, or None when it is decided elsewhere."""
        if name in self.env:
            return self.env[name]
        if name in self.args:
            return self.args[name]
        return "" if self.complete and name not in PLATFORM_ARGS else None

    def child(self) -> Scope:
        """The scope with which a stage built on this one begins."""
        return Scope(dict(self.args), dict(self.env), self.complete)


@dataclass(frozen=True, slots=True)
class Expanded:
    """A word after expansion, the names that could not be resolved, and all names it uses."""

    text: str
    unresolved: tuple[str, ...]
    names: tuple[str, ...]


def expand(word: str, scope: Scope, escape: str = "\\") -> Expanded:
    """Expand one word of an instruction: quotes are removed, variables are put in."""
    expander = _Expander(word, scope, escape)
    text = expander.run()
    return Expanded(text, tuple(expander.unresolved), tuple(expander.names))


def resolve(name: str, modifier: str, scope: Scope, escape: str, depth: int = 0) -> Expanded:
    """The value of `${name<modifier>}`; see `substitute` for the modifiers."""
    expander = _Expander("", scope, escape, depth)
    text = expander.variable(name, modifier)
    return Expanded(text, tuple(expander.unresolved), tuple(expander.names))


class _Expander:
    def __init__(self, word: str, scope: Scope, escape: str, depth: int = 0) -> None:
        self.word = word
        self.scope = scope
        self.escape = escape
        self.depth = depth
        self.position = 0
        self.unresolved: list[str] = []
        self.names: list[str] = []

    def run(self) -> str:
        out: list[str] = []
        size = 0
        quote = ""
        while self.position < len(self.word):
            piece, quote = self._piece(quote)
            size += len(piece)
            if size > MAX_VALUE:
                self.unresolved.append("…")
                break
            out.append(piece)
        return "".join(out)

    def _piece(self, quote: str) -> tuple[str, str]:
        character = self.word[self.position]
        following = self.word[self.position + 1 : self.position + 2]
        self.position += 1
        if character == "'" and quote != '"':
            return "", "" if quote else "'"
        if character == '"' and quote != "'":
            return "", "" if quote else '"'
        if quote == "'":
            return character, quote
        if character == self.escape and following:
            if quote and following not in {'"', "$", self.escape}:
                return character, quote
            self.position += 1
            return following, quote
        if character == "$":
            return self._dollar(), quote
        return character, quote

    def _dollar(self) -> str:
        if self.word.startswith("{", self.position):
            end = closing(self.word, self.position)
            match = _BRACED.fullmatch(self.word, self.position, end)
            if match is None:
                return "$"
            self.position = end
            return self.variable(match.group(1), match.group(2))
        match = _NAME.match(self.word, self.position)
        if match is None:
            return "$"
        self.position = match.end()
        return self.variable(match.group(), "")

    def variable(self, name: str, modifier: str) -> str:
        """Resolve one variable; what is unknown stays in the text as `${NAME}`."""
        self.names.append(name)
        value = self.scope.lookup(name)
        kind = re.match(r":?[-+?]|##?|%%?", modifier)
        if kind is None:
            return self._known(name, value if not modifier else None)
        rest = modifier[kind.end() :]
        operator = kind.group().lstrip(":")
        present = value is not None and (value != "" or not kind.group().startswith(":"))
        if operator == "-":
            # Without a value at build time the written default is what is built.
            return self._known(name, value) if present else self._nested(rest)
        if operator == "+":
            return self._nested(rest) if present else ""
        if operator == "?":
            return self._known(name, value)
        return self._known(name, None if value is None else _trim(value, operator, rest))

    def _known(self, name: str, value: str | None) -> str:
        if value is None:
            self.unresolved.append(name)
            return f"${{{name}}}"
        return value

    def _nested(self, word: str) -> str:
        if self.depth > 8:
            self.unresolved.append("…")
            return ""
        inner = _Expander(word, self.scope, self.escape, self.depth + 1)
        text = inner.run()
        self.unresolved += inner.unresolved
        self.names += inner.names
        return text


def closing(text: str, start: int) -> int:
    """The offset after the brace that closes the one at `start`; `start` itself if none does."""
    end = min(len(text), start + _MAX_BRACED)
    depth = 0
    for index in range(start, end if text.find("}", start, end) >= 0 else start):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    return start


def _trim(value: str, operator: str, pattern: str) -> str | None:
    """`${V#pattern}` and its relatives; None where that would take long."""
    if len(value) > _MAX_TRIM or len(pattern) > 100:
        return None
    if pattern.count("*") > 3:
        return None
    sizes: list[int] = list(range(len(value) + 1))
    if len(operator) == 2:
        sizes.reverse()
    for size in sizes:
        part = value[:size] if operator[0] == "#" else value[len(value) - size :]
        if fnmatch.fnmatchcase(part, pattern):
            return value[size:] if operator[0] == "#" else value[: len(value) - size]
    return value


def platform_args() -> Mapping[str, None]:
    """The arguments BuildKit sets by itself, as declared without a value."""
    return dict.fromkeys(sorted(PLATFORM_ARGS))
