"""The options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_TARGETS = "What to audit"
_RESULT = "What to write and decide"

KubeContext = Annotated[
    str | None,
    typer.Option("--kube-context", help="Kubeconfig context to audit.", rich_help_panel=_TARGETS),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", help="Kubeconfig file (default: $KUBECONFIG).", rich_help_panel=_TARGETS
    ),
]
DockerHost = Annotated[
    str | None,
    typer.Option(
        "--docker",
        help='Docker host, such as unix:///run/docker.sock; "default" for the current one.',
        rich_help_panel=_TARGETS,
    ),
]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        help="Image on the engine, `docker save` archive or OCI layout; may be repeated.",
        rich_help_panel=_TARGETS,
    ),
]
Dockerfiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--dockerfile", help="Dockerfile or folder; may be repeated.", rich_help_panel=_TARGETS
    ),
]
Manifests = Annotated[
    list[Path] | None,
    typer.Option(
        "--manifests",
        help='Manifest file or folder, "-" for standard input; may be repeated.',
        rich_help_panel=_TARGETS,
    ),
]
AppConfigs = Annotated[
    list[Path] | None,
    typer.Option(
        "--app-config",
        help="Application configuration (JSON or YAML) or folder; may be repeated.",
        rich_help_panel=_TARGETS,
    ),
]
Discover = Annotated[
    bool,
    typer.Option(
        "--discover",
        help="Also audit the current kubeconfig context and the Docker engine, where present. "
        "This is what happens when no target is named.",
        rich_help_panel=_TARGETS,
    ),
]
ProbeAdmission = Annotated[
    bool,
    typer.Option(
        "--probe-admission",
        help="Ask the cluster, with dry runs that store nothing, which pods it would refuse. "
        "Needs the right to create pods (deploy/probe-rbac.yaml).",
        rich_help_panel=_TARGETS,
    ),
]
SnapshotFile = Annotated[
    Path | None,
    typer.Option(
        "--snapshot", help="Audit a saved snapshot instead of the world.", rich_help_panel=_TARGETS
    ),
]
Benchmarks = Annotated[
    list[str] | None,
    typer.Option(
        "--benchmark",
        help="Benchmark to decide, as ID, ID@VERSION or ID@auto; may be repeated.",
        rich_help_panel=_RESULT,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", help="Folder for the report (default: audit/<date>).", rich_help_panel=_RESULT
    ),
]
Formats = Annotated[
    str | None,
    typer.Option(
        "--format", help="Comma-separated: html, pdf, json, csv.", rich_help_panel=_RESULT
    ),
]
FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        help="Least severity that makes the exit code 1: critical, high, medium, low, info.",
        rich_help_panel=_RESULT,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit with 1 when anything could not be seen.", rich_help_panel=_RESULT
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file (default: ./config.toml, if there is one)."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]


def docker_host(named: str | None) -> str | None:
    """The host that `--docker` names; None for the engine that the environment points to."""
    return None if named == "default" else named
