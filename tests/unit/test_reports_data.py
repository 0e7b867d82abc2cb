"""The machine-readable forms: the JSON contract and its schema, the CSV and its hazards."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from auditor.scorecard import Scorecard
from reports import WRITERS
from reports.findings_csv import COLUMNS, render_csv
from reports.findings_json import SCHEMA, dump, render_json
from tests.support.scorecards import FILES, LONG, SCRIPT, TEMPLATE, make_scorecard

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def card() -> Scorecard:
    return make_scorecard()


@pytest.fixture(scope="module")
def document(card: Scorecard) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(render_json(card))
    return loaded


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "docs" / "findings.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(loaded)
    return loaded


def test_every_format_of_the_configuration_has_a_writer() -> None:
    from auditor.config import FORMATS

    assert tuple(WRITERS) == FORMATS
    assert [writer.filename for writer in WRITERS.values()] == [
        "report.html",
        "report.pdf",
        "findings.json",
        "findings.csv",
    ]


def test_findings_json_is_what_its_schema_says(
    document: dict[str, Any], schema: dict[str, Any]
) -> None:
    assert list(Draft202012Validator(schema).iter_errors(document)) == []
    assert document["schema"] == schema["$id"] == SCHEMA


@pytest.mark.parametrize("part", ["findings", "controls", "scores", "gaps"])
def test_the_schema_refuses_a_further_or_a_missing_key(
    document: dict[str, Any], schema: dict[str, Any], part: str
) -> None:
    validator = Draft202012Validator(schema)
    further = {**document, part: [{**document[part][0], "more": 1}]}
    missing = {**document, part: [dict(list(document[part][0].items())[1:])]}
    assert not validator.is_valid(further)
    assert not validator.is_valid(missing)


def test_the_contract_holds_key_by_key(document: dict[str, Any]) -> None:
    assert list(document) == [
        "schema",
        "tool",
        "snapshot",
        "findings",
        "controls",
        "scores",
        "gaps",
    ]
    assert list(document["snapshot"]) == ["sha256", "taken_at", "targets"]
    assert list(document["findings"][0]) == [
        "id",
        "check",
        "status",
        "severity",
        "resource",
        "path",
        "line",
        "observed",
        "expected",
        "count",
        "waiver",
    ]
    assert list(document["controls"][0]) == [
        "benchmark",
        "version",
        "id",
        "status",
        "checks",
        "failing",
        "judged",
    ]
    assert list(document["scores"][0]) == [
        "benchmark",
        "version",
        "pass",
        "fail",
        "error",
        "unknown",
        "review",
        "waived",
        "not_applicable",
        "score",
    ]
    assert all(list(gap) == ["source", "scope", "reason"] for gap in document["gaps"])


def test_the_figures_are_the_scorecards_own(card: Scorecard, document: dict[str, Any]) -> None:
    assert len(document["findings"]) == len(card.findings) == card.finding_counts.total
    for row, result in zip(document["scores"], card.benchmarks, strict=True):
        assert (row["pass"], row["fail"]) == (result.counts.passed, result.counts.fail)
        assert row["score"] == result.counts.score
    assert len(document["controls"]) == sum(len(item.controls) for item in card.benchmarks)


def test_only_what_came_from_a_file_has_an_origin(document: dict[str, Any]) -> None:
    for row in document["findings"]:
        assert ("origin" in row["resource"]) == (row["resource"]["target"] == FILES)


def test_an_accepted_finding_carries_its_reason(card: Scorecard, document: dict[str, Any]) -> None:
    waived = {row["waiver"] for row in document["findings"] if row["status"] == "waived"}
    assert waived == {"runs by hand", "a component of the platform: it <writes> the node's rules"}
    assert all(row["waiver"] is None for row in document["findings"] if row["status"] != "waived")
    rows = [row for row in _rows(render_csv(card)) if row["status"] == "waived"]
    assert {row["waiver"] for row in rows} == waived


def test_a_gap_says_what_narrows_it(document: dict[str, Any]) -> None:
    reasons = {gap["scope"]: gap["reason"] for gap in document["gaps"]}
    assert reasons["pods"] == "timed out: no answer (namespace payroll, target prod-eu)"
    assert reasons["networkpolicies"].startswith("forbidden: User ")


def test_json_keeps_hostile_text_as_it_is(document: dict[str, Any]) -> None:
    names = {row["resource"]["name"] for row in document["findings"]}
    assert {SCRIPT, TEMPLATE, LONG} <= names


def test_a_lone_surrogate_is_written_as_a_replacement_character() -> None:
    assert json.loads(dump({"a": ["x\ud800y", 1, None]})) == {"a": ["x\ufffdy", 1, None]}


@pytest.mark.parametrize("name", ["json", "csv"])
def test_the_same_scorecard_gives_the_same_bytes(name: str) -> None:
    assert WRITERS[name].render(make_scorecard()) == WRITERS[name].render(make_scorecard())


def _rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))


def test_csv_has_a_row_for_every_finding(card: Scorecard) -> None:
    rows = _rows(render_csv(card))
    assert [row["id"] for row in rows] == [finding.id for finding in card.findings]
    assert tuple(rows[0]) == COLUMNS
    assert {row["target_name"] for row in rows} == {"prod-eu", "build-host", "examples"}
    privileged = next(row for row in rows if row["check"] == "k8s-privileged-container")
    assert "cis-kubernetes@2.0.1 5.2.2" in privileged["controls"]


def test_csv_disarms_a_formula_that_a_name_smuggles_in(card: Scorecard) -> None:
    odd = next(row for row in _rows(render_csv(card)) if row["status"] == "error")
    assert odd["observed"].startswith("'=cmd|")


@given(st.text(), st.sampled_from(["name", "namespace", "path", "observed", "expected"]))
def test_no_csv_cell_starts_like_a_formula_and_none_is_lost(value: str, field: str) -> None:
    base = make_scorecard()
    changed: dict[str, Any] = {field: value}
    row = replace(base.findings[0], **changed)
    (read,) = _rows(render_csv(replace(base, findings=(row,))))
    assert not read[field].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    shown = value.encode("utf-8", "replace").decode()
    assert read[field] in (shown, f"'{shown}")


def test_numbers_stay_numbers(card: Scorecard) -> None:
    rows = _rows(render_csv(card))
    assert {row["line"] for row in rows} == {"", "12"}
    assert all(row["count"].isdigit() for row in rows)
