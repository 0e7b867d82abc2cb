"""The report as a PDF: for reading on paper, tagged (PDF/UA-1), with the findings attached.

WeasyPrint is given no way out: its fetcher answers `data:` addresses and nothing else. Dates and
the file's identifier come from the snapshot, so that one machine writes the same bytes each time.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from auditor.errors import RenderError
from auditor.garbage import paused_garbage_collection
from auditor.scorecard import Scorecard
from reports.document import fill, style
from reports.findings_json import json_parts
from reports.text import moment_of
from reports.view import arrange

SPREAD = 4
"""Findings of one check before the next check has its turn: enough to see what they share."""

ATTACHED = 20_000
"""Most findings in the attached findings.json: more would make a file that no reader opens."""

_PANGO = (
    "install Pango: apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 "
    "(Debian, Ubuntu), dnf install pango (Fedora, RHEL), apk add pango (Alpine), "
    "or brew install pango (macOS)"
)


def render_pdf(card: Scorecard) -> bytes:
    """Return the report as a PDF file.

    It details the worst findings (`report.pdf_findings`) and counts the others, which are in the
    attached findings.json as far as they fit. Raises `RenderError` when the libraries WeasyPrint
    needs are missing.
    """
    weasyprint = load_weasyprint()
    limit = int(card.settings["report"]["pdf_findings"])
    view = arrange(card, markup=limit, carried=0, spread=SPREAD)
    source = fill(card, view, "print", style=_style(str(card.settings["report"]["paper"])))
    # WeasyPrint does not isolate directions; without the elements it has a tenth less to lay out.
    # Text cannot hold these: its angle brackets are escaped.
    source = source.replace("<bdi>", "").replace("</bdi>", "")
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols={"data"}, allow_redirects=False)
    # Laying out builds hundreds of thousands of objects that all live to the end.
    with paused_garbage_collection():
        document = weasyprint.HTML(string=source, url_fetcher=fetcher).render()
        document.metadata.attachments = [_attachment(weasyprint, card)]
        written: bytes = document.write_pdf(
            pdf_variant="pdf/ua-1", pdf_identifier=card.sha256[:32].encode() or None
        )
    return written


def load_weasyprint() -> ModuleType:
    """Import WeasyPrint, which loads Pango and takes half a second: only when it is needed.

    Raises `RenderError` when Pango is missing.
    """
    try:
        import weasyprint
    except OSError as error:
        library = str(error).split("\n", 1)[0].strip().rstrip(".")
        raise RenderError(
            f"the PDF cannot be written, a library is missing ({library})", remedy=_PANGO
        ) from error
    module: ModuleType = weasyprint
    return module


def _style(paper: str) -> str:
    from markupsafe import Markup

    return Markup(f"@page {{ size: {paper}; }}\n{style('print')}")  # noqa: S704  # our own files


def _attachment(weasyprint: ModuleType, card: Scorecard) -> Any:
    moment = moment_of(card.taken_at)
    total = len(card.findings)
    what = f"the {ATTACHED:,} worst of {total:,} findings" if total > ATTACHED else "all findings"
    return weasyprint.Attachment(
        string=b"".join(json_parts(card, ATTACHED)),
        name="findings.json",
        description=f"The machine-readable results of this audit: controls, scores, gaps, {what}",
        created=moment,
        modified=moment,
        relationship="Data",
    )
