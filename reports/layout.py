"""Laying out the PDF: here, or in a process of its own beside the one that audits.

Laying out takes more time and memory than the audit itself, and runs native libraries over text
from elsewhere. In a process of its own it holds no credentials and no snapshot, its memory is its
own, a crash in it costs the PDF alone, and it imports its libraries while the cluster answers.
"""

from __future__ import annotations

import atexit
import logging
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import BinaryIO

import orjson

from auditor.errors import RenderError
from auditor.garbage import paused_garbage_collection

log = logging.getLogger(__name__)

NO_LIBRARY = 4
"""Exit code of the process for a library that is missing; its message is on standard error."""

_PANGO = (
    "install Pango: apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 "
    "(Debian, Ubuntu), dnf install pango (Fedora, RHEL), apk add pango (Alpine), "
    "or brew install pango (macOS)"
)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is laid out: the filled template, and the file that is attached to it.

    `moment` is the snapshot's time, `identifier` makes the file's bytes the same each time.
    """

    source: str
    attachment: bytes
    description: str
    moment: datetime | None
    identifier: str


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


def lay_out(sheet: Sheet) -> bytes:
    """Lay out in this process. Raises `RenderError` when Pango is missing."""
    weasyprint = load_weasyprint()
    fetcher = weasyprint.urls.URLFetcher(allowed_protocols={"data"}, allow_redirects=False)
    attachment = weasyprint.Attachment(
        string=sheet.attachment,
        name="findings.json",
        description=sheet.description,
        created=sheet.moment,
        modified=sheet.moment,
        relationship="Data",
    )
    # Laying out builds hundreds of thousands of objects that all live to the end.
    with paused_garbage_collection():
        document = weasyprint.HTML(string=sheet.source, url_fetcher=fetcher).render()
        document.metadata.attachments = [attachment]
        written: bytes = document.write_pdf(
            pdf_variant="pdf/ua-1", pdf_identifier=sheet.identifier.encode() or None
        )
    return written


class Printer:
    """A process that waits for a sheet and gives back its PDF."""

    def __init__(self) -> None:
        """Start it. Raises `OSError` where no process can be started."""
        # -P: what lies in the current folder is never imported, whatever its name.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "reports.layout"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the process if it still waits."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def lay_out(self, sheet: Sheet) -> bytes:
        """Lay out there; here, if the process cannot be used.

        Raises `RenderError` when Pango is missing, or the process was ended by a signal.
        """
        written, said = self._process.communicate(packed(sheet))
        code = self._process.returncode
        if code == 0:
            return written
        message = said.decode("utf-8", "replace").strip()
        if code == NO_LIBRARY:
            what, _, remedy = message.partition("\n")
            raise RenderError(what, remedy=remedy or None)
        if code < 0:
            raise RenderError(
                f"the PDF cannot be written: laying it out was ended by signal {-code}",
                remedy="leave it out (--format html,json,csv), or free some memory",
            )
        log.debug("the process that lays out ended with %d: %s", code, message)
        return lay_out(sheet)


def packed(sheet: Sheet) -> bytes:
    """A sheet as the process reads it: a line of JSON, then the source, then the attachment."""
    source = sheet.source.encode("utf-8", "replace")
    head = {
        "source": len(source),
        "attachment": len(sheet.attachment),
        "description": sheet.description,
        "moment": sheet.moment.isoformat() if sheet.moment else None,
        "identifier": sheet.identifier,
    }
    return b"".join((orjson.dumps(head), b"\n", source, sheet.attachment))


def unpacked(stream: BinaryIO) -> Sheet | None:
    """Read a sheet that `packed` wrote; None when the stream ended without one."""
    line = stream.readline()
    if not line:
        return None
    head = orjson.loads(line)
    return Sheet(
        source=stream.read(head["source"]).decode(),
        attachment=stream.read(head["attachment"]),
        description=head["description"],
        moment=datetime.fromisoformat(head["moment"]) if head["moment"] else None,
        identifier=head["identifier"],
    )


def main() -> int:
    """Read one sheet from standard input and write its PDF to standard output."""
    try:
        load_weasyprint()
        sheet = unpacked(sys.stdin.buffer)
        if sheet is not None:
            sys.stdout.buffer.write(lay_out(sheet))
    except RenderError as error:
        sys.stderr.write(f"{error.what}\n{error.remedy or ''}")
        return NO_LIBRARY
    except KeyboardInterrupt:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
