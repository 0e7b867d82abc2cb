"""What each gap hides: the controls that it leaves undecided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditor.evaluate import EVERYTHING, MANIFESTS, TARGET_PLATFORMS, subject_scopes
from auditor.model import Check, Gap, Snapshot
from auditor.registry import Registry
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

    return tuple(
        f"{result.benchmark.id} {item.control.id}"
        for result in results
        if result.benchmark.kind == "benchmark"
        for item in result.controls
        if any(hides(check) for check in item.control.checks)
    )


def _same_platform(gap: Gap, check: Check) -> bool:
    """Whether a gap's source can hide what a check judges; files tell by their scopes alone."""
    platforms = TARGET_PLATFORMS.get(gap.source)
    return platforms is None or check.platform in platforms
