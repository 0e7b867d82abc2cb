"""The findings of an evaluation: what is open as rows, what passed as columns.

A large cluster passes far more often than it fails, and a pass says nothing but that it is one. So
passes and not-applicable rows are kept as three short columns for each check, a few bytes a row,
and become `Finding` objects only where somebody looks at them.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

from auditor.model import Check, Finding, Json, Resource, Status, Verdict

Key = tuple[str, str | None, str, str | None]
"""What names a resource within a target: kind, namespace, name and file."""

SETTLED = frozenset({Status.PASS, Status.NOT_APPLICABLE})
"""The statuses of rows that need no prose; they rank last, so that columns stand behind rows."""


class Place(NamedTuple):
    """Where findings stand: the part of a resource that outlives the snapshot it came from."""

    kind: str
    namespace: str | None
    name: str
    origin: str | None
    line: int | None
    source: str

    @property
    def key(self) -> Key:
        """What names it within its target."""
        return self[:4]


class Places:
    """The places of one target, numbered; resources of one key (pods of one owner) share one."""

    def __init__(self) -> None:
        self.all: list[Place] = []
        self._by_key: dict[Key, int] = {}
        # By identity, because a view holds its resources for as long as it is evaluated.
        self._by_id: dict[int, int] = {}

    def number(self, item: Resource) -> int:
        """The number of a resource's place."""
        known = self._by_id.get(id(item))
        if known is not None:
            return known
        key = (item.kind, item.namespace, item.name, item.origin)
        number = self._by_key.setdefault(key, len(self.all))
        if number == len(self.all):
            self.all.append(Place(*key, item.line, item.source))
        self._by_id[id(item)] = number
        return number


def finding_id(check: str, target: str, key: Key, path: str, ordinal: int) -> str:
    """A short id that is the same in every audit for the same check, target, owner and place.

    Lines are left out on purpose: they move when a file is edited above them.
    """
    parts = (
        check,
        target,
        key[0],
        key[1] or "",
        key[2],
        key[3] or "",
        path,
        str(ordinal),
    )
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def finding_order(row: Finding) -> tuple[Json, ...]:
    """Sort key of findings: the worst first, then by check and place."""
    return (
        row.status.rank,
        row.severity.rank,
        row.check,
        row.target,
        row.namespace or "",
        row.kind,
        row.name,
        row.origin or "",
        row.line or 0,
        row.path,
        row.id,
    )


@dataclass(slots=True)
class Settled:
    """The settled rows of one check on one target with one status, in the order of findings.

    The columns are parallel: `numbers` (into `places`, which all checks of the target share),
    `counts` (live objects), `ordinals` (which of several rows of one place) and `words` (path and
    what was seen; nearly always the same empty pair).
    """

    check: Check
    target: str
    status: Status
    places: Sequence[Place]
    numbers: array[int] = field(default_factory=lambda: array("L"))
    counts: array[int] = field(default_factory=lambda: array("L"))
    ordinals: array[int] = field(default_factory=lambda: array("L"))
    words: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, number: int, count: int, ordinal: int, verdict: Verdict) -> None:
        """Add a row."""
        self.numbers.append(number)
        self.counts.append(count)
        self.ordinals.append(ordinal)
        bare = not (verdict.path or verdict.observed)
        self.words.append(_NO_WORDS if bare else (verdict.path, verdict.observed))

    def sort(self) -> None:
        """Put the rows into the order of findings."""
        order = sorted(range(len(self)), key=self._order)
        self.numbers = array("L", (self.numbers[index] for index in order))
        self.counts = array("L", (self.counts[index] for index in order))
        self.ordinals = array("L", (self.ordinals[index] for index in order))
        self.words = [self.words[index] for index in order]

    def _order(self, index: int) -> tuple[str, str, str, str, int, str]:
        item = self.places[self.numbers[index]]
        return (
            item.namespace or "",
            item.kind,
            item.name,
            item.origin or "",
            item.line or 0,
            self.words[index][0],
        )

    def finding(self, index: int) -> Finding:
        """One row as a finding."""
        place = self.places[self.numbers[index]]
        path, observed = self.words[index]
        return Finding(
            id=finding_id(self.check.id, self.target, place.key, path, self.ordinals[index]),
            check=self.check.id,
            status=self.status,
            severity=self.check.severity,
            target=self.target,
            source=place.source,
            kind=place.kind,
            namespace=place.namespace,
            name=place.name,
            path=path,
            line=place.line,
            column=None,
            observed=observed,
            expected="",
            count=self.counts[index],
            waiver=None,
            origin=place.origin,
        )


_NO_WORDS = ("", "")


class Findings(Sequence[Finding]):
    """All findings of an evaluation, the worst first.

    `rows` are those that are not settled (and settled ones that stand for no resource); `settled`
    are the others as columns. Iterating makes a `Finding` of each.
    """

    def __init__(self, rows: Iterable[Finding] = (), settled: Iterable[Settled] = ()) -> None:
        self.rows = sorted(rows, key=finding_order)
        self.settled = [block for block in settled if len(block)]
        for block in self.settled:
            block.sort()
        self.settled.sort(
            key=lambda block: (
                block.status.rank,
                block.check.severity.rank,
                block.check.id,
                block.target,
            )
        )

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Findings:
        """The same findings as this class holds them; those of an evaluation as they are."""
        return findings if isinstance(findings, Findings) else cls(findings)

    def __len__(self) -> int:
        return len(self.rows) + sum(map(len, self.settled))

    def __iter__(self) -> Iterator[Finding]:
        yield from self.rows
        for block in self.settled:
            for index in range(len(block)):
                yield block.finding(index)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        if isinstance(index, slice):
            return list(self)[index]
        place = index + len(self) if index < 0 else index
        if 0 <= place < len(self.rows):
            return self.rows[place]
        place -= len(self.rows)
        for block in self.settled:
            if 0 <= place < len(block):
                return block.finding(place)
            place -= len(block)
        raise IndexError(index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        raise TypeError("findings are compared, not hashed")
