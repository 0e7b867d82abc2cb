"""What everybody may write in an image."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Verdict, View, failed, passed
from auditor.registry import check
from checks.image.files import FILES, files_of, rest_of, rows_of, unread


@check(
    id="image-world-writable",
    title="Images hold nothing that everybody may write",
    severity="medium",
    applies_to="image/image",
    needs=(FILES,),
)
def world_writable(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the permissions of every file and directory that the image shows when it runs.

    Why: a program that others may write can be replaced by any process of the container, and a
        directory that all may write lets each of them delete what others put there.
    Rule: fails for each file with write for others, and for each directory with it that has no
        sticky bit; passes when there is none; unknown when the image's files could not be read. A
        file that a later layer deletes or changes counts as the later layer leaves it. Symbolic
        links do not count: their mode means nothing.
    Fix: take write away in the same layer that brings the files:

            RUN chmod -R o-w /opt/app && chmod 1777 /tmp
    Source: hardening guide, issue 3 (file permissions); this project's decision rules.
    """
    files = files_of(image)
    if files is None:
        yield unread(image)
        return
    listed = rows_of(files.get("world_writable"))
    for row in listed:
        kind = "directory, no sticky bit" if row.get("directory") else "file"
        seen = f"mode {row.get('mode')}, {kind}, layer {row.get('layer')}"
        yield failed(str(row.get("path")), seen, "no write for others")
    rest = rest_of(files, "world_writable_count", listed)
    if rest:
        yield failed("", f"{rest} more that everybody may write", "none")
    elif not listed:
        yield passed("files")
