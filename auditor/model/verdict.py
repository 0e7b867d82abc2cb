"""What one check says of one place in one resource."""

from __future__ import annotations

from typing import NamedTuple

from auditor.model.status import Severity, Status


class Verdict(NamedTuple):
    """What one check says of one place in one resource.

    `path` is the place (empty: the resource as a whole), `observed` what was seen there and
    `expected` what would pass. `stands` says whether the verdict holds even if other things that
    the check needs could not be read: a container seen to be privileged is, whatever else is
    hidden (True); "no binding names this account" is not proved by half of the bindings (False).
    The engine turns a verdict that does not stand into `unknown` when a gap touches the check.
    `waiver` is the reason why a failure is accepted; the engine sets it, with `Status.WAIVED`.
    `noted` says that a pass keeps its evidence, which others do not: somebody will ask for it.
    It is a tuple because an audit of a large cluster makes a million of them.
    """

    status: Status
    path: str = ""
    observed: str = ""
    expected: str = ""
    stands: bool = True
    line: int | None = None
    column: int | None = None
    severity: Severity | None = None
    waiver: str | None = None
    noted: bool = False


def passed(
    path: str = "",
    observed: str = "",
    expected: str = "",
    *,
    stands: bool = False,
    noted: bool = False,
) -> Verdict:
    """Build a pass. By default it does not stand if something the check needs was not read.

    A resource's passes become one without words; those that are `noted` keep them.
    """
    return Verdict(Status.PASS, path, observed, expected, stands, noted=noted)


def failed(
    path: str = "",
    observed: str = "",
    expected: str = "",
    *,
    stands: bool = True,
    line: int | None = None,
    column: int | None = None,
    severity: Severity | None = None,
) -> Verdict:
    """Build a failure. Give `stands=False` when it rests on something *not* being found.

    `severity` overrides the check's own for this one place (an unbound role is less bad).
    """
    return Verdict(Status.FAIL, path, observed, expected, stands, line, column, severity)


def unknown(path: str = "", observed: str = "", expected: str = "") -> Verdict:
    """Build an `unknown`: the resource is here, but what decides it could not be seen."""
    return Verdict(Status.UNKNOWN, path, observed, expected)


def review(
    path: str = "",
    observed: str = "",
    expected: str = "",
    line: int | None = None,
    *,
    stands: bool = True,
) -> Verdict:
    """Build a `review`: the evidence is complete, and a person must judge it.

    Give `stands=False` when it rests on something *not* being found: with a gap there, the
    evidence is not complete, and the verdict becomes `unknown`.
    """
    return Verdict(Status.REVIEW, path, observed, expected, stands, line)


def not_applicable(observed: str = "", path: str = "") -> Verdict:
    """Build a `not-applicable`: the rule does not speak of this resource; `observed` says why."""
    return Verdict(Status.NOT_APPLICABLE, path, observed)
