"""How the answers of `who-can` and `can` are shown: tables for people, one JSON shape for programs.

Names come from the cluster and may be hostile: everything is made printable first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from auditor.cli.resource_names import Named
    from auditor.model import Gap
    from checks.kubernetes._rbac_index import Grant, Step, SubjectKey

SCHEMA = "auditor/access/v1"
"""Version of the JSON's shape."""


def where(grant: Grant) -> str:
    """Where a grant holds, in words."""
    return f"namespace {grant.namespace}" if grant.namespace else "everywhere"


def words(listed: Iterable[str]) -> str:
    """A set of words in one line, sorted."""
    return " ".join(sorted(listed))


def things(grant: Grant) -> str:
    """`deployments replicasets (apps)`, or paths."""
    groups = ", ".join(sorted(group or "core" for group in grant.groups))
    resources = f"{words(grant.resources)} ({groups})" if grant.resources else ""
    return " ".join(filter(None, (resources, words(grant.urls))))


def question_json(verb: str, about: Named, name: str, namespace: str | None) -> dict[str, Any]:
    """A question as JSON."""
    if about.url:
        return {"verb": verb, "url": about.url}
    return {
        "verb": verb,
        "group": about.group,
        "resource": about.resource,
        "subresource": about.subresource,
        "name": name,
        "namespace": namespace,
    }


def subject_json(key: SubjectKey) -> dict[str, Any]:
    """A subject as JSON."""
    return {"kind": key[0], "namespace": key[1], "name": key[2]}


def grant_json(grant: Grant) -> dict[str, Any]:
    """A grant as JSON."""
    lists = ("verbs", "groups", "resources", "names", "urls")
    return {
        **{field: sorted(getattr(grant, field)) for field in lists},
        "namespace": grant.namespace,
        "path": grant.path,
    }


def path_json(path: Sequence[Step] | None) -> list[dict[str, Any]] | None:
    """A path as JSON; null where none was found."""
    if path is None:
        return None
    return [
        {
            "subject": subject_json(step.subject),
            "text": step.text,
            "path": step.path,
            "gains": subject_json(step.gains),
        }
        for step in path
    ]


def completeness(gaps: Sequence[Gap]) -> Mapping[str, Any]:
    """Whether all that decides was read, and what was not."""
    return {
        "complete": not gaps,
        "gaps": [
            {
                "scope": gap.scope,
                "reason": str(gap.reason),
                "detail": gap.detail,
                "remedy": gap.remedy,
            }
            for gap in gaps
        ],
    }


def print_json(document: Mapping[str, Any]) -> None:
    """Print one document, with its schema."""
    # Escaped to ASCII: no name of the cluster's reaches the terminal as it stands.
    typer.echo(json.dumps({"schema": SCHEMA, **document}, indent=2))


def print_line(text: str) -> None:
    """Print one line of text, not markup."""
    from auditor.cli.terminal import out, safe

    out.print(safe(text), markup=False, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns; nothing where there are none.

    Where the terminal is too narrow for several columns, the last one has a line of its own: a
    binding that is broken in two can be neither copied nor searched for.
    """
    from rich.markup import escape
    from rich.table import Table

    from auditor.cli.terminal import TABLE_WIDTH, out, safe

    if not rows:
        return
    if len(columns) > 2 and out.width < TABLE_WIDTH:
        for *first, last in rows:
            print_line("  ".join(filter(None, first)))
            print_line(f"    by {last}")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(safe(cell)) for cell in row))
    out.print(table)


def print_path(path: Sequence[Step] | None) -> None:
    """Print the shortest path to cluster-admin, a step a line."""
    if path is None:
        print_line("no path to cluster-admin was found")
    elif not path:
        print_line("is cluster-admin")
    else:
        count = f"{len(path)} step{'' if len(path) == 1 else 's'}"
        print_line(f"shortest path to cluster-admin, {count}:")
        for number, step in enumerate(path, 1):
            print_line(f"  {number}. {step.text}")
            print_line(f"     by {step.path}")


def print_gaps(gaps: Sequence[Gap]) -> None:
    """Say on standard error what could not be read."""
    from auditor.cli.terminal import err, safe
    from auditor.scopes import describe

    if gaps:
        err.print("incomplete: there may be more than this", style="yellow")
    for gap in gaps:
        line = safe(describe(gap)) + (f"; {safe(gap.remedy)}" if gap.remedy else "")
        err.print(f"  {line}", markup=False, soft_wrap=True)
