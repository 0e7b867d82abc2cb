"""The report as one HTML file: no request to anywhere, and readable without its script.

A Content-Security-Policy in the file forbids every source but the two inline parts, by their
hashes, so that nothing a hostile name could smuggle in would ever be fetched or run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import orjson

from auditor.scorecard import Scorecard
from reports import text
from reports.document import fill, script, style
from reports.view import View, arrange, file_of, is_system, live, subject

if TYPE_CHECKING:
    from markupsafe import Markup

MARKUP_ROWS = 200
"""Findings that stand in the markup and need no script; further ones are data (design: reports)."""


def render_html(card: Scorecard) -> str:
    """Return the report as one HTML document; the same scorecard gives the same text."""
    limit = int(card.settings["report"]["html_findings"])
    view = arrange(card, markup=min(MARKUP_ROWS, limit), carried=limit, spread=1)
    css, js = style("screen"), script()
    return fill(
        card,
        view,
        "screen",
        style=_trusted(css),
        script=_trusted(js),
        data=_trusted(_data(view)),
        policy="; ".join(
            (
                "default-src 'none'",
                f"style-src '{_hash(css)}'",
                f"script-src '{_hash(js)}'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
    )


def _trusted(own: str) -> Markup:
    from markupsafe import Markup

    return Markup(own)  # noqa: S704  # our own files, and JSON escaped by `_script_safe`


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _data(view: View) -> str:
    """The findings beyond the markup, as JSON: strings once each, rows of numbers into them."""
    strings: dict[str, int] = {"": 0}

    def at(value: str | None, limit: int) -> int:
        shown = text.clip(value or "", limit)
        return strings.setdefault(shown, len(strings))

    rows = [
        [
            number,
            at(row.status, 99),
            at(row.severity, 99),
            at(view.targets[row.target], text.NAME_LIMIT),
            at(row.namespace, text.NAME_LIMIT),
            at(row.kind, text.NAME_LIMIT),
            at(subject(row), text.NAME_LIMIT),
            at(file_of(row), text.NAME_LIMIT),
            at(row.path, text.NAME_LIMIT),
            at(row.observed, text.TEXT_LIMIT),
            at(row.expected, text.TEXT_LIMIT),
            at(live(row), 99),
            int(is_system(row, view)),
            at(row.waiver, text.TEXT_LIMIT),
            row.id,
        ]
        for number, group in enumerate(view.groups)
        for row in group.more
    ]
    return _script_safe(orjson.dumps({"strings": list(strings), "rows": rows}).decode())


_ESCAPES: Iterable[tuple[str, str]] = (
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("&", "\\u0026"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)


def _script_safe(json: str) -> str:
    """JSON that cannot end the script element it stands in, whatever its strings hold."""
    for character, escape in _ESCAPES:
        json = json.replace(character, escape)
    return json
