"""A scorecard arranged for templates: which findings are shown, in which order, linked to what.

Layout only. Every figure stays the scorecard's own; what is counted here is rows on the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auditor.model import Control, Finding, Status
from auditor.scorecard import (
    BenchmarkResult,
    CheckResult,
    ControlResult,
    GapNote,
    Scorecard,
    SectionResult,
)

LIVE_SOURCES = frozenset({"kubernetes", "docker", "image"})
"""Sources whose objects live; a finding in a file is one place in one file."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A control that a check decides, as a link."""

    benchmark: str
    id: str
    section: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Group:
    """One check in the findings section.

    `own` and `system` are the findings in the markup, those of system namespaces apart. `more`
    are further ones that the document carries as data, `left` is the number it does not carry.
    """

    result: CheckResult
    references: tuple[Reference, ...]
    own: tuple[Finding, ...]
    system: tuple[Finding, ...]
    more: tuple[Finding, ...]
    left: int

    @property
    def shown(self) -> int:
        """How many findings stand in the markup."""
        return len(self.own) + len(self.system)


@dataclass(frozen=True, slots=True)
class View:
    """What the templates need beside the scorecard."""

    groups: tuple[Group, ...]
    checks: Mapping[str, CheckResult]
    targets: Mapping[str, str]
    sections: tuple[tuple[str, BenchmarkResult, SectionResult], ...]
    report: Mapping[str, Any]
    rules: Mapping[str, Any]
    shown: int
    carried: int
    total: int

    @property
    def detailed(self) -> frozenset[str]:
        """The checks whose rule stands in the findings section."""
        return frozenset(item.result.check.id for item in self.groups if item.shown)

    def check_link(self, check_id: str) -> str | None:
        """The anchor of a check that has findings; None when there is nothing to go to."""
        result = self.checks.get(check_id)
        return result.anchor if result and result.findings else None


def arrange(card: Scorecard, *, markup: int, carried: int, spread: int) -> View:
    """Choose and order the findings: `markup` of them as rows, up to `carried` in all.

    The worst come first, but only `spread` of each check before any further ones, so that no
    check crowds the others out with a thousand failures.
    """
    ordered = [sorted(item.findings, key=_badness) for item in card.checks]
    chosen = _choose(ordered, max(markup, carried), spread)
    in_markup = {id(row) for row in chosen[:markup]}
    in_data = {id(row) for row in chosen[markup:carried]}
    system = frozenset(card.settings["rules"].get("system_namespaces", ()))
    references = _references(card.benchmarks)
    groups = []
    for result, rows in zip(card.checks, ordered, strict=True):
        if not rows:
            continue
        own, apart = _apart((row for row in rows if id(row) in in_markup), system)
        more = sum(_apart((row for row in rows if id(row) in in_data), system), ())
        groups.append(
            Group(
                result=result,
                references=tuple(references[key] for key in result.controls if key in references),
                own=own,
                system=apart,
                more=more,
                left=len(rows) - len(own) - len(apart) - len(more),
            )
        )
    return View(
        groups=tuple(groups),
        checks={item.check.id: item for item in card.checks},
        targets={item.target.id: item.target.name for item in card.targets},
        sections=_sections(card.benchmarks),
        report=card.settings["report"],
        rules=card.settings["rules"],
        shown=len(in_markup),
        carried=len(in_markup) + len(in_data),
        total=card.finding_counts.fail + card.finding_counts.not_judged,
    )


def is_system(row: Finding, view: View) -> bool:
    """Whether a finding stands in a system namespace: judged alike, shown apart."""
    return _namespace(row) in view.rules.get("system_namespaces", ())


def _namespace(row: Finding) -> str | None:
    """The namespace a finding speaks of, which may be what was judged itself."""
    return row.name if row.kind == "Namespace" else row.namespace


def file_of(row: Finding) -> str:
    """The file a finding stands in, with its line; empty where there is none.

    Only the line, where the file is what was judged and its name stands beside it already.
    """
    if not row.origin:
        return ""
    if row.origin == row.name:
        return f"line {row.line}" if row.line is not None else ""
    return f"{row.origin}:{row.line}" if row.line is not None else row.origin


def live(row: Finding) -> str:
    """How many live objects show a finding; nothing for a file, or for what was not read."""
    unread = row.status is Status.UNKNOWN and not row.count
    return f"{row.count:,}" if row.source in LIVE_SOURCES and not unread else ""


@dataclass(frozen=True, slots=True)
class GapLine:
    """Gaps of one target that have one reason, one remedy, and hide the same controls."""

    notes: tuple[GapNote, ...]

    @property
    def first(self) -> GapNote:
        """The one that speaks for all."""
        return self.notes[0]

    @property
    def hides(self) -> str:
        """The hidden controls, each benchmark named once."""
        found: dict[str, list[str]] = {}
        for control in self.first.hides:
            benchmark, _, number = control.rpartition(" ")
            found.setdefault(benchmark, []).append(number)
        return "; ".join(f"{name} {', '.join(ids)}" for name, ids in found.items())


def gap_lines(notes: Iterable[GapNote]) -> tuple[GapLine, ...]:
    """Put gaps that say the same of several scopes into one line each; none is left out."""
    lines: dict[tuple[object, ...], list[GapNote]] = {}
    for note in notes:
        gap = note.gap
        key = (note.target_name, gap.target, gap.reason, gap.detail, gap.remedy, note.hides)
        lines.setdefault(key, []).append(note)
    return tuple(GapLine(tuple(found)) for found in lines.values())


@dataclass(frozen=True, slots=True)
class Waived:
    """Resources for which failures of the same checks are accepted for one reason."""

    reason: str
    resources: tuple[str, ...]
    checks: tuple[CheckResult, ...]


PLATFORM = "a component of the platform"
"""How the reason of an exception begins that comes with a check, and not from the configuration."""


def waived(card: Scorecard) -> tuple[Waived, ...]:
    """Every accepted finding: what the configuration accepts first, then what checks do."""
    checks: dict[tuple[str, str], dict[str, CheckResult]] = {}
    for result in card.checks:
        for row in result.findings:
            if row.status is Status.WAIVED:
                place = (row.waiver or row.observed, f"{row.kind} {subject(row)}")
                checks.setdefault(place, {})[row.check] = result
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    results: dict[tuple[str, ...], tuple[CheckResult, ...]] = {}
    for (reason, resource), found in checks.items():
        ids = tuple(found)
        results[ids] = tuple(found.values())
        groups.setdefault((reason, ids), []).append(resource)
    listed = [Waived(key[0], tuple(names), results[key[1]]) for key, names in groups.items()]
    return tuple(sorted(listed, key=lambda group: group.reason.startswith(PLATFORM)))


def because(control: Control) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Why a control was given its checks: each sentence once, with the checks it is about."""
    found: dict[str, list[str]] = {}
    for check in control.checks:
        if check in control.because:
            found.setdefault(control.because[check], []).append(check)
    return tuple((why, tuple(checks)) for why, checks in found.items())


def without_reason(control: Control) -> tuple[str, ...]:
    """The checks of a control that decide it with no further word."""
    return tuple(check for check in control.checks if check not in control.because)


def spans(ids: Iterable[str]) -> str:
    """Control numbers with those that follow one another drawn together: `1.1.1 to 1.1.21, 2.3`."""
    found: list[list[str]] = []
    for text in ids:
        if found and text == _next(found[-1][-1]):
            found[-1].append(text)
        else:
            found.append([text])
    return ", ".join(", ".join(run) if len(run) < 3 else f"{run[0]} to {run[-1]}" for run in found)


def _next(text: str) -> str | None:
    match = re.fullmatch(r"(.*?)(\d+)", text)
    if match is None:
        return None
    return match.group(1) + str(int(match.group(2)) + 1).zfill(len(match.group(2)))


def subject(row: Finding) -> str:
    """The namespace and name of what was judged."""
    return f"{row.namespace}/{row.name}" if row.namespace else row.name


def _badness(row: Finding) -> tuple[int, int, int, str]:
    return (row.status.rank, row.severity.rank, -row.count, row.id)


def _choose(ordered: Sequence[Sequence[Finding]], limit: int, spread: int) -> list[Finding]:
    keyed = [
        (position >= spread, row.status.rank, row.severity.rank, check, position, row)
        for check, rows in enumerate(ordered)
        for position, row in enumerate(rows)
    ]
    keyed.sort(key=lambda item: item[:5])
    return [item[5] for item in keyed[:limit]]


def _apart(
    rows: Iterable[Finding], system: frozenset[str]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Findings of one workload side by side, workloads by their worst; system namespaces apart."""
    workloads: dict[tuple[str | None, ...], list[Finding]] = {}
    for row in rows:
        key = (row.target, row.namespace, row.kind, row.name, row.origin)
        workloads.setdefault(key, []).append(row)
    own: list[Finding] = []
    apart: list[Finding] = []
    for found in workloads.values():
        (apart if _namespace(found[0]) in system else own).extend(found)
    return tuple(own), tuple(apart)


def _references(benchmarks: Iterable[BenchmarkResult]) -> dict[tuple[str, str], Reference]:
    return {
        (result.benchmark.ref, item.control.id): Reference(
            f"{result.benchmark.title} {result.benchmark.version}",
            item.control.id,
            section,
            item.anchor,
        )
        for result in benchmarks
        for section, item in _placed(result)
    }


def _placed(result: BenchmarkResult) -> Iterable[tuple[str, ControlResult]]:
    for section in result.sections:
        for item in section.controls:
            yield section_key(result, section), item


def section_key(result: BenchmarkResult, section: SectionResult) -> str:
    """What the section filter of the HTML goes by."""
    return f"{result.benchmark.ref}/{section.id}"


def _sections(
    benchmarks: Iterable[BenchmarkResult],
) -> tuple[tuple[str, BenchmarkResult, SectionResult], ...]:
    """The sections whose controls have findings to filter for."""
    return tuple(
        (section_key(result, section), result, section)
        for result in benchmarks
        for section in result.sections
        if any(item.served for item in section.controls)
    )
