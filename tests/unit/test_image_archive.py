"""Archives of images in every form they come in: the same facts from each."""

import json
from pathlib import Path

import pytest

from tests.support.archives import (
    BASE,
    KEY,
    TOP,
    collect,
    compressed,
    config_of,
    file,
    layout_files,
    layout_tar,
    saved,
    saved_as_layout,
    saved_entries,
    sha256,
    symlink,
    tar,
    write,
    write_layout,
)


def test_a_saved_image_gives_its_configuration_history_and_files(tmp_path: Path) -> None:
    config = config_of([BASE, TOP], User="app", Healthcheck={"Test": ["CMD", "/healthz"]})
    harvest = collect(write(tmp_path, saved(BASE, TOP, config=config)))
    assert harvest.gaps == []
    assert [(item.scope, item.count) for item in harvest.coverage] == [("images", 1)]
    body = harvest.resources[0].body
    assert body["name"] == "shop/web:1"
    assert body["config"] == {"User": "app", "Healthcheck": {"Test": ["CMD", "/healthz"]}}
    assert [row["created_by"] for row in body["history"]] == ["COPY layer1 /", "COPY layer2 /"]
    files = body["files"]
    assert files["users"] == {"root": 0, "app": 1000}
    assert [row["digest"] for row in files["layers"]] == [sha256(BASE), sha256(TOP)]
    assert files["secrets"] == [
        {
            "path": "/app/key.pem",
            "line": 1,
            "detector": "private key",
            "length": len(KEY) - 1,
            "certain": True,
            "layer": 1,
            "deleted": True,
            "how": "deleted by layer 2",
        }
    ]


@pytest.mark.parametrize("whole", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("layers", ["none", "gzip", "zstd"])
def test_every_form_of_one_image_gives_the_same_files(
    tmp_path: Path, whole: str, layers: str
) -> None:
    expected = collect(write(tmp_path, saved(BASE, TOP), "saved.tar")).resources[0].body["files"]
    files = layout_files(BASE, TOP, compress=layers)
    forms = [
        write(tmp_path, compressed(saved(BASE, TOP), whole)),
        write(tmp_path, compressed(layout_tar(files), whole), "layout.tar"),
        write(tmp_path, compressed(saved_as_layout(BASE, TOP, compress=layers), whole), "new.tar"),
        write_layout(tmp_path / "layout", files),
    ]
    for path in forms:
        harvest = collect(path)
        assert harvest.gaps == []
        assert harvest.resources[0].body["files"] == expected
        assert harvest.resources[0].name == "shop/web:1"


def test_a_layer_that_is_there_twice_is_a_link_and_read_once(tmp_path: Path) -> None:
    entries = saved_entries(BASE, TOP)
    manifest = json.loads(entries[-1].data)
    manifest[0]["Layers"] = [*manifest[0]["Layers"], "abc/layer.tar"]
    again = symlink("abc/layer.tar", f"../{manifest[0]['Layers'][0]}")
    config = json.dumps(config_of([BASE, TOP, BASE])).encode()
    entries[-2] = file("config.json", config)
    manifest[0]["Config"] = "config.json"
    entries[-1] = file("manifest.json", json.dumps(manifest))
    harvest = collect(write(tmp_path, tar(again, *entries)))
    assert harvest.gaps == []
    assert [row["digest"] for row in harvest.resources[0].body["files"]["layers"]] == [
        sha256(BASE),
        sha256(TOP),
        sha256(BASE),
    ]


def test_an_image_for_several_platforms_is_one_image_each(tmp_path: Path) -> None:
    one, two = layout_files(BASE), layout_files(TOP)
    rows = [json.loads(files["index.json"])["manifests"][0] for files in (one, two)]
    rows[0]["platform"] = {"os": "linux", "architecture": "amd64"}
    rows[1]["platform"] = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    proof = {**rows[0], "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    index = json.dumps({"manifests": [*rows, proof]}).encode()
    nested = {"digest": sha256(index), "annotations": rows[0]["annotations"]}
    files = {**one, **two, "blobs/" + sha256(index).replace(":", "/"): index}
    files["index.json"] = json.dumps({"manifests": [nested]}).encode()
    harvest = collect(write_layout(tmp_path / "layout", files))
    assert [item.name for item in harvest.resources] == [
        "shop/web:1 (linux/amd64)",
        "shop/web:1 (linux/arm64/v8)",
    ]
    assert harvest.coverage[0].count == 2


def test_an_image_without_a_name_is_called_like_its_file(tmp_path: Path) -> None:
    entries = saved_entries(BASE)
    manifest = json.loads(entries[-1].data)
    manifest[0]["RepoTags"] = None
    entries[-1] = file("manifest.json", json.dumps(manifest))
    harvest = collect(write(tmp_path, tar(*entries), "build.tar"))
    assert harvest.resources[0].name == "build.tar"


def test_an_empty_layer_is_a_layer(tmp_path: Path) -> None:
    harvest = collect(write(tmp_path, saved(BASE, tar())))
    assert harvest.gaps == []
    assert harvest.resources[0].body["files"]["layers"][1]["entries"] == 0


def test_nothing_is_written_and_no_value_is_kept(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    layer = tar(
        file("app/.env", f"DB_PASSWORD=hunter2-{'x' * 8}\nGH={token}\n"),
        file(f"app/{token}.pem", KEY),
    )
    config = config_of([layer], Env=[f"DB_PASSWORD=hunter2-{'x' * 8}"])
    config["history"] = [{"created_by": f"RUN |1 TOKEN={token} /bin/sh -c make hunter2-{'x' * 8}"}]
    path = write(tmp_path, saved(layer, config=config))
    before = sorted(path.parent.iterdir())
    harvest = collect(path)
    assert sorted(path.parent.iterdir()) == before
    text = json.dumps(harvest.resources[0].body)
    for value in ("hunter2", token, "MIIBMIIB"):
        assert value not in text
    detectors = {row["detector"] for row in harvest.resources[0].body["files"]["secrets"]}
    assert detectors == {"credential name", "GitHub token", "private key"}
