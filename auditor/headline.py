"""What a report opens with: one sentence that is true, and the five findings that matter most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from auditor.model import Finding, Severity, Status
from auditor.scorecard import CheckResult, Counts, ExitCode

TOP = 5
"""Findings on the summary page (design: reports)."""


def top(checks: Iterable[CheckResult]) -> tuple[Finding, ...]:
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


def verdict(
    code: ExitCode,
    checks: Sequence[CheckResult],
    resources: int,
    counts: Counts,
    threshold: Severity,
) -> str:
    """The one sentence of the summary; `resources` is how many distinct ones fail some check."""
    judged = [item for item in checks if item.judged]
    failing = [item for item in judged if item.failing]
    open_ = counts.unknown + counts.error
    rest = f" {_many(counts.waived, 'failure')} accepted with a reason." if counts.waived else ""
    rest += f" {_many(open_, 'judgement')} could not be made." if open_ else ""
    if not judged:
        return f"Not decided: nothing could be judged.{rest}"
    fail = "fails" if len(failing) == 1 else "fail"
    some = (
        f"{len(failing)} of {_many(len(judged), 'check')} {fail}, "
        f"on {_many(resources, 'resource')}."
    )
    if code is ExitCode.FAILURES:
        return f"Not compliant: {some}{rest}"
    below = f" Below the threshold ({threshold}), {some}" if failing else ""
    if code is ExitCode.INCOMPLETE:
        return f"Incomplete: nothing at the threshold failed, but not all was seen.{below}{rest}"
    return f"Compliant: no check fails at severity {threshold} or above.{below}{rest}"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
