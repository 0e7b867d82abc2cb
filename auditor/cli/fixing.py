"""`check dockerfile --fix` and `--write`: a diff of what can be mended, and its application.

Nothing is taken on trust: after each kind of edit the file is read and judged again, and the edit
stays only if failures of its check went away and no check that is run got a new one. A file is
written whole or not at all, and not over work that is nowhere else unless `--force` says so.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import typer

from auditor.cli.dockerfile_fixes import FIXERS, Draft, edited
from auditor.collect.dockerfile import read_dockerfile
from auditor.collect.dockerfile.secrets import shown
from auditor.collect.reading import Refused
from auditor.errors import ConfigError
from auditor.evaluate import evaluate
from auditor.files import write_whole
from auditor.model import Finding, Resource, Snapshot, Status
from auditor.registry import Registry


@dataclass(slots=True)
class Mended:
    """One Dockerfile: what it was, what it would be, and how many failures of a check went."""

    path: Path
    name: str
    before: bytes
    after: bytes
    diff: str
    fixed: Counter[str] = field(default_factory=Counter)


def mend(taken: Snapshot, registry: Registry) -> list[Mended]:
    """Work out, for each Dockerfile of a snapshot just taken, what can be mended.

    Raises `ConfigError` for a file that cannot be edited safely or has changed meanwhile.
    """
    files = [item for item in taken.resources if item.kind == "Dockerfile"]
    return [_mended(item, taken, registry) for item in files]


def _mended(dockerfile: Resource, taken: Snapshot, registry: Registry) -> Mended:
    path = Path.cwd() / dockerfile.name
    before = path.read_bytes()
    text, newline = _text(before, dockerfile.name)
    draft = _draft(text, dockerfile)
    masked = draft.source.text
    if draft.dockerfile.body != dockerfile.body:
        raise ConfigError("it changed while it was read", where=dockerfile.name)
    result = Mended(path, dockerfile.name, before, before, "")
    failures = _failures(draft.dockerfile, taken, registry)
    for check_id, fixer in FIXERS.items():
        mine = [row for row in failures if row.check == check_id]
        if not mine:
            continue
        with contextlib.suppress(ValueError, Refused):
            candidate = edited(text, list(fixer(draft, mine)))
            if candidate == text:
                continue
            new = _draft(candidate, dockerfile)
            left = _failures(new.dockerfile, taken, registry)
            gone = _count(failures) - _count(left)
            if gone[check_id] and not _count(left) - _count(failures):
                text, draft, failures = candidate, new, left
                result.fixed[check_id] += gone[check_id]
    result.after = text.replace("\n", newline).encode()
    result.diff = _diff(shown(masked), shown(draft.source.text), dockerfile.name)
    return result


def _text(data: bytes, name: str) -> tuple[str, str]:
    """The text with line ends made `\\n`, and what they were."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError("only a file in UTF-8 can be edited", where=name) from None
    if text.startswith("\ufeff"):
        raise ConfigError("it begins with a byte-order mark", where=name, remedy="take it out")
    newline = "\r\n" if "\r\n" in text else "\n"
    plain = text.replace("\r\n", "\n")
    if plain.replace("\n", newline) != text:
        raise ConfigError("it has line ends of two kinds", where=name, remedy="make them one")
    return plain, newline


def _draft(text: str, dockerfile: Resource) -> Draft:
    source, body = read_dockerfile(text.encode())
    # The context is the folder's, and no edit changes that.
    return Draft(source, replace(dockerfile, body={**body, "context": dockerfile.body["context"]}))


def _failures(dockerfile: Resource, taken: Snapshot, registry: Registry) -> list[Finding]:
    alone = replace(taken, resources=(dockerfile,), gaps=())
    bad = {Status.FAIL, Status.ERROR, Status.UNKNOWN}
    return [row for row in evaluate(alone, registry) if row.status in bad]


def _count(rows: list[Finding]) -> Counter[str]:
    return Counter(row.check for row in rows)


def _diff(before: str, after: str, name: str) -> str:
    """A unified diff. Secrets are masked in it, and so in no terminal and no log."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    end = "\n\\ No newline at end of file\n"
    return "".join(line if line.endswith("\n") else line + end for line in lines)


def show(found: list[Mended], failures: Counter[str]) -> None:
    """Print the diffs, and on standard error what they mend and what they do not."""
    for item in found:
        typer.echo(item.diff, nl=False)
    fixed: Counter[str] = sum((item.fixed for item in found), Counter())
    if fixed:
        named = ", ".join(f"{check} ({count})" for check, count in sorted(fixed.items()))
        typer.echo(f"mends: {named}", err=True)
    left = sum((failures - fixed).values())
    typer.echo(f"for a person: {left} failure{'' if left == 1 else 's'}", err=True)


def write(found: list[Mended], *, force: bool) -> None:
    """Write every file that changes, each whole or not at all; refuse before any is written.

    Raises `ConfigError` for a file with changes that git does not hold, or that cannot be written.
    """
    changed = [item for item in found if item.after != item.before]
    if not force:
        for item in changed:
            _refuse_unsaved(item)
    for item in changed:
        target = item.path.resolve()
        try:
            if target.read_bytes() != item.before:
                raise ConfigError("it changed while it was read", where=item.name)
            mode = target.stat().st_mode
            write_whole(target, item.after)
            target.chmod(mode & 0o7777)
        except OSError as error:
            what = f"cannot be written: {error.strerror}"
            raise ConfigError(what, where=item.name) from error


def _refuse_unsaved(item: Mended) -> None:
    """Refuse a file whose present text may be nowhere else."""
    target = item.path.resolve()
    if not any((folder / ".git").exists() for folder in target.parents):
        return  # not under version control: its owner said --write
    remedy = "commit it first, or say --force"
    git = shutil.which("git")
    if git is None:
        raise ConfigError("whether it has changes cannot be told without git", where=item.name)
    # Nothing that the repository configures may run: it is only asked about one file.
    options = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    arguments = ["status", "--porcelain", "--ignored", "--", target.name]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the name stands behind --
            [git, *options, *arguments],
            cwd=target.parent,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise ConfigError("git does not answer", where=item.name, remedy=remedy) from None
    if done.returncode:
        raise ConfigError("git cannot tell whether it has changes", where=item.name, remedy=remedy)
    if done.stdout.strip():
        raise ConfigError("it has changes that are not committed", where=item.name, remedy=remedy)


def failing(rows: list[Finding]) -> Counter[str]:
    """How many failures each check has."""
    return _count([row for row in rows if row.status is Status.FAIL])
