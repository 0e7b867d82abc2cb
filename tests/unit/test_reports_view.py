"""Which findings a document shows: the worst, no check crowded out, none lost from the count."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest

from auditor.model import Control, Finding, Status
from auditor.scorecard import Scorecard
from reports.view import (
    View,
    arrange,
    because,
    file_of,
    gap_lines,
    live,
    spans,
    subject,
    waived,
    without_reason,
)
from tests.support.scorecards import make_scorecard


@pytest.fixture(scope="module")
def card() -> Scorecard:
    return make_scorecard(500)


def _badness(row: Finding) -> tuple[int, int, int, str]:
    return (row.status.rank, row.severity.rank, -row.count, row.id)


def shown(view: View) -> list[Finding]:
    return [row for group in view.groups for row in (*group.own, *group.system)]


@pytest.mark.parametrize(("markup", "carried"), [(1, 0), (40, 0), (40, 60), (5, 9999), (9999, 0)])
def test_every_finding_is_in_the_markup_or_carried_or_counted(
    card: Scorecard, markup: int, carried: int
) -> None:
    view = arrange(card, markup=markup, carried=carried, spread=1)
    for group in view.groups:
        kept = len(group.own) + len(group.system) + len(group.more)
        assert kept + group.left == len(group.result.findings)
    assert view.shown == len(shown(view)) == min(markup, view.total)
    assert view.carried == min(max(markup, carried), view.total)
    assert view.total == sum(len(item.findings) for item in card.checks)


def test_no_check_is_crowded_out(card: Scorecard) -> None:
    view = arrange(card, markup=40, carried=0, spread=1)
    assert all(group.shown for group in view.groups)


def test_a_check_has_only_a_few_findings_before_the_next_has_its_turn(card: Scorecard) -> None:
    view = arrange(card, markup=30, carried=0, spread=4)
    by_check = Counter(row.check for row in shown(view))
    assert max(by_check.values()) == 4
    turn = {row.id for item in card.checks for row in sorted(item.findings, key=_badness)[:4]}
    omitted = [row for item in card.checks for row in item.findings if row.id in turn]
    ids = {row.id for row in shown(view)}
    assert ids <= turn
    assert max(_badness(row)[:2] for row in shown(view)) <= min(
        _badness(row)[:2] for row in omitted if row.id not in ids
    )


def test_the_summary_links_only_to_findings_that_are_shown(card: Scorecard) -> None:
    for spread, markup in ((1, 200), (4, 40)):
        ids = {row.id for row in shown(arrange(card, markup=markup, carried=0, spread=spread))}
        assert {row.id for row in card.top} <= ids


def test_system_namespaces_stand_apart(card: Scorecard) -> None:
    view = arrange(card, markup=9999, carried=0, spread=1)
    apart = [row for group in view.groups for row in group.system]
    assert {subject(row).split("/")[0] for row in apart} == {"kube-system", "kube-public"}
    own = {subject(row).split("/")[0] for group in view.groups for row in group.own}
    assert not own & set(card.settings["rules"]["system_namespaces"])


def test_failures_in_system_namespaces_are_counted_apart(card: Scorecard) -> None:
    for item in card.checks:
        failing = {
            (row.kind, row.namespace, row.name)
            for row in item.findings
            if row.status is Status.FAIL
            and (row.name if row.kind == "Namespace" else row.namespace)
            in card.settings["rules"]["system_namespaces"]
        }
        assert item.failing_in_system == len(failing) <= item.failing
    assert any(item.failing_in_system for item in card.checks)


def test_accepted_findings_share_a_line_by_reason_resources_and_checks(card: Scorecard) -> None:
    groups = waived(card)
    assert [group.reason.split(":")[0] for group in groups] == [
        "runs by hand",
        "a component of the platform",
    ]
    assert [[item.check.id for item in group.checks] for group in groups] == [
        ["k8s-resource-limits"],
        ["k8s-privileged-container"],
    ]
    assert groups[0].resources == ("Job shop/import",)


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        (["1.1.1", "1.1.2", "1.1.3"], "1.1.1 to 1.1.3"),
        (["1.1.9", "1.1.10", "1.2.1", "1.2.2"], "1.1.9, 1.1.10, 1.2.1, 1.2.2"),
        (["GV.OC", "GV.RM"], "GV.OC, GV.RM"),
        (["GV.OC-09", "GV.OC-10", "GV.OC-11"], "GV.OC-09 to GV.OC-11"),
        (["AC-2", "AC-3", "AC-4", "AC-6"], "AC-2 to AC-4, AC-6"),
        ([], ""),
    ],
)
def test_numbers_that_follow_one_another_are_drawn_together(ids: list[str], shown: str) -> None:
    assert spans(ids) == shown


def test_a_reason_is_given_once_with_all_checks_it_is_about() -> None:
    control = Control(
        "1", "t", "s", None, "manual", ("a", "b", "c"), because={"a": "one", "c": "one"}
    )
    assert because(control) == (("one", ("a", "c")),)
    assert without_reason(control) == ("b",)


def test_findings_of_one_workload_stand_side_by_side(card: Scorecard) -> None:
    view = arrange(card, markup=9999, carried=0, spread=1)
    for group in view.groups:
        places = [(row.target, row.namespace, row.kind, row.name, row.origin) for row in group.own]
        changes = sum(one != other for one, other in itertools.pairwise(places))
        assert changes + bool(places) == len(set(places))


def test_passes_are_never_among_the_findings_shown(card: Scorecard) -> None:
    statuses = {row.status for row in shown(arrange(card, markup=9999, carried=0, spread=1))}
    assert not statuses & {Status.PASS, Status.NOT_APPLICABLE}


def test_where_a_finding_stands(card: Scorecard) -> None:
    files = {file_of(row) for row in card.findings if row.origin and row.line}
    assert "examples/Dockerfile:12" in files
    assert {file_of(row) for row in card.findings if not row.origin} == {""}
    assert "shop/web" in {subject(row) for row in card.findings}
    assert "cache" in {subject(row) for row in card.findings}


def test_only_what_lives_is_counted_as_live(card: Scorecard) -> None:
    row = next(row for row in card.findings if row.source == "kubernetes")
    assert live(replace(row, count=1200)) == "1,200"
    assert live(replace(row, count=0, status=Status.FAIL)) == "0"
    assert live(replace(row, count=0, status=Status.UNKNOWN)) == ""
    assert live(replace(row, source="manifest")) == ""


def test_gaps_that_say_the_same_share_a_line_and_none_is_lost(card: Scorecard) -> None:
    note = card.gaps[0]
    scopes = [replace(note, gap=replace(note.gap, scope=scope)) for scope in ("roles", "pods")]
    other = replace(note, hides=("cis-kubernetes 5.1.1", "cis-kubernetes 5.1.3", "cis-docker 4.1"))
    lines = gap_lines([scopes[0], other, scopes[1]])
    assert [[item.gap.scope for item in line.notes] for line in lines] == [
        ["roles", "pods"],
        [note.gap.scope],
    ]
    assert lines[1].hides == "cis-kubernetes 5.1.1, 5.1.3; cis-docker 4.1"
    assert sum(len(line.notes) for line in gap_lines(card.gaps)) == len(card.gaps)
