"""The rules of honesty: what was not seen is never a pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from auditor.collect.base import Harvest
from auditor.errors import CatalogueError
from auditor.evaluate import evaluate
from auditor.model import (
    Check,
    Finding,
    Reason,
    Resource,
    Status,
    Target,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
)
from auditor.registry import check
from auditor.scopes import EVERYTHING
from tests.support.fixtures import snapshot_of

TARGET = "kubernetes:t"


def make(probe: Any, **changes: Any) -> Check:
    options = {
        "id": "test-check",
        "title": "A check",
        "severity": "high",
        "applies_to": "kubernetes/ConfigMap",
        **changes,
    }
    probe.__doc__ = "Look.\n\nWhy: w\nRule: r\nFix: f\nSource: s"
    return check(**options)(probe).__auditor_check__  # type: ignore[attr-defined]


def harvest(*names: str, covered: tuple[str, ...] = ("configmaps",)) -> Harvest:
    found = Harvest()
    found.targets.append(Target(TARGET, "kubernetes", "t"))
    for name in names:
        body = {"metadata": {"name": name, "namespace": "n"}}
        found.resources.append(Resource("kubernetes", TARGET, "ConfigMap", "n", name, body))
    for scope in covered:
        found.covered(TARGET, "kubernetes", scope, len(names))
    return found


def run(found: Harvest, declared: Check) -> list[Finding]:
    return evaluate(snapshot_of(found), [declared])


def statuses(rows: list[Finding]) -> list[tuple[str, str]]:
    return sorted((row.name, str(row.status)) for row in rows)


def good(resource: Resource, view: View) -> Iterator[Verdict]:
    yield passed("data", "fine", "fine")


def bad(resource: Resource, view: View) -> Iterator[Verdict]:
    yield passed("a", "fine")
    yield failed("b", "bad", "good")
    yield failed("c", "bad", "good")


def absent(resource: Resource, view: View) -> Iterator[Verdict]:
    yield failed("", "nothing names it", "something does", stands=False)


def test_a_pass_is_one_row_without_prose() -> None:
    (row,) = run(harvest("one"), make(good))
    assert (row.status, row.observed, row.path) == (Status.PASS, "", "")


def test_each_failing_place_is_a_row_and_hides_the_pass() -> None:
    rows = run(harvest("one"), make(bad))
    assert [(row.path, row.status) for row in rows] == [("b", Status.FAIL), ("c", Status.FAIL)]


def test_a_crash_is_an_error_for_that_resource_alone() -> None:
    def crash(resource: Resource, view: View) -> Iterator[Verdict]:
        if resource.name == "two":
            raise ZeroDivisionError
        yield passed()

    rows = run(harvest("one", "two"), make(crash))
    assert statuses(rows) == [("one", "pass"), ("two", "error")]


def test_a_crash_half_way_keeps_no_half_verdict() -> None:
    def crash(resource: Resource, view: View) -> Iterator[Verdict]:
        yield passed()
        raise KeyError("x")

    assert statuses(run(harvest("one"), make(crash))) == [("one", "error")]


def test_no_verdict_is_an_error_not_a_pass() -> None:
    def silent(resource: Resource, view: View) -> Iterator[Verdict]:
        return iter(())

    assert statuses(run(harvest("one"), make(silent))) == [("one", "error")]


def test_nothing_there_is_not_applicable_only_when_all_was_read() -> None:
    assert statuses(run(harvest(), make(good))) == [("configmaps", "not-applicable")]
    assert statuses(run(harvest(covered=()), make(good))) == [("configmaps", "unknown")]


def test_a_gap_in_the_subjects_is_an_unknown_beside_what_was_read() -> None:
    found = harvest("one", covered=())
    found.gap(TARGET, "kubernetes", "configmaps", Reason.TIMED_OUT, "page 2", "raise the deadline")
    rows = run(found, make(good))
    assert statuses(rows) == [("configmaps", "unknown"), ("one", "pass")]
    hidden = next(row for row in rows if row.status is Status.UNKNOWN)
    assert "timed out: page 2" in hidden.observed
    assert hidden.expected == "raise the deadline"


@pytest.mark.parametrize(
    ("probe", "expected"), [(good, "unknown"), (bad, "fail"), (absent, "unknown")]
)
def test_a_gap_in_what_is_needed_leaves_only_what_stands(probe: Any, expected: str) -> None:
    found = harvest("one")
    found.gap(TARGET, "kubernetes", "rolebindings", Reason.FORBIDDEN, "403")
    rows = run(found, make(probe, needs=("rolebindings",)))
    assert {str(row.status) for row in rows} == (
        {expected} if expected == "unknown" else {"fail", "unknown"}
    )


def test_a_verdict_that_stands_survives_a_gap() -> None:
    def proved(resource: Resource, view: View) -> Iterator[Verdict]:
        yield passed("data", "seen", stands=True)

    found = harvest("one")
    found.gap(TARGET, "kubernetes", "rolebindings", Reason.FORBIDDEN, "403")
    assert statuses(run(found, make(proved, needs=("rolebindings",)))) == [("one", "pass")]


def test_a_gap_elsewhere_changes_nothing() -> None:
    found = harvest("one")
    found.gap(TARGET, "kubernetes", "services", Reason.FORBIDDEN, "403")
    found.gap(TARGET, "kubernetes", "rolebindings", Reason.FORBIDDEN, "403", namespace="other")
    rows = run(found, make(good, needs=("rolebindings",)))
    assert statuses(rows) == [("one", "pass")]


def test_a_target_that_could_not_be_reached_is_unknown_everywhere() -> None:
    found = harvest(covered=())
    found.gap(TARGET, "kubernetes", EVERYTHING, Reason.UNREACHABLE, "connection refused")
    rows = run(found, make(good))
    assert [row.status for row in rows] == [Status.UNKNOWN]
    assert "could not read the target: unreachable: connection refused" in rows[0].observed


def test_not_applicable_gives_way_to_a_verdict() -> None:
    def both(resource: Resource, view: View) -> Iterator[Verdict]:
        yield not_applicable("a windows container")
        if resource.name == "one":
            yield passed()

    assert statuses(run(harvest("one", "two"), make(both))) == [
        ("one", "pass"),
        ("two", "not-applicable"),
    ]


def test_ids_are_unique_and_do_not_depend_on_lines() -> None:
    def at(line: int) -> Check:
        def probe(resource: Resource, view: View) -> Iterator[Verdict]:
            yield failed("RUN[0]", "one", line=line)
            yield failed("RUN[0]", "two", line=line)

        return make(probe)

    first, moved = run(harvest("one"), at(3)), run(harvest("one"), at(9))
    assert len({row.id for row in first}) == 2
    assert {row.id for row in first} == {row.id for row in moved}


def test_the_id_of_what_is_hidden_does_not_depend_on_the_message() -> None:
    def hidden(detail: str) -> list[str]:
        found = harvest(covered=())
        for _ in range(2):
            found.gap(TARGET, "kubernetes", "configmaps", Reason.FAILED, detail, name="one")
        return [row.id for row in run(found, make(good))]

    first, later = hidden("request 17 failed"), hidden("request 18 failed")
    assert first == later
    assert len(set(first)) == 2


def test_equal_specs_are_evaluated_once_and_counted() -> None:
    calls = []

    def probe(resource: Resource, view: View) -> Iterator[Verdict]:
        calls.append(resource.name)
        yield failed("spec.containers[0]", "bad")

    spec = {"containers": [{"name": "a"}]}
    found = harvest()
    for number in range(50):
        owner = [{"kind": "ReplicaSet", "name": f"rs{number % 5}", "controller": True}]
        body = {"metadata": {"ownerReferences": owner}, "spec": spec}
        found.resources.append(Resource("kubernetes", TARGET, "Pod", "n", f"p{number}", body))
    rows = run(found, make(probe, applies_to="kubernetes/workload", distinct=True))
    failing = [row for row in rows if row.status is Status.FAIL]
    assert len(calls) == 1
    assert sorted((row.name, row.count) for row in failing) == [(f"rs{n}", 10) for n in range(5)]


@pytest.mark.parametrize(
    "doc",
    ["", "Look.", "Look.\n\nWhy: w\nRule: r\nSource: s", "L\n\nWhy:\nRule: r\nFix: f\nSource: s"],
)
def test_a_check_without_its_documentation_is_refused(doc: str) -> None:
    def probe(resource: Resource, view: View) -> Iterator[Verdict]:
        yield passed()

    probe.__doc__ = doc
    with pytest.raises(CatalogueError, match="docstring"):
        check(id="a-b", title="t", severity="low", applies_to="kubernetes/Pod")(probe)
