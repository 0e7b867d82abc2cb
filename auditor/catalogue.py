"""Benchmarks as data: one table of control identities, from which each version is a view.

The format of the files is described in `auditor.catalogue_toml`.

Controls name checks; checks never name controls, because numbers move and checks do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from auditor.catalogue_toml import read_catalogue, read_families
from auditor.errors import CatalogueError, ConfigError
from auditor.model import Benchmark, Control
from auditor.registry import Registry
from auditor.versions import runs, told


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
        written = {
            item.ref: [minor for text in self.servers.get(item.ref, ()) if (minor := _minor(text))]
            for item in known
        }
        if not any(written.values()):
            return Choice(known[-1], "the newest one: no version is tied to a server's")
        if not minors:
            return Choice(known[-1], "no server version is known, so the newest one")
        newest = minors[-1]
        wanted = _dotted(newest)
        fitting = [item for item in known if newest in written[item.ref]]
        if fitting:
            others = " and ".join(item.version for item in fitting[:-1])
            also = f", as {others} {'were' if ' ' in others else 'was'} before it" if others else ""
            why = f"written for Kubernetes {wanted}, which the server runs{also}"
            return Choice(fitting[-1], why)
        chosen = min(
            (item for item in reversed(known) if written[item.ref]),
            key=lambda item: min(_distance(newest, minor) for minor in written[item.ref]),
        )
        span = " to ".join(dict.fromkeys(map(_dotted, _ends(written[chosen.ref]))))
        return Choice(
            chosen,
            f"no version was written for Kubernetes {wanted}, which the server runs; the nearest "
            f"one, {chosen.version}, was written for {span}",
        )


def _dotted(minor: tuple[int, int]) -> str:
    return f"{minor[0]}.{minor[1]}"


def _ends(minors: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], tuple[int, int]]:
    return min(minors), max(minors)


def _distance(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return abs(one[0] - other[0]), abs(one[1] - other[1])


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
    families = read_families(files(package))
    for entry in sorted(files(package).iterdir(), key=lambda entry: entry.name):
        for benchmark, written_for in read_catalogue(entry, families):
            _verify(benchmark, registry, entry.name)
            benchmarks.append(benchmark)
            servers[benchmark.ref] = written_for
    if len({item.ref for item in benchmarks}) != len(benchmarks):
        raise CatalogueError("two catalogues describe the same benchmark version")
    return Catalogue(tuple(benchmarks), servers)


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


@dataclass(frozen=True, slots=True)
class Sighting:
    """A control in several versions of its benchmark, told as one.

    `control` is the newest of them; `modes` and `levels` say what each version says, in words.
    """

    benchmark: Benchmark
    control: Control
    versions: tuple[str, ...]
    modes: tuple[str, ...]
    levels: tuple[str, ...]


def gathered(found: Iterable[tuple[Benchmark, Control]]) -> list[Sighting]:
    """Put the versions of one control together, in the order in which they come."""
    by_identity: dict[tuple[str, str], list[tuple[Benchmark, Control]]] = {}
    for benchmark, control in found:
        key = (benchmark.id, control.identity or control.id)
        by_identity.setdefault(key, []).append((benchmark, control))
    return [_sighting(listed) for listed in by_identity.values()]


def _sighting(found: Sequence[tuple[Benchmark, Control]]) -> Sighting:
    order = tuple(benchmark.version for benchmark, _ in found)
    modes = {benchmark.version: control.mode for benchmark, control in found}
    levels = {
        benchmark.version: str(control.level)
        for benchmark, control in found
        if control.level is not None
    }
    benchmark, control = found[-1]
    return Sighting(benchmark, control, order, told(runs(modes, order)), told(runs(levels, order)))
