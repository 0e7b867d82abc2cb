"""The PDF report, read back: tagged, titled, complete, the same bytes each time."""

import builtins
import io
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from auditor.errors import RenderError
from auditor.scorecard import Scorecard
from reports.document import TITLES
from reports.findings_json import render_json
from reports.pdf import render_pdf
from tests.support.scorecards import SHA256, make_scorecard

pypdf = pytest.importorskip("pypdf", reason="reads PDFs back: pip install pypdf")
pytest.importorskip("weasyprint", reason="needs Pango: apt-get install libpango-1.0-0")


def light(card: Scorecard) -> Scorecard:
    """The scorecard without its benchmarks and with few checks: most of the layout time."""
    checks = card.checks[:3]
    shown = {item.check.id for item in checks}
    top = tuple(row for row in card.top if row.check in shown)
    return replace(card, benchmarks=(), checks=checks, top=top)


@pytest.fixture(scope="module")
def card() -> Scorecard:
    return make_scorecard()


@pytest.fixture(scope="module")
def rendered(card: Scorecard) -> tuple[bytes, list[str]]:
    """The PDF, and what WeasyPrint warned of while it was made."""
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("weasyprint")
    logger.addHandler(handler)
    try:
        return render_pdf(card), warnings
    finally:
        logger.removeHandler(handler)


@pytest.fixture(scope="module")
def reader(rendered: tuple[bytes, list[str]]) -> Any:
    return pypdf.PdfReader(io.BytesIO(rendered[0]))


@pytest.fixture(scope="module")
def pages(reader: Any) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def test_weasyprint_has_nothing_to_complain_about(rendered: tuple[bytes, list[str]]) -> None:
    data, warnings = rendered
    assert data.startswith(b"%PDF-1.7")
    assert warnings == []


def test_it_is_tagged_and_says_so(reader: Any) -> None:
    root = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert "/StructTreeRoot" in root
    assert b"pdfuaid:part" in root["/Metadata"].get_object().get_data()


def test_title_author_and_dates_come_from_the_audit(reader: Any) -> None:
    info = reader.metadata
    assert info.title == "Container platform audit, Example & Sons, 2026-03-31 22:15:04 UTC"
    assert info.author == "Platform team"
    assert info["/CreationDate"] == info["/ModDate"] == "D:20260331221504Z"
    assert reader.trailer["/ID"][0] in (SHA256[:32], SHA256[:32].encode())


def test_the_machine_readable_results_are_attached(card: Scorecard, reader: Any) -> None:
    assert reader.attachments == {"findings.json": [render_json(card)]}


def test_every_font_is_embedded(reader: Any) -> None:
    found = 0
    for page in reader.pages:
        for font in page["/Resources"]["/Font"].values():
            descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
            assert "/FontFile2" in descriptor or "/FontFile3" in descriptor
            found += 1
    assert found


def test_pages_are_numbered_and_carry_title_section_and_classification(pages: list[str]) -> None:
    for number, text in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in text
        assert "Confidential" in text
        assert "Container platform audit" in text
    assert "2 Summary" in pages[1]
    assert len(pages) <= 25


def test_the_contents_name_the_page_of_each_section(pages: list[str]) -> None:
    for title in list(TITLES.values())[1:]:
        listed = re.search(rf"{re.escape(title)} ?[. ]+(\d+)", pages[0])
        assert listed, title
        assert title in pages[int(listed.group(1)) - 1]


def test_bookmarks_lead_to_the_sections(reader: Any) -> None:
    top = [item.title for item in reader.outline if not isinstance(item, list)]
    assert top == [f"{n} {title}" for n, title in enumerate(list(TITLES.values())[1:], start=2)]
    assert any(isinstance(item, list) for item in reader.outline)


def test_links_stay_inside(reader: Any) -> None:
    links = [item.get_object() for page in reader.pages for item in page.get("/Annots", ())]
    assert {link["/Subtype"] for link in links} == {"/Link"}
    assert all("/Dest" in link and "/A" not in link for link in links)
    root = reader.trailer["/Root"]
    assert not {"/OpenAction", "/AA", "/AcroForm"} & set(root)


def test_the_worst_findings_are_detailed_and_the_rest_is_counted(
    card: Scorecard, pages: list[str]
) -> None:
    total = card.finding_counts.fail + card.finding_counts.not_judged
    text = " ".join(pages)
    limit = card.settings["report"]["pdf_findings"]
    assert limit < total
    assert f"{limit} of {total} findings that are not passes are detailed here" in text
    left = [int(number) for number in re.findall(r"(\d+) more in the HTML, CSV and JSON", text)]
    detailed = set(re.findall(r"Why it matters", text))
    assert detailed
    assert 0 < sum(left) <= total - 40


def test_sections_without_a_check_are_one_line_each(pages: list[str]) -> None:
    text = " ".join(pages)
    assert "1.1 Files of the control plane 21 1.1.1 to 1.1.21" in text
    assert "asks under 1.1.7," not in text
    assert "GV.OC, GV.RM" in text


def test_hostile_names_are_text(pages: list[str]) -> None:
    text = " ".join(pages).replace(" ", "")
    assert "</script><script>document.title='hacked'</script>" in text
    assert "{{7*7}}{%raw%}" in text
    assert "morecharacters)" in text


def test_two_renders_are_byte_identical(card: Scorecard) -> None:
    assert render_pdf(light(card)) == render_pdf(light(card))


@pytest.mark.parametrize(("paper", "width"), [("A4", 595), ("Letter", 612)])
def test_paper(card: Scorecard, paper: str, width: int) -> None:
    report = {**card.settings["report"], "paper": paper}
    small = replace(light(card), settings={**card.settings, "report": report})
    page = pypdf.PdfReader(io.BytesIO(render_pdf(small))).pages[0]
    assert int(page.mediabox.width) == width


def test_nothing_but_data_addresses_is_fetched(
    card: Scorecard, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("must not be read")
    addresses = (secret.as_uri(), "http://127.0.0.1:9/x", "ftp://127.0.0.1:9/x", "//127.0.0.1/x")
    tags = "".join(
        f'<img alt="x" src="{url}"><link rel="stylesheet" href="{url}">'
        f'<link rel="attachment" href="{url}">'
        for url in addresses
    )
    opened: list[Any] = []
    real = builtins.open

    def watch(file: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(file)
        return real(file, *args, **kwargs)

    monkeypatch.setattr(
        "reports.pdf.fill", lambda *_, **__: f"<html lang=en><title>x</title>{tags}"
    )
    monkeypatch.setattr(builtins, "open", watch)
    written = render_pdf(light(card))
    assert set(pypdf.PdfReader(io.BytesIO(written)).attachments) == {"findings.json"}
    assert not [name for name in opened if "secret" in str(name)]
    assert b"must not be read" not in written


def _without(library: str) -> Callable[..., Any]:
    real = builtins.__import__

    def fake(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "weasyprint":
            raise OSError(f"cannot load library '{library}': no such file.\nadditional text")
        return real(name, *args, **kwargs)

    return fake


def test_a_missing_pango_is_one_line_that_says_what_to_install(
    card: Scorecard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    monkeypatch.setattr(builtins, "__import__", _without("libpango-1.0-0"))
    with pytest.raises(RenderError) as caught:
        render_pdf(card)
    line = str(caught.value)
    assert "\n" not in line
    for word in ("libpango-1.0-0", "apt-get install", "dnf install", "apk add", "brew install"):
        assert word in line
