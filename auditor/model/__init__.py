"""The nouns of an audit: plain, immutable data that every other module speaks in.

Nothing here reads a clock, a file or a network, and nothing here knows a benchmark or a check.
The field's words are used in the field's sense: a *resource* is a thing that was read, a *check*
judges one resource, a *finding* is one judgement with its evidence, a *control* is a line of a
benchmark and names the checks that decide it.
"""

from __future__ import annotations

from auditor.model.benchmark import (
    Benchmark,
    Control,
    Section,
)
from auditor.model.check import (
    Check,
    Excuse,
    Finding,
    PlaceExcuse,
    Probe,
)
from auditor.model.status import (
    JUDGED,
    Severity,
    Status,
    worst,
)
from auditor.model.subject import SubjectKey, subject_key
from auditor.model.verdict import (
    Verdict,
    failed,
    not_applicable,
    passed,
    review,
    unknown,
)
from auditor.model.view import (
    View,
)
from auditor.model.world import (
    Container,
    ContainerKind,
    Coverage,
    Gap,
    Json,
    Reason,
    Resource,
    Snapshot,
    Target,
)

__all__ = [
    "JUDGED",
    "Benchmark",
    "Check",
    "Container",
    "ContainerKind",
    "Control",
    "Coverage",
    "Excuse",
    "Finding",
    "Gap",
    "Json",
    "PlaceExcuse",
    "Probe",
    "Reason",
    "Resource",
    "Section",
    "Severity",
    "Snapshot",
    "Status",
    "SubjectKey",
    "Target",
    "Verdict",
    "View",
    "failed",
    "not_applicable",
    "passed",
    "review",
    "subject_key",
    "unknown",
    "worst",
]
