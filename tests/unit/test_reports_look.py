"""The look, as far as numbers hold it: contrast, four sizes, signs that differ, charts to scale."""

import re
from xml.etree import ElementTree

import pytest

from auditor.model import Status
from auditor.scorecard import Counts
from reports import charts, palette
from reports.document import style

GROUNDS = ("paper", "panel", "mark")
TEXTS = (
    "ink",
    "soft",
    "accent",
    "fail",
    "error",
    "unknown",
    "review",
    "waived",
    "pass",
    "not-applicable",
)


def _luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("text", TEXTS)
def test_text_has_the_contrast_that_wcag_asks_for(
    theme: dict[str, str], ground: str, text: str
) -> None:
    assert contrast(theme[text], theme[ground]) >= 4.5


def test_both_themes_have_the_same_tokens() -> None:
    assert palette.LIGHT.keys() == palette.DARK.keys()


def test_pass_and_fail_differ_in_lightness_on_a_chart() -> None:
    assert contrast(palette.BAR["pass"], palette.BAR["fail"]) >= 1.5


def test_every_status_has_a_sign_of_its_own_and_a_colour() -> None:
    shapes = [palette.ICONS[status] for status in Status]
    assert len(set(shapes)) == len(shapes)
    assert all(status in palette.LIGHT and status in palette.BAR for status in Status)


@pytest.mark.parametrize("path", palette.ICONS.values(), ids=palette.ICONS.keys())
def test_a_sign_is_a_path_that_parses(path: str) -> None:
    numbers = r"(?:-?(?:\d+\.\d*|\.\d+|\d+)[ ,]*)*"
    assert re.fullmatch(rf"(?:[MmLlHhVvCcSsAaZz] *{numbers})+", path)
    for command, arguments in re.findall(r"([a-zA-Z])([^a-zA-Z]*)", path):
        count = len(re.findall(r"-?(?:\d+\.\d*|\.\d+|\d+)", arguments))
        needed = {"a": 7, "c": 6, "s": 4, "h": 1, "v": 1, "z": 0}.get(command.lower(), 2)
        assert count == 0 if needed == 0 else count % needed == 0, (command, arguments)


@pytest.mark.parametrize("medium", ["screen", "print"])
def test_there_are_four_sizes_and_one_accent(medium: str) -> None:
    css = style(medium)
    sizes = set(re.findall(r"font-size: ?([^;}]+)", css))
    scale = palette.PRINT_SIZES.values() if medium == "print" else ()
    assert sizes <= ({f"var(--{size})" for size in palette.SCREEN_SIZES} | set(scale))
    assert len(sizes) <= 4


def test_the_printed_style_has_no_token_left_and_no_address() -> None:
    css = style("print")
    assert "var(" not in css
    assert set(re.findall(r"url\(\"?([a-z]+):", css)) == {"data"}


def test_an_unknown_token_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        palette.resolve("a { color: var(--no-such) }")


def _widths(svg: str) -> list[tuple[str, float]]:
    root = ElementTree.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}rect"
    return [(rect.attrib["fill"], float(rect.attrib["width"])) for rect in root.iter(name)]


def test_a_bar_is_to_scale_and_says_its_figures() -> None:
    svg = str(charts.status_bar(Counts(passed=10, fail=20, not_applicable=30), "<CIS>"))
    widths = dict(_widths(svg))
    assert widths[palette.BAR["fail"]] == pytest.approx(100, abs=2)
    assert widths[palette.BAR["pass"]] == pytest.approx(50, abs=2)
    assert "&lt;CIS&gt;: 10 pass, 20 fail, 30 not applicable" in svg


def test_a_bar_of_nothing_is_empty_and_says_so() -> None:
    svg = str(charts.status_bar(Counts(), "Nothing"))
    assert _widths(svg) == []
    assert "Nothing: nothing" in svg


def test_severity_bars_are_to_the_scale_of_the_largest() -> None:
    failures = {"critical": 5, "high": 10, "low": 0}
    assert _widths(str(charts.severity_bar(failures, "critical")))[0][1] == pytest.approx(150, 0.02)
    assert _widths(str(charts.severity_bar(failures, "high")))[0][1] == pytest.approx(300, 0.02)
    assert _widths(str(charts.severity_bar(failures, "low"))) == []
    assert _widths(str(charts.severity_bar({"low": 0}, "low"))) == []
