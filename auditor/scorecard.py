"""What an audit adds up to: plain data, made once, from which every report form is rendered.

No renderer computes a figure. A figure that appears in two places comes from one field here.
Everything is sorted already; nothing here depends on a clock, a machine or a hash seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from auditor.findings import Findings
from auditor.model import (
    Benchmark,
    Check,
    Control,
    Coverage,
    Finding,
    Gap,
    Json,
    Severity,
    Status,
    Target,
)

TEMPLATE_SECTIONS = (
    "cover",
    "summary",
    "coverage",
    "cis",
    "nist",
    "guide",
    "findings",
    "risks",
    "monitoring",
    "incident",
    "method",
)
"""The eleven sections of every report, in order; also their anchors in the HTML."""

INFORMATIVE = "informative"
"""The mode of a line that states no rule (an example, a definition): there is nothing to judge."""


class ExitCode(IntEnum):
    """How a command ends (documented in docs/exit-codes.md)."""

    COMPLIANT = 0
    FAILURES = 1
    NO_AUDIT = 2
    INCOMPLETE = 3
    INTERRUPTED = 130

    def strictly(self, strict: bool) -> ExitCode:
        """This code, or a failure instead of an incomplete audit when `strict`."""
        return ExitCode.FAILURES if strict and self is ExitCode.INCOMPLETE else self


def exit_code(findings: Iterable[Finding], threshold: Severity) -> ExitCode:
    """Failures at the threshold come first, then whatever could not be judged."""
    code = ExitCode.COMPLIANT
    # What passed decides nothing here, and need not become objects.
    for row in findings.rows if isinstance(findings, Findings) else findings:
        if row.status is Status.FAIL and row.severity.at_least(threshold):
            return ExitCode.FAILURES
        if row.status in {Status.UNKNOWN, Status.ERROR}:
            code = ExitCode.INCOMPLETE
    return code


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of something have each status."""

    fail: int = 0
    error: int = 0
    unknown: int = 0
    review: int = 0
    waived: int = 0
    passed: int = 0
    not_applicable: int = 0

    @property
    def judged(self) -> int:
        """Passed and failed together."""
        return self.passed + self.fail

    @property
    def not_judged(self) -> int:
        """Neither passed nor failed, though the control applies."""
        return self.error + self.unknown + self.review + self.waived

    @property
    def total(self) -> int:
        """All of them."""
        return self.judged + self.not_judged + self.not_applicable

    @property
    def score(self) -> float | None:
        """Passed / (passed + failed), 0 to 1; None when nothing was judged."""
        return self.passed / self.judged if self.judged else None

    def of(self, status: Status) -> int:
        """The count of one status."""
        name = {Status.PASS: "passed", Status.NOT_APPLICABLE: "not_applicable"}.get(status)
        return int(getattr(self, name or status.value))


@dataclass(frozen=True, slots=True)
class ControlResult:
    """One control of one benchmark version, decided over all targets.

    `failing` and `judged` count resources (a workload once, however many pods it has).
    `served` is False when no check decides the control yet; its status is then `unknown`.
    `reason` is one sentence for a status that is neither pass nor fail. `by_target` gives the
    status on each target where the control applies. `anchor` is its place in the HTML.
    """

    control: Control
    status: Status
    served: bool
    failing: int
    judged: int
    counts: Counts
    reason: str
    by_target: Mapping[str, Status]
    anchor: str

    @property
    def informative(self) -> bool:
        """Whether it states no rule, by its own word: then there is nothing to judge."""
        return self.control.mode == INFORMATIVE

    @property
    def open(self) -> bool:
        """Whether it states a rule that no check decides yet."""
        return not self.served and not self.informative

    @property
    def method(self) -> str:
        """How its status came about, in a few words."""
        if self.informative:
            return "states no rule"
        return _METHODS[self.status] if self.served else "no check yet"


_METHODS = {
    Status.FAIL: "by published rule",
    Status.ERROR: "not judged",
    Status.UNKNOWN: "not judged",
    Status.REVIEW: "review by a person",
    Status.WAIVED: "by published rule, accepted",
    Status.PASS: "by published rule",
    Status.NOT_APPLICABLE: "by published rule",
}


@dataclass(frozen=True, slots=True)
class SectionResult:
    """A section of a benchmark with its controls' results, in the benchmark's order."""

    id: str
    title: str
    parent: str | None
    controls: tuple[ControlResult, ...]
    counts: Counts
    status: Status | None

    @property
    def open(self) -> bool:
        """Whether it has controls, and no check decides any of them yet."""
        return bool(self.controls) and all(item.open for item in self.controls)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """One benchmark version with its score; `why` says why this version was chosen."""

    benchmark: Benchmark
    why: str
    sections: tuple[SectionResult, ...]
    counts: Counts

    @property
    def controls(self) -> tuple[ControlResult, ...]:
        """All controls, in order."""
        return tuple(item for section in self.sections for item in section.controls)

    @property
    def unserved(self) -> int:
        """How many controls no check decides yet; they are among those not judged.

        Items that say of themselves that they are no rule (mode `informative`) are left out.
        """
        return sum(item.open for item in self.controls)


@dataclass(frozen=True, slots=True)
class Compared:
    """What one control identity has become: a cell for each version, None where it has none."""

    identity: str
    title: str
    cells: tuple[ControlResult | None, ...]

    @property
    def moved(self) -> bool:
        """Whether its number is not the same in all versions, or a version lacks it."""
        return len({cell and cell.control.id for cell in self.cells}) > 1

    @property
    def served(self) -> bool:
        """Whether a check decides it in any of the versions."""
        return any(cell is not None and cell.served for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several versions of one benchmark, identity by identity, in the order of the last."""

    results: tuple[BenchmarkResult, ...]
    rows: tuple[Compared, ...]

    @property
    def moved(self) -> int:
        """How many identities have moved, come or gone."""
        return sum(row.moved for row in self.rows)


@dataclass(frozen=True, slots=True)
class TargetResult:
    """One target with what was read of it, what was not, and its findings by status."""

    target: Target
    coverage: tuple[Coverage, ...]
    gaps: tuple[Gap, ...]
    findings: Counts


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check with its findings, worst first: the unit of the findings section.

    `controls` are `(benchmark ref, control id)` of the chosen benchmarks that it decides.
    `failing` counts resources; `findings` holds every row that is neither a pass nor
    not-applicable. `failing_in_system` counts those of the failing that stand in system namespaces.
    `noted` are the passes that keep their evidence.
    """

    check: Check
    status: Status
    counts: Counts
    failing: int
    judged: int
    findings: tuple[Finding, ...]
    controls: tuple[tuple[str, str], ...]
    anchor: str
    failing_in_system: int = 0
    noted: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An entry of `[rules]` that accepts failures, and how many findings it set aside."""

    setting: str
    who: str
    checks: tuple[str, ...]
    reason: str
    used: int


@dataclass(frozen=True, slots=True)
class GapNote:
    """A gap, with the controls it leaves undecided."""

    gap: Gap
    target_name: str
    hides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Everything a report says.

    `tool_version` judged, `collected_with` took the snapshot: years may lie between them.
    `verdict` is the one sentence of the summary and `exit_code` what the command returns.
    `failures_by_severity` counts fail findings, worst severity first. `top` are the five findings
    that matter most. `findings` is every row, passes included, sorted worst first; iterating makes
    the rows of what passed, which are kept as columns. `comparisons` has the benchmarks that were
    decided in several versions, `accepted` what the configuration accepts. `settings` are the
    values that decided (config tables `rules` and `report`).
    """

    tool_version: str
    collected_with: str
    taken_at: str
    sha256: str
    title: str
    verdict: str
    exit_code: ExitCode
    status: Status
    targets: tuple[TargetResult, ...]
    not_found: tuple[str, ...]
    benchmarks: tuple[BenchmarkResult, ...]
    checks: tuple[CheckResult, ...]
    findings: Sequence[Finding]
    finding_counts: Counts
    failures_by_severity: Mapping[str, int]
    top: tuple[Finding, ...]
    gaps: tuple[GapNote, ...]
    settings: Mapping[str, Json]
    fail_on: str
    comparisons: tuple[Comparison, ...] = ()
    accepted: tuple[Acceptance, ...] = ()
