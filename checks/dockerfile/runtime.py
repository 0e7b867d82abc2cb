"""Checks of how a container of the image starts, runs and says that it is well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from auditor.model import Json, Resource, Verdict, View, failed, not_applicable, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import (
    Instruction,
    chain,
    final,
    image,
    instructions,
    ran,
    root_base,
    shipped,
    stages,
)
from checks.dockerfile._packages import actions

SHELLS = frozenset({"sh", "bash", "ash", "dash", "ksh", "zsh"})
_PYTHON_PACKAGE = re.compile(r"python\d?(?:\.\d+)?(?:-.*)?|py3-.*|pypy\d?.*|python\d+")
_PYTHON_IMAGE = re.compile(r"(?:^|[-_./])(?:python|pypy|jupyter|conda|miniconda|uv)", re.IGNORECASE)
_PYTHON_PROGRAM = re.compile(
    r"(?:python|pip|pypy)\d?(?:\.\d+)?|poetry|pipenv|gunicorn|uvicorn|hypercorn|celery|flask|uv|uvx"
)
_OFF = frozenset({"", "0", "false", "no", "off", "f", "n"})


@check(
    id="dockerfile-env-defaults",
    title="Python images set the guide's defaults",
    severity="low",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def env_defaults(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks for PYTHONUNBUFFERED, PYTHONDONTWRITEBYTECODE and PIP_NO_CACHE_DIR in Python images.

    Why: Without the first, the last lines before a crash are lost; without the second, Python
    tries to write beside its code, which a read-only file system forbids; without the third,
    downloaded archives stay in the layer.
    Rule: for an image that is built on Python, installs or runs it: fails for each of the three
    that no ENV of the final stage (or of a stage it is built on) sets. Python counts any value but
    an empty one as set; for pip, 0, false, no and off do not count. The third may be missing when
    every `pip install` of the final image has `--no-cache-dir` or a cache mount, or when it has
    none. Not applicable to an image without Python. Unknown when the base image is not known and
    nothing else tells.
    Fix: set them before anything is installed.

        ENV PYTHONUNBUFFERED=1 \\
            PYTHONDONTWRITEBYTECODE=1 \\
            PIP_NO_CACHE_DIR=1

    Source: hardening guide, issue 6 (environment variables).
    """
    found = shipped(dockerfile)
    reason = _python(dockerfile, found)
    if reason is None:
        if root_base(dockerfile)["base_expanded"] is None:
            yield unknown("", "the base image is not known, and nothing else tells of Python")
        else:
            yield not_applicable("no Python in this image")
        return
    values = {
        pair["name"]: pair for item in found if item["cmd"] == "ENV" for pair in item["pairs"]
    }
    settings = [item for item in found if item["cmd"] == "ENV"]
    line = settings[-1]["line"] if settings else chain(dockerfile)[-1]["line"]
    for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PIP_NO_CACHE_DIR"):
        path = f"{final(dockerfile)}.ENV.{name}"
        pair = values.get(name)
        value = None if pair is None else pair["value"]
        off = _OFF if name.startswith("PIP") else {""}
        if value is not None and value.strip().lower() not in off:
            yield passed(path, f"{name}={value}")
        elif name == "PIP_NO_CACHE_DIR" and _pip_keeps_nothing(found):
            yield passed(path, "no pip install of the final image keeps its cache")
        else:
            seen = "not set" if value is None else f"{name}={value}"
            where = pair["line"] if pair is not None else line
            yield failed(path, f"{seen} ({reason})", f"{name}=1", line=where)


def _python(dockerfile: Resource, found: Sequence[Instruction]) -> str | None:
    """What tells that Python is in the image, or None."""
    base = root_base(dockerfile)["base_expanded"]
    if base is not None and _PYTHON_IMAGE.search(image(base).repository):
        return f"built on {base}"
    for action in actions(found):
        for package in action.packages if action.kind == "install" else ():
            if _PYTHON_PACKAGE.fullmatch(package.name):
                return f"installs {package.name}"
    for command in ran(found, "RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"):
        if _PYTHON_PROGRAM.fullmatch(command.program) or command.program.endswith(".py"):
            return f"runs {command.program}"
    return None


def _pip_keeps_nothing(found: Sequence[Instruction]) -> bool:
    for command in ran(found):
        words = list(command.words)
        if command.program.startswith("python") and words[1:3] == ["-m", "pip"]:
            words = words[2:]
        elif not re.fullmatch(r"pip\d?(?:\.\d+)?", command.program):
            continue
        if not {"install", "download", "wheel"} & set(words[1:]):
            continue
        mounts = command.instruction["flags"].get("mount", ())
        cached = any("type=cache" in mount and "pip" in mount for mount in mounts)
        if "--no-cache-dir" not in words and not cached:
            return False
    return True


@check(
    id="dockerfile-healthcheck",
    title="The image says how its health is tested",
    severity="low",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def healthcheck(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the HEALTHCHECK that is in force at the end of the final stage.

    Why: Without one the engine sees a process that hangs as one that runs, and nobody is told.
    Rule: fails when the final stage, with the stages it is built on, has no HEALTHCHECK, or when
    the last one is NONE. Passes otherwise. One that the base image may bring is not counted: it
    is not in the file. Unknown when the Dockerfile cannot be read.
    Fix: test what the program is for, not that it is there.

        HEALTHCHECK --interval=30s --timeout=3s CMD ["/opt/app/healthy"]

    Source: hardening guide, table of features ("health checks"); CIS Docker 4.6.
    """
    path = f"{final(dockerfile)}.HEALTHCHECK"
    checks = [item for item in shipped(dockerfile) if item["cmd"] == "HEALTHCHECK"]
    expected = "HEALTHCHECK with a command"
    if not checks:
        line = stages(dockerfile)[-1]["line"]
        yield failed(path, "no HEALTHCHECK", expected, line=line)
    elif [word.upper() for word in checks[-1]["value"][:1]] != ["CMD"]:
        line = checks[-1]["line"]
        yield failed(path, "HEALTHCHECK NONE", expected, line=line, column=1)
    else:
        yield passed(path, checks[-1]["text"][:80])


@check(
    id="dockerfile-exec-form",
    title="The program is started in exec form",
    severity="low",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def exec_form(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the CMD and ENTRYPOINT in force at the end of the final stage.

    Why: In shell form a shell is process 1. It does not pass on the signal that stops a container,
    so the program is killed ten seconds later, in the middle of its work.
    Rule: fails for a CMD or ENTRYPOINT in shell form, and for the exec form of a shell with `-c`
    unless its script replaces the shell with `exec`: it is the same process 1. An ENTRYPOINT of a
    stage drops the CMD of the stage it is built on, as in Docker. Passes for the exec form.
    Unknown when there is neither: the base image decides. Not applicable when there is neither
    and the image begins from scratch: nothing starts by itself.
    Fix: give the program and its arguments as a list.

        ENTRYPOINT ["/opt/app/run"]
        CMD ["--once"]

    Source: hardening guide, table of features ("signal handling: exec form CMD").
    """
    found = _in_force(dockerfile)
    if not found:
        path = f"{final(dockerfile)}.CMD"
        if root_base(dockerfile)["base_expanded"] == "scratch":
            yield not_applicable("neither CMD nor ENTRYPOINT, from scratch", path)
        else:
            yield unknown(path, "neither CMD nor ENTRYPOINT: the base image decides", "exec form")
        return
    for instruction in found:
        path, line = instruction["path"], instruction["line"]
        program = f'{instruction["cmd"]} ["program", "argument"]'
        if not instruction["json"]:
            yield failed(path, f"{instruction['cmd']} in shell form", program, line=line, column=1)
        elif _is_shell(instruction):
            seen = f"{instruction['cmd']} runs a shell as process 1"
            yield failed(path, seen, program, line=line, column=1)
        else:
            yield passed(path, f"{instruction['cmd']} in exec form")


def _in_force(dockerfile: Resource) -> list[Instruction]:
    """The CMD and ENTRYPOINT that the final image has."""
    listed = instructions(dockerfile)
    command: Instruction | None = None
    entrypoint: Instruction | None = None
    for stage in chain(dockerfile):
        command_here = False
        for index in stage["instructions"]:
            item = listed[index]
            if item["cmd"] == "CMD":
                command, command_here = item, True
            elif item["cmd"] == "ENTRYPOINT":
                entrypoint = item
                command = command if command_here else None
    # An empty list takes back what was set before.
    return [item for item in (entrypoint, command) if item is not None and item["value"]]


def _is_shell(instruction: Mapping[str, Json]) -> bool:
    commands = list(ran([instruction], str(instruction["cmd"])))
    if not commands or commands[0].program not in SHELLS:
        return False
    with_script = any(re.fullmatch(r"-[a-z]*c", word) for word in commands[0].words[1:])
    return with_script and not any(command.program == "exec" for command in commands[1:])
