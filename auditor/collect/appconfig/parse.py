"""JSON and YAML as a flat list of settings, each with its path and line; no tree is ever built.

Read as a stream of tokens, so that deep nesting and aliases cost nothing: an alias is noted where
it stands and never expanded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
import yaml

from auditor.collect.reading import Refused
from auditor.model import Reason

MAX_DEPTH = 100
MAX_SETTINGS = 20_000

Part = str | int

_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_REMEDY = "correct the file, or leave it out"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = yaml.resolver.Resolver()


class Setting(NamedTuple):
    """One leaf: its path, what it is, its text, and its 1-based place.

    `kind` is `text`, `boolean` (text `true` or `false`), `number`, `null`, or `empty` for a list
    or mapping with nothing in it.
    """

    path: tuple[Part, ...]
    kind: str
    text: str
    line: int
    column: int


@dataclass(slots=True)
class _Level:
    """A list (`index` counts) or a mapping (`key` is the current one) that is being read."""

    index: int | None
    key: str | None = None
    seen: set[str] = field(default_factory=set)
    used: bool = False


class _Walker:
    """Follows the tokens of a document and knows the path of each value."""

    def __init__(self) -> None:
        self.levels: list[_Level] = []
        self.prefix: tuple[Part, ...] = ()
        self.settings: list[Setting] = []

    def open(self, *, is_list: bool, line: int) -> None:
        if len(self.levels) >= MAX_DEPTH:
            raise Refused(Reason.REFUSED, f"line {line}: nested too deeply", _REMEDY)
        self._value_begins()
        self.levels.append(_Level(index=-1 if is_list else None))

    def close(self, line: int, column: int) -> None:
        level = self.levels.pop()
        if not level.used:
            self._add("empty", "", line, column)
        self._value_ends()

    def wants_key(self) -> bool:
        """Whether the next scalar is a key of a mapping."""
        return bool(self.levels) and self.levels[-1].index is None and self.levels[-1].key is None

    def key(self, text: str, line: int) -> None:
        level = self.levels[-1]
        if text in level.seen and text != "<<":
            raise Refused(Reason.MALFORMED, f"line {line}: a key stands twice", _REMEDY)
        level.seen.add(text)
        level.key = text
        level.used = True

    def scalar(self, kind: str, text: str, line: int, column: int) -> None:
        if self.wants_key():
            self.key(text, line)
            return
        self._value_begins()
        self._add(kind, text, line, column)
        self._value_ends()

    def _value_begins(self) -> None:
        if self.levels and self.levels[-1].index is not None:
            self.levels[-1].index += 1
            self.levels[-1].used = True

    def _value_ends(self) -> None:
        if self.levels and self.levels[-1].index is None:
            self.levels[-1].key = None

    def _add(self, kind: str, text: str, line: int, column: int) -> None:
        if len(self.settings) >= MAX_SETTINGS:
            detail = f"more than {MAX_SETTINGS} settings"
            raise Refused(Reason.REFUSED, detail, "leave this file out")
        parts = tuple(
            (level.key or "") if level.index is None else level.index for level in self.levels
        )
        self.settings.append(Setting(self.prefix + parts, kind, text, line, column))


def parse_json(text: str) -> list[Setting]:
    """The settings of a JSON text. Raises `Refused` when it is not JSON (RFC 8259)."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # Only the line: the message may quote what stands there.
        raise Refused(Reason.MALFORMED, f"line {error.lineno}: not JSON", _REMEDY) from None
    walker = _Walker()
    line, start, position = 1, 0, 0
    for match in _JSON_TOKEN.finditer(text):
        line += text.count("\n", position, match.start())
        start = text.rfind("\n", start, match.start()) + 1 or start
        position = match.start()
        _json_token(walker, match.group(), line, position - start + 1)
    return walker.settings


def _json_token(walker: _Walker, token: str, line: int, column: int) -> None:
    if token in "{[":
        walker.open(is_list=token == "[", line=line)
    elif token in "}]":
        walker.close(line, column)
    elif token in ",:":
        return
    elif token.startswith('"'):
        walker.scalar("text", orjson.loads(token), line, column)
    else:
        kind = {"true": "boolean", "false": "boolean", "null": "null"}.get(token, "number")
        walker.scalar(kind, token, line, column)


def parse_yaml(text: str) -> list[Setting]:
    """The settings of a YAML text, of all its documents. Raises `Refused` when it is not YAML."""
    walker = _Walker()
    anchors: dict[str, tuple[str, str]] = {}
    documents = -1
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                walker.prefix = (f"document {documents}",) if documents else ()
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                if walker.wants_key():
                    detail = f"line {line}: a key that is not text"
                    raise Refused(Reason.MALFORMED, detail, _REMEDY)
                walker.open(is_list=isinstance(event, yaml.SequenceStartEvent), line=line)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                walker.close(line, column)
            elif isinstance(event, yaml.AliasEvent):
                walker.scalar(*anchors.get(event.anchor or "", ("null", "")), line, column)
            elif isinstance(event, yaml.ScalarEvent):
                value = _resolved(event)
                if event.anchor:
                    anchors[event.anchor] = value
                # A key is what is written: `on:` is no `true:`.
                kind, text_of = ("text", str(event.value)) if walker.wants_key() else value
                walker.scalar(kind, text_of, line, column)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem_mark", None)
        where = f"line {problem.line + 1}: " if problem is not None else ""
        raise Refused(Reason.MALFORMED, f"{where}not YAML", _REMEDY) from None
    return walker.settings


def _resolved(event: yaml.ScalarEvent) -> tuple[str, str]:
    """The kind and text of a scalar, as PyYAML's safe loader would read it."""
    text = str(event.value)
    if event.tag is not None or not event.implicit[0]:
        return "text", text
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    tag = str(tag).rsplit(":", 1)[-1]
    if tag == "bool":
        return "boolean", "true" if text.lower() in {"yes", "true", "on"} else "false"
    return {"null": "null", "int": "number", "float": "number"}.get(tag, "text"), text
