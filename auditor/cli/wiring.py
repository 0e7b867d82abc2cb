"""From options to a configuration, a scorecard and files: what the commands have in common."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.config import FORMATS, Config, load_config
from auditor.errors import ConfigError, RenderError
from auditor.files import write_whole
from auditor.model import Severity, Snapshot
from auditor.registry import Registry, discover

if TYPE_CHECKING:
    from auditor.catalogue import Catalogue
    from auditor.scorecard import Scorecard

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("config.toml")


def configuration(path: Path | None) -> Config:
    """The configuration named, or `./config.toml` when it is ours, or the defaults.

    A file that was merely found may not make the program import code: plugin folders count only
    in a file that was named. Raises `ConfigError`.
    """
    if path is not None:
        return load_config(path)
    try:
        is_ours = "[audit]" in DEFAULT_CONFIG.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return Config()
    if not is_ours:
        return Config()
    config = load_config(DEFAULT_CONFIG)
    if config.plugins.folders:
        raise ConfigError(
            "[plugins] folders would run code from a file that was not named",
            where=str(DEFAULT_CONFIG),
            remedy=f"say --config {DEFAULT_CONFIG}",
        )
    return config


def overridden(
    config: Config,
    *,
    benchmarks: Sequence[str] | None = None,
    fail_on: str | None = None,
    formats: str | None = None,
) -> Config:
    """Put command-line options over a configuration. Raises `ConfigError` for a bad value."""
    changes: dict[str, Any] = {}
    if benchmarks:
        changes["benchmarks"] = list(benchmarks)
    if fail_on is not None:
        known = [str(severity) for severity in Severity]
        if fail_on not in known:
            raise ConfigError(
                f"there is no severity {fail_on!r}",
                where="--fail-on",
                remedy=f"known: {', '.join(known)}",
            )
        changes["fail_on"] = fail_on
    if formats is not None:
        changes["formats"] = chosen_formats(formats)
    audit = config.audit.model_copy(update=changes)
    return config.model_copy(update={"audit": audit})


def chosen_formats(text: str) -> list[str]:
    """Split and verify a comma-separated list of formats. Raises `ConfigError`."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in FORMATS:
            raise ConfigError(
                f"there is no format {name!r}",
                where="--format",
                remedy=f"known: {', '.join(FORMATS)}",
            )
    return names


def registry_of(config: Config, package: str = "checks") -> Registry:
    """All checks, or the built-in ones of one package; plugin folders of the configuration too."""
    return discover([Path(folder) for folder in config.plugins.folders], builtin=package)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Log how long a part of the audit took, in seconds (`--log FILE`; bench/ reads it)."""
    start = time.perf_counter()
    yield
    log.info("phase %s took %.3f s", name, time.perf_counter() - start)


@dataclass(frozen=True, slots=True)
class Content:
    """The checks and the benchmarks that name them."""

    registry: Registry
    catalogue: Catalogue


def content_of(config: Config) -> Content:
    """Load checks and catalogues, each held against the other."""
    from auditor.catalogue import load_catalogue

    registry = registry_of(config)
    return Content(registry, load_catalogue(registry))


def validate_benchmarks(content: Content, refs: Sequence[str]) -> None:
    """Refuse an unknown benchmark before anything is collected. Raises `ConfigError`."""
    for ref in refs:
        content.catalogue.choose(ref)


def scorecard_of(snapshot: Snapshot, content: Content) -> Scorecard:
    """Evaluate and aggregate a snapshot."""
    from auditor.aggregate import aggregate
    from auditor.evaluate import evaluate

    with phase("evaluate"):
        findings = evaluate(snapshot, content.registry)
    with phase("aggregate"):
        return aggregate(snapshot, findings, content.registry, content.catalogue)


def with_settings(snapshot: Snapshot, changes: Mapping[str, Any]) -> Snapshot:
    """The snapshot with some settings replaced by the command line's."""
    return replace(snapshot, settings={**snapshot.settings, **changes})


def write_reports(card: Scorecard, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write every format into a folder, each file whole or not at all.

    Raises `RenderError` when a file cannot be written or a renderer lacks a library.
    """
    from reports import WRITERS

    begun = {name: WRITERS[name].begun(card) for name in formats}
    # What is made elsewhere goes on meanwhile, and is waited for last.
    for name in sorted(formats, key=lambda name: WRITERS[name].begin is not None):
        path = folder / WRITERS[name].filename
        try:
            with phase(name):
                write_whole(path, begun[name]())
        except OSError as error:
            raise RenderError(
                f"cannot write the report: {error.strerror}", where=str(path)
            ) from error
    return [folder / WRITERS[name].filename for name in formats]


def report_folder(output: Path | None, config: Config, taken_at: str) -> Path:
    """Make the folder for a report; an earlier audit of the same day is kept under a number.

    Raises `RenderError` when the folder cannot be made.
    """
    try:
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            return output
        folder = Path(config.audit.output) / taken_at[:10]
        if folder.exists():
            number = 1
            while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
                number += 1
            folder.rename(kept)
        folder.mkdir(parents=True)
    except OSError as error:
        raise RenderError(
            f"cannot make the folder for the report: {error.strerror}",
            where=str(error.filename or output),
            remedy="name another one with --output",
        ) from error
    return folder
