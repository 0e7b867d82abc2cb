"""Scores and statuses of controls: the worst finding decides, and nothing is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from auditor import __version__
from auditor.aggregate import aggregate
from auditor.catalogue import Catalogue
from auditor.collect.base import Harvest
from auditor.errors import ConfigError
from auditor.evaluate import evaluate
from auditor.hidden import unknown_by_nature
from auditor.model import (
    Benchmark,
    Check,
    Control,
    Reason,
    Resource,
    Section,
    Severity,
    Status,
    Target,
    Verdict,
    View,
)
from auditor.registry import Registry
from auditor.scorecard import ControlResult, Scorecard
from tests.support.fixtures import snapshot_of

CLUSTER = "kubernetes:c"


def probe(resource: Resource, view: View) -> list[Verdict]:
    return [Verdict(Status(resource.body["say"]), "data.x", "seen", "wanted", stands=False)]


def make(check_id: str, kind: str, severity: str = "high", needs: Sequence[str] = ()) -> Check:
    return Check(
        check_id, check_id, Severity(severity), f"kubernetes/{kind}", tuple(needs), (), False,
        "s", "w", "r", "f", "src", probe, "tests",
    )  # fmt: skip


CHECKS = Registry(
    {
        "on-service": make("on-service", "Service"),
        "on-ingress": make("on-ingress", "Ingress", "low"),
        "on-config-map": make("on-config-map", "ConfigMap", "medium", ["roles"]),
    }
)
CATALOGUE = Catalogue(
    (
        Benchmark(
            "bench",
            "1",
            "Bench",
            "benchmark",
            ("kubernetes",),
            (Section("1", "One"), Section("2", "Two")),
            (
                Control("1.1", "both", "1", 1, "manual", ("on-service", "on-ingress")),
                Control("1.2", "one", "1", 1, "manual", ("on-ingress",)),
                Control("2.1", "maps", "2", 2, "automated", ("on-config-map",)),
                Control("2.2", "nobody", "2", 2, "manual", ()),
            ),
        ),
        Benchmark(
            "other", "1", "Other", "benchmark", ("docker",), (Section("1", "One"),),
            (Control("1.1", "x", "1", None, "manual", ()),),
        ),
    ),
    {},
)  # fmt: skip


def harvest(**say: list[str]) -> Harvest:
    found = Harvest()
    found.targets.append(Target(CLUSTER, "kubernetes", "c"))
    for kind, scope in (
        ("Service", "services"),
        ("Ingress", "ingresses"),
        ("ConfigMap", "configmaps"),
    ):
        for number, status in enumerate(say.get(kind, [])):
            body = {"say": status}
            found.resources.append(
                Resource("kubernetes", CLUSTER, kind, "n", f"{kind}-{number}", body)
            )
        found.covered(CLUSTER, "kubernetes", scope, len(say.get(kind, [])))
    return found


def card(found: Harvest, **settings: object) -> Scorecard:
    snapshot = snapshot_of(found)
    merged = {**snapshot.settings, "benchmarks": ["bench", "other"], **settings}
    snapshot = replace(snapshot, settings=merged)
    return aggregate(snapshot, evaluate(snapshot, CHECKS), CHECKS, CATALOGUE)


def control(found: Scorecard, control_id: str) -> ControlResult:
    (result,) = [item for item in found.benchmarks[0].controls if item.control.id == control_id]
    return result


def test_a_control_takes_its_worst_finding() -> None:
    result = control(card(harvest(Service=["pass", "fail", "pass"], Ingress=["pass"])), "1.1")
    assert (result.status, result.failing, result.judged) == (Status.FAIL, 1, 4)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (["pass", "review"], "review"),
        (["pass", "unknown", "review"], "unknown"),
        (["unknown", "error"], "error"),
        (["not-applicable", "pass"], "pass"),
        (["not-applicable"], "not-applicable"),
        ([], "not-applicable"),
    ],
)
def test_the_order_of_badness(said: list[str], status: str) -> None:
    assert control(card(harvest(Ingress=said)), "1.2").status == status


def test_a_control_that_no_check_serves_is_unknown_and_listed() -> None:
    result = control(card(harvest(Ingress=["pass"])), "2.2")
    assert (result.status, result.served, result.reason) == (
        Status.UNKNOWN, False, "no check decides this yet",
    )  # fmt: skip


def test_a_score_is_passes_of_the_judged_and_names_the_rest() -> None:
    found = card(harvest(Service=["fail"], Ingress=["pass"], ConfigMap=["pass"]))
    counts = found.benchmarks[0].counts
    assert (counts.passed, counts.fail, counts.not_judged) == (2, 1, 1)
    assert counts.score == pytest.approx(2 / 3)
    assert card(harvest()).benchmarks[0].counts.score is None


def test_a_benchmark_of_which_nothing_was_audited_is_left_out_by_name() -> None:
    found = card(harvest(Ingress=["pass"]))
    assert [item.benchmark.id for item in found.benchmarks] == ["bench"]
    assert found.not_found == ("Other 1 is left out: nothing that it speaks of was audited",)


def test_a_gap_names_the_controls_it_hides() -> None:
    missing = harvest(ConfigMap=["pass"])
    missing.gap(CLUSTER, "kubernetes", "roles", Reason.FORBIDDEN, "403", "let it list roles")
    found = card(missing)
    assert control(found, "2.1").status is Status.UNKNOWN
    assert [note.hides for note in found.gaps] == [("bench 2.1",)]
    assert "403" in control(found, "2.1").reason


def test_a_partial_source_hides_only_what_it_cannot_show() -> None:
    """Manifests hold all of their own objects; what else is bound they cannot say."""
    partial = harvest(ConfigMap=["pass"])
    for scope in ("roles", "configmaps"):
        partial.gap(CLUSTER, "files", scope, Reason.PARTIAL, "manifests show only what they hold")
    found = card(partial)
    assert [note.hides for note in found.gaps] == [(), ("bench 2.1",)]


@pytest.mark.parametrize(
    ("say", "fail_on", "code", "strict"),
    [
        ({"Ingress": ["pass"]}, "low", 0, 0),
        ({"Ingress": ["fail"]}, "low", 1, 1),
        ({"Ingress": ["fail"]}, "medium", 0, 0),
        ({"Ingress": ["unknown"]}, "low", 3, 1),
        ({"Ingress": ["fail", "unknown"]}, "low", 1, 1),
        ({"Ingress": ["fail", "unknown"]}, "critical", 3, 1),
        ({"Ingress": ["review"]}, "low", 0, 0),
    ],
)
def test_exit_codes(say: dict[str, list[str]], fail_on: str, code: int, strict: int) -> None:
    found = card(harvest(**say), fail_on=fail_on)
    assert (found.exit_code, found.exit_code.strictly(True)) == (code, strict)


def test_the_verdict_is_one_true_sentence() -> None:
    said = {
        "fail": "Not compliant: 1 of 1 check fails, on 1 resource.",
        "pass": "Compliant: no check fails at severity low or above.",
    }
    for status, sentence in said.items():
        assert card(harvest(Ingress=[status])).verdict == sentence
    assert card(harvest()).verdict == "Not decided: nothing could be judged."


def test_an_unknown_benchmark_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="there is no benchmark 'nonsense'; known: bench, other"):
        card(harvest(), benchmarks=["nonsense"])
    with pytest.raises(ConfigError, match="no version '9' of bench; known: 1"):
        card(harvest(), benchmarks=["bench@9"])


def test_a_report_says_which_version_judged_and_which_collected() -> None:
    found = card(harvest(Ingress=["pass"]))
    assert (found.tool_version, found.collected_with) == (__version__, "0.0.0")


def test_how_a_verdict_came_about_is_said_in_words() -> None:
    said = {
        "fail": "by published rule",
        "pass": "by published rule",
        "review": "review by a person",
        "unknown": "not judged",
        "not-applicable": "by published rule",
    }
    for status, method in said.items():
        assert control(card(harvest(Ingress=[status])), "1.2").method == method
    assert control(card(harvest(Ingress=["pass"])), "2.2").method == "no check yet"


def excused(check_id: str, resource: Resource, view: View) -> str | None:
    return "two people, alarmed" if resource.name.endswith("-0") else None


def test_an_accepted_failure_is_waived_with_its_reason_and_its_entry_is_in_use() -> None:
    checks = Registry(
        {key: replace(CHECKS.checks[key], excuse=excused) for key in ("on-service", "on-ingress")}
    )
    found = snapshot_of(harvest(Service=["fail", "fail"], Ingress=["fail"]))
    entries = [
        {"subject": "Group:a", "checks": ["on-*"], "reason": "two people, alarmed"},
        {"subject": "Group:b", "checks": ["other-*"], "reason": "two people, alarmed"},
        {"subject": "Group:c", "checks": ["*"], "reason": "another one"},
    ]
    rules = {**found.settings["rules"], "accepted_subjects": entries}
    settings = {**found.settings, "benchmarks": ["bench"], "rules": rules}
    snapshot = replace(found, settings=settings)
    catalogue = replace(CATALOGUE, benchmarks=CATALOGUE.benchmarks[:1])
    result = aggregate(snapshot, evaluate(snapshot, checks), checks, _served(catalogue))

    assert [(item.who, item.used) for item in result.accepted] == [
        ("Group:b", 0),
        ("Group:c", 0),
        ("Group:a", 2),
    ]
    assert result.finding_counts.waived == 2
    assert "2 failures accepted with a reason." in result.verdict
    only = control(result, "1.2")
    assert (only.status, only.reason, only.method) == (
        Status.WAIVED,
        "two people, alarmed",
        "by published rule, accepted",
    )


def _served(catalogue: Catalogue) -> Catalogue:
    """The catalogue without the control of a check that is left out."""
    (bench,) = catalogue.benchmarks
    kept = tuple(item for item in bench.controls if "on-config-map" not in item.checks)
    return replace(catalogue, benchmarks=(replace(bench, controls=kept),))


def test_two_versions_of_a_benchmark_are_held_against_one_another_by_identity() -> None:
    bench = CATALOGUE.benchmarks[0]
    named = [
        replace(item, identity=name)
        for item, name in zip(bench.controls, ("both", "one", "maps", "nobody"), strict=True)
    ]
    older = replace(
        bench,
        version="0",
        controls=(
            replace(named[0], id="1.9"),
            replace(named[3], id="1.10", section="1", identity="gone"),
            *named[1:],
        ),
    )
    catalogue = Catalogue((older, replace(bench, controls=tuple(named))), {})
    missing = harvest(Ingress=["fail"], ConfigMap=["pass"])
    missing.gap(CLUSTER, "kubernetes", "roles", Reason.FORBIDDEN, "403")
    snapshot = snapshot_of(missing)
    snapshot = replace(snapshot, settings={**snapshot.settings, "benchmarks": ["bench@0", "bench"]})
    found = aggregate(snapshot, evaluate(snapshot, CHECKS), CHECKS, catalogue)

    (comparison,) = found.comparisons
    assert [result.benchmark.version for result in comparison.results] == ["0", "1"]
    assert [
        (row.identity, *(cell and (cell.control.id, str(cell.status)) for cell in row.cells))
        for row in comparison.rows
    ] == [
        ("both", ("1.9", "fail"), ("1.1", "fail")),
        ("gone", ("1.10", "unknown"), None),
        ("one", ("1.2", "fail"), ("1.2", "fail")),
        ("maps", ("2.1", "unknown"), ("2.1", "unknown")),
        ("nobody", ("2.2", "unknown"), ("2.2", "unknown")),
    ]
    assert [row.identity for row in comparison.rows if row.moved] == ["both", "gone"]
    assert [row.identity for row in comparison.rows if not row.served] == ["gone", "nobody"]
    assert [note.hides for note in found.gaps] == [("bench@0 2.1", "bench@1 2.1")]
    assert card(harvest(Ingress=["pass"])).comparisons == ()


def test_passes_stay_columns_and_count_as_rows_do() -> None:
    """A large cluster has a hundred thousand of them; no figure may depend on how they are kept."""
    said = {"Service": ["pass", "fail", "pass"], "Ingress": ["pass", "not-applicable"]}
    snapshot = snapshot_of(harvest(**said))
    snapshot = replace(snapshot, settings={**snapshot.settings, "benchmarks": ["bench"]})
    columns = evaluate(snapshot, CHECKS)
    assert columns.settled
    kept = aggregate(snapshot, columns, CHECKS, CATALOGUE)
    assert kept.findings is columns
    assert replace(aggregate(snapshot, list(columns), CHECKS, CATALOGUE), findings=columns) == kept


def test_what_manifests_can_never_show_is_told_from_what_was_not_read() -> None:
    partial = harvest(Service=["unknown"], ConfigMap=["pass", "unknown"])
    partial.gap(CLUSTER, "files", "roles", Reason.PARTIAL, "manifests show only what they hold")
    partial.gap(CLUSTER, "files", "ingresses", Reason.MALFORMED, "not YAML")
    snapshot = snapshot_of(partial)
    by_nature = unknown_by_nature(snapshot, CHECKS)
    rows = [row for row in evaluate(snapshot, CHECKS) if row.status is Status.UNKNOWN]
    assert {(row.check, row.name, by_nature(row)) for row in rows} == {
        ("on-config-map", "ConfigMap-0", True),
        ("on-config-map", "ConfigMap-1", True),
        ("on-service", "Service-0", False),
        ("on-ingress", "ingresses", False),
    }
