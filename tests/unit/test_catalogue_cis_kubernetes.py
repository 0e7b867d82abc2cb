"""CIS Kubernetes in every published version: one table of identities, held against facts."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from auditor.catalogue import find_controls, gathered, load_catalogue
from auditor.model import Benchmark, Control
from auditor.registry import discover

CATALOGUE = load_catalogue(discover())
VERSIONS = CATALOGUE.versions("cis-kubernetes")
FACTS = Path(__file__).parents[3] / "shared" / "catalogues" / "cis-kubernetes.csv"

SIZES = {
    "1.5": 122,
    "1.6": 122,
    "1.20": 123,
    "1.23": 125,
    "1.24": 124,
    "1.7": 131,
    "1.8": 130,
    "1.9": 130,
    "1.10": 130,
    "1.11": 133,
    "1.12": 131,
    "2.0.1": 131,
}


def version(name: str) -> Benchmark:
    return next(item for item in VERSIONS if item.version == name)


def control(name: str, number: str) -> Control:
    return next(item for item in version(name).controls if item.id == number)


def by_identity(name: str) -> dict[str, Control]:
    return {item.identity: item for item in version(name).controls}


def test_every_published_version_is_there_in_the_order_of_publication() -> None:
    assert [(item.version, len(item.controls)) for item in VERSIONS] == list(SIZES.items())


@pytest.mark.skipif(not FACTS.is_file(), reason=f"needs the published facts: {FACTS}")
def test_ids_assessments_and_levels_are_the_published_ones() -> None:
    """1,532 rows: every control of every version, in the benchmark's order, and no other."""
    with FACTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    published: dict[str, list[tuple[str, str]]] = {}
    levels = {}
    for row in rows:
        key = row["benchmark_version"]
        published.setdefault(key, []).append((row["id"], row["assessment"].lower()))
        if row["level"]:
            levels[key, row["id"]] = int(row["level"].removeprefix("Level "))
    assert len(rows) == 1532
    ours = {item.version: [(row.id, row.mode) for row in item.controls] for item in VERSIONS}
    assert ours == published
    assert {
        (item.version, row.id): row.level
        for item in VERSIONS
        for row in item.controls
        if (item.version, row.id) in levels
    } == levels


def test_levels_are_given_where_they_are_known_and_left_out_where_not() -> None:
    known = {item.version: {row.level for row in item.controls} for item in VERSIONS}
    assert {name for name, found in known.items() if found == {1, 2}} == {"1.5", "1.12", "2.0.1"}
    assert all(found == {None} for name, found in known.items() if name not in SOURCED)


SOURCED = ("1.5", "1.12", "2.0.1")


def test_level_2_of_section_5_is_what_the_benchmark_says() -> None:
    common = {"5.2.7", "5.3.2", "5.4.1", "5.4.2", "5.5.1", "5.6.2", "5.6.3", "5.6.4"}
    for name, more in (("1.12", set()), ("2.0.1", {"5.2.9"})):
        found = {row.id for row in version(name).controls if row.level == 2}
        assert {number for number in found if number.startswith("5.")} == common | more


def test_each_version_keeps_its_own_words_of_assessment() -> None:
    words = {item.version: {row.mode for row in item.controls} for item in VERSIONS}
    # One line of the transcription of 1.5 has the later word.
    assert words["1.5"] == {"scored", "not scored", "automated"}
    assert all(found == {"manual", "automated"} for name, found in words.items() if name != "1.5")
    assert {row.mode for row in version("2.0.1").controls if row.id.startswith("5.")} == {"manual"}


@pytest.mark.parametrize(
    ("identity", "numbers"),
    [
        ("security-context", {"1.5": "5.7.3", "1.10": "5.7.3", "1.11": "5.6.3", "2.0.1": "5.6.3"}),
        ("privileged-containers", {"1.5": "5.2.1", "1.20": "5.2.1", "1.23": "5.2.2"}),
        ("added-capabilities", {"1.20": "5.2.8", "1.23": "5.2.9", "1.11": "5.2.9", "1.12": None}),
        ("assigned-capabilities", {"1.20": "5.2.9", "1.11": "5.2.10", "1.12": "5.2.9"}),
        ("host-ports", {"1.20": None, "1.11": "5.2.13", "1.12": "5.2.12"}),
        ("masters-group", {"1.6": None, "1.20": "5.1.7", "2.0.1": "5.1.7"}),
        ("api-server-token-auth", {"1.6": "1.2.3", "1.20": "1.2.2"}),
        ("api-server-external-ips-allowed", {"1.23": "1.2.3", "1.24": "1.2.3", "1.7": None}),
        ("api-server-external-ips-denied", {"1.24": None, "1.7": "1.2.3", "2.0.1": "1.2.3"}),
        ("kubelet-serving-rotation", {"1.5": "4.2.12", "1.24": "4.2.12", "1.7": "4.2.11"}),
    ],
)
def test_an_identity_is_the_same_thing_under_each_number(
    identity: str, numbers: dict[str, str | None]
) -> None:
    for name, number in numbers.items():
        found = by_identity(name).get(identity)
        assert (found.id if found else None) == number, name


def test_a_number_that_moved_says_where_it_was() -> None:
    assert control("2.0.1", "5.6.3").elsewhere == ("5.7.3 in 1.5 to 1.10",)
    assert control("1.10", "5.7.3").elsewhere == ("5.6.3 in 1.11 to 2.0.1",)
    assert control("2.0.1", "5.1.1").elsewhere == ()


def test_a_control_has_the_same_checks_in_every_version() -> None:
    checks: dict[str, set[tuple[str, ...]]] = {}
    for item in VERSIONS:
        for row in item.controls:
            checks.setdefault(row.identity, set()).add(row.checks)
    assert [key for key, found in checks.items() if len(found) > 1] == []


def test_only_section_5_is_decided_yet() -> None:
    decided = {row.id.split(".")[0] for item in VERSIONS for row in item.controls if row.checks}
    assert decided == {"5"}


def test_titles_tell_the_controls_of_a_version_apart_and_borrow_no_words() -> None:
    for item in VERSIONS:
        titles = Counter(row.title for row in item.controls)
        assert [title for title, count in titles.items() if count > 1] == []
        assert all(re.fullmatch(r"[a-z0-9-]+", row.identity) for row in item.controls)


@pytest.mark.skipif(not FACTS.is_file(), reason=f"needs the published facts: {FACTS}")
def test_no_title_is_the_benchmarks_own() -> None:
    with FACTS.open(encoding="utf-8", newline="") as file:
        theirs = {_plain(row["title"]) for row in csv.DictReader(file)}
    ours = {_plain(row.title) for item in VERSIONS for row in item.controls}
    assert not ours & theirs


def _plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", title.lower()).strip()


@pytest.mark.parametrize(
    ("server", "chosen", "why"),
    [
        ("v1.15.12", "1.5", "written for Kubernetes 1.15, which the server runs"),
        ("v1.18.0", "1.6", "written for Kubernetes 1.18"),
        ("v1.21.3", "1.20", "written for Kubernetes 1.21"),
        ("v1.22.0", "1.23", "written for Kubernetes 1.22"),
        ("v1.24.17", "1.24", "written for Kubernetes 1.24"),
        ("v1.25.1", "1.7", "written for Kubernetes 1.25"),
        ("v1.26.0", "1.8", "written for Kubernetes 1.26"),
        ("v1.27.3", "1.9", "written for Kubernetes 1.27"),
        ("v1.28.0", "1.10", "written for Kubernetes 1.28, which the server runs, as 1.9 was"),
        ("v1.31.5", "1.11", "written for Kubernetes 1.31, which the server runs, as 1.10 was"),
        ("v1.29.0", "1.11", "as 1.9 and 1.10 were before it"),
        ("v1.32.1+k3s1", "1.12", "written for Kubernetes 1.32"),
        ("1.33+", "1.12", "written for Kubernetes 1.33"),
        ("v1.34.0", "2.0.1", "written for Kubernetes 1.34, which the server runs, as 1.12 was"),
        ("v1.35.4", "2.0.1", "written for Kubernetes 1.35"),
        ("v1.41.0", "2.0.1", "the nearest one, 2.0.1, was written for 1.34 to 1.35"),
        ("v1.9.0", "1.5", "the nearest one, 1.5, was written for 1.15"),
        ("not a version", "2.0.1", "no server version is known, so the newest one"),
    ],
)
def test_auto_takes_the_version_written_for_the_server(server: str, chosen: str, why: str) -> None:
    choice = CATALOGUE.choose("cis-kubernetes@auto", [server])
    assert choice.benchmark.version == chosen
    assert why in choice.why


def test_auto_goes_by_the_newest_of_several_servers() -> None:
    assert (
        CATALOGUE.choose("cis-kubernetes@auto", ["v1.27.0", "v1.33.1"]).benchmark.version == "1.12"
    )
    assert CATALOGUE.choose("cis-kubernetes@auto", []).benchmark.version == "2.0.1"


def test_every_minor_version_since_the_first_has_a_benchmark_of_its_own() -> None:
    written = {minor for item in VERSIONS for minor in CATALOGUE.servers[item.ref]}
    assert written == {f"1.{number}" for number in range(15, 36)}


def test_a_control_is_found_by_the_number_it_had_before() -> None:
    found = find_controls(CATALOGUE, "cis-kubernetes:5.7.3")
    assert {row.identity for _, row in found} == {"security-context"}
    assert [item.version for item, _ in found] == list(SIZES)[:9]


def test_versions_of_one_control_are_told_as_one() -> None:
    (told,) = gathered(find_controls(CATALOGUE, "cis-kubernetes:5.7.4"))
    assert (told.control.id, told.versions) == ("5.7.4", tuple(SIZES)[:9])
    assert told.modes == ("scored in 1.5", "manual in 1.6 to 1.10")
    assert told.levels == ("2 in 1.5",)
    both = gathered(find_controls(CATALOGUE, "cis-kubernetes:5.2.2"))
    assert [(item.control.identity, item.versions[0]) for item in both] == [
        ("host-pid", "1.5"),
        ("privileged-containers", "1.23"),
    ]
