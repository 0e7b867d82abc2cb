"""Checks of what a build takes from its context."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from auditor.model import (
    Json,
    Resource,
    Severity,
    Verdict,
    View,
    failed,
    passed,
    review,
    unknown,
)
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import (
    Instruction,
    instructions,
    is_open,
    shipped,
    shown,
    sources,
)

_WHOLE = frozenset({".", "/", "*", "**", "./*", "/*"})
_REMOTE = re.compile(r"(?:https?|ftp|git|ssh)://|git@|.+\.git(?:#.*)?$", re.IGNORECASE)
_ARCHIVE = re.compile(r".+\.(?:tar|tgz|tbz2?|txz|tar\.\w+)$", re.IGNORECASE)


@check(
    id="dockerfile-build-context",
    title="Copying the whole context leaves secrets and history out",
    severity="high",
    applies_to="dockerfile/Dockerfile",
    settings=("context_secret_patterns",),
    excuse_place=accepted_in_file,
)
def build_context(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at COPY and ADD of the whole build context, and at the .dockerignore beside it.

    Why: `COPY . .` puts into the image whatever lies in the folder on the day of the build: `.env`
    files, keys, the version history with everything that was ever deleted from it.
    Rule: fails when the whole context is copied and there is no .dockerignore, or it does not keep
    out each of `context_secret_patterns` at the top of the context, or a name that matches one
    lies anywhere in the context and is not kept out. `review` when an exception (`!name`) lets
    such a name in on purpose. In a stage that is not shipped the failure is medium. Passes when
    all are kept out, or when only named files and folders are copied. The context is taken to be
    the Dockerfile's own folder, and `<Dockerfile>.dockerignore` goes before `.dockerignore`, as in
    Docker. Unknown when the file cannot be read, or a variable without a value names the source.
    Fix: copy what is needed by name, or keep the rest out:

        # .dockerignore
        **
        !src/
        !requirements.txt

    Source: hardening guide, issue 4 (build context); the patterns are this project's choice.
    """
    patterns: Sequence[str] = view.settings["context_secret_patterns"]
    in_final = {item["index"] for item in shipped(dockerfile)}
    judged = False
    for instruction in instructions(dockerfile):
        if instruction["cmd"] not in {"COPY", "ADD"} or "from" in instruction["flags"]:
            continue
        path = instruction["path"]
        named = sources(instruction)
        if any(_is_whole(source) for source in named):
            judged = True
            severity = None if instruction["index"] in in_final else Severity.MEDIUM
            yield from _whole(dockerfile, instruction, patterns, severity)
        elif any(is_open(source) for source in named):
            judged = True
            yield unknown(path, "a variable without a value here names the source")
    if not judged:
        yield passed("", "the context is never copied whole")


def _is_whole(source: str) -> bool:
    return source in _WHOLE or (bool(source) and posixpath.normpath(source) in {".", "/"})


def _whole(
    dockerfile: Resource,
    instruction: Instruction,
    patterns: Sequence[str],
    severity: Severity | None,
) -> Iterator[Verdict]:
    context: Mapping[str, Json] = dockerfile.body["context"]
    path, line = instruction["path"], instruction["line"]
    what = f"{instruction['cmd']} of the whole context"
    expected = f"a .dockerignore that keeps out {shown(patterns, 8)}"
    if context["error"] is not None:
        yield unknown(path, f"{context['file']} was not read: {context['error']}", expected)
        return
    left_out = {item.removeprefix("**/") for item in instruction["flags"].get("exclude", ())}
    asked = [pattern for pattern in patterns if pattern not in left_out]
    unasked = [pattern for pattern in asked if pattern not in context["kept_out"]]
    if unasked:
        seen = f"not looked for when the snapshot was taken: {shown(unasked)}"
        yield unknown(path, seen, expected)
    let_in = [pattern for pattern in asked if context["kept_out"].get(pattern, "") is None]
    names = [item for item in context["named"] if item["pattern"] not in left_out]
    plain = [item["name"] for item in names if item["let_in"] is None]
    excepted = [f"{item['name']} ({item['let_in']})" for item in names if item["let_in"]]
    there = f"; there now: {shown(plain)}" if plain else ""
    if let_in and context["file"] is None:
        seen = f"{what}, and no .dockerignore{there}"
        yield failed(path, seen, expected, line=line, column=1, severity=severity)
    elif let_in:
        seen = f"{what}; {context['file']} lets in {shown(let_in, 8)}{there}"
        yield failed(path, seen, expected, line=line, column=1, severity=severity)
    elif plain:
        seen = f"{what}; {context['file']} lets in {shown(plain)}"
        yield failed(path, seen, expected, line=line, column=1, severity=severity)
    elif excepted:
        yield review(path, f"let in by an exception: {shown(excepted)}", expected, line=line)
    elif not context["complete"]:
        seen = "the context has more names than are looked at"
        yield unknown(path, seen, expected)
    elif not unasked:
        yield passed(path, f"{what}; {context['file'] or 'the instruction'} keeps secrets out")


@check(
    id="dockerfile-add-local",
    title="Local files are copied, not added",
    severity="low",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def add_local(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at ADD instructions whose source lies in the build context.

    Why: ADD does more than it says: it unpacks archives and fetches addresses. With COPY a file
    that becomes an archive, or a name that becomes an address, changes nothing unseen.
    Rule: fails for an ADD of a local file or folder. Passes when there is none; an ADD of an
    address, of a Git repository, of a local tar archive (which COPY would not unpack) or of a
    here-document is what ADD is for. Unknown when a variable without a value here names it.
    Fix: use COPY, and name what is needed.

        COPY setup.py ./
        COPY app/ ./app/

    Source: hardening guide, issue 4 (its example replaces ADD by COPY); CIS Docker 4.9.
    """
    clean = True
    for instruction in instructions(dockerfile):
        if instruction["cmd"] != "ADD":
            continue
        named = sources(instruction)
        local = [item for item in named if not is_open(item) and not _is_for_add(item)]
        if local:
            clean = False
            seen = f"ADD of {shown(local)}"
            yield failed(instruction["path"], seen, "COPY", line=instruction["line"], column=1)
        elif any(is_open(item) and not _is_for_add(item) for item in named):
            clean = False
            yield unknown(instruction["path"], "a variable without a value here names the source")
    if clean:
        yield passed("", "no ADD of local files")


def _is_for_add(source: str) -> bool:
    return bool(_REMOTE.match(source) or _ARCHIVE.match(source))
