"""What an audit says of a thing, and how much harm a failure can do."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Status(StrEnum):
    """What an audit says of a resource or a control. Declared worst first (see `worst`)."""

    FAIL = "fail"
    ERROR = "error"
    UNKNOWN = "unknown"
    REVIEW = "review"
    WAIVED = "waived"
    PASS = "pass"
    NOT_APPLICABLE = "not-applicable"

    @property
    def rank(self) -> int:
        """Position in the order of badness; 0 is the worst."""
        return _STATUS_RANK[self]


_STATUS_RANK = {status: rank for rank, status in enumerate(Status)}

JUDGED = frozenset({Status.PASS, Status.FAIL})
"""The statuses that count in a score; all others are printed as "not judged"."""


def worst(statuses: Iterable[Status]) -> Status | None:
    """Return the worst status, or None when there is none to choose from."""
    return min(statuses, key=lambda status: status.rank, default=None)


class Severity(StrEnum):
    """How much harm a failure can do. Declared worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Position in the order of harm; 0 is the worst."""
        return _SEVERITY_RANK[self]

    def at_least(self, threshold: Severity) -> bool:
        """Whether this severity is as bad as `threshold` or worse."""
        return self.rank <= threshold.rank


_SEVERITY_RANK = {severity: rank for rank, severity in enumerate(Severity)}
