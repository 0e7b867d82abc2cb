"""Scorecard to file: one module for each form of the report.

`WRITERS` has them by the name that `--format` takes. What a writer needs beyond the standard
library is imported when it writes, so that a command that writes nothing stays quick.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from auditor.errors import RenderError
from auditor.scorecard import Scorecard


@dataclass(frozen=True, slots=True)
class Writer:
    """A form of the report: the file it is written to, and how its bytes are made.

    `parts` is pure but for what its libraries read of the machine (fonts). It raises
    `RenderError` when a library is missing.
    """

    filename: str
    parts: Callable[[Scorecard], Iterable[bytes]]

    def render(self, card: Scorecard) -> bytes:
        """The whole file."""
        return b"".join(self.parts(card))


def _html(card: Scorecard) -> Iterable[bytes]:
    from reports.html import render_html

    return (render_html(card).encode(),)


def _pdf(card: Scorecard) -> Iterable[bytes]:
    from reports.pdf import render_pdf

    return (render_pdf(card),)


def _json(card: Scorecard) -> Iterable[bytes]:
    from reports.findings_json import json_parts

    return json_parts(card)


def _csv(card: Scorecard) -> Iterable[bytes]:
    from reports.findings_csv import csv_parts

    return csv_parts(card)


WRITERS: Mapping[str, Writer] = {
    "html": Writer("report.html", _html),
    "pdf": Writer("report.pdf", _pdf),
    "json": Writer("findings.json", _json),
    "csv": Writer("findings.csv", _csv),
}
"""Every form of the report, by the name of its format."""


def warm(formats: Iterable[str]) -> None:
    """Import the libraries that these forms will need, so that a later `render` finds them there.

    Run it in a thread while a collector waits for the network: the imports take a second. A
    library that is missing is left for `render` to report.
    """
    if not {"html", "pdf"} & set(formats):
        return
    import reports.document  # noqa: F401

    if "pdf" in formats:
        from reports.pdf import load_weasyprint

        with contextlib.suppress(RenderError):
            load_weasyprint()
