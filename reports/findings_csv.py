"""findings.csv: one row a finding, safe to open in a spreadsheet (RFC 4180, UTF-8).

A spreadsheet runs a cell that starts like a formula. Such a cell gets an apostrophe in front, as
OWASP's page on CSV injection advises; nothing else is changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from auditor.scorecard import Scorecard

COLUMNS = (
    "id",
    "check",
    "title",
    "status",
    "severity",
    "target",
    "target_name",
    "source",
    "kind",
    "namespace",
    "name",
    "origin",
    "line",
    "column",
    "path",
    "observed",
    "expected",
    "count",
    "waiver",
    "controls",
)

# The full-width forms are read as the plain ones by spreadsheets in some languages.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


_PART = 1024 * 1024
"""Characters in one part."""


def render_csv(card: Scorecard) -> bytes:
    """Return every finding, passes included, worst first, under `COLUMNS`."""
    return b"".join(csv_parts(card))


def csv_parts(card: Scorecard) -> Iterator[bytes]:
    """The same in parts: a large cluster has more findings than fit well in memory at once."""
    targets = {item.target.id: item.target.name for item in card.targets}
    checks = {item.check.id: item for item in card.checks}
    # Mappings and frameworks would be half of each row; findings.json has them by control.
    told = {
        item.benchmark.ref
        for item in card.benchmarks
        if item.benchmark.kind not in {"framework", "mapping"}
    }
    controls = {
        key: "; ".join(f"{ref} {control}" for ref, control in item.controls if ref in told)
        for key, item in checks.items()
    }
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in card.findings:
        cells = (
            row.id,
            row.check,
            checks[row.check].check.title if row.check in checks else "",
            str(row.status),
            str(row.severity),
            row.target,
            targets.get(row.target, ""),
            row.source,
            row.kind,
            row.namespace or "",
            row.name,
            row.origin or "",
            row.line if row.line is not None else "",
            row.column if row.column is not None else "",
            row.path,
            row.observed,
            row.expected,
            row.count,
            row.waiver or "",
            controls.get(row.check, ""),
        )
        writer.writerow([_harmless(cell) if isinstance(cell, str) else cell for cell in cells])
        if out.tell() > _PART:
            yield out.getvalue().encode("utf-8", "replace")
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode("utf-8", "replace")


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
