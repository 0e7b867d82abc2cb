"""findings.json: one shape for the report and for spot checks, described by a JSON Schema.

The schema is `docs/findings.schema.json`; its `$id` is `SCHEMA`, and the number at its end changes
when a consumer could break. Nothing is cleaned or clipped here: a name is what was read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from auditor.model import Finding, Gap, Json
from auditor.scorecard import BenchmarkResult, ControlResult, Scorecard, TargetResult

SCHEMA = "urn:benchmark-auditor:findings:1"
"""What the document's `schema` says, and the `$id` of its JSON Schema."""

_CHUNK = 1000
"""Findings in one part."""


def render_json(card: Scorecard) -> bytes:
    """Return findings.json: every finding, passes included, and all controls, scores and gaps."""
    return b"".join(json_parts(card))


def json_parts(card: Scorecard, most: int | None = None) -> Iterator[bytes]:
    """The same in parts: a large cluster has more findings than fit well in memory at once.

    With `most` only so many findings are in it, the worst, for where all would be too much.
    """
    document = _rest(card)
    head = b",".join(
        b'"%s":%s' % (key.encode(), dump(document.pop(key)))
        for key in ("schema", "tool", "snapshot")
    )
    yield b"{" + head + b',"findings":['
    rows = islice(card.findings, most)
    comma = b""
    while chunk := list(islice(rows, _CHUNK)):
        yield comma + b",".join(dump(_finding(row)) for row in chunk)
        comma = b","
    yield b"]"
    for key, value in document.items():
        yield b',"%s":%s' % (key.encode(), dump(value))
    yield b"}\n"


def _rest(card: Scorecard) -> dict[str, Json]:
    """The document without its findings."""
    names = {item.target.id: item.target.name for item in card.targets}
    return {
        "schema": SCHEMA,
        "tool": {"name": "auditor", "version": card.tool_version},
        "snapshot": {
            "sha256": card.sha256,
            "taken_at": card.taken_at,
            "targets": [_target(item) for item in card.targets],
        },
        "controls": [
            _control(result, item) for result in card.benchmarks for item in result.controls
        ],
        "scores": [_score(result) for result in card.benchmarks],
        "gaps": [_gap(item.gap, names) for item in card.gaps],
    }


def dump(value: Json) -> bytes:
    """JSON as UTF-8. A lone surrogate, which UTF-8 has no bytes for, becomes U+FFFD."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_without_surrogates(value))


def _target(item: TargetResult) -> dict[str, Any]:
    target = item.target
    return {
        "id": target.id,
        "source": target.source,
        "name": target.name,
        "facts": dict(target.facts),
    }


def _finding(row: Finding) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "source": row.source,
        "target": row.target,
        "kind": row.kind,
        "namespace": row.namespace,
        "name": row.name,
    }
    if row.origin is not None:
        resource["origin"] = row.origin
    return {
        "id": row.id,
        "check": row.check,
        "status": row.status,
        "severity": row.severity,
        "resource": resource,
        "path": row.path,
        "line": row.line,
        "observed": row.observed,
        "expected": row.expected,
        "count": row.count,
        "waiver": row.waiver,
    }


def _control(result: BenchmarkResult, item: ControlResult) -> dict[str, Any]:
    return {
        "benchmark": result.benchmark.id,
        "version": result.benchmark.version,
        "id": item.control.id,
        "status": item.status,
        "checks": list(item.control.checks),
        "failing": item.failing,
        "judged": item.judged,
    }


def _score(result: BenchmarkResult) -> dict[str, Any]:
    counts = result.counts
    return {
        "benchmark": result.benchmark.id,
        "version": result.benchmark.version,
        "pass": counts.passed,
        "fail": counts.fail,
        "error": counts.error,
        "unknown": counts.unknown,
        "review": counts.review,
        "waived": counts.waived,
        "not_applicable": counts.not_applicable,
        "score": counts.score,
    }


def _gap(gap: Gap, names: dict[str, str]) -> dict[str, str]:
    """A gap in the contract's three keys; what narrows it is said in its reason."""
    places = [
        f"{label} {value}"
        for label, value in (("object", gap.name), ("namespace", gap.namespace))
        if value is not None
    ]
    if len(names) > 1:
        places.append(f"target {names.get(gap.target, gap.target)}")
    where = f" ({', '.join(places)})" if places else ""
    return {
        "source": gap.source,
        "scope": gap.scope,
        "reason": f"{gap.reason}: {gap.detail}{where}",
    }


def _without_surrogates(value: Json) -> Json:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value
