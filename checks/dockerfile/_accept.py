"""Pure helpers: failures that the Dockerfile itself accepts, in a comment with a reason."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.model import Json, Resource, Verdict, View


def accepted_in_file(check_id: str, dockerfile: Resource, view: View, at: Verdict) -> str | None:
    """Why a comment in the file accepts a failure of a check at the line of its verdict.

    A comment that gives no reason accepts nothing.
    """
    for entry in dockerfile.body.get("accepts", ()):
        if covers(entry, check_id, dockerfile, at):
            return f"accepted in line {entry['line']}: {entry['reason']}"
    return None


def covers(
    entry: Mapping[str, Json], check_id: str, dockerfile: Resource, verdict: Verdict
) -> bool:
    """Whether an accept comment speaks of a verdict: of its check, and of its place."""
    if not entry["reason"] or check_id not in entry["checks"]:
        return False
    if entry["file"]:
        return True
    if entry["instruction"] is None or verdict.line is None:
        return False
    instruction = dockerfile.body["instructions"][entry["instruction"]]
    return bool(instruction["line"] <= verdict.line <= instruction["end_line"])
