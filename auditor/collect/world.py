"""The whole world of one audit: every collector that was asked for, side by side, one snapshot.

A target that was named and cannot be read at all ends the audit only when it was the only one;
beside others it is a gap over everything it would have shown. A target that was merely looked
for and is not there is a note.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from auditor import __version__
from auditor.collect.base import Harvest, Progress, Silent
from auditor.collect.probes import Probes
from auditor.config import Config
from auditor.errors import AbsentTargetError, CollectError, ConfigError
from auditor.model import Coverage, Reason, Snapshot, Target
from auditor.scopes import EVERYTHING
from auditor.snapshot import seal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What to audit. `discover` also looks for a current kubeconfig context and an engine.

    `kube_context` and `docker_host` name a cluster and an engine; `kubernetes` and `docker` ask
    for the current ones. `image_files` says whether the engine's images are read file by file.
    `probes` are the pods about which the cluster's admission is asked, if it is.
    """

    kubernetes: bool = False
    kube_context: str | None = None
    kubeconfig: Path | None = None
    docker: bool = False
    docker_host: str | None = None
    engine_images: bool = True
    images: Sequence[str] = ()
    dockerfiles: Sequence[Path] = ()
    manifests: Sequence[Path] = ()
    app_configs: Sequence[Path] = ()
    discover: bool = False
    probes: Probes | None = None

    @property
    def wants_kubernetes(self) -> bool:
        """Whether a cluster was asked for by name."""
        return self.kubernetes or bool(self.kube_context) or self.kubeconfig is not None

    @property
    def wants_docker(self) -> bool:
        """Whether an engine was asked for by name."""
        return self.docker or bool(self.docker_host)

    @property
    def names_nothing(self) -> bool:
        """Whether no target was named at all."""
        files = (self.images, self.dockerfiles, self.manifests, self.app_configs)
        return not (self.wants_kubernetes or self.wants_docker or any(files))


@dataclass(slots=True)
class _Gathered:
    harvest: Harvest = field(default_factory=Harvest)
    notes: list[str] = field(default_factory=list)
    errors: list[CollectError] = field(default_factory=list)


def gather(
    request: Request,
    config: Config,
    progress: Progress | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Snapshot:
    """Run the collectors of a request and seal what they found.

    `meanwhile` is run in this thread while the collectors wait for the network.

    Raises `CollectError` when nothing at all could be read, and `ConfigError` for an argument
    that names a file which is not there.
    """
    _require_files(request)
    # Sealing makes a second copy: nothing here may hold on to the first one meanwhile.
    return seal(_taken(request, config, progress or Silent(), meanwhile))


def _taken(
    request: Request, config: Config, progress: Progress, meanwhile: Callable[[], None] | None
) -> Snapshot:
    """Run the collectors side by side and put what they found together."""
    taken_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    jobs = _jobs(request, config, progress)
    gathered = _Gathered()
    with ThreadPoolExecutor(max_workers=max(1, len(jobs))) as pool:
        running = [(job, pool.submit(job.run)) for job in jobs]
        if meanwhile is not None:
            meanwhile()
        for job, future in running:
            try:
                gathered.harvest.merge(future.result())
            except AbsentTargetError as error:
                if job.asked_for:
                    _unreachable(gathered, job, error)
                else:
                    gathered.notes.append(f"{job.title}: {error}")
            except CollectError as error:
                _unreachable(gathered, job, error)
            except Exception as error:
                # A bug in one collector must not lose what the others read.
                log.debug("the collector of %s crashed", job.source, exc_info=True)
                crash = CollectError(
                    f"the collector crashed ({type(error).__name__})",
                    where=job.title,
                    remedy="run again with --log FILE and report what it holds",
                    reason=Reason.FAILED,
                )
                _unreachable(gathered, job, crash)
    harvest = gathered.harvest
    if not harvest.resources:
        _nothing_read(gathered)
    settings = config.snapshot_settings()
    settings["notes"] = gathered.notes
    return Snapshot(
        taken_at=taken_at,
        tool_version=__version__,
        targets=_one_each(harvest.targets),
        resources=tuple(harvest.resources),
        gaps=tuple(harvest.gaps),
        coverage=_summed(harvest.coverage),
        settings=settings,
    )


@dataclass(frozen=True, slots=True)
class _Job:
    title: str
    source: str
    name: str
    asked_for: bool
    run: Callable[[], Harvest]


def _jobs(request: Request, config: Config, progress: Progress) -> list[_Job]:
    """The collectors that a request needs, each with everything imported that it will use.

    Client libraries cost a good part of a second, so only those that are needed are imported;
    and they are imported here, in one thread: two threads that import libraries with a circle
    between them can be handed half a module.
    """
    from auditor.collect.secrets import load_detectors

    jobs = []
    if request.wants_kubernetes or request.discover:
        jobs.append(_kubernetes(request, config, progress))
    if request.wants_docker or request.discover:
        jobs.append(_docker(request, config, progress))
    if request.images:
        jobs.append(_images(request, config, progress))
    if request.dockerfiles or request.manifests or request.app_configs:
        jobs.append(_files(request, config, progress))
    load_detectors()
    return jobs


def _kubernetes(request: Request, config: Config, progress: Progress) -> _Job:
    from auditor.collect import kubernetes

    def run() -> Harvest:
        return kubernetes.collect_kubernetes(
            kubeconfig=request.kubeconfig,
            context=request.kube_context,
            config=config.kubernetes,
            progress=progress,
            probes=request.probes,
        )

    name = request.kube_context or "current context"
    return _Job("Kubernetes cluster", "kubernetes", name, request.wants_kubernetes, run)


def _docker(request: Request, config: Config, progress: Progress) -> _Job:
    from auditor.collect import docker

    def run() -> Harvest:
        return docker.collect_docker(
            host=request.docker_host,
            config=config.docker,
            images=request.engine_images,
            progress=progress,
        )

    name = request.docker_host or "default engine"
    return _Job("Docker engine", "docker", name, request.wants_docker, run)


def _images(request: Request, config: Config, progress: Progress) -> _Job:
    from auditor.collect import image

    def run() -> Harvest:
        return image.collect_images(
            request.images, host=request.docker_host, config=config.docker, progress=progress
        )

    return _Job("images", "image", ", ".join(request.images), True, run)


def _files(request: Request, config: Config, progress: Progress) -> _Job:
    # Not at the top, and each only if it is asked for: manifests alone cost more to import than a
    # Dockerfile takes from its first byte to its last finding.
    if request.dockerfiles:
        from auditor.collect import dockerfile
    if request.manifests:
        from auditor.collect import manifests
    if request.app_configs:
        from auditor.collect import appconfig

    def run() -> Harvest:
        harvest = Harvest()
        base = Path.cwd()
        if request.dockerfiles:
            progress.step("files", "Dockerfiles")
            patterns = config.rules.context_secret_patterns
            harvest.merge(
                dockerfile.collect_dockerfiles(
                    request.dockerfiles, base=base, secret_patterns=patterns
                )
            )
        if request.manifests:
            progress.step("files", "manifests")
            stdin = sys.stdin.buffer.read() if Path("-") in request.manifests else None
            harvest.merge(manifests.collect_manifests(request.manifests, base=base, stdin=stdin))
        if request.app_configs:
            progress.step("files", "application configuration")
            harvest.merge(appconfig.collect_appconfig(request.app_configs, base=base))
        return harvest

    return _Job("files", "files", "files", True, run)


def _require_files(request: Request) -> None:
    for option, paths in (
        ("--dockerfile", request.dockerfiles),
        ("--manifests", request.manifests),
        ("--app-config", request.app_configs),
        ("--kubeconfig", [request.kubeconfig] if request.kubeconfig else ()),
    ):
        for path in paths:
            if str(path) != "-" and not path.exists():
                raise ConfigError("there is no such file or directory", where=f"{option} {path}")


def _unreachable(gathered: _Gathered, job: _Job, error: CollectError) -> None:
    """Keep a target that could not be read as a gap over everything it would have shown."""
    gathered.errors.append(error)
    target = f"{job.source}:{job.name}"
    gathered.harvest.targets.append(Target(target, job.source, job.name))
    gathered.harvest.gap(
        target, job.source, EVERYTHING, Reason(error.reason), error.what, error.remedy or ""
    )


def _nothing_read(gathered: _Gathered) -> None:
    if gathered.errors:
        raise gathered.errors[0]
    gaps = [gap for gap in gathered.harvest.gaps if not gap.by_nature]
    if gaps:
        first = gaps[0]
        raise CollectError(
            f"{first.reason}: {first.detail}", where=first.name, remedy=first.remedy or None
        )
    found = "; ".join(gathered.notes)
    raise CollectError(
        f"there is nothing to audit{f' ({found})' if found else ''}",
        remedy="name a target: --kube-context, --docker, --image, --dockerfile or --manifests",
    )


def _one_each(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Collectors of files share one target; facts of all are kept."""
    merged: dict[str, Target] = {}
    for item in targets:
        known = merged.get(item.id)
        facts = {**known.facts, **item.facts} if known else item.facts
        merged[item.id] = Target(item.id, item.source, item.name, facts)
    return tuple(merged.values())


def _summed(coverage: Sequence[Coverage]) -> tuple[Coverage, ...]:
    """One row for each scope: an image asked for twice was still read."""
    counts: dict[tuple[str, str, str], int] = {}
    for item in coverage:
        key = (item.target, item.source, item.scope)
        counts[key] = counts.get(key, 0) + item.count
    return tuple(Coverage(*key, count) for key, count in counts.items())
