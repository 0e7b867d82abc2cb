"""CIS Docker in every version: one table of identities, held against facts."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from auditor.catalogue import find_controls, load_catalogue
from auditor.model import Benchmark
from auditor.registry import discover

REGISTRY = discover()
CATALOGUE = load_catalogue(REGISTRY)
VERSIONS = CATALOGUE.versions("cis-docker")
FACTS = Path(__file__).parents[3] / "shared" / "catalogues" / "cis-docker.csv"
needs_facts = pytest.mark.skipif(not FACTS.is_file(), reason=f"needs the published facts: {FACTS}")

COLUMNS = {"1.6": "id_v1.6_v1.7", "1.7": "id_v1.6_v1.7", "1.8": "id_v1.8"}
SIZES = {
    # section: controls in 1.6 and 1.7; 1.8 has one more in section 2
    "1": 20,
    "2": 18,
    "3": 24,
    "4": 12,
    "5": 32,
    "6": 2,
    "7": 9,
}


def version(name: str) -> Benchmark:
    return next(item for item in VERSIONS if item.version == name)


def facts() -> list[dict[str, str]]:
    with FACTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_section_is_there_in_every_version() -> None:
    assert [item.version for item in VERSIONS] == list(COLUMNS)
    for item in VERSIONS:
        found = Counter(row.id.split(".")[0] for row in item.controls)
        assert found == SIZES | ({"2": 19} if item.version == "1.8" else {})


@needs_facts
@pytest.mark.parametrize("name", COLUMNS)
def test_the_ids_are_the_published_ones_in_their_order(name: str) -> None:
    published = [row[COLUMNS[name]] for row in facts() if row[COLUMNS[name]]]
    assert [row.id for row in version(name).controls] == published


@needs_facts
@pytest.mark.parametrize("name", COLUMNS)
def test_levels_and_assessments_are_those_of_the_newest_version(name: str) -> None:
    """Of 1.6 and 1.7 no complete list was found; their notes say whose levels they show."""
    published = {
        row[COLUMNS[name]]: (int(row["level"]), row["v1.8_status"].lower())
        for row in facts()
        if row[COLUMNS[name]]
    }
    assert {row.id: (row.level, row.mode) for row in version(name).controls} == published
    said = "those of version 1.8" in version(name).note
    assert said is (name != "1.8")


@needs_facts
def test_a_moved_number_is_the_same_control() -> None:
    """The list has both numbers in one row: they are one identity of ours."""
    old = {row.id: row.identity for row in version("1.6").controls}
    new = {row.id: row.identity for row in version("1.8").controls}
    for row in facts():
        if row["id_v1.6_v1.7"]:
            assert old[row["id_v1.6_v1.7"]] == new[row["id_v1.8"]]


@needs_facts
def test_no_title_is_the_benchmarks_own() -> None:
    theirs = {_plain(row["short_title"]) for row in facts()}
    theirs |= {title.removeprefix("ensure ").removeprefix("that ") for title in theirs}
    ours = {_plain(row.title) for item in VERSIONS for row in item.controls}
    assert not ours & theirs


def _plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", title.lower()).strip()


def test_titles_tell_the_controls_of_a_version_apart() -> None:
    for item in VERSIONS:
        titles = Counter(row.title for row in item.controls)
        assert [title for title, count in titles.items() if count > 1] == []
        assert all(re.fullmatch(r"[a-z0-9-]+", row.identity) for row in item.controls)


def test_level_2_of_sections_4_and_5_is_what_the_benchmark_says() -> None:
    for item in VERSIONS:
        found = {row.id for row in item.controls if row.level == 2 and row.id[0] in "45"}
        assert found == {"4.5", "4.8", "4.11", "5.3", "5.23", "5.24", "5.30"}


def test_devicemapper_is_new_in_1_8_and_moves_the_rest_of_section_2() -> None:
    found = {row.identity: row.id for row in version("1.8").controls}
    assert found["storage-devicemapper"] == "2.7"
    before = {row.identity: row for row in version("1.7").controls}
    assert "storage-devicemapper" not in before
    for row in version("1.8").controls:
        if row.identity != "storage-devicemapper":
            moved = row.section == "2" and int(row.id.split(".")[1]) > 7
            number = f"2.{int(row.id.split('.')[1]) - 1}" if moved else row.id
            assert before[row.identity].id == number
            assert row.elsewhere == ((f"{number} in 1.6 to 1.7",) if moved else ())


def test_a_control_is_found_by_the_number_it_had_before() -> None:
    found = find_controls(CATALOGUE, "cis-docker:2.7")
    assert [(item.version, row.identity) for item, row in found] == [
        ("1.6", "daemon-tls"),
        ("1.7", "daemon-tls"),
        ("1.8", "storage-devicemapper"),
    ]


def test_every_control_of_section_5_is_decided_by_a_check_of_docker() -> None:
    for item in VERSIONS:
        rows = [row for row in item.controls if row.id.startswith("5.")]
        assert len(rows) == 32
        assert [row.id for row in rows if not row.checks] == []
        found = [REGISTRY.get(name) for row in rows for name in row.checks]
        assert {check.platform for check in found if check} == {"docker"}


def test_a_check_says_the_number_of_each_control_that_it_decides() -> None:
    for row in version("1.8").controls:
        if row.id.startswith("5."):
            for name in row.checks:
                check = REGISTRY.get(name)
                assert check is not None
                assert re.search(rf"(?<![0-9.]){re.escape(row.id)}(?![0-9.]*[0-9])", check.source)
