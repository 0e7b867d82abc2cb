"""Laying out the PDF in a process of its own: the same bytes, and every way it can end."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditor.errors import RenderError
from reports import WRITERS, layout, warm
from reports.layout import Printer, Sheet, lay_out, packed, unpacked

pytest.importorskip("weasyprint", reason="needs Pango: apt-get install libpango-1.0-0")

SHEET = Sheet(
    source="<!doctype html><html lang='en'><title>t</title><p>größer than \ud800 &lt;b&gt;</p>",
    attachment=b'{"findings": []}\n\x00',
    description="two\nlines",
    moment=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    identifier="0123",
)


def test_a_sheet_survives_the_way_to_the_process() -> None:
    read = unpacked(io.BytesIO(packed(SHEET)))
    # What UTF-8 cannot hold becomes a question mark, as in the other formats.
    assert read == replace(SHEET, source=SHEET.source.replace("\ud800", "?"))
    assert unpacked(io.BytesIO(b"")) is None


def test_the_process_gives_the_bytes_that_laying_out_here_gives() -> None:
    sheet = replace(SHEET, source=SHEET.source.replace("\ud800", "?"))
    assert Printer().lay_out(sheet) == lay_out(sheet)


def ended(code: int, said: bytes = b"") -> Printer:
    """A printer whose process has ended in some way."""

    class Process:
        returncode = code

        def communicate(self, _: bytes = b"") -> tuple[bytes, bytes]:
            return b"", said

        def poll(self) -> int:
            return code

    printer = Printer()
    printer.stop()
    printer._process = Process()  # type: ignore[assignment]
    return printer


def test_a_missing_library_there_is_the_same_one_line() -> None:
    with pytest.raises(RenderError) as caught:
        ended(layout.NO_LIBRARY, b"the PDF cannot be written\ninstall Pango").lay_out(SHEET)
    assert (caught.value.what, caught.value.remedy) == (
        "the PDF cannot be written",
        "install Pango",
    )


def test_a_process_ended_by_a_signal_costs_the_pdf_and_says_so() -> None:
    with pytest.raises(RenderError, match="ended by signal 9") as caught:
        ended(-signal.SIGKILL).lay_out(SHEET)
    assert "html,json,csv" in str(caught.value.remedy)


def test_a_process_that_cannot_be_used_is_replaced_by_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout, "lay_out", lambda sheet: sheet.description.encode())
    assert ended(1, b"No module named reports").lay_out(SHEET) == b"two\nlines"


def test_a_folder_of_the_same_name_is_not_imported(tmp_path: Path) -> None:
    """The process must not run what lies where the audit happens to be started."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "__init__.py").write_text("raise SystemExit('run')")
    (tmp_path / "reports" / "layout.py").write_text("raise SystemExit('run')")
    code = "from reports.layout import Printer, Sheet\n" + (
        "print(Printer().lay_out(Sheet('<p>x', b'', 'd', None, ''))[:5])"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (run.stdout, run.stderr) == ("b'%PDF-'\n", "")


def test_a_process_that_waits_in_vain_is_ended() -> None:
    warm(["pdf"])
    from reports import _waiting

    (printer,) = _waiting
    printer.stop()
    assert printer._process.poll() is not None
    _waiting.clear()


def test_what_begins_elsewhere_is_what_is_written_here(card_bytes: bytes) -> None:
    from tests.support.scorecards import make_scorecard

    assert b"".join(WRITERS["pdf"].begun(make_scorecard())()) == card_bytes
    assert WRITERS["json"].begin is None


@pytest.fixture(scope="module")
def card_bytes() -> bytes:
    from tests.support.scorecards import make_scorecard

    return WRITERS["pdf"].render(make_scorecard())
