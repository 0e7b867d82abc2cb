"""What the configuration accepts, held against what it set aside: entries that did nothing show.

An accepted failure is `waived` and carries the reason of the entry that accepted it, so that the
findings themselves say which entries are in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from auditor.model import Finding, Json, Status
from auditor.scorecard import Acceptance

SETTINGS: Mapping[str, str] = {"accepted_subjects": "subject", "accepted_workloads": "workload"}
"""The settings in `[rules]` that accept something, each with the key that names whom or what."""


def acceptances(rules: Mapping[str, Json], rows: Iterable[Finding]) -> tuple[Acceptance, ...]:
    """Every entry of these settings with the number of findings it set aside, the unused first."""
    waived = [(row.check, row.waiver) for row in rows if row.status is Status.WAIVED and row.waiver]
    found = [_held(entry, waived) for entry in _entries(rules)]
    return tuple(sorted(found, key=lambda item: item.used > 0))


def _entries(rules: Mapping[str, Json]) -> Iterator[Acceptance]:
    for setting, key in SETTINGS.items():
        for entry in rules.get(setting, ()):
            yield Acceptance(
                setting, str(entry[key]), tuple(entry["checks"]), str(entry["reason"]), 0
            )


def _held(entry: Acceptance, waived: Sequence[tuple[str, str]]) -> Acceptance:
    used = sum(
        entry.reason in reason and any(fnmatchcase(check, pattern) for pattern in entry.checks)
        for check, reason in waived
    )
    return Acceptance(entry.setting, entry.who, entry.checks, entry.reason, used)
