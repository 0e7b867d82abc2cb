"""Checks of what a build fetches and runs or keeps without looking at it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from auditor.model import Json, Resource, Severity, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import (
    Instruction,
    Ran,
    instructions,
    is_open,
    ran,
    sources,
    unreadable,
)

_FETCHERS = frozenset({"curl", "wget", "fetch", "aria2c", "http", "https"})
_INTERPRETERS = re.compile(
    r"(?:sh|bash|ash|dash|ksh|zsh|fish|python\d?(?:\.\d+)?|perl|ruby|node|php|lua|pwsh)"
)
_WINDOW = 100
"""Commands between a download and what runs it: more than a pipe or a substitution has."""
_SOURCING = frozenset({".", "source", "eval"})
_VERIFIERS = re.compile(
    r"(?:sha\d+sum|shasum|md5sum|b2sum|gpgv?\d?|cosign|minisign|signify|openssl|rpmkeys|slsa-verifier)"
)
_WITHOUT_SCRIPT = re.compile(
    r"-(?:[a-zA-Z]*s[a-zA-Z]*)?$|-[A-Za-z]+$|--[\w-]+$|/dev/(?:stdin|fd/0)$"
)


@check(
    id="dockerfile-piped-download",
    title="Nothing is run straight from the network",
    severity="high",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def piped_download(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks for downloads that a shell or another interpreter runs, in every stage.

    Why: Whoever holds the far server, its name or the way there decides what runs in the build, as
    root, and nothing of it stays to be looked at. A download cut short is run as far as it came.
    Rule: fails (high) when curl, wget or the like feed a shell or an interpreter: through a pipe
    (also by way of other programs or of sudo), as `sh -c "$(curl …)"`, `eval`, `bash <(curl …)`,
    or as a here-string. Fails (medium) when a file that the same RUN fetched is run or handed to
    an interpreter there, and nothing verified it between: sha256sum and its kind, gpg, cosign,
    minisign, openssl. Passes otherwise; whether a verification is right is not judged. Unknown
    when commands are for a shell that is no POSIX one.
    Fix: fetch, verify, then run; or install a package.

        ADD --checksum=sha256:<digest> https://example.org/install.sh /tmp/install.sh
        RUN sh /tmp/install.sh && rm /tmp/install.sh

    Source: this project's decision rules ("curl piped to a shell"); CIS Docker 4.11 speaks of
    packages of verified origin.
    """
    clean = True
    for instruction in instructions(dockerfile):
        verdicts = [*_piped(instruction), *_fetched(instruction)]
        if unreadable([instruction]):
            verdicts.append(unknown(instruction["path"], "commands for a shell not read here"))
        for verdict in verdicts:
            clean = False
            yield verdict
    if clean:
        yield passed("", "nothing that is fetched is run unseen")


def _piped(instruction: Instruction) -> Iterator[Verdict]:
    if instruction["cmd"] != "RUN":
        return
    commands: Sequence[Mapping[str, Json]] = instruction.get("commands") or ()
    for place, command in enumerate(commands):
        if _program(command) not in _FETCHERS or _writes_file(command):
            continue
        runner = _fed(commands, place) or _embedding(commands, place)
        if runner is not None:
            line, column = command["at"][0]
            yield failed(
                instruction["path"],
                f"{_program(command)} feeds {runner}",
                "a file that is verified before it is run",
                line=line,
                column=column,
            )


def _program(command: Mapping[str, Json]) -> str:
    words = command["words"]
    return str(words[0]).rsplit("/", 1)[-1] if words else ""


def _writes_file(command: Mapping[str, Json]) -> bool:
    """Whether a fetcher's output goes to a file, and not to whatever comes after it."""
    if any(operator in {">", ">>", ">|", "&>"} for operator, _ in command["redirects"]):
        return True
    return _output(command) not in {None, "-", "/dev/stdout"}


def _output(command: Mapping[str, Json]) -> str | None:
    """The file that a fetcher writes; None when it writes to its standard output."""
    words: Sequence[str] = command["words"]
    wget = _program(command) == "wget"
    address = next((word for word in words[1:] if "://" in word), "")
    named = posixpath.basename(address.partition("?")[0])
    for operator, target in command["redirects"]:
        if operator in {">", ">>", ">|"}:
            return str(target)
    for index, word in enumerate(words[1:], start=1):
        option, equals, value = word.partition("=")
        following = words[index + 1] if index + 1 < len(words) else ""
        if option in {"--output", "--output-document"}:
            return value if equals else following
        if word == "--remote-name" and not wget:
            return named
        if not re.fullmatch(r"-[A-Za-z]+.*", word) or word.startswith("--"):
            continue
        short = re.match(r"-([A-Za-z]*?)(o|O)(.*)$", word)
        if short is None:
            continue
        if wget and short.group(2) == "O":
            return short.group(3) or following
        if not wget and short.group(2) == "o":
            return short.group(3) or following
        if not wget and short.group(2) == "O":
            return named
    return named or "index.html" if wget else None


def _fed(commands: Sequence[Mapping[str, Json]], place: int) -> str | None:
    """The interpreter at the end of the pipe that begins at a command."""
    for command in commands[place + 1 : place + 1 + _WINDOW]:
        if command["before"] not in {"|", "|&"}:
            if command["via"] is None:
                return None
            continue
        program = _program(command)
        reads = all(_WITHOUT_SCRIPT.match(word) for word in command["words"][1:])
        if _INTERPRETERS.fullmatch(program) and (reads or "-s" in command["words"]):
            return program
    return None


def _embedding(commands: Sequence[Mapping[str, Json]], place: int) -> str | None:
    """The shell that runs what a command inside `$(…)`, `<(…)` or a here-string writes."""
    command = commands[place]
    if command["before"] == "(" and place:
        outer = commands[place - 1]
        program = _program(outer)
        runs = bool(_INTERPRETERS.fullmatch(program)) or program in _SOURCING
        return program if runs and ["<", ""] in outer["redirects"] else None
    if command["via"] != "$(…)":
        return None
    for outer in reversed(commands[max(0, place - _WINDOW) : place]):
        program = _program(outer)
        texts = [str(target) for operator, target in outer["redirects"] if operator == "<<<"]
        if any("$(…)" in text for text in texts) and _INTERPRETERS.fullmatch(program):
            return program
        if any("$(…)" in str(word) for word in outer["words"]):
            runs = program in _SOURCING or str(outer["words"][0]).startswith("$(…)")
            return (str(outer["via"] or "") or program or "a shell") if runs else None
    return None


def _fetched(instruction: Instruction) -> Iterator[Verdict]:
    """Files that a RUN fetches and runs with nothing verified between."""
    fetched: dict[str, Ran] = {}
    for command in ran([instruction]):
        if command.program in _FETCHERS:
            output = _output(command.command)
            if output not in {None, "", "-", "/dev/stdout", "/dev/null"}:
                fetched[posixpath.basename(str(output))] = command
        elif _VERIFIERS.fullmatch(command.program):
            fetched.clear()
        else:
            name = posixpath.basename(_runs(command))
            by = fetched.pop(name, None) if name else None
            if by is not None:
                line, column = command.place()
                yield failed(
                    instruction["path"],
                    f"runs {name}, which {by.program} fetched, and nothing verified it",
                    "a checksum or a signature verified before it is run",
                    line=line,
                    column=column,
                    severity=Severity.MEDIUM,
                )


def _runs(command: Ran) -> str:
    """The file that a command runs: itself by its path, or an interpreter's first operand."""
    if _INTERPRETERS.fullmatch(command.program) or command.program in {".", "source"}:
        operands = [word for word in command.words[1:] if not word.startswith(("-", "+"))]
        return operands[0] if operands and "-c" not in command.words[1:] else ""
    written = str(command.command["words"][0])
    return written if "/" in written else ""


_ADDRESS = re.compile(r"(?:https?|ftp)://", re.IGNORECASE)
_GIT = re.compile(r"git@|git://|ssh://|https?://\S+\.git(?:[#?].*)?$", re.IGNORECASE)


@check(
    id="dockerfile-add-remote",
    title="Remote files are added with a checksum",
    severity="medium",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def add_remote(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at ADD instructions whose source is an address or a Git repository, in every stage.

    Why: What an address gives may be another file tomorrow, and nobody is told. A branch moves.
    Rule: fails for an ADD of an http, https or ftp address without `--checksum`, and for an ADD of
    a Git repository without a commit (40 hexadecimal digits after `#`, or a checksum): a branch or
    a tag can be moved. Passes with them, and when nothing remote is added. Unknown when a variable
    without a value here names the source, the commit or the checksum.
    Fix: say what the file is.

        ADD --checksum=sha256:<digest> https://example.org/tool-1.2.tar.gz /tmp/

        ADD https://github.com/example/tool.git#<commit> /src

    Source: this project's decision rules; Dockerfile reference, `ADD --checksum`.
    """
    clean = True
    for instruction in instructions(dockerfile):
        if instruction["cmd"] != "ADD":
            continue
        given = next(iter(instruction["flags"].get("checksum", ())), "")
        for source in sources(instruction):
            verdict = _added(instruction, source, given)
            if verdict is not None:
                clean = False
                yield verdict
    if clean:
        yield passed("", "nothing remote is added without saying what it is")


def _added(instruction: Instruction, source: str, checksum: str) -> Verdict | None:
    path, line = instruction["path"], instruction["line"]
    if is_open(checksum) or (is_open(source) and re.match(r"\$\{", source)):
        return unknown(path, "a variable without a value here names what is added")
    if _GIT.match(source):
        reference = source.partition("#")[2].partition(":")[0]
        commit = re.search(r"[?&]checksum=([0-9a-f]+)", source)
        if checksum or commit or re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", reference):
            return None
        if is_open(reference):
            return unknown(path, "a variable without a value here names the commit")
        seen = f"ADD of a Git repository at {reference or 'its default branch'}"
        return failed(path, seen, "a commit after #", line=line, column=1)
    if not _ADDRESS.match(source) or checksum:
        return None
    host = source.split("/")[2].rpartition("@")[2]
    return failed(path, f"ADD from {host}, no checksum", "--checksum", line=line, column=1)
