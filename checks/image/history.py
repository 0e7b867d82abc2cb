"""What an image's history says of how it was built."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.model import Resource, Verdict, View, failed, passed, review, unknown
from auditor.registry import check
from checks.dockerfile._packages import action_of
from checks.image._history import Step, commands, steps

_ARCHIVE = re.compile(r"\.(?:tar|tgz|tbz2?|txz|tar\.\w+)\b", re.IGNORECASE)
_REMOTE = re.compile(r"(?:https?|ftp|git|ssh)://|git@|\.git(?:#|\s)", re.IGNORECASE)


@check(
    id="image-update-alone",
    title="The history updates package lists together with an installation",
    severity="low",
    applies_to="image/image",
)
def update_alone(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the RUN lines in an image's history that update package lists.

    Why: the layer of an update is cached by its text; what a later build installs comes from lists
        of the day it was first run, and misses every fix since.
    Rule: fails for each RUN of the history that updates package lists (apt, apk, dnf, zypper) and
        neither installs nor upgrades with the same manager; passes when there is none; unknown when
        the history was not read. A RUN that was a here-document shows no commands there.
    Fix: do both in one RUN:

            RUN apt-get update && apt-get install -y ca-certificates && rm -rf /var/lib/apt/lists/*
    Source: CIS Docker 4.7 (1.6 to 1.8).
    """
    found = steps(image)
    if found is None:
        yield unknown("history", "the history was not read", "no update alone")
        return
    clean = True
    for step in found:
        done = [action for item in commands(step) if (action := action_of(item)) is not None]
        used = {action.manager for action in done if action.kind in {"install", "upgrade"}}
        for manager in sorted(
            {action.manager for action in done if action.kind == "update"} - used
        ):
            clean = False
            seen = f"{manager} updates its lists and installs nothing"
            yield failed(step.path, seen, "an installation in the same RUN")
    if clean:
        yield passed("history")


@check(
    id="image-add",
    title="The history adds no local files with ADD",
    severity="low",
    applies_to="image/image",
)
def added(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the ADD instructions in an image's history.

    Why: ADD does more than it says: it unpacks archives and fetches addresses. With COPY a file
        that becomes an archive, or a name that becomes an address, changes nothing unseen.
    Rule: fails for each ADD of the history that names local files, as BuildKit writes it; review
        for one of the classic builder, which writes a digest instead of the name, so that an
        archive, which ADD is for, looks the same. The ADD that brings a base image's root file
        system (to `/`, as the first layer) passes, and so does an ADD of an archive, an address or
        a Git repository. Unknown when the history was not read.
    Fix: use COPY:

            COPY app/ /opt/app/
    Source: CIS Docker 4.9 (1.6 to 1.8).
    """
    found = steps(image)
    if found is None:
        yield unknown("history", "the history was not read", "COPY")
        return
    clean = True
    for number, step in enumerate(found):
        verdict = _judged(step, first=number == 0)
        if verdict is not None:
            clean = False
            yield verdict
    if clean:
        yield passed("history")


def _judged(step: Step, *, first: bool) -> Verdict | None:
    if step.instruction != "ADD" or _REMOTE.search(step.text):
        return None
    if first and re.search(r"(?:\sin\s+|\s)/\s*$", step.text):
        return None
    if not step.buildkit and re.search(r"\b(?:file|dir|multi):", step.text):
        target = step.text.rpartition(" in ")[2].strip()
        return review(step.path, f"ADD to {target}: whether of an archive is not told", "COPY")
    if _ARCHIVE.search(step.text.rpartition(" ")[0]):
        return None
    return failed(step.path, f"ADD {step.text[:120]}", "COPY")
