"""Findings and benchmarks to one scorecard: the only module that counts, and the home of pandas.

Every figure of every report is computed here, once. A control takes its worst finding; a control
that no check serves, or whose kind of target was not audited, is `unknown` and never hidden.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from auditor import __version__
from auditor.accepted import acceptances
from auditor.catalogue import Catalogue
from auditor.compared import comparisons
from auditor.findings import SETTLED, Findings
from auditor.headline import top, verdict
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
    INFORMATIVE,
    BenchmarkResult,
    CheckResult,
    ControlResult,
    Counts,
    Scorecard,
    SectionResult,
    TargetResult,
    exit_code,
)

Marks: TypeAlias = npt.NDArray[np.bool_]
"""One flag for each resource of the audit."""

_BY_RANK = {status.rank: status for status in Status}


def aggregate(
    snapshot: Snapshot, findings: Sequence[Finding], registry: Registry, catalogue: Catalogue
) -> Scorecard:
    """Build the scorecard of one snapshot from its findings.

    Which benchmarks, in which versions, and the failure threshold come from the snapshot's own
    settings. Benchmarks that speak of nothing that was audited are left out, and the scorecard
    says so. Raises `ConfigError` when a setting names a benchmark that does not exist.
    """
    kept = Findings.of(findings)
    settings = snapshot.settings
    table = _Table(kept, frozenset(settings["rules"].get("system_namespaces", ())))
    threshold = Severity(settings["fail_on"])
    chosen, left_out = _choose(snapshot, registry, catalogue, table)
    results = tuple(_benchmark(item, why, table) for item, why in chosen)
    references = _references(results)
    checks = _checks(registry, table, references)
    counts = _from_counter(table.statuses)
    # What is settled neither fails nor is left open, and need not be made into findings.
    code = exit_code(kept.rows, threshold)
    return Scorecard(
        tool_version=__version__,
        collected_with=snapshot.tool_version,
        taken_at=snapshot.taken_at,
        sha256=snapshot.sha256,
        title=str(settings["report"]["title"]),
        verdict=verdict(code, checks, table.failing_in_all, counts, threshold),
        exit_code=code,
        status=worst(Status(status) for status in table.statuses) or Status.UNKNOWN,
        targets=_targets(snapshot, table),
        not_found=(*settings.get("notes", ()), *left_out),
        benchmarks=results,
        checks=checks,
        findings=kept,
        finding_counts=counts,
        failures_by_severity=_by_severity(kept.rows),
        top=top(checks),
        gaps=gap_notes(snapshot, registry, results),
        settings=settings,
        fail_on=str(threshold),
        comparisons=comparisons(results),
        accepted=acceptances(settings["rules"], kept.rows),
    )


class _Table:
    """The findings as columns, and the groupings that everything else is read from.

    What passed comes as columns already and stays so: a block of them is one row of `frame`, with
    its size, and its resources are marked by their numbers. `judged`, `failing` and
    `failing_in_system` mark, for each check, the resources that stand in such findings.
    """

    def __init__(self, findings: Findings, system: frozenset[str]) -> None:
        self.rows: dict[str, list[Finding]] = {}
        self.reasons: dict[tuple[str, Status], str] = {}
        for row in findings.rows:
            self.rows.setdefault(row.check, []).append(row)
            self.reasons.setdefault((row.check, row.status), row.waiver or row.observed)
        self.noted: dict[str, tuple[Finding, ...]] = {}
        for block in findings.settled:
            self.reasons.setdefault((block.check.id, block.status), block.words[0][1])
            if block.status is Status.PASS:
                notes = (block.finding(at) for at, words in enumerate(block.words) if words[1])
                self.noted[block.check.id] = (*self.noted.get(block.check.id, ()), *notes)
        self._count(findings)
        self._mark(findings, system)

    def _count(self, findings: Findings) -> None:
        """How many findings there are of each check, target and status, and the worst of them."""
        cells = Counter((row.check, row.target, row.status) for row in findings.rows)
        for block in findings.settled:
            cells[block.check.id, block.target, block.status] += len(block)
        frame = pd.DataFrame(list(cells), columns=["check", "target", "status"])
        frame["size"] = list(cells.values())
        frame["rank"] = [status.rank for _, _, status in cells]
        self.worst: dict[str, dict[str, Status]] = {}
        worst_of = frame.groupby(["check", "target"], sort=False)["rank"].min()
        for check, target, rank in worst_of.reset_index().itertuples(index=False):
            self.worst.setdefault(str(check), {})[str(target)] = _BY_RANK[int(rank)]
        self.counts = _sizes(frame, "check")
        self.by_target = _sizes(frame, "target")
        self.statuses = sum(self.counts.values(), Counter[str]())

    def _mark(self, findings: Findings, system: frozenset[str]) -> None:
        """Give each resource a number, and mark the ones that each check judged."""
        numbers: dict[tuple[str | None, ...], int] = {}
        judged: dict[str, list[npt.NDArray[np.int64]]] = {}
        failing: dict[str, list[int]] = {}
        passing: dict[str, list[int]] = {}
        apart: list[bool] = []

        def number(place: tuple[str | None, ...]) -> int:
            known = numbers.setdefault(place, len(numbers))
            if known == len(apart):
                _, kind, namespace, name, _ = place
                apart.append((name if kind == "Namespace" else namespace) in system)
            return known

        for row in findings.rows:
            if row.status in JUDGED:
                found = number((row.target, row.kind, row.namespace, row.name, row.origin))
                where = failing if row.status is Status.FAIL else passing
                where.setdefault(row.check, []).append(found)
        # All blocks of a target share its places, so each list of them is numbered once.
        known: dict[int, npt.NDArray[np.int64]] = {}
        for block in findings.settled:
            if block.status is not Status.PASS:
                continue
            if id(block.places) not in known:
                known[id(block.places)] = np.array(
                    [number((block.target, *place.key)) for place in block.places], dtype=np.int64
                )
            taken = known[id(block.places)][np.asarray(block.numbers, dtype=np.int64)]
            judged.setdefault(block.check.id, []).append(taken)
        for listed in (failing, passing):
            for check, found_ in listed.items():
                judged.setdefault(check, []).append(np.array(found_, dtype=np.int64))
        self.size = len(numbers)
        self.judged = {check: self._marks(parts) for check, parts in judged.items()}
        self.failing = {
            check: self._marks([np.array(found_, dtype=np.int64)])
            for check, found_ in failing.items()
        }
        in_system = np.array(apart, dtype=bool)
        self.failing_in_system = {check: marks & in_system for check, marks in self.failing.items()}

    @property
    def failing_in_all(self) -> int:
        """How many distinct resources fail any check."""
        return self.resources(self.failing, self.failing)

    def _marks(self, parts: Iterable[npt.NDArray[np.int64]]) -> Marks:
        marks = np.zeros(self.size, dtype=bool)
        for part in parts:
            marks[part] = True
        return marks

    def resources(self, checks: Iterable[str], kind: Mapping[str, Marks]) -> int:
        """How many distinct resources stand in `kind` (judged or failing) for these checks."""
        found = [kind[check] for check in checks if check in kind]
        return int(np.count_nonzero(np.logical_or.reduce(found))) if found else 0


def _sizes(frame: pd.DataFrame, by: str) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    sizes = frame.groupby([by, "status"], observed=True, sort=False)["size"].sum()
    for name, status, size in sizes.reset_index().itertuples(index=False):
        found.setdefault(str(name), Counter())[str(status)] = int(size)
    return found


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
        rows = table.rows.get(check.id, ())
        results.append(
            CheckResult(
                check=check,
                status=worst(table.worst[check.id].values()) or Status.UNKNOWN,
                counts=_from_counter(table.counts[check.id]),
                failing=table.resources([check.id], table.failing),
                judged=table.resources([check.id], table.judged),
                findings=tuple(row for row in rows if row.status not in SETTLED),
                controls=tuple(references.get(check.id, ())),
                anchor=_slug(f"check-{check.id}"),
                failing_in_system=table.resources([check.id], table.failing_in_system),
                noted=table.noted.get(check.id, ()),
            )
        )
    results.sort(key=_check_order)
    return tuple(results)


def _check_order(item: CheckResult) -> tuple[int, int, int, str]:
    return (item.status.rank, item.check.severity.rank, -item.failing, item.check.id)


def _by_severity(findings: Iterable[Finding]) -> dict[str, int]:
    found = Counter(row.severity for row in findings if row.status is Status.FAIL)
    return {str(severity): found[severity] for severity in Severity}


def _targets(snapshot: Snapshot, table: _Table) -> tuple[TargetResult, ...]:
    return tuple(
        TargetResult(
            target=target,
            coverage=tuple(item for item in snapshot.coverage if item.target == target.id),
            gaps=tuple(gap for gap in snapshot.gaps if gap.target == target.id),
            findings=_from_counter(table.by_target.get(target.id, {})),
        )
        for target in snapshot.targets
    )
