"""Checks of where the packages of an image come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from auditor.model import Json, Resource, Verdict, View, failed, passed, review, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import (
    Instruction,
    destination,
    instructions,
    is_open,
    ran,
    shown,
    unreadable,
)

_FILES = re.compile(
    r"/etc/(?:apk/repositories(?:\.d)?|apt/sources\.list(?:\.d)?|yum\.repos\.d|zypp/repos\.d"
    r"|pacman\.d/mirrorlist|pacman\.conf)(?:/|$|\b)"
)
"""Where package managers keep the list of their repositories."""

_OFFICIAL = re.compile(
    r"(?:[\w-]+\.)*(?:alpinelinux\.org|almalinux\.org|archlinux\.org|centos\.org|debian\.org"
    r"|fedoraproject\.org|opensuse\.org|redhat\.com|rockylinux\.org|ubuntu\.com)",
    re.IGNORECASE,
)
"""The distributions' own hosts."""

_ADDRESS = re.compile(r"(?:https?|ftp)://(?:[^\s/@]*@)?([^\s/:\"']+)([^\s\"']*)", re.IGNORECASE)
_BARE_HOST = re.compile(r"(?<![\w.])((?:[a-z0-9-]+\.)+[a-z]{2,})(?![\w.])", re.IGNORECASE)
_MOVING = re.compile(
    r"(?:^|[\s/|@'\"])(edge|sid|unstable|testing|experimental|rawhide|tumbleweed)\b"
)
_REPLACED = re.compile(r"s([^\w\s\\])(?:\\.|(?!\1).)*\1((?:\\.|(?!\1).)*)\1", re.DOTALL)
_WRITERS = frozenset({"tee", "sed", "cp", "mv", "install", "curl", "wget", "dd"})
_OWN_PARTS = frozenset({"main", "universe", "restricted", "multiverse", "contrib", "non-free"})
_EXPECTED = "packages of the base image's own release"


@check(
    id="dockerfile-third-party-repository",
    title="Packages come from the base image's own release",
    severity="medium",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def third_party_repository(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks for package repositories that a build adds to those of its base image.

    Why: A repository decides what every later installation fetches. One of somebody else, or a
    development branch, brings packages that nobody tested together with the release.
    Rule: fails when a RUN of any stage writes a repository that is not on one of the
    distributions' own hosts, or is one of their development branches (edge, sid, unstable,
    testing, rawhide, …), to the package manager's lists; or names such a one on a command line
    (`apk --repository`, `add-apt-repository`, `dnf config-manager --add-repo`, `zypper addrepo`,
    `rpm -i` of an address). Passes otherwise. `review` when a file from elsewhere becomes such a
    list. Unknown when a variable without a value here decides it.
    Fix: install from the release, or build the package in a stage of its own.

        FROM alpine:3.20
        RUN apk add --no-cache py3-cryptography

    Source: this project's decision rules, after the guide's "minimal packages" and "known
    vulnerabilities"; the list of the distributions' hosts is this project's.
    """
    clean = True
    for instruction in instructions(dockerfile):
        if unreadable([instruction]):
            clean = False
            seen = "its commands are for a shell that is not read here"
            yield unknown(instruction["path"], seen)
        for verdict in [*_written(instruction), *_named(instruction), *_copied(instruction)]:
            clean = False
            yield verdict
    if clean:
        yield passed("", "no other repository is added")


def _written(instruction: Instruction) -> Iterator[Verdict]:
    """Commands that write to the lists, with what a pipe or a group of commands feeds them."""
    if instruction["cmd"] != "RUN":
        return
    piped: list[str] = []
    grouped: list[str] = []
    for command in instruction.get("commands") or ():
        words: Sequence[str] = command["words"]
        if command["before"] not in {"|", "|&"}:
            piped = []
        if command["before"] == "(":
            grouped = []
        if _writes(command):
            # A redirection without a command of its own belongs to the group before it.
            fed = piped if words else grouped
            texts = [*fed, *_content(words), *_heredocs(instruction, command)]
            yield from _judged(instruction, command, texts)
        piped = [*piped, *words[1:]]
        grouped = [*grouped, *words[1:]]


def _writes(command: Mapping[str, Json]) -> bool:
    targets = (target for operator, target in command["redirects"] if ">" in operator)
    if any(map(_FILES.search, targets)):
        return True
    words = command["words"]
    program = words[0].rsplit("/", 1)[-1] if words else ""
    return program in _WRITERS and any(map(_FILES.search, words[1:]))


def _content(words: Sequence[str]) -> list[str]:
    """What a command brings into the list: for sed the replacements, else its words."""
    if not words or words[0].rsplit("/", 1)[-1] != "sed":
        return list(words[1:])
    found = []
    for word in words[1:]:
        for _, new in _REPLACED.findall(word):
            text = re.sub(r"\\(.)", r"\1", new)
            found += [text, *(f"https://{host}/" for host in _BARE_HOST.findall(text))]
    return found


def _heredocs(instruction: Instruction, command: Mapping[str, Json]) -> list[str]:
    names = {target for operator, target in command["redirects"] if "<<" in operator}
    return [item["text"] for item in instruction["heredocs"] if item["name"] in names]


def _named(instruction: Instruction) -> Iterator[Verdict]:
    """Repositories that stand on a command line."""
    for item in ran([instruction]):
        words, command = item.words, item.command
        if item.program == "apk":
            yield from _judged(instruction, command, _apk_repositories(words))
        elif item.program in {"add-apt-repository", "apt-add-repository"}:
            named = [word for word in words[1:] if not word.startswith("-")]
            if not set(named) <= _OWN_PARTS:
                foreign = "" if any(map(is_open, named)) else shown(named, 2)
                yield from _judged(instruction, command, named, foreign)
        elif item.program in {"dnf", "dnf5", "yum", "yum-config-manager", "zypper"} and (
            any(word.startswith("--add-repo") for word in words)
            or words[1:2] in (("addrepo",), ("ar",))
        ):
            yield from _judged(instruction, command, words[1:])
        elif item.program in {"rpm", "yum", "dnf", "dnf5", "microdnf"}:
            # Only rpm takes files and addresses alone: elsewhere a variable names a package.
            named = [
                word
                for word in words
                if _ADDRESS.match(word) or (item.program == "rpm" and is_open(word))
            ]
            yield from _judged(instruction, command, named)


def _apk_repositories(words: Sequence[str]) -> list[str]:
    found: list[str] = []
    for index, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in {"-X", "--repository"}:
            found += [value] if value else words[index + 1 : index + 2]
    return found


def _copied(instruction: Instruction) -> Iterator[Verdict]:
    if instruction["cmd"] not in {"COPY", "ADD"}:
        return
    if not _FILES.search(destination(instruction)):
        return
    path, line = instruction["path"], instruction["line"]
    texts = [item["text"] for item in instruction["heredocs"]]
    foreign = _foreign(" ".join(texts))
    if not texts:
        yield review(path, "a file from elsewhere becomes a package list", _EXPECTED, line=line)
    elif foreign:
        yield failed(path, foreign, _EXPECTED, line=line, column=1)


def _judged(
    instruction: Instruction,
    command: Mapping[str, Json],
    texts: Sequence[str],
    foreign: str = "",
) -> Iterator[Verdict]:
    text = " ".join(texts)
    foreign = foreign or _foreign(text)
    line, column = command["at"][0] if command["at"] else (instruction["line"], 1)
    if foreign:
        yield failed(instruction["path"], foreign, _EXPECTED, line=line, column=column)
    elif is_open(text):
        seen = "a variable without a value here names the repository"
        yield unknown(instruction["path"], seen, _EXPECTED)


def _foreign(text: str) -> str:
    """What makes a repository another one than the release's own; empty when nothing does."""
    for host, rest in _ADDRESS.findall(text):
        if is_open(host):
            continue
        if not _OFFICIAL.fullmatch(host):
            return f"the repository {host}"
        moving = _MOVING.search(rest)
        if moving:
            return f"the development branch {moving.group(1)} of {host}"
    moving = _MOVING.search(text)
    return f"the development branch {moving.group(1)}" if moving else ""
