"""One document for both readers: the templates, filled in from a scorecard.

`medium` is `screen` or `print`; it steers what is folded and what is left to data, never a figure.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from auditor.model import Severity, Status
from auditor.scorecard import TEMPLATE_SECTIONS, Scorecard
from reports import charts, text
from reports.palette import print_icons, resolve, screen_icons, screen_tokens
from reports.view import (
    View,
    because,
    file_of,
    gap_lines,
    is_system,
    live,
    spans,
    subject,
    waived,
    without_reason,
)

if TYPE_CHECKING:
    from jinja2 import Environment

TITLES = {
    "cover": "About this audit",
    "summary": "Summary",
    "coverage": "What was and was not looked at",
    "cis": "CIS benchmarks",
    "nist": "NIST frameworks",
    "guide": "Hardening guide and checklist",
    "findings": "Findings",
    "risks": "Accepted risks",
    "monitoring": "Monitoring",
    "incident": "Incident response",
    "method": "Method",
}
"""Headings of the sections of `auditor.scorecard.TEMPLATE_SECTIONS`."""

WORDS = {status: str(status).replace("-", " ") for status in Status}
"""A status as it is printed."""

MEANINGS = {
    Status.FAIL: "The rule is broken, and the evidence says where.",
    Status.ERROR: "The check itself crashed; nothing is concluded from that.",
    Status.UNKNOWN: "What decides it could not be read, or no check decides it yet.",
    Status.REVIEW: "The evidence is complete, and a person must judge it.",
    Status.WAIVED: "It fails, and that is accepted for a reason, which section 8 prints.",
    Status.PASS: "All that the rule speaks of was read, and it holds.",
    Status.NOT_APPLICABLE: "All was read, and nothing that the rule speaks of is there.",
}
"""What each status says, worst first, in the order in which the worst one wins."""

# The six steps, five metrics and five functions that the hardening guide names.
STEPS = ("Detect", "Isolate", "Investigate", "Remediate", "Recover", "Learn")
METRICS = (
    "Container restarts",
    "Authentication failures",
    "Network policy violations",
    "File system modifications",
    "Privilege escalation attempts",
)
GUIDE_FUNCTIONS = ("Identify", "Protect", "Detect", "Respond", "Recover")


@cache
def environment() -> Environment:
    """The template environment, made once. Jinja2 is loaded here and not before."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("reports", "templates"),
        # Not select_autoescape(): it goes by the last suffix and leaves *.html.j2 unescaped.
        autoescape=True,
        undefined=StrictUndefined,
        # Every expression's text is cleaned here, so that no template can forget to.
        finalize=text.clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        name=text.name,
        text=text.text,
        path=text.path,
        prose=text.prose,
        snippet=text.snippet,
        number=text.number,
        percent=text.percent,
        when=text.when,
    )
    made.globals.update(
        severities=tuple(Severity),
        statuses=tuple(Status),
        words=WORDS,
        meanings=MEANINGS,
        titles=TITLES,
        section_ids=TEMPLATE_SECTIONS,
        steps=STEPS,
        metrics=METRICS,
        guide_functions=GUIDE_FUNCTIONS,
        status_bar=charts.status_bar,
        severity_bar=charts.severity_bar,
        file_of=file_of,
        gap_lines=gap_lines,
        live=live,
        subject=subject,
        short=text.short,
        is_system=is_system,
        because=because,
        without_reason=without_reason,
        spans=spans,
        waived=waived,
    )
    return made


def fill(card: Scorecard, view: View, medium: str, **parts: Any) -> str:
    """Render the whole document for a medium, `screen` or `print`."""
    template = environment().get_template("base.html.j2")
    return template.render(card=card, view=view, medium=medium, **parts)


@cache
def style(medium: str) -> str:
    """The style sheet for a medium: tokens, what both share, what only this one has."""
    shared, own = _read("report.css"), _read(f"{medium}.css")
    if medium == "screen":
        return "\n".join((screen_tokens(), shared, own, screen_icons()))
    return "\n".join((resolve(shared), resolve(own), print_icons()))


@cache
def script() -> str:
    """The document's script, for a screen."""
    return _read("report.js")


def _read(name: str) -> str:
    return (files("reports") / "templates" / name).read_text(encoding="utf-8")
