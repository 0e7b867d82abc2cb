"""YAML and JSON files as plain documents with their lines, safe against hostile input.

Each document of a stream is parsed on its own, so that a broken one takes no other with it. The
parser's events are counted before anything is built: aliases are counted as what they expand
to, and nesting is bounded, because the C loader recurses and a deep document would crash it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import yaml

from auditor.model import Json

MAX_NODES = 1_000_000
"""Largest document, in nodes after the expansion of aliases; a scalar counts one more for each
hundred characters."""

MAX_DEPTH = 200
"""Deepest nesting; a schema of a custom resource, the deepest there is in practice, has some 40."""

_CHARACTERS_A_NODE = 100
# YAML 1.2, 9.1: these at the start of a line end a document, whatever stands around them.
_MARKER = re.compile(r"^(?:---|\.\.\.)(?=\s|$)", re.MULTILINE)
_BLANK = re.compile(r"(?:[ \t]*(?:#[^\n]*)?(?:\r?\n|$))*")
_TEMPLATE = re.compile(r"\{\{[-\s]*[.$\w\"(/]")


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a file, or the reason why there is none: `problem` is then not empty.

    `line` is where it begins, 1-based.
    """

    line: int
    value: Json = None
    problem: str = ""


class _Loader(yaml.CSafeLoader):
    """The safe C loader, with values as Kubernetes reads them: dates and `=` are text."""


_INT = re.compile(r"[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?:[eE][-+]?[0-9]+)"
    r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_PREFIX = "tag:yaml.org,2002:"
# Times of day such as 12:30 are numbers to base 60 in YAML 1.1; no Kubernetes tool reads them so.
_RESOLVERS = {f"{_PREFIX}int": re.compile(f"(?:{_INT.pattern})$")} | {
    f"{_PREFIX}float": re.compile(f"(?:{_FLOAT.pattern})$")
}
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, _RESOLVERS.get(tag, pattern))
        for tag, pattern in pairs
        if tag not in {f"{_PREFIX}timestamp", f"{_PREFIX}value"}
    ]
    for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: build
    for tag, build in yaml.CSafeLoader.yaml_constructors.items()
    if tag is None
    or tag in {_PREFIX + name for name in ("bool", "int", "float", "map", "null", "seq", "str")}
}


def _text(loader: Any, node: Any) -> str:
    return str(loader.construct_scalar(node))


def _whole_number(loader: Any, node: Any) -> int | float:
    number = int(loader.construct_yaml_int(node))
    # What does not fit 64 bits is a float in every decoder of JSON that Kubernetes uses.
    return number if -(2**63) <= number < 2**63 else float(number)


_Loader.add_constructor(f"{_PREFIX}binary", _text)
_Loader.add_constructor(f"{_PREFIX}int", _whole_number)


def documents(data: bytes) -> Iterator[Item]:
    """Yield every object of a file; the items of a `List` one by one.

    Empty documents yield nothing. Nothing is raised: what cannot be read is an `Item` with a
    `problem` that says why without quoting the file.
    """
    try:
        text = _decoded(data)
    except UnicodeDecodeError:
        yield Item(1, problem="it is not UTF-8 text")
        return
    for start, chunk in _chunks(text):
        line = text.count("\n", 0, start) + 1
        yield from _document(chunk, line)


def _decoded(data: bytes) -> str:
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    return data.decode(encoding)


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """Split a stream at its document markers, which are not part of any chunk."""
    start = 0
    for marker in _MARKER.finditer(text):
        yield start, text[start : marker.start()]
        start = marker.end()
    yield start, text[start:]


def _document(chunk: str, line: int) -> Iterator[Item]:
    blank = _BLANK.match(chunk)
    body = chunk[blank.end() :] if blank else chunk
    if not body.strip() or all(row.startswith("%") for row in body.split("\n") if row.strip()):
        return
    try:
        problem = _too_large(chunk)
        if problem:
            yield Item(_first_line(chunk, line), problem=problem)
            return
        loader = _Loader(chunk)
        try:
            node = loader.get_single_node()
            value = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
        # Through JSON once: keys become text, and what no API server could store is refused.
        value = orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
    except yaml.YAMLError as error:
        yield _broken(chunk, line, error)
        return
    except (TypeError, ValueError, RecursionError, OverflowError):
        yield Item(_first_line(chunk, line), problem="it holds a value that JSON cannot hold")
        return
    yield from _items(value, node, line)


def _first_line(chunk: str, line: int) -> int:
    blank = _BLANK.match(chunk)
    return line + chunk.count("\n", 0, blank.end() if blank else 0)


def _broken(chunk: str, line: int, error: yaml.YAMLError) -> Item:
    mark = getattr(error, "problem_mark", None)
    if "end of stream" in str(getattr(error, "problem", "")):
        # What was never closed stands where it was opened, not at the end of the file.
        mark = getattr(error, "context_mark", None) or mark
    place = line + mark.line if mark is not None else line
    if _TEMPLATE.search(chunk):
        return Item(place, problem="it is a template, not a manifest")
    # The words before any quotation: the parser quotes what it met, and that may be a value.
    said = str(getattr(error, "problem", None) or "it holds what is no text").split("'")[0]
    return Item(place, problem=f"it is not YAML: {said.strip(' :')}")


def _too_large(chunk: str) -> str:
    """Why a document is refused before it is built, or nothing.

    Every node's size is known when its end event comes, so one pass over the events does, and
    no recursion: an alias counts as much as what it stands for.
    """
    open_sizes: list[int] = []
    open_anchors: list[str | None] = []
    sizes: dict[str, int] = {}
    total = 0
    for event in yaml.parse(chunk, Loader=_Loader):
        if isinstance(event, yaml.ScalarEvent):
            size = 1 + len(event.value) // _CHARACTERS_A_NODE
            if event.anchor:
                sizes[event.anchor] = size
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in open_anchors:
                return "it contains itself"
            size = sizes.get(str(event.anchor), 1)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            open_sizes.append(1)
            open_anchors.append(event.anchor)
            if len(open_sizes) > MAX_DEPTH:
                return f"it is nested more than {MAX_DEPTH} levels deep"
            continue
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            size = open_sizes.pop()
            anchor = open_anchors.pop()
            if anchor:
                sizes[anchor] = size
        else:
            continue
        total = max(total, size)
        if open_sizes:
            open_sizes[-1] += size
            total = max(total, open_sizes[-1])
        if total > MAX_NODES:
            return f"it is larger than {MAX_NODES} nodes when its aliases are expanded"
    return ""


def _items(value: Json, node: Any, line: int) -> Iterator[Item]:
    """One object, or those of a list with the lines at which they begin."""
    start = line + node.start_mark.line
    if not (isinstance(value, dict) and _is_list(value)):
        if value is not None:
            yield Item(start, value)
        return
    nodes: list[Any] = next(
        (
            item.value
            for key, item in node.value
            if key.value == "items" and isinstance(item, yaml.SequenceNode)
        ),
        [],
    )
    for index, item in enumerate(value["items"]):
        place = line + nodes[index].start_mark.line if index < len(nodes) else start
        if isinstance(item, dict) and str(value["kind"]) != "List":
            # Items of a DeploymentList leave out what its name says already.
            kind = str(value["kind"]).removesuffix("List")
            item = {"apiVersion": value.get("apiVersion"), "kind": kind, **item}
        yield Item(place, item)


def _is_list(value: dict[str, Json]) -> bool:
    return str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list)
