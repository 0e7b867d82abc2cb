"""The collector of application configuration: structure and safe facts, never a text's value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.collect.appconfig import MAX_BYTES, collect_appconfig
from auditor.evaluate import evaluate
from auditor.model import Reason, Status
from auditor.registry import discover
from tests.support.fixtures import snapshot_of

EXAMPLES = Path(__file__).parents[2] / "examples" / "app-config"
CHECKS = [check for check in discover() if check.platform == "app-config"]


def read(folder: Path, text: str, name: str = "settings.json") -> dict[str, dict[str, Any]]:
    (folder / name).write_text(text, encoding="utf-8")
    harvest = collect_appconfig([folder / name], base=folder)
    assert not harvest.gaps
    return {setting["path"]: setting for setting in harvest.resources[0].body["settings"]}


def test_json_and_yaml_give_the_same_settings_with_their_lines(tmp_path: Path) -> None:
    as_json = (
        '{\n  "a": {"on": true, "n": 3},\n\t"list": [\n    {"url": "https://x"}, null],\n"e": {}}'
    )
    as_yaml = "a:\n  on: true\n  n: 3\nlist:\n- url: https://x\n-\ne: {}\n"
    first, second = read(tmp_path, as_json), read(tmp_path, as_yaml, "settings.yaml")
    assert list(first) == list(second) == ["a.on", "a.n", "list[0].url", "list[1]", "e"]
    assert [item["kind"] for item in first.values()] == [item["kind"] for item in second.values()]
    assert [item["line"] for item in first.values()] == [2, 2, 4, 4, 5]
    assert [item["line"] for item in second.values()] == [2, 3, 5, 6, 7]
    assert first["a.on"]["value"] is second["a.on"]["value"] is True


def test_of_text_only_its_length_and_shape_are_kept(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        json.dumps(
            {
                "greeting": "hello there",
                "client_cert": "/run/secrets/client.pem",
                "url": "https://example.org/x",
                "ref": "${HOME}",
                "none": " ",
            }
        ),
    )
    assert {path: item["shape"] for path, item in found.items()} == {
        "greeting": "text",
        "client_cert": "path",
        "url": "https",
        "ref": "reference",
        "none": "empty",
    }
    assert found["client_cert"]["value"] == "/run/secrets/client.pem"
    assert found["greeting"]["length"] == 11
    assert "value" not in found["greeting"]


def test_a_secret_is_reported_and_not_kept(tmp_path: Path) -> None:
    value = "zq8" + "Kd0wPe"
    key = "ghp" + "_" + "a1B2" * 9
    text = json.dumps({"api": {"token": value, key: 1, "note": f"--password {value}"}})
    found = read(tmp_path, text)
    assert value.encode() not in orjson.dumps(found)
    assert key.encode() not in orjson.dumps(found)
    assert [hit["length"] for hit in found["api.token"]["secrets"]] == [9]
    assert [hit["length"] for hit in found["api.note"]["secrets"]] == [9]


def test_an_alias_is_judged_under_its_own_name(tmp_path: Path) -> None:
    found = read(tmp_path, "x-shared: &v not-a-real-one\nservice:\n  password: *v\n", "a.yaml")
    assert found["service.password"]["secrets"]


@pytest.mark.parametrize(
    ("name", "text", "reason", "detail"),
    [
        ("a.json", '{"a": 1,\n "a": 2}', Reason.MALFORMED, "line 2: a key stands twice"),
        ("a.json", '{"a": NaN}', Reason.MALFORMED, "line 1: not JSON"),
        ("a.json", '{"secret": hunter2}', Reason.MALFORMED, "line 1: not JSON"),
        ("a.json", "", Reason.MALFORMED, "not JSON"),
        ("a.json", '"only text"', Reason.MALFORMED, "holds no settings"),
        ("a.json", "[" * 300 + "]" * 300, Reason.REFUSED, "nested too deeply"),
        ("a.json", "[" * 100_000, Reason.MALFORMED, "not JSON"),
        ("a.json", "[" + "1," * 30_000 + "1]", Reason.REFUSED, "settings"),
        ("a.json", " " * (MAX_BYTES + 1), Reason.REFUSED, "larger than 4 MiB"),
        ("a.yaml", "a: [b", Reason.MALFORMED, "not YAML"),
        ("a.yaml", "[" * 200_000, Reason.REFUSED, "nested too deeply"),
        ("a.yaml", "- " * 50_000, Reason.REFUSED, "nested too deeply"),
        ("a.yaml", "? [a]\n: b\n", Reason.MALFORMED, "a key that is not text"),
        ("a.yaml", "a: b\0", Reason.MALFORMED, "NUL"),
        ("a.yaml", "just words\n", Reason.MALFORMED, "holds no settings"),
    ],
)
def test_what_is_no_configuration_is_a_gap(
    tmp_path: Path, name: str, text: str, reason: Reason, detail: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    harvest = collect_appconfig([tmp_path / name], base=tmp_path)
    (gap,) = harvest.gaps
    assert (gap.reason, gap.name, gap.scope) == (reason, name, "app-config")
    assert detail in gap.detail
    assert "hunter2" not in gap.detail
    assert not harvest.resources


def test_aliases_a_billion_laughs_deep_cost_nothing(tmp_path: Path) -> None:
    lines = ["a0: &a0 [lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    found = read(tmp_path, "\n".join(lines), "bomb.yaml")
    assert len(found) == 3 + 9 * 11


def test_below_a_folder_manifests_are_left_to_others(tmp_path: Path) -> None:
    manifest = "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n"
    (tmp_path / "m.yaml").write_text(manifest)
    (tmp_path / "app.yml").write_text("a: b\n")
    assert [r.name for r in collect_appconfig([tmp_path], base=tmp_path).resources] == ["app.yml"]
    assert len(collect_appconfig([tmp_path / "m.yaml"], base=tmp_path).resources) == 1


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


def leaves(value: Any) -> int:
    if isinstance(value, dict) and value:
        return sum(map(leaves, value.values()))
    if isinstance(value, list) and value:
        return sum(map(leaves, value))
    return 1


@given(value=st.dictionaries(st.text(max_size=8), JSONS, min_size=1), indent=st.none() | st.just(2))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_leaf_of_any_json_is_a_setting(
    tmp_path: Path, value: dict[str, Any], indent: int | None
) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    harvest = collect_appconfig([file], base=tmp_path)
    assert [len(item.body["settings"]) for item in harvest.resources] == [leaves(value)]
    assert Status.ERROR not in {row.status for row in evaluate(snapshot_of(harvest), CHECKS)}


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode), yaml=st.booleans())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_file_is_a_resource_or_a_gap(tmp_path: Path, data: bytes, yaml: bool) -> None:
    file = tmp_path / ("a.yaml" if yaml else "a.json")
    file.write_bytes(data)
    harvest = collect_appconfig([file], base=tmp_path)
    assert len(harvest.resources) + len(harvest.gaps) == 1
    orjson.dumps([item.body for item in harvest.resources])


def test_the_good_example_passes_every_rule_and_the_bad_ones_fail_each() -> None:
    good = evaluate(snapshot_of(collect_appconfig([EXAMPLES / "good"])), CHECKS)
    assert {row.check: str(row.status) for row in good} == {c.id: "pass" for c in CHECKS}
    bad = evaluate(snapshot_of(collect_appconfig([EXAMPLES / "bad"])), CHECKS)
    assert {row.check for row in bad if row.status is Status.FAIL} == {c.id for c in CHECKS}
