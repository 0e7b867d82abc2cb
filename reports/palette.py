"""Colours, type sizes and status signs: the one place where the look is a number.

The style sheets name tokens (`var(--ink)`); screens get them as custom properties, light and
dark, and the PDF gets their light values written in, because resolving a property for every box
of a long table costs WeasyPrint time. A test holds every text colour against its grounds
(WCAG 2.2, 1.4.3: at least 4.5 to 1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

LIGHT: Mapping[str, str] = {
    "paper": "#ffffff",
    "panel": "#f3f5f7",
    "ink": "#1a2129",
    "soft": "#55606b",
    "line": "#cfd6dc",
    "accent": "#1f4f80",
    "mark": "#fff3c4",
    "fail": "#a3161a",
    "error": "#86195c",
    "unknown": "#7a4d00",
    "review": "#4a3fa3",
    "waived": "#2f5a70",
    "pass": "#17673a",
    "not-applicable": "#55606b",
}
"""Token to colour on white; printed as it stands."""

DARK: Mapping[str, str] = {
    "paper": "#14181d",
    "panel": "#1e242b",
    "ink": "#e6eaee",
    "soft": "#a9b4bf",
    "line": "#3a444f",
    "accent": "#8fbdf0",
    "mark": "#4a3f12",
    "fail": "#ff9d96",
    "error": "#ff9fd3",
    "unknown": "#f0c265",
    "review": "#bcb4ff",
    "waived": "#a5cbdf",
    "pass": "#83d6a0",
    "not-applicable": "#a9b4bf",
}
"""The same tokens on a dark ground."""

SCREEN_SIZES: Mapping[str, str] = {
    "s1": "0.8125rem",
    "s2": "0.9375rem",
    "s3": "1.25rem",
    "s4": "2rem",
}
PRINT_SIZES: Mapping[str, str] = {"s1": "7.5pt", "s2": "9pt", "s3": "13pt", "s4": "25pt"}
"""The type scale: small print, text, headings, titles. There is no fifth size."""

BAR: Mapping[str, str] = {
    "pass": "#3f9c64",
    "fail": "#c2302c",
    "error": "#a8327f",
    "unknown": "#e3b95b",
    "review": "#8f86d8",
    "waived": "#7da3b5",
    "not-applicable": "#d5dade",
}
"""Chart fills. They differ in lightness too, so that a grey print still tells them apart."""

_RING = "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 1.6a5.4 5.4 0 1 0 0 10.8A5.4 5.4 0 0 0 8 2.6z"
_DISC = "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1z"
ICONS: Mapping[str, str] = {
    # A filled square with a cross, a filled disc with a tick, …: no two share an outline.
    "fail": "M1 1h14v14H1zM5 3.6 3.6 5 6.6 8l-3 3L5 12.4l3-3 3 3 1.4-1.4-3-3 3-3L11 3.6l-3 3z",
    "error": "M8 .5 15.8 15H.2zM7.1 5.5l.3 5h1.2l.3-5zM7.1 11.6v1.8h1.8v-1.8z",
    "unknown": _RING
    + "M5.4 6.3C5.4 4.7 6.5 4 8 4s2.6.8 2.6 2.2c0 1.7-1.8 1.8-1.8 3.1H7.2c0-2 1.7-2.2 1.7-3.1 "
    "0-.5-.4-.7-.9-.7s-1 .3-1 .7zM7.1 10.2h1.8V12H7.1z",
    "review": "M8 .6 15.4 8 8 15.4.6 8zM8 2.9 2.9 8 8 13.1z",
    "waived": "M2 2h12v12H2zM3.6 3.6v8.8h8.8V3.6zM5 7.2h6v1.6H5z",
    "pass": _DISC + "M11.3 4.6 6.9 9.4 4.7 7.3 3.5 8.5 7 11.8l5.5-6z",
    "not-applicable": "M2 7.2h12v1.6H2z",
    "none": "M3 6.8h2.4v2.4H3zM6.8 6.8h2.4v2.4H6.8zM10.6 6.8H13v2.4h-2.4z",
}
"""Status to the outline of its sign on a 16 by 16 grid, drawn with the even-odd rule."""

_VAR = re.compile(r"var\(--([a-z0-9-]+)\)")


def screen_tokens() -> str:
    """Custom properties for a browser: light, dark by preference, and either by choice."""
    light = _properties({**LIGHT, **SCREEN_SIZES, **_bars()})
    dark = _properties(DARK)
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light])"
        f"{{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
    )


def screen_icons() -> str:
    """Status signs for a browser: masks, so that they take the colour of the word."""
    return "\n".join(
        f".st-{name}::before{{-webkit-mask-image:{image};mask-image:{image}}}"
        for name, image in ((name, _image(path, "#000")) for name, path in ICONS.items())
    )


def print_icons() -> str:
    """Status signs for paper, in their colour: WeasyPrint knows no masks.

    "No check yet" is the only state without one: it stands in hundreds of rows, in grey.
    """
    return "\n".join(
        f".st-{name}{{background-image:{_image(path, LIGHT[name])}}}"
        for name, path in ICONS.items()
        if name in LIGHT
    )


def resolve(css: str) -> str:
    """Write the light values and the print sizes in for every `var(--…)` of a style sheet.

    Raises `KeyError` for a token that does not exist.
    """
    tokens = {**LIGHT, **PRINT_SIZES, **_bars()}
    return _VAR.sub(lambda match: tokens[match.group(1)], css)


def _bars() -> dict[str, str]:
    return {f"bar-{name}": colour for name, colour in BAR.items()}


def _properties(tokens: Mapping[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in tokens.items())


def _image(path: str, colour: str) -> str:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
        f'<path fill="{colour}" fill-rule="evenodd" d="{path}"/></svg>'
    )
    return f'url("data:image/svg+xml,{quote(svg, safe=" /=:.")}")'.replace("%22", "'")
