"""What a terminal shows of findings: what is open, why a failure is accepted, and no flood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from auditor.cli import terminal
from auditor.model import Finding, Status
from tests.support.scorecards import make_scorecard


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    out = StringIO()
    monkeypatch.setattr(terminal, "out", Console(file=out, highlight=False, width=300))
    yield out


def rows(*statuses: Status) -> list[Finding]:
    base = make_scorecard().findings[0]
    return [
        replace(base, id=f"{number:016x}", check=f"k8s-check-{number}", status=status, name="web")
        for number, status in enumerate(statuses)
    ]


def test_what_could_never_be_seen_here_is_one_line_that_names_its_checks(shown: StringIO) -> None:
    found = rows(Status.FAIL, Status.UNKNOWN, Status.UNKNOWN, Status.UNKNOWN, Status.PASS)
    terminal.print_findings(
        found, verbose=False, by_nature=lambda row: row.check in {"k8s-check-1", "k8s-check-3"}
    )
    text = shown.getvalue()
    line = "Not to be seen here, only in a cluster (2 judgements): k8s-check-1, k8s-check-3"
    assert line in text
    above = text[: text.index(line)]
    assert "k8s-check-0" in above
    assert "k8s-check-2" in above, "an unknown that something would mend is shown"
    assert "k8s-check-1" not in above
    assert "? unknown 3" in text, "and all of them are counted"


@pytest.mark.parametrize("width", [80, 300])
def test_an_accepted_failure_shows_its_reason(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    monkeypatch.setattr(terminal, "out", Console(file=out, highlight=False, width=width))
    (row,) = rows(Status.WAIVED)
    terminal.print_findings([replace(row, waiver="two people")], verbose=False)
    assert "accepted: two people" in out.getvalue()


def test_the_summary_counts_what_is_accepted_and_names_what_is_unused(shown: StringIO) -> None:
    terminal.print_summary(make_scorecard(), [])
    text = shown.getvalue()
    assert "Accepted with a reason: 2 findings" in text
    assert "Unused: [rules] accepted_subjects Group:<sre> sets nothing aside" in text
    assert "Unused: [rules] accepted_workloads gone/* sets nothing aside" in text
    assert "Unused: [rules] accepted_workloads shop/Job/*" not in text


def test_the_summary_rounds_scores_as_the_report_does(shown: StringIO) -> None:
    """Down: 999 of 1,000 is not 100 %, on the screen no more than on paper."""
    card = make_scorecard()
    first = card.benchmarks[0]
    nearly = replace(first, counts=replace(first.counts, passed=999, fail=1))
    terminal.print_summary(replace(card, benchmarks=(nearly,)), [])
    assert "99 %" in shown.getvalue()
    assert "100" not in shown.getvalue().split("99 %")[0].splitlines()[-1]
