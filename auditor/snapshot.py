"""A snapshot as a file: one gzip of one JSON document, every byte of it under a hash.

The document is `{"manifest": {...}, "content": {...}}`. `manifest.sha256` covers the manifest's
other fields and the content, in canonical form (sorted keys), so it is the same on every machine
and with every gzip. The compressed bytes have a hash of their own in the gzip header's extra
field (RFC 1952, subfield `AU`), so a flipped byte is refused wherever it stands, even in the
header or the padding that gzip itself does not check.

Equal pod specs are stored once and shared again on loading. Resources are stored as they stand
in `auditor.model`; secret values were dropped before a `Snapshot` existed.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import orjson

from auditor.errors import SnapshotError
from auditor.files import write_whole
from auditor.model import Coverage, Gap, Json, Reason, Resource, Snapshot, Target

SCHEMA = "auditor/snapshot/v1"
"""Version of the file's shape; another one is refused, never guessed at."""

MAX_BYTES = 4 * 1024**3
"""Largest decompressed size that is read: a bound against a bomb, far above a real audit."""

_REMEDY = "take the snapshot again, or use an unaltered copy"
# ID1 ID2 CM=deflate FLG=FEXTRA MTIME=0 XFL=0 OS=255 (unknown): nothing of the machine.
_HEADER = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
_EXTRA_ID = b"AU"
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def seal(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot as it will be read back from its file, with `sha256` filled in.

    It goes through the file's own form once (canonical order, sorted keys), so that an audit of
    a live snapshot and one of the saved file cannot differ in the order of anything.
    """
    ordered = replace(
        snapshot,
        resources=tuple(sorted(snapshot.resources, key=_resource_key)),
        gaps=tuple(sorted(snapshot.gaps, key=_gap_key)),
        coverage=tuple(sorted(snapshot.coverage, key=lambda item: (item.target, item.scope))),
        targets=tuple(sorted(snapshot.targets, key=lambda item: item.id)),
    )
    manifest, content = _encode(ordered)
    content_bytes = orjson.dumps(content, option=_CANONICAL)
    # From here on only the bytes are needed: the second copy takes the place of the first.
    del snapshot, ordered, content
    manifest = orjson.loads(orjson.dumps(manifest, option=_CANONICAL))
    sha256 = _digest(manifest, content_bytes)
    decoded = orjson.loads(content_bytes)
    del content_bytes
    return _decode(manifest, decoded, sha256)


def dump_snapshot(snapshot: Snapshot) -> bytes:
    """Return the file's bytes for a sealed snapshot; equal snapshots give equal bytes."""
    document = _document(snapshot)
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(document) + deflate.flush()
    body += struct.pack("<II", zlib.crc32(document), len(document) & 0xFFFFFFFF)
    extra = _EXTRA_ID + struct.pack("<H", 32) + hashlib.sha256(body).digest()
    return _HEADER + struct.pack("<H", len(extra)) + extra + body


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write a sealed snapshot, whole or not at all. Raises `SnapshotError` on a write error."""
    try:
        write_whole(path, dump_snapshot(snapshot))
    except OSError as error:
        raise SnapshotError(
            f"cannot write the snapshot: {error.strerror}", where=str(path)
        ) from error


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot and verify every byte of it.

    Raises `SnapshotError` when it cannot be read, was altered, or has another schema.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SnapshotError(
            f"cannot read the snapshot: {error.strerror}", where=str(path)
        ) from error
    try:
        return parse_snapshot(data)
    except SnapshotError as error:
        raise SnapshotError(error.what, where=str(path), remedy=error.remedy) from error


def parse_snapshot(data: bytes) -> Snapshot:
    """Decode and verify a snapshot's bytes (see `load_snapshot`)."""
    return _parse_document(_decompress(data))


def _parse_document(document: bytes) -> Snapshot:
    try:
        decoded = orjson.loads(document)
        manifest, content = decoded["manifest"], decoded["content"]
        schema = manifest["schema"]
        claimed = manifest.pop("sha256")
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SnapshotError("the file is not a snapshot of this tool", remedy=_REMEDY) from error
    if schema != SCHEMA:
        raise SnapshotError(
            f"the snapshot has schema {schema!r}, this version reads {SCHEMA!r}",
            remedy="use the version of auditor that wrote it",
        )
    if _digest(manifest, orjson.dumps(content, option=_CANONICAL)) != claimed:
        raise SnapshotError(
            "the snapshot was altered: its content does not match its SHA-256",
            remedy=_REMEDY,
        )
    try:
        return _decode(manifest, content, claimed)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SnapshotError(f"the snapshot is malformed: {error!r}", remedy=_REMEDY) from error


def _decompress(data: bytes) -> bytes:
    altered = "the snapshot was altered or cut short: its bytes do not match their hash"
    prefix = _HEADER + struct.pack("<H", 36) + _EXTRA_ID + struct.pack("<H", 32)
    start = len(prefix) + 32
    if data[:2] != _HEADER[:2]:
        raise SnapshotError("the file is not a snapshot of this tool", remedy=_REMEDY)
    if data[: len(prefix)] != prefix or len(data) < start + 8:
        raise SnapshotError(altered, remedy=_REMEDY)
    if hashlib.sha256(data[start:]).digest() != data[len(prefix) : start]:
        raise SnapshotError(altered, remedy=_REMEDY)
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        document = inflate.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise SnapshotError(altered, remedy=_REMEDY) from error
    if not inflate.eof or inflate.unused_data:
        raise SnapshotError("the snapshot is larger than is read, or cut short", remedy=_REMEDY)
    return document


def _resource_key(item: Resource) -> tuple[str, ...]:
    return (
        item.target,
        item.source,
        item.kind,
        item.namespace or "",
        item.name,
        item.origin or "",
        f"{item.line or 0:09d}",
    )


def _gap_key(item: Gap) -> tuple[str, ...]:
    return (item.target, item.scope, item.namespace or "", item.name or "", item.detail)


def _document(snapshot: Snapshot) -> bytes:
    manifest, content = _encode(snapshot)
    content_bytes = orjson.dumps(content, option=_CANONICAL)
    sealed = {**manifest, "sha256": _digest(manifest, content_bytes)}
    manifest_bytes = orjson.dumps(sealed, option=_CANONICAL)
    return b'{"content":' + content_bytes + b',"manifest":' + manifest_bytes + b"}"


def _digest(manifest: Mapping[str, Json], content_bytes: bytes) -> str:
    digest = hashlib.sha256(orjson.dumps(manifest, option=_CANONICAL))
    digest.update(b"\n")
    digest.update(content_bytes)
    return digest.hexdigest()


def _encode(snapshot: Snapshot) -> tuple[dict[str, Json], dict[str, Json]]:
    specs: list[Json] = []
    place: dict[int, int] = {}
    resources: list[dict[str, Json]] = []
    for item in snapshot.resources:
        body = dict(item.body)
        if item.kind == "Pod" and isinstance(body.get("spec"), Mapping):
            spec = body.pop("spec")
            if id(spec) not in place:
                place[id(spec)] = len(specs)
                specs.append(spec)
            body["$spec"] = place[id(spec)]
        row: dict[str, Json] = {name: getattr(item, name) for name in _RESOURCE_FIELDS}
        row["body"] = body
        resources.append({key: value for key, value in row.items() if value is not None})
    manifest = {
        "schema": SCHEMA,
        "tool_version": snapshot.tool_version,
        "taken_at": snapshot.taken_at,
        "targets": [asdict(target) for target in snapshot.targets],
    }
    content = {
        "settings": snapshot.settings,
        "coverage": [asdict(item) for item in snapshot.coverage],
        "gaps": [asdict(gap) for gap in snapshot.gaps],
        "specs": specs,
        "resources": resources,
    }
    return manifest, content


_RESOURCE_FIELDS = tuple(item.name for item in fields(Resource) if item.name != "body")


def _decode(manifest: Mapping[str, Any], content: Mapping[str, Any], sha256: str) -> Snapshot:
    specs: Sequence[Json] = content["specs"]
    resources: list[Resource] = []
    for row in content["resources"]:
        body = row["body"]
        if "$spec" in body:
            body["spec"] = specs[body.pop("$spec")]
        row.setdefault("namespace", None)
        resources.append(Resource(**row))
    return Snapshot(
        taken_at=str(manifest["taken_at"]),
        tool_version=str(manifest["tool_version"]),
        targets=tuple(Target(**row) for row in manifest["targets"]),
        resources=tuple(resources),
        gaps=tuple(Gap(**{**row, "reason": Reason(row["reason"])}) for row in content["gaps"]),
        coverage=tuple(Coverage(**row) for row in content["coverage"]),
        settings=content["settings"],
        sha256=sha256,
    )
