"""Checks of what installations leave behind and of which versions they ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.model import Resource, Severity, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._caches import left_behind
from checks.dockerfile._facts import (
    Instruction,
    instructions,
    is_open,
    shipped,
    shown,
    unreadable,
)
from checks.dockerfile._languages import Install, installs, is_pinned
from checks.dockerfile._packages import Action, Package, actions

_OPEN = "its commands are for a shell that is not read here"


@check(
    id="dockerfile-package-cache",
    title="Package managers leave no cache in the image",
    severity="low",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def package_cache(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what package managers of the final image keep of what they fetched.

    Why: Lists and archives that nobody reads again make the image larger, and tell whoever gets in
    what is installed in which version and where to get more.
    Rule: judged for each RUN of the final stage and the stages it is built on. Fails for apk
    without `--no-cache`; for an update of apt's lists, for dnf, yum, microdnf, zypper and pacman,
    unless the same RUN clears their folder or calls their own command for it; for pip without
    `--no-cache-dir` or PIP_NO_CACHE_DIR; for npm, yarn and pnpm unless the same RUN cleans their
    cache. A cache mount (`--mount=type=cache` or `tmpfs`) over the folder passes: the layer does
    not hold it. A later RUN takes nothing out of a layer. A builder stage does not count. Unknown
    when a variable without a value here is removed, or the shell is not a POSIX one.
    Fix: keep nothing, in the RUN that fetches.

        RUN apk add --no-cache ca-certificates

        RUN apt-get update \\
         && apt-get install -y --no-install-recommends ca-certificates \\
         && rm -rf /var/lib/apt/lists/*

    Source: hardening guide, issue 5 (its example has --no-cache); hadolint DL3009, DL3019, DL3032,
    DL3036, DL3040, DL3042 and DL3060 look at the same.
    """
    found = shipped(dockerfile)
    clean = True
    for left in left_behind(found):
        clean = False
        path = left.command.instruction["path"]
        line, column = left.command.place()
        seen = f"{' '.join(left.command.words[:2])} keeps {left.keeps}"
        if left.open_ends:
            yield unknown(path, f"{seen}: whether they are removed is not told", left.instead)
        else:
            yield failed(path, seen, left.instead, line=line, column=column)
    for instruction in unreadable(found):
        clean = False
        yield unknown(instruction["path"], _OPEN)
    if clean:
        yield passed("", "no package manager leaves a cache")


@check(
    id="dockerfile-pinned-packages",
    title="Packages are installed in chosen versions",
    severity="medium",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def pinned_packages(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the packages that a command line names, and whether it says which version.

    Why: Without a version the build takes what the registry has at that moment. Two builds of one
    commit differ, and a release that somebody slipped into a registry is in the next image.
    Rule: judged in every stage, for packages that stand on a command line. Fails (medium) for
    packages of a language without a version: pip without `==`, `===` or `~=`; npm, yarn, pnpm, go
    and cargo without a version after `@` (a tag such as `latest` is none) or a version option; gem
    without `-v` or `:version`; a Git address without a commit or a tag with a number. Fails (low)
    for packages of the distribution without one: apk `name=1.2` or `name~1.2`, apt `name=1.2`,
    dnf `name-1.2`, zypper `name=1.2`; pacman has no such thing. A lower bound is no version, a
    major one is enough. Passes for local files and folders, and for what a requirements or lock
    file names: those are read by nobody here, and the rule does not speak of them. Unknown when
    a variable without a value here names a package.
    Fix: name the version, or install from a file that has versions and hashes.

        RUN apk add --no-cache ca-certificates~20240705
        RUN pip install --no-cache-dir --require-hashes -r requirements.txt

    Source: this project's decision rules ("without version pinning"); hadolint DL3008, DL3013,
    DL3016, DL3018, DL3028, DL3033, DL3037, DL3041 and DL3062 look at the same.
    """
    clean = True
    for instruction in instructions(dockerfile):
        verdicts = [*_unpinned(instruction)]
        if unreadable([instruction]):
            verdicts.append(unknown(instruction["path"], _OPEN))
        for verdict in verdicts:
            clean = False
            yield verdict
    if clean:
        yield passed("", "every package named has a version")


def _unpinned(instruction: Instruction) -> Iterator[Verdict]:
    path = instruction["path"]
    for action in actions([instruction]):
        if action.kind != "install":
            continue
        loose = [package for package in action.packages if not _has_version(action, package)]
        if loose:
            yield failed(
                path,
                f"{action.manager} installs {shown([item.written for item in loose])}: no version",
                "a version for each package",
                line=loose[0].line,
                column=loose[0].column,
                severity=Severity.LOW,
            )
        if action.open_ends:
            bare = [word for word in action.command.words[1:] if is_open(word)]
            if not all(re.search(r"[=~].*\$\{", word) for word in bare):
                yield unknown(path, f"{action.manager}: a variable without a value names packages")
    for install in installs([instruction]):
        yield from _of_language(path, install)


def _of_language(path: str, install: Install) -> Iterator[Verdict]:
    loose = [item for item in install.packages if not is_pinned(install, item.written)]
    hidden = [item for item in loose if re.match(r"\$(?:\{|\(|[0-9@*])", item.written)]
    loose = [item for item in loose if item not in hidden]
    if loose:
        line, column = install.command.place(loose[0].place)
        names = shown([item.written for item in loose])
        seen = f"{install.manager} installs {names}: no version"
        yield failed(path, seen, "a version for each package", line=line, column=column)
    if hidden:
        yield unknown(path, f"{install.manager}: a variable without a value names packages")


def _has_version(action: Action, package: Package) -> bool:
    written = package.written
    if written.startswith(("@", ".", "/")) or re.search(r"\.(?:apk|deb|rpm)$|://", written):
        # A group or a tagged repository has no version of its own; a file is what it is.
        return not re.match(r"@\w+$", written) or action.manager == "dnf"
    if action.manager == "dnf":
        # With a dot, for `java-17-openjdk` is a name.
        return bool(re.search(r"-(?:\d+:)?\d\w*\.\w", written))
    if action.manager == "apk":
        return bool(re.search(r"(?<![<>])[=~]=?\S", written))
    return bool(re.search(r"(?<![<>])=\S", written))
