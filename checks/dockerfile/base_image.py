"""Checks of what a Dockerfile is built on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.model import Resource, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import image, instructions, is_open, stages

FLOATING = frozenset(
    {
        *("latest", "edge", "rolling", "stable", "testing", "unstable", "experimental", "sid"),
        *("dev", "devel", "develop", "nightly", "snapshot", "canary", "next", "main", "master"),
        *("current", "lts", "mainline", "head", "trunk", "rawhide", "tumbleweed", "beta"),
    }
)
"""Parts of a tag that say that it moves on purpose."""

_CODENAMED = frozenset({"debian", "ubuntu", "buildpack-deps"})
"""Repositories whose releases go by a name: there a tag without a number can be a release."""


@check(
    id="dockerfile-pinned-base",
    title="Base images are pinned to a version",
    severity="high",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def pinned_base(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every image a build starts from: FROM, COPY --from and RUN --mount from an image.

    Why: A tag that moves gives another image tomorrow. Nobody can then say which vulnerabilities
    are in the build of last month, and whoever controls the tag controls the next build.
    Rule: fails when the image has no tag, has the tag `latest`, or has a tag that is floating by
    its own words (`edge`, `stable`, `lts`, `nightly`, …) or that holds no number at all (a
    variant such as `alpine` or `slim`); the code name of a Debian or Ubuntu release counts as a
    version. Passes with a version (a major one alone is enough here; only a digest holds still),
    with a digest, and for `scratch`. Every stage counts, for what a builder makes is shipped too.
    Unknown when a build argument without a default decides it.
    Fix: name the version, or better the digest too.

        FROM alpine:3.20

        FROM alpine:3.20@sha256:<digest of that tag>

    Source: hardening guide, issue 1 (base image security); CIS Docker 4.2, in our own words.
    """
    names = {stage["name"] for stage in stages(dockerfile)}
    for stage in stages(dockerfile):
        path = f"stage[{stage['index']}].FROM"
        if stage["base_stage"] is not None:
            yield passed(path, f"built on stage {stage['base_stage']}")
        elif stage["base_expanded"] is None:
            decided = ", ".join(stage["unresolved"]) or "the build"
            yield unknown(path, f"{stage['base']}: decided by {decided}, which has no default here")
        else:
            yield _judged(path, stage["base_expanded"], stage["line"])
    for instruction in instructions(dockerfile):
        for reference in _other_images(instruction["flags"]):
            path = f"{instruction['path']}.from"
            if is_open(reference):
                yield unknown(path, f"{reference}: not decided in the Dockerfile")
            elif not reference.isdigit() and reference.lower() not in names:
                yield _judged(path, reference, instruction["line"])


def _other_images(flags: dict[str, list[str]]) -> list[str]:
    found = list(flags.get("from", ()))
    for mount in flags.get("mount", ()):
        found += [part[5:] for part in mount.split(",") if part.startswith("from=")]
    return found


def _judged(path: str, reference: str, line: int) -> Verdict:
    expected = "a tag with a version, or a digest"
    ref = image(reference)
    if ref.digest or reference == "scratch":
        return passed(path, reference)
    if not ref.tag:
        return failed(path, f"{reference}: no tag, which means latest", expected, line=line)
    parts = re.split(r"[-_.+]", ref.tag.lower())
    moving = [part for part in parts if part in FLOATING]
    if moving:
        return failed(path, f"{reference}: the tag {moving[0]} moves", expected, line=line)
    if not any(map(str.isdigit, ref.tag)) and ref.short not in _CODENAMED:
        seen = f"{reference}: the tag names a variant, no version"
        return failed(path, seen, expected, line=line)
    return passed(path, reference)
