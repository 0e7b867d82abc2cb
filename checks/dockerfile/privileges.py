"""Checks of the ways to more rights that a Dockerfile leaves in an image."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.model import Resource, Severity, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import (
    Instruction,
    destination,
    is_open,
    ran,
    shipped,
    unreadable,
)
from checks.dockerfile._modes import grant, modes
from checks.dockerfile._packages import stays

_OPEN = "its commands are for a shell that is not read here"
_PROGRAMS = frozenset({"sudo", "doas"})
_PACKAGES = frozenset({"sudo", "doas", "opendoas", "sudo-ldap", "doas-sudo-shim"})
_RULES = re.compile(r"/etc/(?:sudoers(?:\.d)?|doas\.(?:conf|d))(?:/|$)")


@check(
    id="dockerfile-sudo",
    title="The image has no sudo",
    severity="medium",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def sudo(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks for sudo and doas: installed, used, or given rules, in the final image.

    Why: sudo is a setuid program whose task is to give the rights of root away. A container that
    runs as a user with it runs as root in all but name, and its terminal and signals are in doubt.
    Rule: fails when the final stage, or a stage it is built on, installs sudo or doas and does not
    remove it in the same RUN; when RUN, CMD, ENTRYPOINT or HEALTHCHECK uses it; or when their rules
    (/etc/sudoers, /etc/sudoers.d, /etc/doas.conf) are written or copied. High when a rule says
    NOPASSWD or nopass. A builder stage does not count; gosu, su-exec and setpriv only give rights
    up and pass. Unknown when a variable without a value here names the packages or whether they
    are removed, or commands are for a shell that is no POSIX one.
    Fix: do what needs root before USER, and run as that user.

        RUN apk add --no-cache tzdata
        USER 10001:10001

    Source: this project's decision rules; hadolint DL3004 looks at its use in RUN.
    """
    found = shipped(dockerfile)
    clean = True
    for instruction in found:
        for verdict in [*_installed(instruction), *_used(instruction), *_ruled(instruction)]:
            clean = False
            yield verdict
    if clean:
        yield passed("", "neither sudo nor doas")


def _installed(instruction: Instruction) -> Iterator[Verdict]:
    path = instruction["path"]
    if unreadable([instruction]):
        yield unknown(path, _OPEN)
        return
    if instruction["cmd"] != "RUN":
        return
    left = stays(instruction)
    for package in left.kept:
        if package.name not in _PACKAGES:
            continue
        if left.open_removal:
            yield unknown(path, f"{package.name}: whether it is removed again is not told")
        else:
            seen, expected = f"installs {package.name}", "an image without it"
            yield failed(path, seen, expected, line=package.line, column=package.column)
    if left.open_install:
        yield unknown(path, "a variable without a value here names packages")


def _used(instruction: Instruction) -> Iterator[Verdict]:
    for command in ran([instruction], "RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"):
        if command.program in _PROGRAMS:
            line, column = command.place()
            expected = "the command itself, before USER"
            path = instruction["path"]
            yield failed(path, f"uses {command.program}", expected, line=line, column=column)
            return  # one a place: the rest of the instruction is the same habit


def _ruled(instruction: Instruction) -> Iterator[Verdict]:
    written = False
    if instruction["cmd"] in {"COPY", "ADD"}:
        written = bool(_RULES.search(destination(instruction)))
    elif instruction["cmd"] == "RUN":
        for command in instruction.get("commands") or ():
            targets = [target for operator, target in command["redirects"] if ">" in operator]
            named = command["words"][1:] if command["words"][:1] in (["tee"], ["sed"]) else []
            written = written or any(map(_RULES.search, [*targets, *named]))
    if not written:
        return
    text = " ".join([instruction["text"], *(item["text"] for item in instruction["heredocs"])])
    free = re.search(r"\bNOPASSWD\b|\bnopass\b", text)
    seen = "writes rules for sudo" + (f" ({free.group()})" if free else "")
    yield failed(
        instruction["path"],
        seen,
        "no rules",
        line=instruction["line"],
        column=1,
        severity=Severity.HIGH if free else None,
    )


@check(
    id="dockerfile-setuid-bits",
    title="No setuid or setgid bit is set",
    severity="high",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def setuid_bits(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the modes that the final image gives: setuid and setgid bits.

    Why: A program with a setuid bit runs with the rights of its owner, whoever starts it: one
    fault in it, and the user that the container was given no longer matters.
    Rule: judged for chmod, `install -m` and COPY or ADD --chmod in the final stage and the stages
    it is built on. Fails (high) for a setuid bit (4755, `u+s`); fails (medium) for a setgid bit
    (2755, `g+s`) except on what mkdir makes, for on a folder it only hands the group down. Taking
    bits away (`u-s`, `a-s`) passes. What packages and base images bring is not in the file: see
    image-setuid-files. Unknown when the mode is a variable without a value here, or commands are
    for a shell that is no POSIX one.
    Fix: give the program the one capability that it needs, or take the bits away.

        RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} +

    Source: CIS Docker 4.8.
    """
    found = shipped(dockerfile)
    clean = True
    for item in modes(found):
        if item.program == "umask":
            continue
        given = grant(item.mode)
        setgid = given.setgid and item.program != "mkdir"
        if is_open(item.mode):
            clean = False
            yield unknown(item.path, f"mode {item.mode}: not decided in the Dockerfile")
        elif given.setuid or setgid:
            clean = False
            bit = "setuid" if given.setuid else "setgid"
            yield failed(
                item.path,
                f"mode {item.mode}: {bit}",
                f"no {bit} bit",
                line=item.line,
                column=item.column,
                severity=None if given.setuid else Severity.MEDIUM,
            )
    for instruction in unreadable(found):
        clean = False
        yield unknown(instruction["path"], _OPEN)
    if clean:
        yield passed("", "no setuid or setgid bit is set")
