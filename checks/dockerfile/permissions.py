"""Checks of the permissions that a Dockerfile gives to files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.model import Resource, Severity, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import is_open, shipped, unreadable
from checks.dockerfile._modes import Mode, grant, modes

_EXPECTED = "755 or less for others, or no write and no recursive read for all"


@check(
    id="dockerfile-file-permissions",
    title="Files are not opened to everybody",
    severity="high",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def file_permissions(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at chmod, install -m, mkdir -m, umask and COPY or ADD --chmod of the final image.

    Why: A file that others may write lets any process of the container change what it runs next.
    A tree that all may read shows its configuration and keys to whoever gets in with least rights.
    Rule: fails (high) for a grant of write to others, except on a directory with the sticky bit
    (1777), and for `umask 000`. Fails (medium) for a recursive grant of read to all or others in
    symbols (`chmod -R a+r`, `o+r`, `a=rX`), also through `find` and `xargs`. Passes otherwise;
    `755` passes although it lets everybody read: it is what the guide itself recommends. Setuid
    and setgid bits are the question of `dockerfile-setuid-bits`. Unknown when the mode is a
    variable without a value here, or when commands are for a shell that is no POSIX one.
    Fix: give files to the user that needs them, and take write away where nothing is written.

        COPY --chown=app:app --chmod=750 src/ /opt/app/
        RUN chmod -R 755 /opt/app && chmod -R a-w /opt/app/lib

    Source: hardening guide, issue 3 (file permissions).
    """
    found = shipped(dockerfile)
    clean = True
    for item in modes(found):
        for verdict in _judged(item):
            clean = False
            yield verdict
    for instruction in unreadable(found):
        clean = False
        yield unknown(instruction["path"], "its commands are for a shell that is not read here")
    if clean:
        yield passed("", "no grant to others")


def _judged(item: Mode) -> Iterator[Verdict]:
    path, mode, line, column = item.path, item.mode, item.line, item.column
    if item.program == "umask":
        if re.fullmatch(r"[0-7]{1,4}", mode) and not int(mode, 8) & 0o2:
            seen = f"umask {mode}: new files are writable by others"
            yield failed(path, seen, "umask 022 or stricter", line=line, column=column)
        return
    if is_open(mode):
        yield unknown(path, f"mode {mode}: not decided in the Dockerfile", _EXPECTED)
        return
    given = grant(mode)
    if given.write:
        seen = f"mode {mode}: others may write"
        yield failed(path, seen, _EXPECTED, line=line, column=column)
    if given.read and item.recursive and not given.write:
        seen = f"recursive mode {mode}: everybody may read all of it"
        medium = Severity.MEDIUM
        yield failed(path, seen, _EXPECTED, line=line, column=column, severity=medium)
