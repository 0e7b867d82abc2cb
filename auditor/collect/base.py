"""What every collector shares: the harvest it fills, its deadline, and how it reports progress."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

from auditor.model import Coverage, Gap, Reason, Resource, Target


class Progress(Protocol):
    """Told what is going on; a terminal shows a bar, a pipe gets plain lines."""

    def step(self, source: str, scope: str, count: int | None = None) -> None:
        """Say that `scope` of `source` is being read, or was (with its `count`)."""


class Silent:
    """A `Progress` that says nothing."""

    def step(self, source: str, scope: str, count: int | None = None) -> None:
        """Ignore the step."""


@dataclass(slots=True)
class Harvest:
    """What one collector brought home: targets, resources, gaps and what was read to its end.

    Not thread-safe: a collector that reads side by side gathers its results in one thread.
    """

    targets: list[Target] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    coverage: list[Coverage] = field(default_factory=list)

    def covered(self, target: str, source: str, scope: str, count: int) -> None:
        """Record that a scope was read to its end and held `count` objects."""
        self.coverage.append(Coverage(target, source, scope, count))

    def gap(
        self,
        target: str,
        source: str,
        scope: str,
        reason: Reason,
        detail: str,
        remedy: str = "",
        *,
        namespace: str | None = None,
        name: str | None = None,
    ) -> None:
        """Record that something could not be read (see `auditor.model.Gap`)."""
        self.gaps.append(
            Gap(
                target,
                source,
                scope,
                reason,
                detail,
                remedy,
                namespace=namespace,
                name=name,
            )
        )

    def merge(self, other: Harvest) -> None:
        """Take over everything of another harvest."""
        self.targets.extend(other.targets)
        self.resources.extend(other.resources)
        self.gaps.extend(other.gaps)
        self.coverage.extend(other.coverage)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time by which a collector must be done. Times are in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """A deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0.0

    def bound(self, seconds: float) -> float:
        """The smaller of `seconds` and what is left, at least a tenth of a second."""
        return max(0.1, min(seconds, self.left))
