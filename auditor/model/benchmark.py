"""Benchmarks: sections and controls, which name the checks that decide them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Control:
    """A line of a benchmark in one version, and the checks that decide it.

    `mode` is the benchmark's own word for how it is assessed (`manual`, `automated`; `scored`, `not
    scored` in old versions), `level` its profile level where it has levels and this version's are
    known. `labels` are other numbers the control goes by. `note` is a sentence the report prints
    beside it. `because` says in one sentence, for each check that a framework's control was given,
    what the one has to do with the other. `identity` is what the control is about, the same in
    every version of the benchmark; `elsewhere` says which numbers it has in other versions, where
    they differ (`5.7.3 in 1.5 to 1.10`).
    """

    id: str
    title: str
    section: str
    level: int | None
    mode: str
    checks: tuple[str, ...]
    note: str = ""
    labels: tuple[str, ...] = ()
    because: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of a benchmark: an id, a title, and the chapter above it, if any."""

    id: str
    title: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One version of a benchmark: its sections and controls, in the benchmark's order.

    `platforms` are the platforms whose checks it speaks of; it is decided only for targets of
    those platforms. `kind` is `benchmark`, `framework`, `mapping`, `guide` or `checklist` and
    steers which part of the report shows it.
    """

    id: str
    version: str
    title: str
    kind: str
    platforms: tuple[str, ...]
    sections: tuple[Section, ...]
    controls: tuple[Control, ...]
    note: str = ""

    @property
    def ref(self) -> str:
        """`id@version`, as `--benchmark` takes it."""
        return f"{self.id}@{self.version}"
