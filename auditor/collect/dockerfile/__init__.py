"""Reads Dockerfiles: files and folders to one resource each, secrets already taken out.

Every file becomes a resource or a gap, never an exception. The body of a resource is described
in `body.build_body`; besides, `context` holds what the Dockerfile's `.dockerignore`
keeps out (see `context.context_facts`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.collect.base import Harvest
from auditor.collect.dockerfile.body import build_body
from auditor.collect.dockerfile.context import context_facts
from auditor.collect.dockerfile.parse import KNOWN, ParseError, Source, parse
from auditor.collect.dockerfile.secrets import take_out
from auditor.collect.dockerfile.shell import TooMuchError
from auditor.collect.reading import FILES, Refused, decode, find, read_bytes
from auditor.config import RulesTable
from auditor.model import Reason, Resource

MAX_BYTES = 512 * 1024
"""Largest Dockerfile that is read: the grammar takes time that grows with the square of it."""

MAX_INSTRUCTIONS = 5000
"""Far above the layers that an image can have."""

_SCOPE = "dockerfiles"
_NAMES = re.compile(
    r"(?:Dockerfile|Containerfile)[\w.\-]*|(?:dockerfile|containerfile)(?:\.[\w.\-]+)?"
    r"|[\w.\-]+\.(?:[Dd]ockerfile|[Cc]ontainerfile)"
)
_OTHER = re.compile(
    r".*(?:\.(?:bak|dockerignore|go|html|java|js|json|md|orig|py|rb|rst|swp|ts|ya?ml)|~)"
)
_REMEDY = "correct the file, or leave it out"


def is_dockerfile_name(name: str) -> bool:
    """Whether a file found below a folder is taken for a Dockerfile, by its name.

    `Dockerfile`, `Dockerfile.dev`, `DockerfileSlim`, `web.Dockerfile` and `Containerfile` are.
    """
    return bool(_NAMES.fullmatch(name)) and not _OTHER.fullmatch(name)


def collect_dockerfiles(
    paths: Sequence[Path],
    *,
    base: Path | None = None,
    secret_patterns: Sequence[str] | None = None,
) -> Harvest:
    """Read the Dockerfiles among `paths`; a folder stands for all that lie below it.

    Names are relative to `base` (the working directory by default). `secret_patterns` are names
    that a `.dockerignore` must keep out (`[rules] context_secret_patterns`; its default applies
    when they are not given). Nothing is raised for a file: what cannot be read is a gap of the
    scope `dockerfiles`, named like the file.
    """
    patterns = RulesTable().context_secret_patterns if secret_patterns is None else secret_patterns
    harvest = Harvest(targets=[FILES])
    for file in find(paths, base, is_dockerfile_name):
        try:
            if file.refused is not None:
                raise file.refused
            _, body = read_dockerfile(read_bytes(file.path, MAX_BYTES))
        except Refused as refused:
            _gap(harvest, file.name, refused)
            continue
        unknown = [item["line"] for item in body["instructions"] if item["cmd"] == "UNKNOWN"]
        if unknown:
            _gap(harvest, file.name, _not_judged(unknown))
        body["context"] = context_facts(file.path, patterns)
        harvest.resources.append(
            Resource(
                source="dockerfile",
                target=FILES.id,
                kind="Dockerfile",
                namespace=None,
                name=file.name,
                body=body,
                origin=file.name,
            )
        )
    harvest.covered(FILES.id, "dockerfile", _SCOPE, len(harvest.resources))
    return harvest


def read_dockerfile(data: bytes) -> tuple[Source, dict[str, Any]]:
    """Return a Dockerfile's source, its secrets taken out, and its body without `context`.

    Every place in the source is what it is in the file's own text, line ends made `\\n`.
    Raises `Refused` when the bytes are no Dockerfile, or one that is not judged.
    """
    source = _parsed(data)
    try:
        cleaned, secrets = take_out(source)
        return cleaned, build_body(cleaned, secrets)
    except ParseError as error:
        raise Refused(Reason.REFUSED, f"not judged: {error}", _REMEDY) from None
    except TooMuchError:
        detail = "not judged: an instruction runs more commands than are looked at"
        raise Refused(Reason.REFUSED, detail, _REMEDY) from None


def _gap(harvest: Harvest, name: str, refused: Refused) -> None:
    harvest.gap(
        FILES.id,
        "dockerfile",
        _SCOPE,
        refused.reason,
        refused.detail,
        refused.remedy,
        name=name,
    )


def _parsed(data: bytes) -> Source:
    """Parse a file's bytes. Raises `Refused` when they are no Dockerfile."""
    try:
        source = parse(decode(data))
    except ParseError as error:
        raise Refused(Reason.MALFORMED, f"not a Dockerfile: {error}", _REMEDY) from None
    names = [instruction.cmd for instruction in source.instructions]
    if len(names) > MAX_INSTRUCTIONS:
        raise Refused(Reason.REFUSED, f"more than {MAX_INSTRUCTIONS} instructions", _REMEDY)
    if "FROM" not in names:
        raise Refused(Reason.MALFORMED, "not a Dockerfile: it has no FROM", _REMEDY)
    before = {name for name in names[: names.index("FROM")] if name in KNOWN}
    if before - {"ARG"}:
        detail = "not a Dockerfile: an instruction stands before the first FROM"
        raise Refused(Reason.MALFORMED, detail, _REMEDY)
    return source


def _not_judged(lines: Sequence[int]) -> Refused:
    """The gap for lines that are no instruction; the rest of the file is judged all the same."""
    named = ", ".join(map(str, lines[:5])) + (f" and {len(lines) - 5} more" * (len(lines) > 5))
    detail = f"no Dockerfile instruction, and so not judged: line {named}"
    return Refused(Reason.MALFORMED, detail, _REMEDY)
