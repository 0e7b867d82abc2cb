"""Scorecard to file: one module for each form of the report.

`WRITERS` has them by the name that `--format` takes. What a writer needs beyond the standard
library is imported when it writes, so that a command that writes nothing stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.scorecard import Scorecard

if TYPE_CHECKING:
    from reports.layout import Printer


Parts = Callable[[], Iterable[bytes]]
"""What gives the bytes of a file, part by part, once it is asked."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A form of the report: the file it is written to, and how its bytes are made.

    `parts` is pure but for what its libraries read of the machine (fonts). It raises
    `RenderError` when a library is missing. `begin` does the same in a process beside this one.
    """

    filename: str
    parts: Callable[[Scorecard], Iterable[bytes]]

    begin: Callable[[Scorecard], Parts] | None = None

    def render(self, card: Scorecard) -> bytes:
        """The whole file."""
        return b"".join(self.parts(card))

    def begun(self, card: Scorecard) -> Parts:
        """Begin the work where it goes on by itself; what comes back gives the file's parts."""
        return self.begin(card) if self.begin is not None else lambda: self.parts(card)


def _html(card: Scorecard) -> Iterable[bytes]:
    from reports.html import render_html

    return (render_html(card).encode(),)


def _pdf(card: Scorecard) -> Iterable[bytes]:
    from reports.pdf import render_pdf

    return (render_pdf(card),)


def _pdf_begun(card: Scorecard) -> Parts:
    """Lay out the PDF in a process of its own, the one that `warm` started if it did."""
    from concurrent.futures import ThreadPoolExecutor

    from reports.pdf import sheet_of

    printer = _printer()
    if printer is None:
        return lambda: _pdf(card)
    pool = ThreadPoolExecutor(1, "auditor-pdf")
    laid_out = pool.submit(printer.lay_out, sheet_of(card))
    pool.shutdown(wait=False)
    return lambda: (laid_out.result(),)


_waiting: list[Printer] = []


def _printer() -> Printer | None:
    """A process that lays out, or None where none can be started."""
    from reports.layout import Printer

    if _waiting:
        return _waiting.pop()
    try:
        return Printer()
    except OSError:
        return None


def _json(card: Scorecard) -> Iterable[bytes]:
    from reports.findings_json import json_parts

    return json_parts(card)


def _csv(card: Scorecard) -> Iterable[bytes]:
    from reports.findings_csv import csv_parts

    return csv_parts(card)


WRITERS: Mapping[str, Writer] = {
    "html": Writer("report.html", _html),
    "pdf": Writer("report.pdf", _pdf, _pdf_begun),
    "json": Writer("findings.json", _json),
    "csv": Writer("findings.csv", _csv),
}
"""Every form of the report, by the name of its format."""


def warm(formats: Iterable[str]) -> None:
    """Load what these forms will need, so that a later `begun` finds it there.

    Run it while a collector waits for the network: templates are imported here, and the process
    that lays out the PDF is started, which imports its own libraries meanwhile.
    """
    if not {"html", "pdf"} & set(formats):
        return
    if "pdf" in formats and not _waiting:
        printer = _printer()
        if printer is not None:
            _waiting.append(printer)
    import reports.document  # noqa: F401
