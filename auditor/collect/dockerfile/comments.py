"""Comments by which a Dockerfile accepts failures: `# auditor: accept <check> -- <reason>`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from auditor.collect.dockerfile.parse import Instruction, Source
from auditor.collect.dockerfile.secrets import shown
from auditor.collect.secrets import redact

_COMMENT = re.compile(r"\s*#\s*auditor\s*:\s*(?:accept\b)?(.*)", re.IGNORECASE)
_REASON = re.compile(r"(?:^|\s)(?:--|—)(?:\s|$)")
_CHECK = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)+")
_MAX_REASON = 300
_MAX_CHECKS = 50
MAX_COMMENTS = 100
"""Accept comments that one file may hold; those beyond are not read, and accept nothing."""


def accepts(source: Source) -> list[dict[str, Any]]:
    """Return the accept comments of a file; its source holds no secret any more.

    Each has `line`, `checks` (ids as written), `reason` (None when there is none), `file` (it
    speaks of the whole file), and `instruction` (the index of the one it speaks of, or None).
    """
    found = []
    for number in _comment_lines(source):
        line = source.text[source.line_starts[number - 1] :].partition("\n")[0]
        match = _COMMENT.match(line)
        if match is None:
            continue
        parts = _REASON.split(match.group(1), maxsplit=1)
        reason = redact(parts[1].strip()[:_MAX_REASON])[0] if len(parts) > 1 else ""
        index = _instruction(source, number)
        whole = index == 0 and _is_apart(source, number)
        found.append(
            {
                "line": number,
                "checks": _CHECK.findall(parts[0])[:_MAX_CHECKS],
                "reason": shown(reason) or None,
                "file": whole,
                "instruction": None if whole else index,
            }
        )
        if len(found) >= MAX_COMMENTS:
            break
    return found


def _comment_lines(source: Source) -> Iterator[int]:
    """The lines that are comments: not those that a here-document holds."""
    held: set[int] = set()
    for instruction in source.instructions:
        for heredoc in instruction.heredocs:
            first = source.place(heredoc.offset)[0]
            held.update(range(first, first + heredoc.content.count("\n") + 1))
    for number, line in enumerate(source.text.split("\n"), start=1):
        if line.lstrip().startswith("#") and number not in held:
            yield number


def _instruction(source: Source, number: int) -> int | None:
    """The instruction that a comment stands in or above."""
    for index, instruction in enumerate(source.instructions):
        if number <= _last(instruction):
            return index
    return None


def _last(instruction: Instruction) -> int:
    return max(instruction.line, instruction.end_line)


def _is_apart(source: Source, number: int) -> bool:
    """Whether an empty line parts a comment from the first instruction."""
    lines = source.text.split("\n")[number - 1 : source.instructions[0].line - 1]
    return any(not line.strip() for line in lines)
