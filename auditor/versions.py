"""Ranges of versions, as catalogues write them.

`1.9` is one version, `1.5..1.10` all from the one to the other, `1.11..` all from there on (those
that are still to come included) and `..1.8` all up to there. The order is the one in which the
catalogue declares its versions, which is that of publication: 1.7 came after 1.24.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

TO = ".."


class Run(NamedTuple):
    """Versions that follow one another, `first` to `last`, and what they share."""

    first: str
    last: str
    value: str

    @property
    def span(self) -> str:
        """The versions as a sentence has them: `1.5 to 1.10`."""
        return self.first if self.first == self.last else f"{self.first} to {self.last}"


def expand(text: str, order: Sequence[str]) -> Sequence[str]:
    """The versions of a range. Raises `ValueError` for one that names an unknown version."""
    first, to, last = text.partition(TO)
    for name in (first, last) if to else (text,):
        if name not in order and (name or not to):
            msg = f"{text!r} names the version {name!r}, which is not declared"
            raise ValueError(msg)
    if not to:
        return order[order.index(first) : order.index(first) + 1]
    start = order.index(first) if first else 0
    end = order.index(last) if last else len(order) - 1
    if start > end:
        msg = f"{text!r} ends before it starts: versions stand in the order of publication"
        raise ValueError(msg)
    return order[start : end + 1]


def spread(table: Mapping[str, T], order: Sequence[str]) -> dict[str, T]:
    """A table by ranges as one by versions.

    Raises `ValueError` when a version is unknown, or is in two of the ranges.
    """
    found: dict[str, T] = {}
    for text, value in table.items():
        for version in expand(text, order):
            if version in found:
                msg = f"{text!r} has the version {version!r}, which another range has too"
                raise ValueError(msg)
            found[version] = value
    return found


def runs(values: Mapping[str, str], order: Iterable[str]) -> list[Run]:
    """A table by versions as ranges, the oldest first; versions without a value end a range."""
    found: list[Run] = []
    going_on = False
    for version in order:
        value = values.get(version)
        if value is not None:
            if going_on and found[-1].value == value:
                found[-1] = found[-1]._replace(last=version)
            else:
                found.append(Run(version, version, value))
        going_on = value is not None
    return found


def told(found: Iterable[Run]) -> tuple[str, ...]:
    """Runs as a sentence has them, each value once: `1.2.5 in 1.5 to 1.6 and 1.23`."""
    spans: dict[str, list[str]] = {}
    for run in found:
        spans.setdefault(run.value, []).append(run.span)
    return tuple(f"{value} in {' and '.join(listed)}" for value, listed in spans.items())
