"""What the collectors of files share: their target, how files are found, named and read."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from auditor.model import Reason, Target

FILES = Target(id="files", source="files", name="files")
"""The target of everything that was read from files; the same for every such collector."""

MAX_FILES = 10_000
"""Files that one collector reads from the folders it is given."""
_SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", ".venv", "__pycache__"})


class Refused(Exception):  # noqa: N818 - it says what became of a file, not what went wrong
    """A file that is not read, with the reason, one line about it, and what would mend it."""

    def __init__(self, reason: Reason, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.remedy = remedy


class Found(NamedTuple):
    """A file to read, or (with `refused`) a path that led to none."""

    path: Path
    name: str
    refused: Refused | None = None


def find(
    paths: Sequence[Path], base: Path | None, wanted: Callable[[str], bool]
) -> Iterator[Found]:
    """Yield each file once: those named by `paths`, and those below a folder that are `wanted`.

    `wanted` is asked with a file's name. Folders are walked in order of their names, links to
    folders are not followed, and version control and package folders are left out.
    """
    seen: set[Path] = set()
    count = 0
    for path in paths:
        for item in _below(path, base, wanted) if path.is_dir() else [_named(path, base)]:
            real = Path(os.path.realpath(item.path))
            if real in seen:
                continue
            seen.add(real)
            count += 1
            if count > MAX_FILES:
                refused = Refused(
                    Reason.REFUSED,
                    f"more than {MAX_FILES} files; the rest was not read",
                    "name fewer folders in one audit",
                )
                yield Found(path, name_of(path, base), refused)
                return
            yield item


def _named(path: Path, base: Path | None) -> Found:
    try:
        path.stat()
    except OSError as error:
        refused = Refused(
            Reason.ABSENT if isinstance(error, FileNotFoundError) else Reason.FAILED,
            (error.strerror or "cannot be read").lower(),
            "correct the path, or leave it out",
        )
        return Found(path, name_of(path, base), refused)
    return Found(path, name_of(path, base))


def _below(folder: Path, base: Path | None, wanted: Callable[[str], bool]) -> Iterator[Found]:
    problems: list[OSError] = []
    for root, directories, files in os.walk(folder, onerror=problems.append):
        directories[:] = sorted(name for name in directories if name not in _SKIPPED)
        for name in sorted(files):
            if wanted(name):
                yield _named(Path(root, name), base)
        while problems:
            error = problems.pop()
            path = Path(os.fsdecode(error.filename or folder))
            detail = (error.strerror or "cannot be read").lower()
            refused = Refused(Reason.FORBIDDEN, detail, "let the auditor read this folder")
            yield Found(path, name_of(path, base), refused)


def name_of(path: Path, base: Path | None) -> str:
    """A file's name in the audit: its path relative to `base` where it lies below it."""
    root = Path.cwd() if base is None else base
    absolute, anchor = Path(os.path.abspath(path)), Path(os.path.abspath(root))  # noqa: PTH100
    chosen = absolute.relative_to(anchor) if absolute.is_relative_to(anchor) else path
    # A name that is not UTF-8 on disk must still fit into a snapshot.
    return chosen.as_posix().encode("utf-8", "backslashreplace").decode()


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes. Raises `Refused`."""
    try:
        # Opened without waiting: a named pipe would otherwise hold up the audit for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise Refused(Reason.REFUSED, "not a regular file", "name a file")
            data = stream.read(limit + 1)
    except OSError as error:
        detail = (error.strerror or "cannot be read").lower()
        forbidden = isinstance(error, PermissionError)
        reason = Reason.FORBIDDEN if forbidden else Reason.FAILED
        raise Refused(reason, detail, "let the auditor read this file") from None
    if len(data) > limit:
        size = f"{limit // 1024} KiB" if limit < 1024**2 else f"{limit // 1024**2} MiB"
        raise Refused(Reason.REFUSED, f"larger than {size}", "leave this file out, or shorten it")
    return data


def decode(data: bytes) -> str:
    """Text of a file: UTF-16 and UTF-32 by their byte-order mark, else UTF-8 with marks removed.

    Raises `Refused` when it is not text.
    """
    encoding = "utf-8-sig"
    for mark, name in (
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            encoding = name
            break
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise Refused(Reason.MALFORMED, "not text", "leave this file out") from None
    if "\0" in text:
        raise Refused(Reason.MALFORMED, "not text: it holds NUL bytes", "leave this file out")
    return text
