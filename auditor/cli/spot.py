"""`check`: one image, container, pod, workload, namespace, Dockerfile or manifest, right now."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli import options
from auditor.cli.probing import admission_probes
from auditor.cli.wiring import (
    Content,
    chosen_formats,
    configuration,
    content_of,
    overridden,
    registry_of,
    with_settings,
)
from auditor.errors import CollectError, ConfigError
from auditor.model import Finding, Resource, Severity, Snapshot
from auditor.scorecard import exit_code

if TYPE_CHECKING:
    from auditor.collect.world import Request

app = typer.Typer(
    no_args_is_help=True,
    help="Check one thing and print what is wrong with it. The exit code is an audit's.",
)

Only = Annotated[
    list[str] | None, typer.Option("--only", help="Run only this check; may be repeated.")
]
Format = Annotated[str, typer.Option("--format", help="table or json.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the target.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Name the checks that passed, too.")]
Keep = Callable[[Finding], bool]


class _Run:
    """What all spot checks do: gather, evaluate, keep what was asked about, print, exit."""

    def __init__(
        self,
        only: list[str] | None,
        form: str,
        fail_on: str | None,
        strict: bool,
        config: Path | None,
        verbose: bool,
        package: str = "checks",
    ) -> None:
        if form != "table":
            chosen_formats(form)
            if form != "json":
                raise ConfigError("a spot check prints table or json", where="--format")
        self.form = form
        self.strict = strict
        self.verbose = verbose
        self.config = overridden(configuration(config), fail_on=fail_on)
        self.content: Content | None = None
        if form == "json" or package == "checks":
            # The result as JSON names controls, and so needs the benchmarks and every check.
            self.content = content_of(self.config)
            registry = self.content.registry
        else:
            registry = registry_of(self.config, package)
        self.registry = registry.select(only) if only else registry

    def world(self, request: Request, keep: Keep | None = None) -> None:
        """Gather a request and show it."""
        self.show(self.snapshot(None, request), keep or (lambda row: True))

    def snapshot(self, saved: Path | None, request: Request) -> Snapshot:
        """Load the saved snapshot, or gather the request."""
        if saved is not None:
            from auditor.snapshot import load_snapshot

            changes = {"fail_on": self.config.audit.fail_on}
            return with_settings(load_snapshot(saved), changes)
        from auditor.cli.terminal import TerminalProgress
        from auditor.collect.world import gather

        with TerminalProgress(quiet=self.form == "json") as progress:
            return gather(request, self.config, progress)

    def show(self, taken: Snapshot, keep: Keep) -> None:
        """Evaluate, print what is asked about, and leave with the exit code."""
        from auditor.evaluate import evaluate

        registry = self.registry
        rows = [row for row in evaluate(taken, registry) if keep(row)]
        if not rows:
            raise CollectError("no check judges this", remedy="see `auditor list checks`")
        if self.form == "json":
            from auditor.aggregate import aggregate
            from reports import WRITERS

            content = self.content or content_of(self.config)
            card = aggregate(taken, rows, registry, content.catalogue)
            typer.echo(WRITERS["json"].render(card), nl=False)
        else:
            from auditor.cli.terminal import print_findings
            from auditor.hidden import unknown_by_nature

            by_nature = unknown_by_nature(taken, registry)
            print_findings(rows, verbose=self.verbose, by_nature=by_nature)
        code = exit_code(rows, Severity(taken.settings["fail_on"]))
        raise typer.Exit(code.strictly(self.strict))


def _every_command(
    package: str,
    only: Only = None,
    format: Format = "table",
    fail_on: options.FailOn = None,
    strict: options.Strict = False,
    config: options.ConfigFile = None,
    verbose: Verbose = False,
) -> _Run:
    """The options that every spot check takes, and the run they make."""
    return _Run(only, format, fail_on, strict, config, verbose, package)


def _command(
    name: str, package: str = "checks"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a spot check: its own options, then the shared ones, which arrive as a `_Run`.

    `package` is where its checks lie: what is not needed is not imported.

    Typer reads a function's signature, so the shared options are written into it once, here.
    """

    def declare(function: Callable[..., None]) -> Callable[..., None]:
        shared = dict(inspect.signature(_every_command, eval_str=True).parameters)
        del shared["package"]
        _, *own = inspect.signature(function, eval_str=True).parameters.values()

        def command(**values: Any) -> None:
            run = _every_command(package, **{key: values.pop(key) for key in shared})
            function(run, **values)

        parameters = [*own, *shared.values()]
        command.__doc__ = function.__doc__
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in parameters]
        )
        command.__annotations__ = {item.name: item.annotation for item in parameters}
        app.command(name)(command)
        return function

    return declare


@_command("dockerfile", "checks.dockerfile")
def dockerfile(
    run: _Run,
    target: Annotated[Path, typer.Argument(help="A Dockerfile, or a folder of them.")],
    fix: Annotated[
        bool, typer.Option("--fix", help="Print what can be mended without a person, as a diff.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Mend it, then check what is left.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="With --write: over uncommitted changes, too."),
    ] = False,
) -> None:
    """Check a Dockerfile."""
    from auditor.collect.world import Request

    request = Request(dockerfiles=(target,))
    if force and not write:
        raise ConfigError("--force goes with --write", where="--force")
    if fix or write:
        _mend(run, request, write=write, force=force)
    run.world(request)


def _mend(run: _Run, request: Request, *, write: bool, force: bool) -> None:
    """Show or write what can be mended; leaves with the exit code when it was only shown."""
    from auditor.cli import fixing
    from auditor.evaluate import evaluate

    if run.form == "json":
        raise ConfigError("a diff has no form as JSON", where="--format")
    taken = run.snapshot(None, request)
    found = fixing.mend(taken, run.registry)
    rows = list(evaluate(taken, run.registry))
    fixing.show(found, fixing.failing(rows))
    if write:
        fixing.write(found, force=force)
        return
    code = exit_code(rows, Severity(taken.settings["fail_on"]))
    raise typer.Exit(code.strictly(run.strict))


@_command("manifest")
def manifest(
    run: _Run,
    target: Annotated[
        Path, typer.Argument(help='A manifest, a folder, or "-" for standard input.')
    ],
) -> None:
    """Check Kubernetes manifests, such as `helm template … | auditor check manifest -`."""
    from auditor.collect.world import Request

    run.world(Request(manifests=(target,)))


@_command("app-config")
def app_config(
    run: _Run,
    target: Annotated[Path, typer.Argument(help="A JSON or YAML file, or a folder of them.")],
) -> None:
    """Check an application's configuration file."""
    from auditor.collect.world import Request

    run.world(Request(app_configs=(target,)))


@_command("image")
def image(
    run: _Run,
    target: Annotated[str, typer.Argument(help="An image reference, archive or OCI layout.")],
    docker: options.DockerHost = None,
) -> None:
    """Check an image: its configuration, its history and its files."""
    from auditor.collect.world import Request

    run.world(Request(images=(target,), docker_host=options.docker_host(docker)), _is_image)


@_command("container")
def container(
    run: _Run,
    target: Annotated[str, typer.Argument(help="A container's name or id.")],
    docker: options.DockerHost = None,
    snapshot: options.SnapshotFile = None,
) -> None:
    """Check one container of the engine, running or not."""
    from auditor.collect.world import Request

    host = options.docker_host(docker)
    taken = run.snapshot(snapshot, Request(docker=True, docker_host=host, engine_images=False))
    found = [
        item
        for item in taken.resources
        if item.kind == "container"
        and (item.name == target or str(item.body.get("id", "")).startswith(target))
    ]
    if len(found) != 1:
        _not_found("container", target, len(found))
    name = found[0].name
    run.show(taken, lambda row: row.kind == "container" and row.name in {name, "containers"})


@_command("pod")
def pod(
    run: _Run,
    target: Annotated[str, typer.Argument(help="A pod's name.")],
    namespace: Namespace = "default",
    kube_context: options.KubeContext = None,
    kubeconfig: options.Kubeconfig = None,
    snapshot: options.SnapshotFile = None,
) -> None:
    """Check one live pod as it lives, whatever owns it."""
    taken = run.snapshot(snapshot, _cluster(kube_context, kubeconfig))
    wanted = ("Pod", namespace, target)
    if not any((item.kind, item.namespace, item.name) == wanted for item in taken.resources):
        _not_found("pod", f"{namespace}/{target}", 0)
    # Without its owner, a pod is its own root and is judged by itself.
    alone = replace(
        taken,
        resources=tuple(
            _orphaned(item) if (item.kind, item.namespace, item.name) == wanted else item
            for item in taken.resources
        ),
    )
    run.show(alone, lambda row: (row.kind, row.namespace, row.name) == wanted)


@_command("workload")
def workload(
    run: _Run,
    target: Annotated[str, typer.Argument(help="KIND/NAME or NAME, such as deployment/web.")],
    namespace: Namespace = "default",
    kube_context: options.KubeContext = None,
    kubeconfig: options.Kubeconfig = None,
    snapshot: options.SnapshotFile = None,
) -> None:
    """Check one workload: its live pods, or its template when none is live."""
    from auditor.evaluate import views

    taken = run.snapshot(snapshot, _cluster(kube_context, kubeconfig))
    kind, _, name = target.rpartition("/")
    found = {
        (item.kind, item.namespace, item.name)
        for view in views(taken)
        for item in view.workloads
        if item.name == name
        and item.namespace == namespace
        and kind.lower() in {"", item.kind.lower(), f"{item.kind.lower()}s"}
    }
    if len(found) != 1:
        _not_found("workload", f"{namespace}/{target}", len(found))
    run.show(taken, lambda row: (row.kind, row.namespace, row.name) in found)


@_command("namespace")
def namespace(
    run: _Run,
    target: Annotated[str, typer.Argument(help="A namespace's name.")],
    kube_context: options.KubeContext = None,
    kubeconfig: options.Kubeconfig = None,
    probe_admission: options.ProbeAdmission = False,
    snapshot: options.SnapshotFile = None,
) -> None:
    """Check a namespace and everything in it."""
    if snapshot is not None and probe_admission:
        raise ConfigError("a saved snapshot cannot be asked", where="--probe-admission")
    request = replace(
        _cluster(kube_context, kubeconfig),
        probes=admission_probes(probe_admission, run.config, target),
    )
    taken = run.snapshot(snapshot, request)
    if not any(target in {item.namespace, _namespace_name(item)} for item in taken.resources):
        _not_found("namespace", target, 0)
    run.show(
        taken,
        lambda row: row.namespace == target or (row.kind == "Namespace" and row.name == target),
    )


def _cluster(kube_context: str | None, kubeconfig: Path | None) -> Request:
    from auditor.collect.world import Request

    return Request(kubernetes=True, kube_context=kube_context, kubeconfig=kubeconfig)


def _is_image(row: Finding) -> bool:
    return row.source == "image" or row.kind == "image"


def _namespace_name(item: Resource) -> str | None:
    return item.name if item.kind == "Namespace" else None


def _orphaned(item: Resource) -> Resource:
    metadata = {key: value for key, value in item.metadata.items() if key != "ownerReferences"}
    return replace(item, body={**item.body, "metadata": metadata})


def _not_found(kind: str, target: str, found: int) -> None:
    if found > 1:
        raise CollectError(
            f"{found} things go by that name", where=f"{kind} {target}", remedy="say which one"
        )
    raise CollectError(f"there is no such {kind}, or it could not be read", where=target)
