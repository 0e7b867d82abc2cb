"""What of a build context a `.dockerignore` keeps out, by the rules Docker matches with.

The context is taken to be the Dockerfile's own folder: what a build command names instead cannot
be known from files. Of the context only *names* are looked at, never contents.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_IGNORE_BYTES = 256 * 1024
MAX_ENTRIES = 20_000
"""Names of a context that are looked at; beyond them the evidence says that it is incomplete."""
MAX_NAMED = 20
"""Names that are listed as evidence."""
_MAX_PATTERN = 512
_DIRECTORIES = frozenset({".git", ".svn", ".hg", ".ssh", ".aws", ".kube", ".gnupg", ".docker"})
"""Names that are directories: what has to stay out is what is inside them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a `.dockerignore`. `pattern` is as written, without the `!` of an exception."""

    pattern: str
    negated: bool
    segments: tuple[re.Pattern[str] | None, ...]
    """One for each part of the path; None stands for `**`, any number of parts."""

    def matches(self, path: str) -> bool:
        """Whether it matches a path relative to the context, or a directory above it."""
        # reached: how many segments of the pattern can have been used up by the parts so far.
        reached = self._skip({0})
        for part in path.split("/"):
            after: set[int] = set()
            for index in reached:
                if index == len(self.segments):
                    continue
                segment = self.segments[index]
                if segment is None:
                    # A closing `**` is done with any part; an earlier one may take more.
                    after.add(index if index < len(self.segments) - 1 else index + 1)
                elif segment.fullmatch(part):
                    after.add(index + 1)
            reached = self._skip(after)
            if len(self.segments) in reached:
                return True
        return False

    def _skip(self, reached: set[int]) -> set[int]:
        """A `**` that is not the last part may also stand for nothing at all."""
        for index in sorted(reached):
            while index < len(self.segments) - 1 and self.segments[index] is None:
                index += 1
                reached.add(index)
        return reached


def ignore_rules(text: str) -> list[Rule]:
    """Parse a `.dockerignore`. What Docker could not use either is left out."""
    rules = []
    for line in text.removeprefix("\ufeff").splitlines():
        # A comment has its # in the first column; white space around a pattern does not count.
        if line.startswith("#"):
            continue
        pattern = line.strip()
        negated = pattern.startswith("!")
        pattern = pattern.removeprefix("!").strip()
        cleaned = posixpath.normpath(pattern.lstrip("/")) if pattern else "."
        # A single dot has no effect in Docker, and nothing lies above the context.
        if cleaned != "." and not cleaned.startswith("..") and len(cleaned) <= _MAX_PATTERN:
            segments = tuple(_segment(part) for part in cleaned.split("/"))
            rules.append(Rule(pattern, negated, segments))
    return rules


def _segment(part: str) -> re.Pattern[str] | None:
    """One part of a pattern. `fnmatch` translates without runaway backtracking."""
    if part == "**":
        return None
    # Go writes a negated class with ^ and escapes with a backslash; fnmatch knows neither.
    glob = re.sub(r"\\(.)", r"[\1]", part).replace("[^", "[!")
    return re.compile(fnmatch.translate(glob))


def excluded(path: str, rules: Sequence[Rule]) -> tuple[bool, Rule | None]:
    """Whether a path stays out of the context, and the last rule that speaks of it."""
    deciding = None
    for rule in rules:
        if rule.matches(path):
            deciding = rule
    return deciding is not None and not deciding.negated, deciding


def context_facts(dockerfile: Path, patterns: Sequence[str]) -> dict[str, Any]:
    """What checks need to know of the context of one Dockerfile.

    - `file`: the name of the ignore file in force, or None; `<name>.dockerignore` goes first.
    - `error`: why that file could not be read, or None.
    - `kept_out`: for each of `patterns`, the rule that keeps such names out at the top of the
      context, or None when nothing does.
    - `named`: names in the context that match one of `patterns` and are not kept out, at most 20:
      `name`, `pattern`, and `let_in` (the exception that lets them in, or None).
    - `complete`: whether all names of the context were looked at.
    """
    folder = dockerfile.parent
    file, text, error = _ignore_text(dockerfile)
    rules = ignore_rules(text)
    kept_out: dict[str, str | None] = {}
    for pattern in patterns:
        out, rule = excluded(_sample(pattern), rules)
        kept_out[pattern] = rule.pattern if out and rule else None
    named: list[dict[str, Any]] = []
    looked_at = 0
    for name, matched in _matching(folder, patterns, rules):
        looked_at += 1
        if looked_at > MAX_ENTRIES:
            break
        if matched is None:
            continue
        out, rule = excluded(_inside(name), rules)
        if not out and len(named) < MAX_NAMED:
            shown = name.encode("utf-8", "backslashreplace").decode()
            let_in = f"!{rule.pattern}" if rule else None
            named.append({"name": shown, "pattern": matched, "let_in": let_in})
    return {
        "file": file,
        "error": error,
        "kept_out": kept_out,
        "named": sorted(named, key=lambda item: str(item["name"])),
        "complete": looked_at <= MAX_ENTRIES,
    }


def _ignore_text(dockerfile: Path) -> tuple[str | None, str, str | None]:
    for path in (
        dockerfile.with_name(dockerfile.name + ".dockerignore"),
        dockerfile.with_name(".dockerignore"),
    ):
        try:
            if not path.is_file():
                continue
            with path.open("rb") as stream:
                data = stream.read(MAX_IGNORE_BYTES + 1)
            if len(data) > MAX_IGNORE_BYTES:
                return path.name, "", f"larger than {MAX_IGNORE_BYTES // 1024} KiB"
            return path.name, data.decode("utf-8"), None
        except UnicodeDecodeError:
            return path.name, "", "not UTF-8 text"
        except OSError as error:
            return path.name, "", error.strerror or "not readable"
    return None, "", None


def _sample(pattern: str) -> str:
    """A name that a pattern stands for: `*.pem` -> `sample-of-any-name.pem`."""
    name = re.sub(r"\[!?(.)[^\]]*\]", r"\1", pattern.replace("*", "sample-of-any-name"))
    return _inside(name.replace("?", "x"))


def _inside(name: str) -> str:
    return f"{name}/config" if name.rsplit("/", 1)[-1] in _DIRECTORIES else name


def _matching(
    folder: Path, patterns: Sequence[str], rules: Sequence[Rule]
) -> Iterator[tuple[str, str | None]]:
    """Walk the context: each name with the pattern it matches, or None. Links are not followed."""
    globs = [(pattern, re.compile(fnmatch.translate(pattern))) for pattern in patterns]
    exceptions = any(rule.negated for rule in rules)
    for root, directories, files in os.walk(folder):
        relative = Path(root).relative_to(folder).as_posix()
        prefix = "" if relative == "." else relative + "/"
        directories.sort()
        for name in sorted([*directories, *files]):
            path = prefix + name
            found = (p for p, glob in globs if glob.fullmatch(path if "/" in p else name))
            yield path, next(found, None)
        directories[:] = [
            name
            for name in directories
            if name not in _DIRECTORIES and (exceptions or not excluded(prefix + name, rules)[0])
        ]
