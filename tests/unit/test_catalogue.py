"""The catalogues that ship, and what the loader refuses."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

import pytest

from auditor.catalogue import Catalogue, controls_of, find_controls, load_catalogue
from auditor.config import Config
from auditor.errors import CatalogueError, ConfigError
from auditor.model import Benchmark
from auditor.registry import Registry, discover

REGISTRY = discover()
CATALOGUE = load_catalogue(REGISTRY)
_COUNTER = itertools.count()


def benchmark(ref: str) -> Benchmark:
    name, _, version = ref.partition("@")
    return next(item for item in CATALOGUE.versions(name) if item.version == version)


@pytest.mark.parametrize(
    ("ref", "controls"),
    [
        ("cis-kubernetes@1.12", 34),
        ("cis-kubernetes@2.0.1", 34),
        ("cis-docker@1.6", 44),
        ("cis-docker@1.7", 44),
        ("cis-docker@1.8", 44),
        ("nist-csf@2.0", 22),
        ("hardening-guide@1", 76),
        ("checklist@1", 10),
    ],
)
def test_a_catalogue_holds_all_of_its_controls(ref: str, controls: int) -> None:
    assert len(benchmark(ref).controls) == controls


def test_cis_docker_has_sections_4_and_5_to_their_ends() -> None:
    wanted = [f"4.{n}" for n in range(1, 13)] + [f"5.{n}" for n in range(1, 33)]
    for version in CATALOGUE.versions("cis-docker"):
        assert [control.id for control in version.controls] == wanted


def test_cis_kubernetes_has_section_5_to_its_end() -> None:
    sizes = {1: 13, 2: 12, 3: 2, 4: 2, 5: 1, 6: 4}
    wanted = [f"5.{chapter}.{n}" for chapter, size in sizes.items() for n in range(1, size + 1)]
    for version in CATALOGUE.versions("cis-kubernetes"):
        assert [control.id for control in version.controls] == wanted
        assert {control.mode for control in version.controls} == {"manual"}


def test_cis_kubernetes_level_2_is_what_the_benchmark_says() -> None:
    level_2 = {
        version.version: {control.id for control in version.controls if control.level == 2}
        for version in CATALOGUE.versions("cis-kubernetes")
    }
    common = {"5.2.7", "5.3.2", "5.4.1", "5.4.2", "5.5.1", "5.6.2", "5.6.3", "5.6.4"}
    assert level_2 == {"1.12": common, "2.0.1": common | {"5.2.9"}}


def test_cis_docker_level_2_is_what_the_benchmark_says() -> None:
    controls = benchmark("cis-docker@1.8").controls
    assert {control.id for control in controls if control.level == 2} == {
        *("4.5", "4.8", "4.11"),
        *("5.3", "5.23", "5.24", "5.30"),
    }


def test_nist_csf_has_its_six_functions_with_their_categories() -> None:
    framework = benchmark("nist-csf@2.0")
    by_function = {
        section.id: [item.id for item in framework.controls if item.section == section.id]
        for section in framework.sections
    }
    assert {key: len(found) for key, found in by_function.items()} == {
        "GV": 6,
        "ID": 3,
        "PR": 5,
        "DE": 2,
        "RS": 4,
        "RC": 2,
    }
    assert all(item.startswith(f"{key}.") for key, found in by_function.items() for item in found)


def test_every_framework_category_gives_the_reason_of_its_mapping() -> None:
    assert [item.id for item in benchmark("nist-csf@2.0").controls if not item.note] == []


def test_every_check_is_named_by_some_control() -> None:
    orphans = [item.id for item in REGISTRY if not controls_of(CATALOGUE.benchmarks, item.id)]
    assert orphans == []


def test_a_check_named_in_a_note_exists() -> None:
    named = {
        word
        for item in CATALOGUE.benchmarks
        for control in item.controls
        for word in re.findall(r"The check ([a-z0-9-]+)", control.note)
    }
    assert named
    assert sorted(word for word in named if word not in REGISTRY) == []


def test_a_control_speaks_only_of_platforms_that_its_benchmark_covers() -> None:
    foreign = [
        (item.ref, control.id, check_id)
        for item in CATALOGUE.benchmarks
        for control in item.controls
        for check_id in control.checks
        if (found := REGISTRY.get(check_id)) and found.platform not in item.platforms
    ]
    assert foreign == []


def test_the_guide_repeats_the_checklist_without_contradicting_it() -> None:
    guide = {item.id: item for item in benchmark("hardening-guide@1").controls}
    checklist = benchmark("checklist@1").controls
    for number, item in enumerate(checklist, start=1):
        twin = guide[f"HG-9.{number}"]
        assert (twin.title, twin.checks) == (item.title, item.checks)


def test_the_guides_own_cis_numbers_are_labels_and_not_ids() -> None:
    labelled = {
        item.labels: item.id for item in benchmark("hardening-guide@1").controls if item.labels
    }
    assert labelled == {
        ("CIS 5.1.1",): "HG-8.1",
        ("CIS 5.1.3",): "HG-8.2",
        ("CIS 5.1.4",): "HG-8.3",
        ("CIS 5.7.3",): "HG-8.4",
    }


def test_titles_are_short_and_use_none_of_the_words_benchmarks_open_with() -> None:
    for item in CATALOGUE.benchmarks:
        for control in item.controls:
            assert len(control.title) <= 80, control.title
            assert not re.match(r"(Ensure|Minimize|Avoid use|Consider|Prefer)\b", control.title)
            assert not control.title.endswith(".")


def test_an_informative_control_has_no_checks_and_says_why() -> None:
    informative = [
        control
        for item in CATALOGUE.benchmarks
        for control in item.controls
        if control.mode == "informative"
    ]
    assert informative
    assert all(item.note and not item.checks for item in informative)


def test_the_default_benchmarks_of_the_configuration_exist() -> None:
    chosen = [CATALOGUE.choose(ref).benchmark.ref for ref in Config().audit.benchmarks]
    assert chosen == [
        "cis-kubernetes@2.0.1",
        "cis-docker@1.8",
        "nist-csf@2.0",
        "hardening-guide@1",
        "checklist@1",
    ]


@pytest.mark.parametrize(
    ("servers", "version", "why"),
    [
        (["v1.35.4"], "2.0.1", "written for Kubernetes 1.35"),
        (["v1.34.0"], "2.0.1", "written for Kubernetes 1.34"),
        (["v1.33.9"], "1.12", "written for Kubernetes 1.33"),
        (["v1.32.1+k3s1"], "1.12", "written for Kubernetes 1.32"),
        (["1.33+"], "1.12", "written for Kubernetes 1.33"),
        (["v1.32.0", "v1.35.0"], "2.0.1", "written for Kubernetes 1.35"),
        (["v1.41.0"], "2.0.1", "no version was written for Kubernetes 1.41"),
        (["v1.27.3"], "1.12", "no version was written for Kubernetes 1.27"),
        (["not a version"], "2.0.1", "no server version is known"),
        ([], "2.0.1", "no server version is known"),
    ],
)
def test_auto_takes_the_version_written_for_the_server(
    servers: list[str], version: str, why: str
) -> None:
    choice = CATALOGUE.choose("cis-kubernetes@auto", servers)

    assert choice.benchmark.version == version
    assert why in choice.why


@pytest.mark.parametrize("ref", ["cis-kubernetes", "cis-kubernetes@latest"])
def test_without_a_version_the_newest_is_taken(ref: str) -> None:
    assert CATALOGUE.choose(ref, ["v1.32.0"]).benchmark.version == "2.0.1"


def test_a_version_can_be_asked_for_by_name() -> None:
    assert CATALOGUE.choose("cis-docker@1.6").benchmark.ref == "cis-docker@1.6"


@pytest.mark.parametrize(
    ("ref", "line"),
    [
        ("cis-podman", "there is no benchmark 'cis-podman'; known: checklist, cis-docker"),
        ("cis-docker@9.9", "there is no version '9.9' of cis-docker; known: 1.6, 1.7, 1.8"),
    ],
)
def test_a_benchmark_that_does_not_exist_is_refused_with_what_does(ref: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CATALOGUE.choose(ref)
    assert str(caught.value).startswith(line)


def test_a_control_is_found_in_every_version_that_has_it() -> None:
    found = find_controls(CATALOGUE, "cis-kubernetes:5.1.1")
    assert [item.ref for item, _ in found] == ["cis-kubernetes@1.12", "cis-kubernetes@2.0.1"]
    assert find_controls(CATALOGUE, "cis-kubernetes@1.12:5.1.1") == found[:1]


def test_a_control_is_found_by_the_number_it_had_before() -> None:
    found = find_controls(CATALOGUE, "5.7.3")
    assert {(item.id, control.id) for item, control in found} == {("cis-kubernetes", "5.6.3")}


VALID = """
[benchmark]
id = "sample"
title = "A sample"
kind = "guide"
platforms = ["dockerfile"]
[[versions]]
id = "1"
servers = ["1.1"]
[[versions]]
id = "2"
[[sections]]
id = "S"
title = "A section"
[[controls]]
title = "Pin the base"
section = "S"
level = { "1" = 1, "2" = 2 }
mode = { "1" = "automated" }
checks = ["dockerfile-user"]
ids = { "1" = "S.1", "2" = "S.9" }
[[controls]]
title = "Say who runs"
section = "S"
ids = { "2" = "S.10" }
"""


def load(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: str) -> Catalogue:
    """Load catalogues from a package made for one test."""
    name = f"sample_catalogues_{next(_COUNTER)}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sample.toml").write_text(text, encoding="utf-8")
    for stem, other in more.items():
        (package / f"{stem}.toml").write_text(other, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        return load_catalogue(REGISTRY, package=name)
    finally:
        sys.modules.pop(name, None)


def test_each_version_is_a_view_of_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = load(VALID, tmp_path, monkeypatch).benchmarks

    assert [(item.id, item.level, item.mode) for item in first.controls] == [
        ("S.1", 1, "automated")
    ]
    assert [(item.id, item.level, item.mode) for item in second.controls] == [
        ("S.9", 2, "manual"),
        ("S.10", None, "manual"),
    ]
    assert first.controls[0].checks == ("dockerfile-user",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"dockerfile-user"', '"dockerfile-nonesuch"', "names check 'dockerfile-nonesuch'"),
        ('section = "S"\nids', 'section = "T"\nids', "stands in section 'T', not declared"),
        ('"2" = "S.10"', '"2" = "S.9"', "control id S.9 stands twice"),
        ('ids = { "2" = "S.10" }', "", "needs either id or ids"),
        ('ids = { "2" = "S.10" }', 'id = "X"\nids = { "2" = "S.10" }', "needs either id or ids"),
        ('title = "A section"', 'title = "A"\nparen = "S"', "sections.0.paren"),
        ("level = {", 'level = "high" # {', "controls.0.level"),
        ('[benchmark]\nid = "sample"', "[benchmark", "not TOML"),
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = VALID.replace(old, new, 1)
    assert broken != VALID

    with pytest.raises(CatalogueError) as caught:
        load(broken, tmp_path, monkeypatch)
    assert message in str(caught.value)
    assert str(caught.value).startswith("sample.toml")


def test_two_catalogues_of_one_benchmark_version_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CatalogueError, match="two catalogues describe the same"):
        load(VALID, tmp_path, monkeypatch, other=VALID)


def test_a_registry_without_the_checks_is_refused() -> None:
    with pytest.raises(CatalogueError, match="which does not exist"):
        load_catalogue(Registry({}))
