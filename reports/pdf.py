"""The report as a PDF: for reading on paper, tagged (PDF/UA-1), with the findings attached.

WeasyPrint is given no way out: its fetcher answers `data:` addresses and nothing else. Dates and
the file's identifier come from the snapshot, so that one machine writes the same bytes each time.
"""

from __future__ import annotations

from auditor.scorecard import Scorecard
from reports.document import fill, style
from reports.findings_json import json_parts
from reports.layout import Sheet, lay_out
from reports.text import moment_of
from reports.view import arrange

SPREAD = 4
"""Findings of one check before the next check has its turn: enough to see what they share."""

ATTACHED = 20_000
"""Most findings in the attached findings.json: more would make a file that no reader opens."""


def render_pdf(card: Scorecard) -> bytes:
    """Return the report as a PDF file, laid out in this process.

    It details the worst findings (`report.pdf_findings`) and counts the others, which are in the
    attached findings.json as far as they fit. Raises `RenderError` when the libraries WeasyPrint
    needs are missing.
    """
    return lay_out(sheet_of(card))


def sheet_of(card: Scorecard) -> Sheet:
    """The report as it goes to be laid out."""
    limit = int(card.settings["report"]["pdf_findings"])
    view = arrange(card, markup=limit, carried=0, spread=SPREAD)
    source = fill(card, view, "print", style=_style(str(card.settings["report"]["paper"])))
    total = len(card.findings)
    what = f"the {ATTACHED:,} worst of {total:,} findings" if total > ATTACHED else "all findings"
    return Sheet(
        # WeasyPrint does not isolate directions; without the elements it has a tenth less to lay
        # out. Text cannot hold these: its angle brackets are escaped.
        source=source.replace("<bdi>", "").replace("</bdi>", ""),
        attachment=b"".join(json_parts(card, ATTACHED)),
        description=f"The machine-readable results of this audit: controls, scores, gaps, {what}",
        moment=moment_of(card.taken_at),
        identifier=card.sha256[:32],
    )


def _style(paper: str) -> str:
    from markupsafe import Markup

    return Markup(f"@page {{ size: {paper}; }}\n{style('print')}")  # noqa: S704  # our own files
