"""The files of a catalogue: TOML tables, checked and spread over the versions of a benchmark.

A catalogue is a TOML file, or a folder of them: one that describes the benchmark, and others with
`[[controls]]` alone. A control stands in it once, under a key that says what it is about, with the
number it has in each version, so that a new version is a few lines and not a copy:

    [benchmark]
    id = "cis-kubernetes"
    title = "CIS Kubernetes Benchmark"
    kind = "benchmark"                # benchmark | framework | mapping | guide | checklist
    platforms = ["kubernetes"]
    [[versions]]                      # in the order of publication
    id = "2.0.1"
    servers = ["1.34", "1.35"]        # server versions it was written for, for `@auto`
    [[sections]]
    id = "5.2"
    title = "Pod security"
    parent = "5"                      # optional
    [[controls]]
    key = "security-context"          # stable; may be left out where `id` is the same everywhere
    title = "…"                       # our own words, never the benchmark's
    section = "5.6"                   # or left out: the number up to its last dot
    ids = { "..1.10" = "5.7.3", "1.11.." = "5.6.3" }   # or id = "5.6.3" for all versions
    level = { "1.5..1.12" = 1, "2.0.1.." = 2 }         # or level = 1; left out where not known
    mode = { "1.5" = "scored", "1.6.." = "manual" }    # or mode = "manual"
    checks = ["k8s-security-context"]
    because = [{ checks = ["k8s-…"], why = "one sentence" }]   # frameworks: checks with a reason

A reason may name a `family` of checks instead, as `families.toml` beside the catalogues has them.

The keys of `ids`, `level` and `mode` are ranges of versions (see `auditor.versions`). An open range
goes on in versions that are added later.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import Traversable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from auditor.errors import CatalogueError
from auditor.model import Benchmark, Control, Section
from auditor.versions import Run, runs, spread, told

T = TypeVar("T")
F = TypeVar("F", bound=BaseModel)

FAMILIES = "families.toml"
"""The file that names families of checks, for mappings that speak of all of one."""

Families = Mapping[str, Sequence[str]]
"""The checks of each family."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Head(_Table):
    id: str
    title: str
    kind: str
    platforms: list[str]
    note: str = ""


class _Version(_Table):
    id: str
    servers: list[str] = []
    note: str = ""


class _Section(_Table):
    id: str
    title: str
    parent: str | None = None


class _Because(_Table):
    checks: list[str] = []
    family: str | None = None
    why: str


class _Control(_Table):
    title: str
    key: str | None = None
    section: str | None = None
    level: int | dict[str, int] | None = None
    mode: str | dict[str, str] = "manual"
    checks: list[str] = []
    because: list[_Because] = []
    id: str | None = None
    ids: dict[str, str] = {}
    note: str = ""
    labels: list[str] = []

    @model_validator(mode="after")
    def _one_identity(self) -> _Control:
        if (self.id is None) == (not self.ids):
            msg = f"control {self.title!r} needs either id or ids"
            raise ValueError(msg)
        if self.ids and self.key is None:
            msg = f"control {self.title!r} needs a key, because its number is not always the same"
            raise ValueError(msg)
        return self

    @property
    def identity(self) -> str:
        """What it is about, in all versions."""
        return self.key or self.id or ""


class _Families(_Table):
    families: dict[str, list[str]]


class _File(_Table):
    benchmark: _Head | None = None
    versions: list[_Version] = []
    sections: list[_Section] = []
    controls: list[_Control] = []


@dataclass(frozen=True, slots=True)
class _Row:
    """A control of a catalogue with its tables spread over the versions; `where` is its file."""

    control: _Control
    where: str
    ids: Mapping[str, str]
    levels: Mapping[str, int]
    modes: Mapping[str, str]
    numbers: Sequence[Run]
    because: Mapping[str, str]

    @classmethod
    def of(cls, control: _Control, where: str, order: Sequence[str], families: Families) -> _Row:
        because: dict[str, str] = {}
        for item in control.because:
            if item.family is not None and item.family not in families:
                raise CatalogueError(
                    f"control {control.identity} names the family {item.family!r}, which does not "
                    "exist",
                    where=where,
                )
            members = families[item.family] if item.family is not None else ()
            because |= dict.fromkeys((*item.checks, *members), item.why)
        try:
            ids = _table(control.ids or control.id, order)
            levels = _table(control.level, order)
            modes = _table(control.mode, order)
        except ValueError as error:
            raise CatalogueError(f"control {control.identity}: {error}", where=where) from error
        for version in ids:
            if version not in modes:
                raise CatalogueError(
                    f"control {control.identity} has no mode in version {version}", where=where
                )
        return cls(control, where, ids, levels, modes, runs(ids, order), because)

    def control_in(self, version: str) -> Control | None:
        """The control as one version has it; None when it does not."""
        number = self.ids.get(version)
        if number is None:
            return None
        row = self.control
        return Control(
            id=number,
            title=row.title,
            section=number.rpartition(".")[0] if row.section is None else row.section,
            level=self.levels.get(version),
            mode=self.modes[version],
            checks=tuple(dict.fromkeys((*row.checks, *self.because))),
            note=row.note,
            labels=tuple(row.labels),
            because=self.because,
            identity=row.identity,
            elsewhere=told(run for run in self.numbers if run.value != number),
        )


def _table(value: T | dict[str, T] | None, order: Sequence[str]) -> dict[str, T]:
    """What a version has, by versions, whether the catalogue says it once or by ranges."""
    if value is None:
        return {}
    return spread(value, order) if isinstance(value, dict) else dict.fromkeys(order, value)


def read_families(folder: Traversable) -> Families:
    """The families of checks that a folder of catalogues has; empty where it has none.

    Raises `CatalogueError` when the file is malformed or a check stands in two families.
    """
    entry = folder / FAMILIES
    if not entry.is_file():
        return {}
    families = _parse(entry.read_text(encoding="utf-8"), FAMILIES, _Families).families
    members = Counter(check for checks in families.values() for check in checks)
    twice = [check for check, number in members.items() if number > 1]
    if twice:
        raise CatalogueError(f"the check {twice[0]} stands in two families", where=FAMILIES)
    return families


def read_catalogue(
    entry: Traversable, families: Families
) -> Iterator[tuple[Benchmark, tuple[str, ...]]]:
    """Every version that a catalogue describes, with the server versions it was written for.

    `entry` is a file or a folder; what is neither TOML nor holds any is passed over. Raises
    `CatalogueError` when it is malformed or contradicts itself.
    """
    if entry.name == FAMILIES:
        return iter(())
    parts = [(where, _parse(text, where, _File)) for where, text in _texts(entry)]
    return _views(entry.name, parts, families) if parts else iter(())


def _texts(entry: Traversable) -> Iterator[tuple[str, str]]:
    """The TOML texts of a catalogue, a file or a folder, each with its name."""
    if entry.is_dir():
        for part in sorted(entry.iterdir(), key=lambda part: part.name):
            if part.name.endswith(".toml"):
                yield f"{entry.name}/{part.name}", part.read_text(encoding="utf-8")
    elif entry.name.endswith(".toml"):
        yield entry.name, entry.read_text(encoding="utf-8")


def _parse(text: str, where: str, shape: type[F]) -> F:
    try:
        data: dict[str, Any] = tomllib.loads(text)
        return shape.model_validate(data)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"not TOML: {error}", where=where) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CatalogueError(f"{place}: {first['msg']}", where=where) from error


def _views(
    name: str, parts: Sequence[tuple[str, _File]], families: Families
) -> Iterator[tuple[Benchmark, tuple[str, ...]]]:
    """Every version, in the order in which they are declared."""
    heads = [part.benchmark for _, part in parts if part.benchmark is not None]
    if len(heads) != 1:
        raise CatalogueError("needs one [benchmark], no more and no less", where=name)
    versions = [version for _, part in parts for version in part.versions]
    sections = [section for _, part in parts for section in part.sections]
    order = [version.id for version in versions]
    rows = [_Row.of(row, where, order, families) for where, part in parts for row in part.controls]
    _verify_rows(rows)
    for version in versions:
        yield _benchmark(heads[0], version, sections, rows), tuple(version.servers)


def _verify_rows(rows: Iterable[_Row]) -> None:
    keys: set[str] = set()
    for row in rows:
        key = row.control.identity
        if key in keys:
            raise CatalogueError(f"the key {key} stands twice", where=row.where)
        keys.add(key)


def _benchmark(
    head: _Head, version: _Version, sections: Iterable[_Section], rows: Iterable[_Row]
) -> Benchmark:
    found = (row.control_in(version.id) for row in rows)
    controls = tuple(control for control in found if control is not None)
    return Benchmark(
        id=head.id,
        version=version.id,
        title=head.title,
        kind=head.kind,
        platforms=tuple(head.platforms),
        sections=tuple(Section(item.id, item.title, item.parent) for item in sections),
        controls=controls,
        note=version.note or head.note,
    )
