"""The catalogues that ship, and what the loader refuses."""

from __future__ import annotations

import csv
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
ROOT = Path(__file__).parents[2]
_COUNTER = itertools.count()


def benchmark(ref: str) -> Benchmark:
    name, _, version = ref.partition("@")
    return next(item for item in CATALOGUE.versions(name) if item.version == version)


@pytest.mark.parametrize(
    ("ref", "controls"),
    [
        ("cis-docker@1.6", 117),
        ("cis-docker@1.7", 117),
        ("cis-docker@1.8", 118),
        ("nist-csf@2.0", 106),
        ("nist-800-53@r5", 34),
        ("nist-800-190@2017", 24),
        ("hardening-guide@1", 76),
        ("checklist@1", 10),
    ],
)
def test_a_catalogue_holds_all_of_its_controls(ref: str, controls: int) -> None:
    assert len(benchmark(ref).controls) == controls


def test_nist_csf_has_its_six_functions_with_their_categories() -> None:
    framework = benchmark("nist-csf@2.0")
    functions = [section.id for section in framework.sections if section.parent is None]
    categories = {
        key: sum(section.parent == key for section in framework.sections) for key in functions
    }
    assert categories == {"GV": 6, "ID": 3, "PR": 5, "DE": 2, "RS": 4, "RC": 2}
    assert all(item.id.rpartition("-")[0] == item.section for item in framework.controls)


MAPPINGS = ("nist-csf@2.0", "nist-800-53@r5", "nist-800-190@2017")


@pytest.mark.parametrize("ref", MAPPINGS)
def test_every_check_is_mapped_with_one_sentence(ref: str) -> None:
    """To CSF subcategories, to SP 800-53 controls and to SP 800-190 countermeasures."""
    controls = benchmark(ref).controls
    mapped = {check for control in controls for check in control.because}
    assert sorted(set(REGISTRY.checks) - mapped) == []
    for control in controls:
        assert set(control.checks) == set(control.because)
        for why in control.because.values():
            assert re.fullmatch(r"[A-Z][^.]*\.", why), why


def test_a_part_that_no_check_speaks_of_says_what_would_decide_it() -> None:
    silent = [
        item.id
        for ref in ("nist-csf@2.0", "nist-800-190@2017")
        for item in benchmark(ref).controls
        if not item.checks and not item.note
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("ref", "file", "column"),
    [
        ("nist-csf@2.0", "nist-csf-2.0.csv", "subcategory"),
        ("nist-800-53@r5", "nist-800-53-r5.csv", "control"),
    ],
)
def test_the_ids_are_those_of_the_publication(ref: str, file: str, column: str) -> None:
    path = ROOT.parent / "shared" / "catalogues" / file
    if not path.is_file():
        pytest.skip("the list of published ids is not beside this checkout")
    with path.open(encoding="utf-8", newline="") as stream:
        published = {row[column] for row in csv.DictReader(stream)}
    ours = {control.id for control in benchmark(ref).controls}
    assert ours <= published
    if ref.startswith("nist-csf"):
        assert ours == published


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
        "nist-800-53@r5",
        "nist-800-190@2017",
        "hardening-guide@1",
        "checklist@1",
    ]


def test_auto_means_the_newest_where_no_version_is_tied_to_a_server() -> None:
    choice = CATALOGUE.choose("cis-docker@auto", ["v1.35.4"])
    assert (choice.benchmark.version, choice.why) == (
        "1.8",
        "the newest one: no version is tied to a server's",
    )


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
    assert [item.ref for item, _ in found] == [
        item.ref for item in CATALOGUE.versions("cis-kubernetes")
    ]
    assert find_controls(CATALOGUE, "cis-kubernetes@1.12:5.1.1") == [
        pair for pair in found if pair[0].version == "1.12"
    ]


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
key = "base"
title = "Pin the base"
level = { "1" = 1, "2" = 2 }
mode = { "1" = "automated", "2.." = "manual" }
checks = ["dockerfile-user"]
ids = { "1" = "S.1", "2" = "S.9" }
[[controls]]
key = "user"
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
    assert [(item.identity, item.section) for item in second.controls] == [
        ("base", "S"),
        ("user", "S"),
    ]
    assert second.controls[0].elsewhere == ("S.1 in 1",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"dockerfile-user"', '"dockerfile-nonesuch"', "names check 'dockerfile-nonesuch'"),
        ('section = "S"\nids', 'section = "T"\nids', "stands in section 'T', not declared"),
        ('"2" = "S.10"', '"2" = "S.9"', "control id S.9 stands twice"),
        ('ids = { "2" = "S.10" }', "", "needs either id or ids"),
        ('key = "user"', "", "needs a key"),
        ('key = "user"', 'key = "base"', "the key base stands twice"),
        ('ids = { "2" = "S.10" }', 'ids = { "3" = "S.10" }', "control user: '3' names the version"),
        (', "2.." = "manual"', "", "control base has no mode in version 2"),
        ('"2" = 2 }', '"1.." = 2 }', "'1..' has the version '1', which another range has too"),
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


def test_a_catalogue_may_be_a_folder_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load(VALID, tmp_path, monkeypatch)
    head, first, second = VALID.replace("[[controls]]", "@@[[controls]]").split("@@")
    parts = {"folder/a-head.toml": head, "folder/b-base.toml": first, "folder/c-user.toml": second}
    package = tmp_path / "split_catalogues"
    (package / "folder").mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, text in parts.items():
        (package / name).write_text(text, encoding="utf-8")
    assert load_catalogue(REGISTRY, package="split_catalogues").benchmarks == whole.benchmarks

    (package / "folder" / "d.toml").write_text(second, encoding="utf-8")
    with pytest.raises(CatalogueError, match=r"folder/d\.toml: the key user stands twice"):
        load_catalogue(REGISTRY, package="split_catalogues")
    (package / "folder" / "d.toml").write_text(head, encoding="utf-8")
    with pytest.raises(CatalogueError, match=r"folder: needs one \[benchmark\]"):
        load_catalogue(REGISTRY, package="split_catalogues")


def test_two_catalogues_of_one_benchmark_version_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CatalogueError, match="two catalogues describe the same"):
        load(VALID, tmp_path, monkeypatch, other=VALID)


def test_a_registry_without_the_checks_is_refused() -> None:
    with pytest.raises(CatalogueError, match="which does not exist"):
        load_catalogue(Registry({}))
