"""Benchmarks as data: one table of control identities, from which each version is a view.

A catalogue is a TOML file. A control stands in it once, with the number it has in each version,
so that a new version of a benchmark is a few lines and not a copy:

    [benchmark]
    id = "cis-kubernetes"
    title = "CIS Kubernetes Benchmark"
    kind = "benchmark"                # benchmark | framework | guide | checklist
    platforms = ["kubernetes"]
    [[versions]]
    id = "2.0.1"
    servers = ["1.34", "1.35"]        # server versions it was written for, for `@auto`
    [[sections]]
    id = "5.2"
    title = "Pod security"
    parent = "5"                      # optional
    [[controls]]
    title = "…"                       # our own words, never the benchmark's
    section = "5.2"
    level = 1                         # or { "1.12" = 1, "2.0.1" = 2 }
    mode = "manual"
    checks = ["k8s-privileged-container"]
    because = [{ checks = ["k8s-…"], why = "one sentence" }]   # frameworks: checks with a reason
    ids = { "1.12" = "5.2.2", "2.0.1" = "5.2.2" }   # or id = "5.2.2" for all versions

Controls name checks; checks never name controls, because numbers move and checks do not.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from auditor.errors import CatalogueError, ConfigError
from auditor.model import Benchmark, Control, Section
from auditor.registry import Registry


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
    checks: list[str]
    why: str


class _Control(_Table):
    title: str
    section: str
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
        return self


class _File(_Table):
    benchmark: _Head
    versions: list[_Version]
    sections: list[_Section]
    controls: list[_Control]


@dataclass(frozen=True, slots=True)
class Choice:
    """A benchmark version that was chosen, and why that one."""

    benchmark: Benchmark
    why: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All benchmarks in all their versions, newest version last."""

    benchmarks: tuple[Benchmark, ...]
    servers: dict[str, tuple[str, ...]]

    def versions(self, benchmark_id: str) -> tuple[Benchmark, ...]:
        """Every version of one benchmark, newest last; empty when there is none."""
        return tuple(item for item in self.benchmarks if item.id == benchmark_id)

    def ids(self) -> tuple[str, ...]:
        """The ids of all benchmarks, in catalogue order."""
        return tuple(dict.fromkeys(item.id for item in self.benchmarks))

    def choose(self, ref: str, server_versions: Sequence[str] = ()) -> Choice:
        """Resolve `id`, `id@version` or `id@auto` against the versions that exist.

        `server_versions` are the versions of the servers that were audited (`v1.35.4`); `auto`
        takes the benchmark version written for the newest of them, and the newest published one
        where none was.

        Raises `ConfigError` for a benchmark or version that does not exist.
        """
        name, _, version = ref.partition("@")
        known = self.versions(name)
        if not known:
            raise ConfigError(
                f"there is no benchmark {name!r}",
                remedy=f"known: {', '.join(self.ids())}",
            )
        if version in {"", "latest"}:
            return Choice(known[-1], "the newest version in the catalogue")
        if version == "auto":
            return self._auto(known, server_versions)
        for item in known:
            if item.version == version:
                return Choice(item, "asked for by name")
        raise ConfigError(
            f"there is no version {version!r} of {name}",
            remedy=f"known: {', '.join(item.version for item in known)}",
        )

    def _auto(self, known: Sequence[Benchmark], server_versions: Sequence[str]) -> Choice:
        minors = sorted(filter(None, (_minor(text) for text in server_versions)))
        if not minors:
            return Choice(known[-1], "no server version is known, so the newest one")
        newest = minors[-1]
        dotted = f"{newest[0]}.{newest[1]}"
        for item in reversed(known):
            if dotted in self.servers.get(item.ref, ()):
                return Choice(item, f"written for Kubernetes {dotted}, which the server runs")
        older = [
            item
            for item in known
            if any((_minor(text) or (0, 0)) < newest for text in self.servers.get(item.ref, ()))
        ]
        chosen = older[-1] if older else known[0]
        return Choice(chosen, f"no version was written for Kubernetes {dotted}; the nearest one")


def _minor(version: str) -> tuple[int, int] | None:
    parts = version.removeprefix("v").split(".")
    try:
        return int(parts[0]), int(parts[1].rstrip("+"))
    except (IndexError, ValueError):
        return None


def load_catalogue(registry: Registry, *, package: str = "checks.catalogues") -> Catalogue:
    """Read every catalogue that ships with the checks and hold it against the registry.

    Raises `CatalogueError` when a file is malformed, a control names a check that does not exist,
    a control id is used twice in a version, or a section is not declared.
    """
    benchmarks: list[Benchmark] = []
    servers: dict[str, tuple[str, ...]] = {}
    entries = (entry for entry in files(package).iterdir() if entry.name.endswith(".toml"))
    for entry in sorted(entries, key=lambda entry: entry.name):
        parsed = _parse(entry.read_text(encoding="utf-8"), entry.name)
        for version in parsed.versions:
            benchmark = _benchmark(parsed, version)
            _verify(benchmark, registry, entry.name)
            benchmarks.append(benchmark)
            servers[benchmark.ref] = tuple(version.servers)
    if len({item.ref for item in benchmarks}) != len(benchmarks):
        raise CatalogueError("two catalogues describe the same benchmark version")
    return Catalogue(tuple(benchmarks), servers)


def _parse(text: str, where: str) -> _File:
    try:
        data: dict[str, Any] = tomllib.loads(text)
        return _File.model_validate(data)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"not TOML: {error}", where=where) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CatalogueError(f"{place}: {first['msg']}", where=where) from error


def _benchmark(parsed: _File, version: _Version) -> Benchmark:
    controls = []
    for row in parsed.controls:
        control_id = row.id if row.id is not None else row.ids.get(version.id)
        if control_id is None:
            continue
        level = row.level.get(version.id) if isinstance(row.level, dict) else row.level
        mode = row.mode.get(version.id, "manual") if isinstance(row.mode, dict) else row.mode
        because = {check: item.why for item in row.because for check in item.checks}
        controls.append(
            Control(
                id=control_id,
                title=row.title,
                section=row.section,
                level=level,
                mode=mode,
                checks=tuple(dict.fromkeys((*row.checks, *because))),
                note=row.note,
                labels=tuple(row.labels),
                because=because,
            )
        )
    head = parsed.benchmark
    return Benchmark(
        id=head.id,
        version=version.id,
        title=head.title,
        kind=head.kind,
        platforms=tuple(head.platforms),
        sections=tuple(Section(item.id, item.title, item.parent) for item in parsed.sections),
        controls=tuple(controls),
        note=version.note or head.note,
    )


def _verify(benchmark: Benchmark, registry: Registry, where: str) -> None:
    place = f"{where} ({benchmark.ref})"
    twice = [key for key, n in Counter(item.id for item in benchmark.controls).items() if n > 1]
    if twice:
        raise CatalogueError(f"control id {twice[0]} stands twice", where=place)
    sections = {item.id for item in benchmark.sections}
    for control in benchmark.controls:
        if control.section not in sections:
            raise CatalogueError(
                f"control {control.id} stands in section {control.section!r}, not declared",
                where=place,
            )
        for check_id in control.checks:
            if check_id not in registry:
                raise CatalogueError(
                    f"control {control.id} names check {check_id!r}, which does not exist",
                    where=place,
                )


def find_controls(catalogue: Catalogue, ref: str) -> list[tuple[Benchmark, Control]]:
    """Find a control by `benchmark:id` or by plain `id`, in every version that has it."""
    name, _, plain = ref.rpartition(":")
    return [
        (benchmark, control)
        for benchmark in catalogue.benchmarks
        if not name or name in {benchmark.id, benchmark.ref}
        for control in benchmark.controls
        if plain == control.id or plain in control.labels
    ]


def controls_of(catalogue: Iterable[Benchmark], check_id: str) -> list[tuple[Benchmark, Control]]:
    """Every control that a check helps to decide."""
    return [
        (benchmark, control)
        for benchmark in catalogue
        for control in benchmark.controls
        if check_id in control.checks
    ]
