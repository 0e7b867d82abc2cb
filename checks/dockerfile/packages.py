"""Checks of the packages that a Dockerfile installs and of how it updates their lists."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.model import Resource, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import (
    Image,
    Instruction,
    image,
    instructions,
    root_base,
    shipped,
    shown,
    unreadable,
)
from checks.dockerfile._packages import actions, is_build_tool, stays

BUILD_IMAGES = frozenset(
    {"buildpack-deps", "cargo-chef", "gcc", "golang", "gradle", "maven", "rust"}
)
"""Base images that exist to build with."""

_OPEN = "its commands are for a shell that is not read here"


@check(
    id="dockerfile-build-tools",
    title="Build tools do not stay in the image",
    severity="medium",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def build_tools(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks for compilers and development packages that the final image keeps.

    Why: A compiler and headers in a production image are tools for whoever breaks in, and each is
    one more package with faults of its own that has to be patched.
    Rule: fails when an instruction of the final stage (or of a stage it is built on) installs a
    build tool: a compiler, its helpers, or a package ending in -dev, -devel or -headers; and
    when the final stage is built on an image for building (golang, rust, gcc, maven, …). What the
    same RUN removes again is not left: by name, by apk's virtual package, or by apt's automatic
    removal; a later RUN removes nothing from the layer. Variables are put in first. The tools of
    a builder stage do not count. Unknown when a variable without a value here names the packages
    or the base image.
    Fix: build in a stage of its own and copy the result, or remove the tools in the same RUN.

        FROM alpine:3.20 AS builder
        RUN apk add --no-cache gcc musl-dev
        # build here
        FROM alpine:3.20
        COPY --from=builder /out/ /opt/app/

    Source: hardening guide, issue 5 (package management) and its table ("minimal packages");
    CIS Docker 4.3.
    """
    found = shipped(dockerfile)
    clean = True
    base = root_base(dockerfile)
    reference = image(base["base_expanded"] or "")
    if base["base_expanded"] is None:
        clean = False
        yield unknown(f"stage[{base['index']}].FROM", f"{base['base']}: not decided here")
    elif _is_for_building(reference):
        clean = False
        yield failed(
            f"stage[{base['index']}].FROM",
            f"the final image is built on {base['base_expanded']}, an image to build with",
            "a base for running, and a builder stage",
            line=base["line"],
            column=1,
        )
    for instruction in found:
        for verdict in _left(instruction):
            clean = False
            yield verdict
    if clean:
        yield passed("", "no build tool stays")


def _is_for_building(reference: Image) -> bool:
    named = f"{reference.repository}-{reference.tag}".replace("/", "-")
    return reference.short in BUILD_IMAGES or bool(re.search(r"(?:^|[-_.])(?:sdk|jdk)\b", named))


def _left(instruction: Instruction) -> Iterator[Verdict]:
    path = instruction["path"]
    if unreadable([instruction]):
        yield unknown(path, _OPEN)
        return
    left = stays(instruction)
    tools = [package for package in left.kept if is_build_tool(package.name)]
    names = shown([package.name for package in tools])
    expected = "installed in a builder stage, or removed in the same RUN"
    if tools and left.open_removal:
        yield unknown(path, f"{names}: whether they are removed again is not told", expected)
    elif tools:
        line, column = tools[0].line, tools[0].column
        yield failed(path, f"{names} stay in the image", expected, line=line, column=column)
    elif left.open_install:
        yield unknown(path, "a variable without a value here names packages", expected)


@check(
    id="dockerfile-update-alone",
    title="Package lists are updated together with an installation",
    severity="low",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def update_alone(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at RUN instructions that update package lists and install nothing.

    Why: The layer of an update is cached by its text. A later build installs from lists of the day
    it was first run, and misses every fix since.
    Rule: fails when a RUN updates package lists (`apt-get update`, `apk update`, `dnf makecache`,
    `zypper refresh`, `pacman -Sy`) and neither installs nor upgrades with the same manager.
    Passes otherwise. Unknown when the commands are for a shell that is not read.
    Fix: do both in one RUN, and leave no lists behind.

        RUN apt-get update \\
         && apt-get install -y --no-install-recommends ca-certificates \\
         && rm -rf /var/lib/apt/lists/*

    Source: CIS Docker 4.7.
    """
    clean = True
    for instruction in instructions(dockerfile):
        if unreadable([instruction]):
            clean = False
            yield unknown(instruction["path"], _OPEN)
            continue
        done = actions([instruction])
        used = {action.manager for action in done if action.kind in {"install", "upgrade"}}
        for action in done:
            if action.kind == "update" and action.manager not in used:
                clean = False
                line, column = action.command.place()
                seen = f"{' '.join(action.command.words[:2])} alone in a RUN"
                expected = "an installation in the same RUN"
                yield failed(instruction["path"], seen, expected, line=line, column=column)
    if clean:
        yield passed("", "no update alone")
