"""`list` and `explain`: what the program knows, without auditing anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from auditor.cli import options
from auditor.cli.wiring import configuration, content_of, registry_of
from auditor.errors import ConfigError

if TYPE_CHECKING:
    from auditor.catalogue import Catalogue
    from auditor.model import Benchmark, Check, Control

list_app = typer.Typer(no_args_is_help=True, help="List checks, benchmarks or controls.")


@list_app.command("checks")
def checks(config: options.ConfigFile = None) -> None:
    """List every check."""
    _print(
        ("Check", "Severity", "Applies to", "Title"),
        (
            (check.id, str(check.severity), check.applies_to, check.title)
            for check in registry_of(configuration(config))
        ),
    )


@list_app.command("benchmarks")
def benchmarks(config: options.ConfigFile = None) -> None:
    """List every benchmark in every version, with how much of it is decided."""
    catalogue = content_of(configuration(config)).catalogue
    _print(
        ("Benchmark", "Version", "Controls", "Decided", "Title"),
        (
            (
                item.id,
                item.version,
                str(len(item.controls)),
                str(sum(bool(control.checks) for control in item.controls)),
                item.title,
            )
            for item in catalogue.benchmarks
        ),
    )


@list_app.command("controls")
def controls(
    benchmark: Annotated[
        str | None, typer.Argument(help="ID or ID@VERSION; all when left out.")
    ] = None,
    config: options.ConfigFile = None,
) -> None:
    """List the controls of a benchmark and the checks that decide them."""
    catalogue = content_of(configuration(config)).catalogue
    chosen = catalogue.benchmarks
    if benchmark:
        exact = [item for item in chosen if item.ref == benchmark]
        chosen = tuple(exact) if exact else (catalogue.choose(benchmark).benchmark,)
    _print(
        ("Benchmark", "Control", "Level", "Assessed", "Title", "Checks"),
        (
            (
                item.ref,
                control.id,
                str(control.level or ""),
                control.mode,
                control.title,
                ", ".join(control.checks) or "no check yet",
            )
            for item in chosen
            for control in item.controls
        ),
    )


def explain(
    target: Annotated[
        str, typer.Argument(help="A check, or a control such as cis-kubernetes:5.1.1 or 5.1.1.")
    ],
    config: options.ConfigFile = None,
) -> None:
    """Explain a check, or a control in every version that has it."""
    from auditor.catalogue import find_controls

    content = content_of(configuration(config))
    check = content.registry.get(target)
    if check is not None:
        _explain_check(check, content.catalogue)
        return
    found = find_controls(content.catalogue, target)
    if not found:
        raise ConfigError(
            f"there is no check or control {target!r}",
            remedy="see `auditor list checks` and `auditor list controls`",
        )
    _explain_controls(found)
    named = dict.fromkeys(check_id for _, control in found for check_id in control.checks)
    for check_id in named:
        known = content.registry.get(check_id)
        if known is not None:
            _explain_check(known, content.catalogue)


def _explain_controls(found: Iterable[tuple[Benchmark, Control]]) -> None:
    from rich.padding import Padding

    from auditor.catalogue import gathered
    from auditor.cli.terminal import out

    for item in gathered(found):
        control = item.control
        out.print(
            f"[bold]{escape(item.benchmark.title)}: {escape(control.id)}[/] {escape(control.title)}"
        )
        out.print(f"  in {', '.join(item.versions)}")
        if control.elsewhere:
            out.print(f"  numbered {escape(', '.join(control.elsewhere))}")
        out.print(f"  assessed by the benchmark as {escape(', '.join(item.modes))}")
        if item.levels:
            out.print(f"  level {escape(', '.join(item.levels))}")
        if control.labels:
            out.print(f"  also called {escape(', '.join(control.labels))}")
        if control.note:
            out.print(Padding(escape(control.note), (0, 0, 0, 2)))
        out.print(f"  decided by: {', '.join(control.checks) or 'no check yet'}")
    out.print()


def _explain_check(check: Check, catalogue: Catalogue) -> None:
    from rich.markdown import Markdown
    from rich.padding import Padding

    from auditor.catalogue import controls_of, gathered
    from auditor.cli.terminal import out

    out.print(f"[bold]{check.id}[/]  {escape(check.title)}")
    out.print(f"severity {check.severity}, applies to {check.applies_to}\n")
    out.print(Markdown(check.summary))
    out.print()
    for name, text in (
        ("Why", check.why),
        ("Rule", check.rule),
        ("Fix", check.fix),
        ("Source", check.source),
    ):
        out.print(f"[bold]{name}[/]")
        out.print(Padding(Markdown(text), (0, 0, 1, 2)))
    if check.needs:
        out.print(f"Needs to have read: {', '.join(check.needs)}")
    if check.settings:
        out.print(f"Settings: {', '.join(check.settings)}")
    named = controls_of(catalogue.benchmarks, check.id)
    if named:
        out.print("Helps to decide:")
        for item in gathered(named):
            control = item.control
            moved = f" ({', '.join(control.elsewhere)})" if control.elsewhere else ""
            out.print(
                f"  {item.benchmark.ref} {control.id}  {escape(control.title)}{escape(moved)}"
            )
    out.print()


def _print(header: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    """A table on a terminal; tab-separated lines, nothing cut off, in a pipe."""
    from rich.table import Table

    from auditor.cli.terminal import out

    if not out.is_terminal:
        for row in rows:
            typer.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    out.print(table)
