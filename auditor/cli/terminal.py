"""What a terminal shows: progress, the summary that fits a screen, and tables of findings."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from auditor.model import Finding, Status
from auditor.scopes import EVERYTHING
from auditor.scorecard import Scorecard

out = Console(highlight=False, soft_wrap=False)
"""Standard output: results, and nothing else."""

err = Console(stderr=True, highlight=False)
"""Standard error: progress and messages."""

STYLES = {
    Status.FAIL: "bold red",
    Status.ERROR: "bold magenta",
    Status.UNKNOWN: "yellow",
    Status.REVIEW: "cyan",
    Status.WAIVED: "blue",
    Status.PASS: "green",
    Status.NOT_APPLICABLE: "dim",
}
SHAPES = {
    Status.FAIL: "✗",
    Status.ERROR: "!",
    Status.UNKNOWN: "?",
    Status.REVIEW: "◌",
    Status.WAIVED: "~",
    Status.PASS: "✓",
    Status.NOT_APPLICABLE: "–",
}


class TerminalProgress(AbstractContextManager["TerminalProgress"]):
    """Spinners on a terminal, one plain line for each step otherwise; nothing when quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bars: Bars | None = None
        self.tasks: dict[str, object] = {}
        if not quiet and err.is_terminal:
            self.bars = Bars(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=err,
                transient=True,
            )

    def __enter__(self) -> TerminalProgress:
        if self.bars:
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bars:
            self.bars.stop()

    def step(self, source: str, scope: str, count: int | None = None) -> None:
        """Show that `scope` of `source` is being read, or was (with its `count`)."""
        text = f"{source}: {scope}" + (f" ({count:,})" if count is not None else "")
        if self.quiet:
            return
        if self.bars is None:
            if count is not None:
                print(text, file=sys.stderr, flush=True)  # noqa: T201
            return
        if source not in self.tasks:
            self.tasks[source] = self.bars.add_task(escape(text), total=None)
        else:
            self.bars.update(self.tasks[source], description=escape(text))  # type: ignore[arg-type]


def configure_logging(path: Path | None) -> None:
    """Send everything to a log file, tracebacks included; without one, only clear lines."""
    root = logging.getLogger()
    root.handlers.clear()
    if path is not None:
        handler: logging.Handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        logging.getLogger("auditor").setLevel(logging.DEBUG)
    else:
        handler = logging.NullHandler()
    root.addHandler(handler)


def status_text(status: Status) -> Text:
    """A status as a shape and a word, coloured where colour is wanted."""
    return Text(f"{SHAPES[status]} {status}", style=STYLES[status])


def safe(text: str) -> str:
    """Hostile text made printable: no control characters, so no escape sequences either."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def place_of(row: Finding) -> str:
    """Where a finding stands, as a person would say it: `shop/Deployment/web (web.yaml:3)`."""
    if row.source in {"dockerfile", "app-config"}:
        return safe(f"{row.origin or row.name}{f':{row.line}' if row.line else ''}")
    name = f"{row.kind}/{row.name}"
    if row.namespace:
        name = f"{row.namespace}/{name}"
    if row.origin and row.line:
        name = f"{name} ({row.origin}:{row.line})"
    return safe(name)


def print_summary(card: Scorecard, files: Sequence[Path]) -> None:
    """Print the summary: a verdict, the scores, what matters most, and where to look."""
    out.print(Text(safe(card.verdict), style=STYLES.get(card.status, "")))
    for result in card.targets:
        facts = result.target.facts
        detail = " ".join(filter(None, [facts.get("version", ""), _read(result.coverage)]))
        line = f"  {result.target.source}: {result.target.name} {detail}"
        out.print(safe(line), markup=False, no_wrap=True, overflow="ellipsis")
    for note in card.not_found:
        out.print(f"  not found: {escape(safe(note))}", style="yellow")
    out.print(_scores(card))
    severities = "  ".join(f"{name} {count:,}" for name, count in card.failures_by_severity.items())
    out.print(f"Failures by severity: {severities}")
    # What a manifest cannot show is no news; the report lists it.
    gaps = [note for note in card.gaps if not note.gap.by_nature]
    if gaps:
        first = gaps[0].gap
        scope = "anything" if first.scope == EVERYTHING else first.scope
        more = f" and {len(gaps) - 1:,} more" if len(gaps) > 1 else ""
        line = f"Not read: {scope} of {gaps[0].target_name}: {first.reason}{more}"
        out.print(safe(line), markup=False, style="yellow")
    if card.finding_counts.waived:
        line = f"Accepted with a reason: {card.finding_counts.waived:,} findings"
        out.print(line, style=STYLES[Status.WAIVED])
    for entry in card.accepted:
        if not entry.used:
            line = f"Unused: [rules] {entry.setting} {entry.who} sets nothing aside"
            out.print(safe(line), markup=False, style="yellow")
    if card.top:
        out.print("What matters most:")
        for row in card.top:
            item = Text("  ").append_text(status_text(row.status))
            item.append(f" {row.severity} {row.check}  {place_of(row)}")
            out.print(item, no_wrap=True, overflow="ellipsis")
    for path in files:
        out.print(f"  {escape(str(path))}", soft_wrap=True)


def _read(coverage: Iterable[object]) -> str:
    total = sum(getattr(item, "count", 0) for item in coverage)
    return f"({total:,} objects read)"


def _scores(card: Scorecard) -> Table:
    from reports.text import percent

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Benchmark")
    for name in ("score", "pass", "fail", "not judged", "n/a"):
        table.add_column(name, justify="right")
    for result in card.benchmarks:
        counts = result.counts
        table.add_row(
            f"{result.benchmark.title} {result.benchmark.version}",
            percent(counts.score),
            f"{counts.passed:,}",
            f"{counts.fail:,}",
            f"{counts.not_judged:,}",
            f"{counts.not_applicable:,}",
        )
    return table


TABLE_WIDTH = 150
"""Columns below which six columns of a table would be too narrow to read."""


def _table(rows: Iterable[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("Status", "Severity", "Check"):
        table.add_column(name, no_wrap=True)
    for name in ("Where", "Observed", "Expected"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            status_text(row.status),
            str(row.severity),
            row.check,
            escape(f"{place_of(row)} {_path(row)}".rstrip()),
            escape(safe(_observed(row))),
            escape(safe(row.expected)),
        )
    return table


def _observed(row: Finding) -> str:
    return f"{row.observed} (accepted: {row.waiver})" if row.waiver else row.observed


def _print_stacked(rows: Iterable[Finding]) -> None:
    for row in rows:
        head = status_text(row.status).append(f" {row.severity} ", style="default")
        out.print(head.append(row.check, style="bold"))
        for name, text in (
            ("", f"{place_of(row)} {_path(row)}".rstrip()),
            ("seen: ", safe(row.observed)),
            ("wanted: ", safe(row.expected)),
            ("accepted: ", safe(row.waiver or "")),
        ):
            if text:
                out.print(Padding(Text(name + text, overflow="fold"), (0, 0, 0, 4)))


def _path(row: Finding) -> str:
    """The path inside a resource; a Dockerfile's line says more, its path is there to be stable."""
    return "" if row.source == "dockerfile" else safe(row.path)


def print_findings(
    rows: Sequence[Finding],
    *,
    verbose: bool,
    by_nature: Callable[[Finding], bool] = lambda row: False,
) -> None:
    """Print findings as a table: what is wrong first; passes only as their checks' names.

    `by_nature` tells the rows that nothing of this kind could decide (what manifests do not show).
    They are no news for each object, and become one line that names their checks.
    """
    hidden = [row for row in rows if by_nature(row)]
    settled = {Status.PASS, Status.NOT_APPLICABLE}
    open_rows = [row for row in rows if row.status not in settled and not by_nature(row)]
    if open_rows and out.width < TABLE_WIDTH:
        _print_stacked(open_rows)
    elif open_rows:
        out.print(_table(open_rows))
    if hidden:
        checks = ", ".join(sorted({row.check for row in hidden}))
        text = f"Not to be seen here, only in a cluster ({len(hidden):,} judgements): {checks}"
        out.print(text, markup=False, style=STYLES[Status.UNKNOWN])
    passed = sorted({row.check for row in rows if row.status is Status.PASS})
    if passed and verbose:
        out.print(f"Passed: {', '.join(passed)}", style="green")
    counts = {status: sum(row.status is status for row in rows) for status in Status}
    line = Text()
    for status, count in counts.items():
        if count:
            line.append_text(status_text(status)).append(f" {count:,}  ")
    out.print(line if rows else Text("nothing was judged", style="yellow"))
