"""Checks of ways to log in to a container from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.model import Resource, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import Instruction, is_open, ran, shipped, unreadable
from checks.dockerfile._packages import stays

_SERVERS = frozenset({"openssh", "openssh-server", "dropbear", "openssh-server-pam", "tinyssh"})
_DAEMONS = frozenset({"sshd", "dropbear"})
_PORT = 22


@check(
    id="dockerfile-ssh",
    title="The image offers no SSH",
    severity="medium",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def ssh(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks for port 22 and for an SSH server in the final image.

    Why: A container needs no way in of its own: the engine has one, with its own access control. An
    SSH server brings keys, users and patches to look after, and a port to attack.
    Rule: fails when the final stage, or a stage it is built on, exposes TCP port 22 (alone or in a
    range), installs an SSH server that stays (openssh-server, dropbear; Alpine's openssh holds
    one), or starts one in RUN, CMD or ENTRYPOINT. A client alone passes, and a builder stage does
    not count. Unknown when a variable without a value here names the port or the packages, or
    commands are for a shell that is no POSIX one.
    Fix: take the server out, and use the engine.

        docker exec -it CONTAINER sh

    Source: this project's decision rules ("exposed port 22"); CIS Docker 5.7 for what runs.
    """
    found = shipped(dockerfile)
    clean = True
    for instruction in found:
        for verdict in [*_exposed(instruction), *_installed(instruction), *_started(instruction)]:
            clean = False
            yield verdict
    if clean:
        yield passed("", "no SSH server, and port 22 is not exposed")


def _exposed(instruction: Instruction) -> Iterator[Verdict]:
    if instruction["cmd"] != "EXPOSE":
        return
    path, line = instruction["path"], instruction["line"]
    for word in " ".join(instruction["expanded"] or ()).split():
        ports, _, protocol = word.partition("/")
        numbers = re.fullmatch(r"(?:.*:)?(\d{1,5})(?:-(\d{1,5}))?", ports)
        if is_open(word):
            yield unknown(path, f"{word}: not decided in the Dockerfile", "no port 22")
        elif numbers and protocol.lower() in {"", "tcp"}:
            first = int(numbers.group(1))
            if first <= _PORT <= int(numbers.group(2) or first):
                yield failed(path, f"exposes {word}", "no port 22", line=line, column=1)


def _installed(instruction: Instruction) -> Iterator[Verdict]:
    path = instruction["path"]
    if unreadable([instruction]):
        yield unknown(path, "its commands are for a shell that is not read here")
        return
    if instruction["cmd"] != "RUN":
        return
    left = stays(instruction)
    for package in left.kept:
        if package.name not in _SERVERS:
            continue
        if left.open_removal:
            yield unknown(path, f"{package.name}: whether it is removed again is not told")
        else:
            yield failed(
                path,
                f"installs {package.name}",
                "no SSH server",
                line=package.line,
                column=package.column,
            )
    if left.open_install:
        yield unknown(path, "a variable without a value here names packages")


def _started(instruction: Instruction) -> Iterator[Verdict]:
    for command in ran([instruction], "RUN", "CMD", "ENTRYPOINT"):
        service = command.program in {"service", "rc-service", "systemctl"} and (
            {"ssh", "sshd"} & set(command.words[1:])
        )
        if command.program in _DAEMONS or service:
            line, column = command.place()
            seen = f"starts {command.program if not service else 'an SSH server'}"
            path = instruction["path"]
            yield failed(path, seen, "no SSH server", line=line, column=column)
