"""`audit`, `collect` and `report`: the main job, whole or in its two halves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli import options
from auditor.cli.probing import admission_probes
from auditor.cli.wiring import (
    configuration,
    content_of,
    overridden,
    phase,
    report_folder,
    scorecard_of,
    validate_benchmarks,
    with_settings,
    write_reports,
)
from auditor.config import Config
from auditor.errors import ConfigError

if TYPE_CHECKING:
    from auditor.collect.world import Request
    from auditor.model import Snapshot
    from auditor.scorecard import Scorecard

SNAPSHOT_NAME = "snapshot.json.gz"


def audit(
    kube_context: options.KubeContext = None,
    kubeconfig: options.Kubeconfig = None,
    docker: options.DockerHost = None,
    image: options.Images = None,
    dockerfile: options.Dockerfiles = None,
    manifests: options.Manifests = None,
    app_config: options.AppConfigs = None,
    discover: options.Discover = False,
    probe_admission: options.ProbeAdmission = False,
    snapshot: options.SnapshotFile = None,
    benchmark: options.Benchmarks = None,
    output: options.Output = None,
    format: options.Formats = None,
    fail_on: options.FailOn = None,
    strict: options.Strict = False,
    config: options.ConfigFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Audit a cluster, an engine, images and files, and write the report.

    Without a target, the current kubeconfig context and the Docker engine are audited, where
    there are any. Exit codes: 0 compliant, 1 failures, 2 no audit, 3 incomplete.
    """
    request = _request(
        kube_context, kubeconfig, docker, image, dockerfile, manifests, app_config, discover
    )
    if snapshot is not None:
        if not request.names_nothing or discover or probe_admission:
            raise ConfigError("a snapshot is audited instead of the world", where="--snapshot")
        report(snapshot, benchmark, output, format, fail_on, strict, config)
        return
    settled = overridden(
        configuration(config), benchmarks=benchmark, fail_on=fail_on, formats=format
    )
    content = content_of(settled)
    validate_benchmarks(content, settled.audit.benchmarks)
    request = replace(request, probes=admission_probes(probe_admission, settled))
    taken = _gather(request, settled, quiet=quiet, meanwhile=lambda: _warm(settled.audit.formats))
    folder = report_folder(output, settled, taken.taken_at)
    # The evidence first: if a renderer fails, nothing of the audit is lost.
    with phase("snapshot"):
        saved = _save(taken, folder / SNAPSHOT_NAME)
    card = scorecard_of(taken, content)
    # What was read is on disk and judged: rendering can have its memory.
    del taken
    files = [*write_reports(card, folder, settled.audit.formats), saved]
    _finish(card, files, strict=strict)


def collect(
    kube_context: options.KubeContext = None,
    kubeconfig: options.Kubeconfig = None,
    docker: options.DockerHost = None,
    image: options.Images = None,
    dockerfile: options.Dockerfiles = None,
    manifests: options.Manifests = None,
    app_config: options.AppConfigs = None,
    discover: options.Discover = False,
    probe_admission: options.ProbeAdmission = False,
    output: Annotated[Path, typer.Option("--output", help="The snapshot file to write.")] = Path(
        SNAPSHOT_NAME
    ),
    benchmark: options.Benchmarks = None,
    fail_on: options.FailOn = None,
    config: options.ConfigFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Read the world and save a snapshot; judge it later, elsewhere, with `auditor report`."""
    from auditor.cli.terminal import out
    from auditor.scorecard import ExitCode

    request = _request(
        kube_context, kubeconfig, docker, image, dockerfile, manifests, app_config, discover
    )
    settled = overridden(configuration(config), benchmarks=benchmark, fail_on=fail_on)
    validate_benchmarks(content_of(settled), settled.audit.benchmarks)
    request = replace(request, probes=admission_probes(probe_admission, settled))
    taken = _gather(request, settled, quiet=quiet)
    path = _save(taken, output)
    out.print(str(path), markup=False, soft_wrap=True)
    out.print(f"sha256 {taken.sha256}", soft_wrap=True)
    out.print(
        f"{len(taken.resources):,} objects of {len(taken.targets)} targets, "
        f"{len(taken.gaps):,} gaps"
    )
    if any(not gap.by_nature for gap in taken.gaps):
        raise typer.Exit(ExitCode.INCOMPLETE)


def report(
    snapshot: Annotated[Path, typer.Argument(help="A snapshot that `auditor collect` saved.")],
    benchmark: options.Benchmarks = None,
    output: options.Output = None,
    format: options.Formats = None,
    fail_on: options.FailOn = None,
    strict: options.Strict = False,
    config: options.ConfigFile = None,
) -> None:
    """Judge a saved snapshot and write the report, offline.

    The settings that decided are part of the snapshot; options and a configuration that is named
    here go over them.
    """
    from auditor.snapshot import load_snapshot

    taken = load_snapshot(snapshot)
    named = configuration(config)
    changes: dict[str, Any] = {}
    if config is not None:
        changes = named.snapshot_settings()
    settled = overridden(named, benchmarks=benchmark, fail_on=fail_on, formats=format)
    if benchmark:
        changes["benchmarks"] = settled.audit.benchmarks
    if fail_on is not None:
        changes["fail_on"] = settled.audit.fail_on
    taken = with_settings(taken, changes)
    # Settings from elsewhere are data until they have been validated.
    settled.with_settings({key: taken.settings.get(key) for key in settled.snapshot_settings()})
    # The process that lays out the PDF imports its libraries while the snapshot is judged.
    _warm(settled.audit.formats)
    card = scorecard_of(taken, content_of(settled))
    folder = report_folder(output, settled, taken.taken_at)
    del taken
    _finish(card, write_reports(card, folder, settled.audit.formats), strict=strict)


def _request(
    kube_context: str | None,
    kubeconfig: Path | None,
    docker: str | None,
    image: list[str] | None,
    dockerfile: list[Path] | None,
    manifests: list[Path] | None,
    app_config: list[Path] | None,
    discover: bool,
) -> Request:
    from auditor.collect.world import Request

    return Request(
        kube_context=kube_context,
        kubeconfig=kubeconfig,
        docker=docker is not None,
        docker_host=options.docker_host(docker),
        images=tuple(image or ()),
        dockerfiles=tuple(dockerfile or ()),
        manifests=tuple(manifests or ()),
        app_configs=tuple(app_config or ()),
        discover=discover,
    )


def _gather(
    request: Request,
    config: Config,
    *,
    quiet: bool,
    meanwhile: Callable[[], None] | None = None,
) -> Snapshot:
    from auditor.cli.terminal import TerminalProgress
    from auditor.collect.world import gather

    if request.names_nothing:
        request = replace(request, discover=True)
    with TerminalProgress(quiet=quiet) as progress, phase("collect"):
        return gather(request, config, progress, meanwhile)


def _warm(formats: Sequence[str]) -> None:
    """Import pandas and the renderers: a second that the collectors spend waiting anyway."""
    import auditor.aggregate  # noqa: F401
    from reports import warm

    warm(formats)


def _save(taken: Snapshot, path: Path) -> Path:
    from auditor.snapshot import save_snapshot

    save_snapshot(taken, path)
    return path


def _finish(card: Scorecard, files: list[Path], *, strict: bool) -> None:
    from auditor.cli.terminal import print_summary

    print_summary(card, files)
    raise typer.Exit(card.exit_code.strictly(strict))
