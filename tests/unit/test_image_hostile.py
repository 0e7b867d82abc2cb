"""Hostile and broken archives of images: a gap with a clear line, never a crash, never a lie."""

import json
import os
import socket
import time
import tracemalloc
from pathlib import Path

import pytest

from auditor.collect.base import Harvest
from auditor.model import Reason
from tests.support.archives import (
    BASE,
    BLOCK,
    KEY,
    TOP,
    Entry,
    collect,
    compressed,
    file,
    hardlink,
    layout_files,
    pax_header,
    pax_record,
    saved,
    saved_entries,
    symlink,
    tar,
    write,
    write_layout,
)


def only_gap(harvest: Harvest) -> tuple[Reason, str, str]:
    """The reason, scope and detail of the one gap of a harvest."""
    assert len(harvest.gaps) == 1, harvest.gaps
    gap = harvest.gaps[0]
    return gap.reason, gap.scope, gap.detail


def refused(folder: Path, layer: bytes, **config: int) -> tuple[Reason, str]:
    """Collect an image with one bad layer between two good ones; return why it was not read."""
    path = write(folder, saved(BASE, layer, TOP))
    harvest = collect(path, **config)
    files = harvest.resources[0].body["files"]
    assert [row["path"] for row in files["setuid"]] == ["/bin/su"], "the other layers are read"
    reason, scope, detail = only_gap(harvest)
    assert scope == "image-files"
    assert harvest.gaps[0].name == harvest.resources[0].name
    return reason, detail.removeprefix("layer 2: ")


@pytest.mark.parametrize(
    ("layer", "reason", "detail"),
    [
        (tar(file("../../etc/x", b"x")), Reason.REFUSED, "leads outside"),
        (tar(hardlink("x", "../../etc/shadow")), Reason.REFUSED, "hard link leads outside"),
        (BASE[:700], Reason.MALFORMED, "it is cut short"),
        (BASE[: 3 * BLOCK + 100], Reason.MALFORMED, "cut short inside a header"),
        (tar(file("a", b"x"), end=False) + b"junk" * 128, Reason.MALFORMED, "broken header"),
        (tar(file("a", b"x")) + b"x" * BLOCK, Reason.MALFORMED, "after the end of its archive"),
        (tar(file("a", declared=10 * 1024**3)), Reason.MALFORMED, "cut short"),
        (tar(file("a", declared=8**11 - 1)), Reason.MALFORMED, "cut short"),
        (compressed(BASE, "gzip")[:-20], Reason.MALFORMED, "compression is broken"),
        (compressed(BASE, "zstd")[:-20], Reason.MALFORMED, "not a tar archive"),
        (b"\x1f\x8b" + b"junk" * 200, Reason.MALFORMED, "compression is broken"),
    ],
    ids=[
        "outside",
        "link-outside",
        "cut-in-content",
        "cut-in-header",
        "broken-header",
        "more-after-the-end",
        "ten-gigabytes-declared",
        "eight-gigabytes-declared",
        "gzip-cut",
        "zstd-cut",
        "gzip-junk",
    ],
)
def test_a_bad_layer_is_a_gap_and_the_others_are_read(
    tmp_path: Path, layer: bytes, reason: Reason, detail: str
) -> None:
    seen, text = refused(tmp_path, layer)
    assert seen is reason
    assert detail in text


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "disk.img"}


def test_a_sparse_file_of_ten_gigabytes_is_skipped_and_noted(tmp_path: Path) -> None:
    # PAX sparse 1.0: the map stands in the content, the real size in the header.
    size = 10 * 1024**3
    body = f"1\n{size - 512}\n512\n".encode().ljust(BLOCK, b"\0") + b"\1" * BLOCK
    pax = b"".join(
        pax_record(*item) for item in {**SPARSE, "GNU.sparse.realsize": str(size)}.items()
    )
    layer = tar(pax_header(pax), file("GNUSparseFile.0/disk.img", body), file("app/key.pem", KEY))
    started = time.monotonic()
    harvest = collect(write(tmp_path, saved(layer)))
    assert time.monotonic() - started < 5
    assert harvest.gaps == []
    files = harvest.resources[0].body["files"]
    assert files["notes"] == {"files not searched for secrets": 1}
    assert files["secrets_count"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"9" * 20_000,
        b"2 " * 10_000 + b"=",
        b"30 hdrcharset=BINARY\n",
        b"11 size=-5\n" + b"5 a=\n",
        b"4 a=\n",
        b"100 path=short\n",
        pax_record("path", "x" * (2 * 1024 * 1024)),
    ],
    ids=["digits", "quadratic", "wrong-length", "negative-size", "too-short", "too-long", "bomb"],
)
def test_crafted_pax_headers_are_refused_at_once(tmp_path: Path, body: bytes) -> None:
    started = time.monotonic()
    reason, _ = refused(tmp_path, tar(pax_header(body), file("a", b"x")))
    assert reason in {Reason.MALFORMED, Reason.REFUSED}
    assert time.monotonic() - started < 5


def test_a_chain_of_headers_is_refused(tmp_path: Path) -> None:
    chain = [pax_header(pax_record("comment", "x")) for _ in range(5000)]
    reason, _ = refused(tmp_path, tar(*chain, file("a", b"x")))
    assert reason in {Reason.MALFORMED, Reason.REFUSED}


def test_global_headers_do_not_pile_up(tmp_path: Path) -> None:
    rows: list[Entry] = []
    for number in range(40):
        value = pax_record(f"key{number}", "x" * 60_000)
        rows += [pax_header(value, b"g"), file(f"f{number}", b"x")]
    reason, detail = refused(tmp_path, tar(*rows))
    assert (reason, detail) == (Reason.REFUSED, "its global headers are larger than 1 MiB")


def test_a_decompression_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    bomb = compressed(tar(file("zeros", b"\0" * 50_000_000)), "gzip")
    assert len(bomb) < 300_000
    harvest = collect(write(tmp_path, saved(BASE, bomb, TOP)), image_max_bytes=10_000_000)
    assert {gap.reason for gap in harvest.gaps} == {Reason.REFUSED}
    assert all("image_max_bytes" in gap.detail for gap in harvest.gaps)


def test_an_archive_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, compressed(saved(tar(file("zeros", b"\0" * 5_000_000))), "gzip"))
    harvest = collect(path, image_max_bytes=1_000_000)
    reason, scope, detail = only_gap(harvest)
    assert (reason, scope) == (Reason.REFUSED, "images")
    assert "image_max_bytes" in detail
    assert harvest.resources == []
    assert harvest.coverage == []


def test_more_entries_than_the_limit_are_refused(tmp_path: Path) -> None:
    layer = tar(*(file(f"d/{number}") for number in range(500)))
    harvest = collect(write(tmp_path, saved(layer)), archive_max_members=100)
    assert only_gap(harvest)[0] is Reason.REFUSED
    assert "archive_max_members" in harvest.gaps[0].detail


def test_memory_stays_small_for_a_large_layer(tmp_path: Path) -> None:
    # 64 MB of content and 20,000 names: far more than may be held at once.
    layer = tar(
        file("blob", os.urandom(64 * 1024 * 1024)),
        *(file(f"usr/share/data/{number:05d}/name-of-a-file") for number in range(20_000)),
    )
    path = write(tmp_path, saved(layer))
    collect(path)
    tracemalloc.start()
    harvest = collect(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert harvest.resources[0].body["files"]["entries"] == 20_001
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b"", Reason.MALFORMED, "not a tar archive"),
        (os.urandom(5000), Reason.MALFORMED, "not a tar archive"),
        (b"\0" * 5000, Reason.MALFORMED, "neither manifest.json nor index.json"),
        (tar(file("a", b"x")), Reason.MALFORMED, "neither manifest.json nor index.json"),
        (tar(file("manifest.json", "{")), Reason.MALFORMED, "manifest.json is not JSON"),
        (tar(file("manifest.json", "7")), Reason.MALFORMED, "unexpected form"),
        (tar(file("manifest.json", '[{"Config": "no"}]')), Reason.MALFORMED, "unexpected form"),
        (
            tar(file("manifest.json", '[{"Config": "no.json", "Layers": []}]')),
            Reason.MALFORMED,
            "it has no no.json",
        ),
        (
            tar(file("index.json", '{"manifests": [{"digest": "sha256:../../x"}]}')),
            Reason.REFUSED,
            "no digest",
        ),
        (tar(symlink("manifest.json", "/etc/passwd")), Reason.REFUSED, "leads outside"),
        (saved(BASE)[:3000], Reason.MALFORMED, "cut short"),
    ],
    ids=[
        "empty",
        "random",
        "zeros",
        "other-tar",
        "no-json",
        "number",
        "no-layers",
        "no-config",
        "bad-digest",
        "manifest-is-a-link",
        "cut",
    ],
)
def test_an_archive_that_is_none_is_one_gap(
    tmp_path: Path, data: bytes, reason: Reason, detail: str
) -> None:
    path = write(tmp_path, data)
    harvest = collect(path)
    seen, scope, text = only_gap(harvest)
    assert (seen, scope) == (reason, "images")
    assert detail in text
    assert harvest.gaps[0].name == str(path)
    assert harvest.gaps[0].remedy
    assert harvest.resources == []
    assert harvest.coverage == []


def test_deeply_nested_json_and_indexes_are_refused(tmp_path: Path) -> None:
    harvest = collect(write(tmp_path, tar(file("index.json", "[" * 100_000))))
    assert only_gap(harvest)[0] is Reason.MALFORMED


def test_what_is_not_what_its_digest_says_is_a_gap(tmp_path: Path) -> None:
    entries = saved_entries(BASE, TOP)
    other = tar(file("harmless", b"x"))
    entries[3] = file(entries[3].name, other)
    reason, scope, detail = only_gap(collect(write(tmp_path, tar(*entries))))
    assert (reason, scope) == (Reason.MALFORMED, "image-files")
    assert detail == "layer 1 is not what its digest says"

    files = layout_files(BASE)
    index = json.loads(files["index.json"])
    name = "blobs/" + index["manifests"][0]["digest"].replace(":", "/")
    files[name] = files[name].replace(b'"schemaVersion": 2', b'"schemaVersion": 3')
    reason, scope, detail = only_gap(collect(write_layout(tmp_path / "layout", files)))
    assert (reason, scope) == (Reason.MALFORMED, "images")
    assert "is not what its digest says" in detail


def test_a_layer_that_is_missing_is_a_gap_of_the_files(tmp_path: Path) -> None:
    entries = [entry for entry in saved_entries(BASE, TOP) if entry.data != BASE]
    harvest = collect(write(tmp_path, tar(*entries)))
    assert only_gap(harvest) == (Reason.ABSENT, "image-files", "layer 1 is not in the archive")


def test_a_layout_that_points_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    outside = write(tmp_path, b"{}", "outside.json")
    folder = write_layout(tmp_path / "layout", layout_files(BASE))
    config = next(path for path in folder.glob("blobs/*/*") if b"rootfs" in path.read_bytes())
    config.unlink()
    config.symlink_to(outside)
    reason, scope, _ = only_gap(collect(folder))
    assert (reason, scope) == (Reason.MALFORMED, "images")


def test_a_pipe_in_a_layout_does_not_hang(tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "layout", layout_files(BASE))
    os.mkfifo(folder / "blobs" / "sha256" / ("0" * 64))
    assert collect(folder).gaps == []


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert only_gap(collect(path))[0] is Reason.REFUSED
    assert only_gap(collect(tmp_path / "none.tar"))[:2] == (Reason.ABSENT, "images")
