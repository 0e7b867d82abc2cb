"""What each gap hides: the controls that it leaves undecided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from auditor.model import Check, Finding, Gap, Reason, Snapshot, Status
from auditor.registry import Registry
from auditor.scopes import EVERYTHING, MANIFESTS, TARGET_PLATFORMS, subject_scopes
from auditor.scorecard import BenchmarkResult, GapNote


def gap_notes(
    snapshot: Snapshot, registry: Registry, results: Sequence[BenchmarkResult]
) -> tuple[GapNote, ...]:
    """Note each gap with its target's name and the CIS controls that it leaves undecided."""
    names = {target.id: target.name for target in snapshot.targets}
    touched: dict[str, frozenset[str]] = {
        check.id: frozenset({*subject_scopes(check), *check.needs}) for check in registry
    }
    return tuple(
        GapNote(gap, names[gap.target], _hidden(gap, registry, touched, results))
        for gap in snapshot.gaps
    )


def _hidden(
    gap: Gap,
    registry: Registry,
    touched: Mapping[str, frozenset[str]],
    results: Sequence[BenchmarkResult],
) -> tuple[str, ...]:
    """The controls that a gap leaves undecided, as `benchmark id`."""

    def hides(check_id: str) -> bool:
        check: Check | None = registry.get(check_id)
        if check is None or not _same_platform(gap, check):
            return False
        if gap.scope == EVERYTHING:
            return True
        if gap.scope == MANIFESTS:
            return check.platform == "kubernetes"
        # A partial source (manifests) holds all its subjects; it hides only their relations.
        wanted = check.needs if gap.by_nature else touched[check_id]
        return gap.scope in wanted

    # Two versions of one benchmark number their controls differently, so each is named.
    versions = Counter(result.benchmark.id for result in results)
    return tuple(
        f"{result.benchmark.id if versions[result.benchmark.id] == 1 else result.benchmark.ref} "
        f"{item.control.id}"
        for result in results
        if result.benchmark.kind == "benchmark"
        for item in result.controls
        if any(hides(check) for check in item.control.checks)
    )


def unknown_by_nature(snapshot: Snapshot, checks: Iterable[Check]) -> Callable[[Finding], bool]:
    """What tells the findings that no source of this kind could have decided from all others.

    Manifests show only what they hold: a check that needs to know who is bound, or what a namespace
    is labelled, is `unknown` there for every resource, and nothing would mend it.
    """
    partial: dict[str, set[str]] = {}
    for gap in snapshot.gaps:
        if gap.by_nature:
            partial.setdefault(gap.target, set()).add(gap.scope)
    by_id = {check.id: check for check in checks}

    def tells(row: Finding) -> bool:
        hidden, check = partial.get(row.target), by_id.get(row.check)
        if not hidden or check is None or row.status is not Status.UNKNOWN:
            return False
        # Some checks ask for scopes of which they have no need to decide; these they name.
        if f": {Reason.PARTIAL}" in row.observed:
            return True
        # A finding of no object stands for a scope or a file that could not be read.
        of_no_object = not row.count and not row.path and row.kind == check.subject
        return not of_no_object and not hidden.isdisjoint(check.needs)

    return tells


def _same_platform(gap: Gap, check: Check) -> bool:
    """Whether a gap's source can hide what a check judges; files tell by their scopes alone."""
    platforms = TARGET_PLATFORMS.get(gap.source)
    return platforms is None or check.platform in platforms
