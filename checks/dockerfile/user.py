"""Checks of the user that a container of the image runs as."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.model import Resource, Verdict, View, failed, not_applicable, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import (
    Instruction,
    Ran,
    destination,
    final,
    is_open,
    ran,
    shipped,
    unreadable,
)

_ROOT_NAMES = frozenset({"root", "containeradministrator", "administrator"})
_CREATORS = frozenset({"adduser", "useradd", "usermod"})
_WITH_VALUE = re.compile(r"(?:-u|--uid)(?:=(.+))?$|-u(\d+)$")
_PASSWD_LINE = re.compile(r"(?:^|\s)[a-z_][\w.-]*:[^:\s]*:(\d+):")


def last_user(dockerfile: Resource) -> Instruction | None:
    """The USER in force at the end of the final stage, or None."""
    users = [item for item in shipped(dockerfile) if item["cmd"] == "USER"]
    return users[-1] if users else None


def name_of(instruction: Instruction) -> str:
    """The user part of a USER instruction, without the group."""
    words = instruction["expanded"]
    return str(words[0]).partition(":")[0].strip() if words else ""


@check(
    id="dockerfile-user",
    title="The last USER is not root",
    severity="high",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def user(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the USER that is in force at the end of the final stage.

    Why: Without a USER a container runs as root. A fault in the program is then a fault with all
    rights inside the container, and one kernel or engine fault away from the host.
    Rule: fails when the final stage, with the stages it is built on, has no USER, or when the last
    one is root (by name or as 0). Passes otherwise; whether a number belongs to a user is the
    question of `dockerfile-user-created`. Unknown when a build argument without a default, or a
    variable of the base image, decides it.
    Fix: create a user and switch to it after the last step that needs root.

        RUN addgroup -g 10001 -S app && adduser -u 10001 -S -G app app
        USER 10001:10001

    Source: hardening guide, issue 2 (user security) and its table of features; CIS Docker 4.1.
    """
    path = f"{final(dockerfile)}.USER"
    expected = "a USER that is not root"
    instruction = last_user(dockerfile)
    if instruction is None:
        line = dockerfile.body["stages"][-1]["line"]
        yield failed(path, "no USER: the container runs as root", expected, line=line)
        return
    name = name_of(instruction)
    if is_open(name):
        yield unknown(path, f"USER {name}: not decided in the Dockerfile", expected)
    elif not name or name.lower() in _ROOT_NAMES or (name.isdigit() and int(name) == 0):
        seen = f"the last USER is {name or 'empty'}"
        yield failed(path, seen, expected, line=instruction["line"], column=1)
    else:
        yield passed(path, f"USER {name}")


@check(
    id="dockerfile-user-created",
    title="The numeric user is one that the image creates",
    severity="medium",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def user_created(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks for the instruction that creates the numeric user of the last USER.

    Why: A number that belongs to nobody has no home, no group of its own and no name in any log,
    and it may be the number of somebody else on the host or on a shared volume.
    Rule: fails when the last USER is a number other than 0 and nothing in the final stage (or the
    stages it is built on) gives it to a user: `adduser` or `useradd` with that number, `usermod`,
    a line written to /etc/passwd, or an /etc/passwd that is copied in. Passes when something
    does, and for a name: a name that nobody created keeps the container from starting. Not
    applicable without a USER, or when it is root. Unknown when a variable without a value here
    decides it, or when a user is created without saying which number it gets.
    Fix: create the user with the number.

        ARG UID=10001
        RUN adduser -u ${UID} -S -D -H app
        USER ${UID}

    Source: hardening guide, issue 2 ("hardcoded UID").
    """
    path = f"{final(dockerfile)}.USER"
    instruction = last_user(dockerfile)
    if instruction is None:
        yield not_applicable("no USER", path)
        return
    name = name_of(instruction)
    if is_open(name):
        yield unknown(path, f"USER {name}: not decided in the Dockerfile")
        return
    if not name.isdigit():
        root = name.lower() in _ROOT_NAMES or not name
        yield not_applicable("USER is root", path) if root else passed(path, f"USER {name}")
        return
    if int(name) == 0:
        yield not_applicable("USER is root", path)
        return
    yield _created(dockerfile, instruction, path, int(name))


def _created(dockerfile: Resource, instruction: Instruction, path: str, number: int) -> Verdict:
    expected = f"an instruction that creates user {number}"
    found = shipped(dockerfile)
    if any(_brings_passwd(item) for item in found):
        return passed(path, "/etc/passwd is copied in")
    open_ends = bool(unreadable(found))
    for command in ran(found):
        numbers = _numbers(command)
        if str(number) in numbers:
            return passed(path, f"user {number} is created")
        open_ends = open_ends or "" in numbers or any(map(is_open, numbers))
    if open_ends:
        return unknown(path, f"USER {number}: a user is created, its number is not told", expected)
    seen = f"USER {number}, a number that no instruction gives to a user"
    return failed(path, seen, expected, line=instruction["line"], column=1)


def _numbers(command: Ran) -> list[str]:
    """The user numbers a command gives out; an empty string for one it chooses itself."""
    if command.program in _CREATORS:
        for index, word in enumerate(command.words):
            match = _WITH_VALUE.match(word)
            if match is None:
                continue
            inline = match.group(1) or match.group(2)
            following = command.words[index + 1 : index + 2]
            return [inline] if inline else list(following)
        return [] if command.program == "usermod" else [""]
    targets = [target for _, target in command.command["redirects"]]
    if "/etc/passwd" in [*targets, *command.words[1:]]:
        return _PASSWD_LINE.findall(" ".join(command.words))
    return []


def _brings_passwd(instruction: Instruction) -> bool:
    if instruction["cmd"] not in {"COPY", "ADD"}:
        return False
    into = destination(instruction)
    words = instruction["expanded"] or ()
    carried = any(word.rstrip("/").endswith("passwd") for word in words[:-1])
    return into == "/etc/passwd" or (into in {"/etc/", "/etc"} and carried)
