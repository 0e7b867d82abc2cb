"""Archives with a few bytes changed: whatever comes of it, it is quick, calm and never a lie."""

import json
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.collect.image import collect_images
from auditor.config import DockerTable
from auditor.evaluate import evaluate
from auditor.model import Status
from auditor.registry import discover
from tests.support.archives import (
    KEY,
    config_of,
    directory,
    file,
    layout_files,
    layout_tar,
    saved,
    saved_entries,
    symlink,
    tar,
)
from tests.support.fixtures import snapshot_of

LAYERS = (
    tar(
        directory("bin"),
        file("bin/su", b"x", 0o4755),
        symlink("bin/sh", "busybox"),
        file("etc/passwd", "root:x:0:0::/:\n"),
        file("a" * 120, "long name", pax={"comment": "x" * 30}),
    ),
    tar(file("app/key.pem", KEY), file("bin/.wh.su")),
)
CONFIG = DockerTable(image_max_bytes=10_000_000, archive_max_members=10_000)
FORMS = {
    "saved": saved(*LAYERS),
    "layout": layout_tar(layout_files(*LAYERS)),
    "layout-zstd": layout_tar(layout_files(*LAYERS, compress="zstd")),
}

changes = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=400, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(form=st.sampled_from(sorted(FORMS)), changes=changes, cut=st.just(1.0) | st.floats(0.0, 1.0))
def test_a_changed_archive_is_read_in_full_or_has_a_gap(
    tmp_path: Path, form: str, changes: list[tuple[float, bytes]], cut: float
) -> None:
    data = bytearray(FORMS[form])
    for place, new in changes:
        start = int(place * len(data))
        data[start : start + len(new)] = new
    path = tmp_path / "image.tar"
    path.write_bytes(data[: int(cut * len(data))])

    started = time.monotonic()
    harvest = collect_images([str(path)], config=CONFIG)
    assert time.monotonic() - started < 5

    assert harvest.resources or harvest.gaps
    if not harvest.gaps:
        # Layers are checked against their digests: what was read is what was built.
        files = harvest.resources[0].body["files"]
        assert [row["path"] for row in files["secrets"]] == ["/app/key.pem"]
        assert files["setuid"] == []
        assert files["users"] == {"root": 0}


@settings(max_examples=100, deadline=5000)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_layer_is_always_a_gap(tmp_path_factory, place: float, bit: int) -> None:
    data = bytearray(FORMS["saved"])
    start = bytes(data).index(LAYERS[1])
    data[start + int(place * len(LAYERS[1]))] ^= 1 << bit
    path = tmp_path_factory.mktemp("fuzz") / "image.tar"
    path.write_bytes(data)
    assert collect_images([str(path)], config=CONFIG).gaps


CHECKS = [check for check in discover() if check.platform == "image"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
keys = ["User", "Env", "Healthcheck", "Cmd", "Entrypoint", "Labels", "OnBuild", "ExposedPorts"]


@settings(max_examples=150, deadline=5000)
@given(
    settings=st.dictionaries(st.sampled_from(keys), anything) | anything,
    history=anything | st.lists(st.dictionaries(st.sampled_from(["created_by"]), anything)),
    more=st.dictionaries(st.sampled_from(["created", "os", "rootfs", "config"]), anything),
)
def test_a_configuration_of_any_form_is_judged_or_a_gap(
    tmp_path_factory, settings: object, history: object, more: dict[str, object]
) -> None:
    config = {**config_of(LAYERS), "config": settings, "history": history, **more}
    path = tmp_path_factory.mktemp("fuzz") / "image.tar"
    path.write_bytes(saved(*LAYERS, config=config))
    harvest = collect_images([str(path)], config=CONFIG)
    findings = evaluate(snapshot_of(harvest), CHECKS)
    assert findings
    assert [row for row in findings if row.status is Status.ERROR] == []


@settings(max_examples=100, deadline=5000)
@given(
    manifest=anything | st.lists(st.dictionaries(st.sampled_from(["Config", "Layers"]), anything))
)
def test_a_manifest_of_any_form_is_an_image_or_a_gap(tmp_path_factory, manifest: object) -> None:
    entries = [*saved_entries(*LAYERS)[:-1], file("manifest.json", json.dumps(manifest))]
    path = tmp_path_factory.mktemp("fuzz") / "image.tar"
    path.write_bytes(tar(*entries))
    harvest = collect_images([str(path)], config=CONFIG)
    assert harvest.gaps or harvest.resources


def test_a_configuration_nested_very_deep_is_cut(tmp_path: Path) -> None:
    config = json.dumps(config_of(LAYERS, Labels={"deep": "HERE"}))
    nested = "[" * 900 + "]" * 900
    entries = saved_entries(*LAYERS)
    entries[-2] = file(entries[-2].name, config.replace('"HERE"', nested))
    path = tmp_path / "image.tar"
    path.write_bytes(tar(*entries))
    harvest = collect_images([str(path)], config=CONFIG)
    assert evaluate(snapshot_of(harvest), CHECKS)
