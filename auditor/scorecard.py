"""What an audit adds up to: plain data, made once, from which every report form is rendered.

No renderer computes a figure. A figure that appears in two places comes from one field here.
Everything is sorted already; nothing here depends on a clock, a machine or a hash seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

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
    for row in findings:
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


@dataclass(frozen=True, slots=True)
class SectionResult:
    """A section of a benchmark with its controls' results, in the benchmark's order."""

    id: str
    title: str
    parent: str | None
    controls: tuple[ControlResult, ...]
    counts: Counts
    status: Status | None


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
        return sum(not item.served and item.control.mode != "informative" for item in self.controls)


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
    not-applicable.
    """

    check: Check
    status: Status
    counts: Counts
    failing: int
    judged: int
    findings: tuple[Finding, ...]
    controls: tuple[tuple[str, str], ...]
    anchor: str


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
    that matter most. `findings` is every row, passes included, sorted worst first. `settings` are
    the values that decided (config tables `rules` and `report`).
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
    findings: tuple[Finding, ...]
    finding_counts: Counts
    failures_by_severity: Mapping[str, int]
    top: tuple[Finding, ...]
    gaps: tuple[GapNote, ...]
    settings: Mapping[str, Json]
    fail_on: str
