"""Bytes from a stranger, read forward once, within bounds: nothing is unpacked and nothing kept.

`tarfile` does the parsing. What it lacks against a hostile archive is added around it:

- a source that only goes forward and ends with an error, not with a loop, where a declared size
  is larger than what is there (10 GB in a file of 2 KB);
- a bound on the bytes of one archive, after decompression (a bomb);
- a bound on the headers of one entry, which `tarfile` reads into memory whole (a PAX bomb), and
  a look at PAX records before it parses them: CPython up to 3.11.9 and 3.12.5 takes quadratic
  time and memory over crafted ones (CVE-2024-6232);
- an error where `tarfile` would take a broken header for the end and hide all that follows.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

import zstandard

from auditor.collect.base import Deadline
from auditor.model import Reason

CHUNK = 1024 * 1024
BLOCK = 512
MAX_HEADERS = 1024 * 1024
"""Bytes of headers for one entry: names, links and extended attributes. The same limit as in Go's
`archive/tar`, with which engines read images: what is larger cannot be loaded anyway."""
_MAX_WINDOW = 128 * 1024 * 1024
"""Largest zstd window: `zstd --long`, the most a standard decoder must accept, is 128 MiB."""
_DIGITS = re.compile(rb"[0-9]{512}")
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


class ArchiveError(Exception):
    """An archive that is not read further, and why; `detail` is one line for a reader."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Readable(Protocol):
    """Anything with a `read` that returns at most that many bytes, and none at the end."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""


MAX_FACTS = 20_000
"""Setuid files and secrets that are kept of one archive; more is an attack on the reader."""


@dataclass(slots=True)
class Budget:
    """What one image or archive may still cost: bytes, entries, facts to remember, and time."""

    bytes_left: int
    members_left: int
    deadline: Deadline
    facts_left: int = MAX_FACTS

    def spend(self, size: int) -> None:
        """Take `size` bytes. Raises `ArchiveError` when there are not that many, or no time."""
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise ArchiveError(Reason.REFUSED, "it is larger than [docker] image_max_bytes allows")
        if size > BLOCK:
            self._in_time()

    def member(self) -> None:
        """Take one entry. Raises `ArchiveError` when there are too many, or no time."""
        self._in_time()
        self.members_left -= 1
        if self.members_left < 0:
            raise ArchiveError(
                Reason.REFUSED, "it has more entries than [docker] archive_max_members allows"
            )

    def _in_time(self) -> None:
        if self.deadline.passed:
            raise ArchiveError(Reason.TIMED_OUT, "the deadline passed while it was read")

    def fact(self) -> None:
        """Take one fact. Raises `ArchiveError` when there are too many."""
        self.facts_left -= 1
        if self.facts_left < 0:
            raise ArchiveError(
                Reason.REFUSED, f"it has more than {MAX_FACTS} setuid files and secrets"
            )


class Chunks:
    """An iterator of byte chunks as a `Readable`."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes: what is left of the current chunk, or of the next one."""
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        data = bytes(self._rest[:size])
        self._rest = self._rest[len(data) :]
        return data


class ForwardStream:
    """A `Readable` with a position that only grows; the file object that `tarfile` is given.

    With `digest`, every byte that passes is hashed (see `finish`). `last` is what the last `read`
    returned: it tells an archive's end mark from a broken header.
    """

    def __init__(
        self, source: Readable, budget: Budget | None = None, *, digest: bool = False
    ) -> None:
        self._source = source
        self._budget = budget
        self._hash = hashlib.sha256() if digest else None
        self._held = b""
        self._position = 0
        self._headers_left: int | None = None
        self.last = b""

    def tell(self) -> int:
        """Bytes that were read or skipped so far."""
        return self._position

    def limit_headers(self, size: int | None) -> None:
        """Let `read` return no more than `size` bytes in all, until it is set again."""
        self._headers_left = size

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, or fewer only at the end."""
        if self._headers_left is not None:
            self._headers_left -= size
            if self._headers_left < 0:
                raise ArchiveError(Reason.REFUSED, "the headers of one entry are larger than 1 MiB")
        data = self._take(size)
        if len(data) < size:
            parts = [data]
            missing = size - len(data)
            while missing and (data := self._take(missing)):
                parts.append(data)
                missing -= len(data)
            data = b"".join(parts)
        self.last = data
        return data

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer at the end, and leave them to be read again."""
        while len(self._held) < size:
            data = self._source.read(size - len(self._held))
            if not data:
                break
            self._held += data
        return self._held[:size]

    def seek(self, position: int) -> None:
        """Skip forward. Raises `ArchiveError` for a step back, or when the bytes end before."""
        missing = position - self._position
        if missing < 0:
            raise ArchiveError(Reason.MALFORMED, "its entries overlap")
        while missing:
            data = self._take(min(missing, CHUNK))
            if not data:
                raise ArchiveError(Reason.MALFORMED, "it is cut short")
            missing -= len(data)

    def finish(self) -> tuple[str, bool]:
        """Read to the end; return the SHA-256 of all bytes, and whether the rest was all zero.

        The digest is empty when none was asked for.
        """
        zero = True
        while data := self._take(CHUNK):
            zero = zero and not data.strip(b"\0")
        return ("sha256:" + self._hash.hexdigest() if self._hash else ""), zero

    def _take(self, size: int) -> bytes:
        if self._held:
            data, self._held = self._held[:size], self._held[size:]
        else:
            data = self._source.read(size)
        if self._budget is not None:
            self._budget.spend(len(data))
        if self._hash is not None:
            self._hash.update(data)
        self._position += len(data)
        return data


class Window:
    """The next `size` bytes of a stream, as a stream of their own."""

    def __init__(self, source: ForwardStream, size: int) -> None:
        self._source = source
        self._left = size

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes. Raises `ArchiveError` when the source ends early."""
        wanted = min(size, self._left)
        if not wanted:
            return b""
        data = self._source.read(wanted)
        self._left -= len(data)
        if len(data) < wanted:
            raise ArchiveError(Reason.MALFORMED, "it is cut short")
        return data


class _Decoded:
    """A decompressor whose errors are an `ArchiveError`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        """Return up to `size` decompressed bytes."""
        try:
            return self._stream.read(size)
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise ArchiveError(Reason.MALFORMED, f"its compression is broken: {error}") from error


def decompressed(stream: ForwardStream) -> Readable:
    """Return what a stream holds: decompressed if it starts as gzip or zstd do, else itself."""
    start = stream.peek(4)
    if start.startswith(_GZIP):
        return _Decoded(cast("IO[bytes]", gzip.GzipFile(fileobj=cast("Any", stream), mode="rb")))
    if start == _ZSTD:
        decoder = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        return _Decoded(
            cast(
                "IO[bytes]",
                decoder.stream_reader(cast("Any", stream), read_across_frames=True),
            )
        )
    return stream


def looks_like_layer(start: bytes) -> bool:
    """Whether the first 512 bytes are those of a tar archive, or of a compressed file."""
    if start.startswith((_GZIP, _ZSTD)):
        return True
    if len(start) < BLOCK:
        return False
    if not start.strip(b"\0"):
        return True  # an archive without entries: its end mark and nothing else
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


class _Entry(tarfile.TarInfo):
    """An entry whose PAX records are looked at before `tarfile` parses them."""

    def _proc_pax(self, archive: Any) -> Any:
        # A hook that tarfile.TarInfo leaves to subclasses. Should a later Python no longer call
        # it, that Python has the checks of its own.
        if not 0 <= self.size <= MAX_HEADERS:
            raise ArchiveError(Reason.REFUSED, "the headers of one entry are larger than 1 MiB")
        _vet_records(archive.fileobj.peek(self.size))
        return super()._proc_pax(archive)  # type: ignore[misc]


def _vet_records(body: bytes) -> None:
    """Raise `ArchiveError` unless `body` is a row of PAX records: `<length> <key>=<value>\\n`."""
    if _DIGITS.search(body):
        raise ArchiveError(Reason.REFUSED, "a PAX header holds hundreds of digits in a row")
    position, end = 0, len(body.rstrip(b"\0"))
    while position < end:
        digits = body[position : position + 8].partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        record = body[position : position + length]
        if length < 5 or len(record) < length or record[-1:] != b"\n" or b"=" not in record:
            raise ArchiveError(Reason.MALFORMED, "a PAX header is not made of records")
        position += length


def entries(stream: ForwardStream) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of a tar archive; the stream then stands at the entry's content.

    The content may be read from the stream or left. Raises `ArchiveError` for an archive that is
    cut short, malformed, or made to exhaust the reader.
    """
    stream.limit_headers(MAX_HEADERS)
    try:
        archive: Any = tarfile.TarFile(fileobj=cast("Any", stream), mode="r", tarinfo=_Entry)
        while (info := archive.next()) is not None:
            # tarfile keeps each entry it has seen; an image has a million of them.
            archive.members = []
            if info.size < 0:
                raise ArchiveError(Reason.MALFORMED, "an entry has a negative size")
            if sum(map(len, archive.pax_headers.values())) > MAX_HEADERS:
                raise ArchiveError(Reason.REFUSED, "its global headers are larger than 1 MiB")
            stream.limit_headers(None)
            yield info
            stream.limit_headers(MAX_HEADERS)
    except (tarfile.TarError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise ArchiveError(Reason.MALFORMED, f"it is not a tar archive: {error}") from error
    finally:
        stream.limit_headers(None)
    # tarfile ends quietly at a header that it cannot read; the end mark is a block of zeros.
    if len(stream.last) not in (0, BLOCK):
        raise ArchiveError(Reason.MALFORMED, "it is cut short inside a header")
    if stream.last.strip(b"\0"):
        raise ArchiveError(Reason.MALFORMED, "it has a broken header; what follows was not read")
