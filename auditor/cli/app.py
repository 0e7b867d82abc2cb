"""The commands, assembled. Each command's module is small; the heavy imports wait until it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from auditor import __version__
from auditor.cli import access, audit, browse, spot
from auditor.cli.terminal import configure_logging

app = typer.Typer(
    name="auditor",
    help=(
        "Decide CIS, NIST and hardening-guide controls for Kubernetes, Docker, images and "
        "Dockerfiles from live state, with evidence. Read-only."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    log: Annotated[
        Path | None,
        typer.Option("--log", help="Write a log with every detail to this file.", dir_okay=False),
    ] = None,
) -> None:
    """Set up what all commands share."""
    wanted = os.environ.get("AUDITOR_LOG")
    configure_logging(log or (Path(wanted) if wanted else None))


@app.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(f"auditor {__version__}")


app.command("audit")(audit.audit)
app.command("collect")(audit.collect)
app.command("report")(audit.report)
app.add_typer(spot.app, name="check")
app.add_typer(browse.list_app, name="list")
app.command("explain")(browse.explain)
app.command("who-can")(access.who_can)
app.command("can")(access.can)
