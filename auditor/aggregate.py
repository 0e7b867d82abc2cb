"""Findings and benchmarks to one scorecard: the only module that counts, and the home of pandas.

Every figure of every report is computed here, once. A control takes its worst finding; a control
that no check serves, or whose kind of target was not audited, is `unknown` and never hidden.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from auditor import __version__
from auditor.catalogue import Catalogue
from auditor.hidden import gap_notes
from auditor.model import (
    JUDGED,
    Benchmark,
    Control,
    Finding,
    Severity,
    Snapshot,
    Status,
    worst,
)
from auditor.registry import Registry
from auditor.scorecard import (
    BenchmarkResult,
    CheckResult,
    ControlResult,
    Counts,
    ExitCode,
    Scorecard,
    SectionResult,
    TargetResult,
    exit_code,
)

TOP = 5
"""Findings on the summary page (design: reports)."""

INFORMATIVE = "informative"
"""The mode of a line that states no rule (an example, a definition): there is nothing to judge."""

_BY_RANK = {status.rank: status for status in Status}


def aggregate(
    snapshot: Snapshot, findings: Sequence[Finding], registry: Registry, catalogue: Catalogue
) -> Scorecard:
    """Build the scorecard of one snapshot from its findings.

    Which benchmarks, in which versions, and the failure threshold come from the snapshot's own
    settings. Benchmarks that speak of nothing that was audited are left out, and the scorecard
    says so. Raises `ConfigError` when a setting names a benchmark that does not exist.
    """
    table = _Table(findings)
    settings = snapshot.settings
    threshold = Severity(settings["fail_on"])
    chosen, left_out = _choose(snapshot, registry, catalogue, table)
    results = tuple(_benchmark(item, why, table) for item, why in chosen)
    references = _references(results)
    checks = _checks(registry, table, references)
    counts = _counts(row.status for row in findings)
    code = exit_code(findings, threshold)
    return Scorecard(
        tool_version=__version__,
        collected_with=snapshot.tool_version,
        taken_at=snapshot.taken_at,
        sha256=snapshot.sha256,
        title=str(settings["report"]["title"]),
        verdict=_verdict(code, checks, counts, table, threshold),
        exit_code=code,
        status=worst(row.status for row in findings) or Status.UNKNOWN,
        targets=_targets(snapshot, findings, results),
        not_found=(*settings.get("notes", ()), *left_out),
        benchmarks=results,
        checks=checks,
        findings=tuple(findings),
        finding_counts=counts,
        failures_by_severity=_by_severity(findings),
        top=_top(checks),
        gaps=gap_notes(snapshot, registry, results),
        settings=settings,
        fail_on=str(threshold),
    )


class _Table:
    """The findings as columns, and the groupings that everything else is read from.

    Columns of `frame`: `check`, `target`, `status` (categories), `resource` (an integer for each
    distinct target, kind, namespace, name and file) and `rank` (of the status, 0 the worst).
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        places = [(row.target, row.kind, row.namespace, row.name, row.origin) for row in findings]
        numbers: dict[tuple[str | None, ...], int] = {}
        frame = pd.DataFrame(
            {
                "check": pd.Categorical([row.check for row in findings]),
                "target": pd.Categorical([row.target for row in findings]),
                "status": pd.Categorical([str(row.status) for row in findings]),
                "rank": [row.status.rank for row in findings],
                "resource": [numbers.setdefault(place, len(numbers)) for place in places],
            }
        )
        worst_of = frame.groupby(["check", "target"], observed=True, sort=False)["rank"].min()
        self.worst: dict[str, dict[str, Status]] = {}
        for check, target, rank in worst_of.reset_index().itertuples(index=False):
            self.worst.setdefault(str(check), {})[str(target)] = _BY_RANK[int(rank)]
        self.counts: dict[str, Counter[str]] = {}
        sizes = frame.groupby(["check", "status"], observed=True, sort=False)["rank"].count()
        for check, status, size in sizes.reset_index().itertuples(index=False):
            self.counts.setdefault(str(check), Counter())[str(status)] = int(size)
        judged = frame[frame["status"].isin([str(status) for status in JUDGED])]
        self.judged = _sets(judged)
        self.failing = _sets(judged[judged["status"] == str(Status.FAIL)])
        self.reasons: dict[tuple[str, Status], str] = {}
        self.by_check: dict[str, list[Finding]] = {}
        for row in findings:
            self.by_check.setdefault(row.check, []).append(row)
            self.reasons.setdefault((row.check, row.status), row.observed)

    def resources(self, checks: Iterable[str], kind: Mapping[str, set[int]]) -> int:
        """How many distinct resources stand in `kind` (judged or failing) for these checks."""
        return len(set().union(*(kind.get(check, set()) for check in checks)))


def _sets(frame: pd.DataFrame) -> dict[str, set[int]]:
    grouped = frame.groupby("check", observed=True, sort=False)["resource"]
    return {str(check): set(numbers.tolist()) for check, numbers in grouped}


def _counts(statuses: Iterable[Status | str]) -> Counts:
    return _from_counter(Counter(str(status) for status in statuses))


def _from_counter(found: Mapping[str, int]) -> Counts:
    return Counts(
        fail=found.get("fail", 0),
        error=found.get("error", 0),
        unknown=found.get("unknown", 0),
        review=found.get("review", 0),
        waived=found.get("waived", 0),
        passed=found.get("pass", 0),
        not_applicable=found.get("not-applicable", 0),
    )


def _choose(
    snapshot: Snapshot, registry: Registry, catalogue: Catalogue, table: _Table
) -> tuple[list[tuple[Benchmark, str]], list[str]]:
    servers = [
        target.facts["version"]
        for target in snapshot.targets
        if target.source == "kubernetes" and target.facts.get("version")
    ]
    audited = {check.platform for check in registry if check.id in table.counts}
    chosen: dict[str, tuple[Benchmark, str]] = {}
    left_out = []
    for ref in snapshot.settings["benchmarks"]:
        choice = catalogue.choose(ref, servers)
        if audited & set(choice.benchmark.platforms):
            chosen.setdefault(choice.benchmark.ref, (choice.benchmark, choice.why))
        else:
            left_out.append(
                f"{choice.benchmark.title} {choice.benchmark.version} is left out: "
                "nothing that it speaks of was audited"
            )
    return list(chosen.values()), left_out


def _benchmark(benchmark: Benchmark, why: str, table: _Table) -> BenchmarkResult:
    sections = []
    for section in benchmark.sections:
        controls = tuple(
            _control(benchmark, control, table)
            for control in benchmark.controls
            if control.section == section.id
        )
        sections.append(
            SectionResult(
                id=section.id,
                title=section.title,
                parent=section.parent,
                controls=controls,
                counts=_counts(item.status for item in controls),
                status=worst(item.status for item in controls),
            )
        )
    counts = _counts(item.status for section in sections for item in section.controls)
    return BenchmarkResult(benchmark, why, tuple(sections), counts)


def _control(benchmark: Benchmark, control: Control, table: _Table) -> ControlResult:
    by_target: dict[str, Status] = {}
    counter: Counter[str] = Counter()
    for check in control.checks:
        counter.update(table.counts.get(check, {}))
        for target, status in table.worst.get(check, {}).items():
            known = by_target.get(target)
            by_target[target] = status if known is None else min(known, status, key=_rank)
    status = worst(by_target.values()) or Status.UNKNOWN
    if control.mode == INFORMATIVE:
        status = Status.NOT_APPLICABLE
    return ControlResult(
        control=control,
        status=status,
        served=bool(control.checks),
        failing=table.resources(control.checks, table.failing),
        judged=table.resources(control.checks, table.judged),
        counts=_from_counter(counter),
        reason=_reason(control, status, bool(by_target), table),
        by_target=dict(sorted(by_target.items())),
        anchor=_slug(f"control-{benchmark.id}-{benchmark.version}-{control.id}"),
    )


def _rank(status: Status) -> int:
    return status.rank


def _reason(control: Control, status: Status, touched: bool, table: _Table) -> str:
    """One sentence for a status that is neither pass nor fail."""
    if control.mode == INFORMATIVE:
        return control.note
    if not control.checks:
        return "no check decides this yet"
    if not touched:
        return "nothing of the kind that decides this was audited"
    if status in JUDGED:
        return ""
    found = (table.reasons.get((check, status)) for check in control.checks)
    return next((text for text in found if text), "")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _references(results: Iterable[BenchmarkResult]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for result in results:
        for item in result.controls:
            for check in item.control.checks:
                found.setdefault(check, []).append((result.benchmark.ref, item.control.id))
    return found


def _checks(
    registry: Registry, table: _Table, references: Mapping[str, list[tuple[str, str]]]
) -> tuple[CheckResult, ...]:
    results = []
    for check in registry:
        if check.id not in table.counts:
            continue
        rows = table.by_check[check.id]
        results.append(
            CheckResult(
                check=check,
                status=worst(table.worst[check.id].values()) or Status.UNKNOWN,
                counts=_from_counter(table.counts[check.id]),
                failing=table.resources([check.id], table.failing),
                judged=table.resources([check.id], table.judged),
                findings=tuple(
                    row for row in rows if row.status not in {Status.PASS, Status.NOT_APPLICABLE}
                ),
                controls=tuple(references.get(check.id, ())),
                anchor=_slug(f"check-{check.id}"),
            )
        )
    results.sort(key=_check_order)
    return tuple(results)


def _check_order(item: CheckResult) -> tuple[int, int, int, str]:
    return (item.status.rank, item.check.severity.rank, -item.failing, item.check.id)


def _top(checks: Iterable[CheckResult]) -> tuple[Finding, ...]:
    """The worst finding of each of the worst checks: five different things to mend."""
    failing = [item for item in checks if item.status is Status.FAIL]
    best = [
        min(
            (row for row in item.findings if row.status is Status.FAIL),
            key=lambda row: (row.severity.rank, -row.count, row.id),
        )
        for item in failing
    ]
    widths = {item.check.id: item.failing for item in failing}
    best.sort(key=lambda row: (row.severity.rank, -widths[row.check], row.check))
    return tuple(best[:TOP])


def _by_severity(findings: Iterable[Finding]) -> dict[str, int]:
    found = Counter(row.severity for row in findings if row.status is Status.FAIL)
    return {str(severity): found[severity] for severity in Severity}


def _verdict(
    code: ExitCode,
    checks: Sequence[CheckResult],
    counts: Counts,
    table: _Table,
    threshold: Severity,
) -> str:
    judged = [item for item in checks if item.judged]
    failing = [item for item in judged if item.failing]
    open_ = counts.unknown + counts.error
    undecided = f" {_many(open_, 'judgement')} could not be made." if open_ else ""
    if not judged:
        return f"Not decided: nothing could be judged.{undecided}"
    resources = table.resources([item.check.id for item in failing], table.failing)
    fail = "fails" if len(failing) == 1 else "fail"
    some = (
        f"{len(failing)} of {_many(len(judged), 'check')} {fail}, "
        f"on {_many(resources, 'resource')}."
    )
    if code is ExitCode.FAILURES:
        return f"Not compliant: {some}{undecided}"
    below = f" Below the threshold ({threshold}), {some}" if failing else ""
    if code is ExitCode.INCOMPLETE:
        return (
            f"Incomplete: nothing at the threshold failed, but not all was seen.{below}{undecided}"
        )
    return f"Compliant: no check fails at severity {threshold} or above.{below}"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _targets(
    snapshot: Snapshot, findings: Iterable[Finding], results: Sequence[BenchmarkResult]
) -> tuple[TargetResult, ...]:
    statuses: dict[str, Counter[str]] = {target.id: Counter() for target in snapshot.targets}
    for row in findings:
        statuses[row.target][str(row.status)] += 1
    return tuple(
        TargetResult(
            target=target,
            coverage=tuple(item for item in snapshot.coverage if item.target == target.id),
            gaps=tuple(gap for gap in snapshot.gaps if gap.target == target.id),
            findings=_from_counter(statuses[target.id]),
        )
        for target in snapshot.targets
    )
