"""A snapshot as a file: the same bytes for the same content, and every byte under a hash."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.collect.base import Harvest
from auditor.errors import SnapshotError
from auditor.model import Reason, Resource, Snapshot, Target
from auditor.snapshot import dump_snapshot, load_snapshot, parse_snapshot, save_snapshot, seal
from tests.support.fixtures import snapshot_of


def small() -> Snapshot:
    harvest = Harvest()
    harvest.targets.append(Target("kubernetes:x", "kubernetes", "x", {"version": "v1.35.0"}))
    spec = {"containers": [{"name": "a", "image": "b"}]}
    for name in ("two", "one"):
        body = {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}
        harvest.resources.append(Resource("kubernetes", "kubernetes:x", "Pod", "shop", name, body))
    harvest.gap("kubernetes:x", "kubernetes", "roles", Reason.FORBIDDEN, "403", "grant list roles")
    harvest.covered("kubernetes:x", "kubernetes", "pods", 2)
    return snapshot_of(harvest)


def test_a_saved_snapshot_is_read_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json.gz"
    save_snapshot(small(), path)
    loaded = load_snapshot(path)
    assert dump_snapshot(loaded) == path.read_bytes() == dump_snapshot(small())
    assert loaded.sha256 == small().sha256 != ""
    assert [item.name for item in loaded.resources] == ["one", "two"]
    assert loaded.gaps[0].reason is Reason.FORBIDDEN


def test_equal_pod_specs_are_one_object_again() -> None:
    first, second = parse_snapshot(dump_snapshot(small())).resources
    assert first.spec is second.spec


def test_the_order_of_collection_does_not_matter() -> None:
    snapshot = small()
    turned = seal(replace(snapshot, resources=tuple(reversed(snapshot.resources))))
    assert dump_snapshot(turned) == dump_snapshot(snapshot)


def test_any_gzip_tool_reads_it() -> None:
    document = json.loads(gzip.decompress(dump_snapshot(small())))
    assert document["manifest"]["schema"] == "auditor/snapshot/v1"
    assert document["manifest"]["targets"][0]["id"] == "kubernetes:x"


def test_every_flipped_byte_is_refused() -> None:
    data = dump_snapshot(small())
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 0x01
        with pytest.raises(SnapshotError) as error:
            parse_snapshot(bytes(flipped))
        assert "\n" not in str(error.value)


def test_every_truncation_is_refused() -> None:
    data = dump_snapshot(small())
    for length in range(0, len(data), 7):
        with pytest.raises(SnapshotError):
            parse_snapshot(data[:length])


def test_content_edited_and_packed_again_is_refused() -> None:
    """Somebody who repacks the file well still has to forge the content's own hash."""
    import hashlib
    import struct
    import zlib

    data = dump_snapshot(small())
    document = gzip.decompress(data).replace(b'"pods"', b'"jobs"', 1)
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(document) + deflate.flush()
    body += struct.pack("<II", zlib.crc32(document), len(document))
    forged = data[:16] + hashlib.sha256(body).digest() + body
    with pytest.raises(SnapshotError, match="does not match its SHA-256"):
        parse_snapshot(forged)


def test_another_schema_is_refused_by_name() -> None:
    from auditor import snapshot as module

    document = orjson.dumps(
        {"manifest": {"schema": "auditor/snapshot/v9", "sha256": ""}, "content": {}}
    )
    with pytest.raises(SnapshotError, match="schema 'auditor/snapshot/v9'"):
        module._parse_document(document)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_junk_is_one_clear_line(junk: bytes) -> None:
    with pytest.raises(SnapshotError) as error:
        parse_snapshot(junk)
    assert "\n" not in str(error.value)


def test_a_failed_write_leaves_no_half_file(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file where a folder should be")
    with pytest.raises(SnapshotError, match="cannot write"):
        save_snapshot(small(), tmp_path / "folder" / "snapshot.json.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]
