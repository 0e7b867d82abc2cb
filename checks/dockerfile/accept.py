"""Checks of the comments by which a Dockerfile accepts failures."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache

import checks.dockerfile
from auditor.model import Check, Json, Resource, Severity, Status, Verdict, View, failed, passed
from auditor.registry import check, declared_in
from checks.dockerfile._accept import covers

_ID = "dockerfile-accept-comment"
_FORM = "# auditor: accept <check> -- <reason>"
_SET_ASIDE = frozenset({Status.FAIL, Status.REVIEW})


@check(
    id=_ID,
    title="What the file accepts has a reason and an effect",
    severity="medium",
    applies_to="dockerfile/Dockerfile",
)
def accept_comment(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the comments that accept failures: `# auditor: accept <check> -- <reason>`.

    Why: An exception without a reason is one that nobody can judge later, and one that accepts
    nothing any more hides what comes next to the same line.
    Rule: a comment directly above an instruction, or between its lines, accepts the failures of
    the named checks at the lines of that instruction; one before the first instruction, with an
    empty line after it, accepts those of the whole file. Several checks are parted by commas. What
    is accepted is shown as waived, with the reason. Fails (medium) for a comment without a reason,
    of another form, or that names a check for Dockerfiles which does not exist: it accepts
    nothing. Fails (low) for one that accepts nothing because there is no failure of that check
    there. Passes otherwise. This check itself cannot be accepted.
    Fix: say why, or take the comment out.

        # auditor: accept dockerfile-add-local -- the archive is unpacked on purpose, see ADR 12
        ADD rootfs.tar.lzma /

    Source: this project's decision rules.
    """
    clean = True
    found: dict[str, list[Verdict]] = {}
    for entry in dockerfile.body.get("accepts", ()):
        for verdict in _judged(entry, dockerfile, view, found):
            clean = False
            yield verdict
    if clean:
        accepted = len(dockerfile.body.get("accepts", ()))
        yield passed("", f"{accepted} accepted with a reason" if accepted else "nothing accepted")


def _judged(
    entry: Mapping[str, Json],
    dockerfile: Resource,
    view: View,
    found: dict[str, list[Verdict]],
) -> Iterator[Verdict]:
    line = entry["line"]
    if not entry["checks"]:
        yield failed("accept", "an accept comment that names no check", _FORM, line=line)
        return
    path = f"accept.{'+'.join(entry['checks'])}"
    if not entry["reason"]:
        yield failed(path, "accepted without a reason, and so not accepted", _FORM, line=line)
    for name in dict.fromkeys(entry["checks"]):
        known = _known().get(name) or view.checks.get(name)
        if known is None or known.platform != "dockerfile" or name == _ID:
            seen = f"there is no check {name} that could be accepted"
            yield failed(path, seen, "see `auditor list checks`", line=line)
        elif entry["reason"] and not _used(entry, known, dockerfile, view, found):
            seen = f"accepts nothing: {name} does not fail there"
            low = Severity.LOW
            yield failed(path, seen, "no such comment", line=line, severity=low)


def _used(
    entry: Mapping[str, Json],
    named: Check,
    dockerfile: Resource,
    view: View,
    found: dict[str, list[Verdict]],
) -> bool:
    """Whether a comment accepts anything; `found` keeps what each named check says, once."""
    if named.id not in found:
        verdicts = named.probe(dockerfile, view)
        found[named.id] = [item for item in verdicts if item.status in _SET_ASIDE]
    return any(covers(entry, named.id, dockerfile, item) for item in found[named.id])


@cache
def _known() -> Mapping[str, Check]:
    """The checks for Dockerfiles that come with the program, whichever of them are being run."""
    package = checks.dockerfile
    modules = [
        importlib.import_module(f"{package.__name__}.{info.name}")
        for info in pkgutil.iter_modules(package.__path__)
    ]
    return {item.id: item for module in modules for item in declared_in(module)}
