"""Small static charts, drawn from the scorecard's own counts as inline SVG.

Each carries its figures in words as its title, and each stands beside a table with the same
figures: a chart is quicker to see, never the only place to read something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from auditor.model import Status
from auditor.scorecard import Counts

if TYPE_CHECKING:
    from markupsafe import Markup

from reports.palette import BAR

ORDER = (
    Status.PASS,
    Status.FAIL,
    Status.ERROR,
    Status.UNKNOWN,
    Status.REVIEW,
    Status.WAIVED,
    Status.NOT_APPLICABLE,
)
"""From left to right: what was judged, then what was not."""

_WIDTH, _HEIGHT, _GAP = 300, 12, 1.5


def status_bar(counts: Counts, label: str) -> Markup:
    """A stacked bar of how many have each status; widths are to scale."""
    parts = [(status, counts.of(status)) for status in ORDER if counts.of(status)]
    words = ", ".join(f"{count} {str(status).replace('-', ' ')}" for status, count in parts)
    return _stack(
        [(BAR[status], count) for status, count in parts], f"{label}: {words or 'nothing'}"
    )


def severity_bar(failures: Mapping[str, int], severity: str) -> Markup:
    """One bar of the failures by severity, to the scale of the largest of them."""
    widest = max(failures.values(), default=0)
    count = failures[severity]
    return _stack([(BAR["fail"], count), ("none", widest - count)], f"{severity}: {count} failures")


def _stack(parts: list[tuple[str, int]], title: str) -> Markup:
    from markupsafe import Markup

    total = sum(count for _, count in parts)
    shapes = Markup()
    left = 0.0
    for colour, count in parts:
        width = _WIDTH * count / total if total else 0.0
        if count and colour != "none":
            shapes += Markup('<rect x="{}" y="0" width="{}" height="{}" fill="{}"/>').format(
                f"{left:.2f}", f"{max(width - _GAP, 0.8):.2f}", _HEIGHT, colour
            )
        left += width
    return Markup(
        '<svg class="bar" role="img" viewBox="0 0 {} {}" width="{}" height="{}" '
        'preserveAspectRatio="none" xmlns="http://www.w3.org/2000/svg">'
        "<title>{}</title>{}</svg>"
    ).format(_WIDTH, _HEIGHT, _WIDTH, _HEIGHT, title, shapes)
