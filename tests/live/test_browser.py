"""The HTML report in a real Chromium: nothing runs that should not, and what should run does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.html import MARKUP_ROWS, render_html
from tests.live.conftest import unavailable
from tests.support.browser import MISSING, Browser, find_chromium
from tests.support.scorecards import make_scorecard

pytestmark = pytest.mark.live

ROWS = 450
WIDTHS = (320, 360, 768, 1440)
ROWS_SHOWN = "document.querySelectorAll('.rows tr[id]').length"
READY = "document.documentElement.dataset.ready === 'yes'"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        unavailable(MISSING)
    with Browser(program, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report with hostile names and more rows than the markup holds."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_html(make_scorecard(ROWS)), encoding="utf-8")
    return path.as_uri()


def choose(browser: Browser, name: str, value: str) -> int:
    """Set one filter; returns how many findings match."""
    count = browser.evaluate(
        f"""(() => {{
            const form = document.getElementById("filters");
            form.elements[{name!r}].value = {value!r};
            form.dispatchEvent(new Event("input", {{ bubbles: true }}));
            return Number(document.documentElement.dataset.matches);
        }})()"""
    )
    assert isinstance(count, int)
    return count


def test_no_hostile_name_runs_and_nothing_is_fetched(browser: Browser, report: str) -> None:
    browser.open(report, 1440)
    browser.wait_for(READY)
    assert browser.evaluate("document.title").startswith("Container platform audit")
    assert browser.evaluate("document.images.length") == 0
    assert browser.evaluate("document.scripts.length") == 2
    assert [url for url in browser.requests if not url.startswith("data:")] == [report]
    assert browser.console == []


def test_the_policy_would_stop_what_got_in(browser: Browser, tmp_path: Path) -> None:
    marked = "document.documentElement.dataset.ran = 'yes'"
    smuggled = (
        f'<script>{marked}</script><img src=x onerror="{marked}">'
        "<img src='http://127.0.0.1:9/a.png'><style>main { display: none }</style>"
    )
    path = tmp_path / "report.html"
    path.write_text(render_html(make_scorecard()).replace("<main>", f"<main>{smuggled}"), "utf-8")
    browser.open(path.as_uri(), 1440)
    browser.wait_for(READY)
    assert browser.evaluate("document.documentElement.dataset.ran ?? 'no'") == "no"
    assert browser.evaluate("getComputedStyle(document.querySelector('main')).display") != "none"
    assert len([text for text in browser.console if "Content Security Policy" in text]) >= 3


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_runs_over_the_edge(browser: Browser, report: str, width: int, dark: bool) -> None:
    browser.open(report, width, dark=dark)
    browser.wait_for(READY)
    browser.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    over = browser.evaluate(
        """[...document.querySelectorAll("body *")]
            .filter((item) => !item.closest(".skip")
                && item.getBoundingClientRect().right > innerWidth + 1)
            .map((item) => item.tagName + "." + item.className)"""
    )
    assert over == []
    ground = browser.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")


def test_without_a_script_the_report_is_whole(browser: Browser, report: str) -> None:
    browser.script(False)
    try:
        browser.open(report, 1440)
        assert browser.evaluate("document.documentElement.dataset.ready ?? 'no'") == "no"
        assert browser.evaluate(ROWS_SHOWN) == MARKUP_ROWS
        assert browser.evaluate("document.getElementById('filters').hidden")
        assert "need a script" in browser.evaluate("document.querySelector('.more').innerText")
    finally:
        browser.script(True)


def test_filters_narrow_the_findings(browser: Browser, report: str) -> None:
    browser.open(report, 1440)
    browser.wait_for(READY)
    total = browser.evaluate("Number(document.documentElement.dataset.matches)")
    assert total > ROWS
    matching = {
        "status": choose(browser, "status", "fail"),
        "severity": choose(browser, "severity", "critical"),
        "namespace": choose(browser, "namespace", "team-7"),
    }
    assert total > matching["status"] > matching["severity"] > matching["namespace"]
    expected = len([number for number in range(ROWS) if number % 40 == 7])
    assert matching["namespace"] == expected == browser.evaluate(ROWS_SHOWN)
    assert choose(browser, "text", "worker-7 privileged") >= 1
    assert choose(browser, "text", "no such thing") == 0
    assert browser.evaluate("document.querySelectorAll('details.check:not([hidden])').length") == 0
    browser.evaluate("document.getElementById('filters').reset()")
    browser.wait_for(f"document.documentElement.dataset.matches === '{total}'")
    assert choose(browser, "target", "build-host") < choose(browser, "target", "prod-eu")
    browser.evaluate("document.getElementById('filters').reset()")
    section = "cis-kubernetes@2.0.1/5.3"
    assert 0 < choose(browser, "section", section) < total
    shown = browser.evaluate(
        "[...document.querySelectorAll('details.check:not([hidden])')].map((item) => item.id)"
    )
    assert shown == ["check-k8s-network-policy"]


def test_rows_that_are_data_are_drawn_when_asked_for(browser: Browser, report: str) -> None:
    browser.open(report, 1440)
    browser.wait_for(READY)
    before = browser.evaluate(ROWS_SHOWN)
    assert before == MARKUP_ROWS
    browser.evaluate("document.querySelector('.more button').click()")
    assert browser.evaluate(ROWS_SHOWN) == before + 100
    same = browser.evaluate(
        """(() => {
            const rows = [...document.querySelectorAll("#check-k8s-privileged-container .own tr")];
            const shape = (row) => row.innerHTML.replace(/>[^<]*</g, "><").replace(/st-\\w+/, "");
            const plain = rows.filter((row) => /worker-\\d+/.test(row.textContent));
            return new Set(plain.map(shape)).size;
        })()"""
    )
    assert same == 1, "a row drawn by the script differs from one in the markup"


def test_order(browser: Browser, report: str) -> None:
    browser.open(report, 1440)
    browser.wait_for(READY)
    choose(browser, "order", "name")
    names = browser.evaluate(
        "[...document.querySelectorAll('#check-k8s-run-as-non-root .own .subject')]"
        ".map((item) => item.textContent)"
    )
    assert len(names) > 3
    assert names == sorted(names)


@pytest.mark.parametrize("position", [0, -1], ids=["in the markup", "as data"])
def test_a_deep_link_opens_and_marks_its_finding(
    browser: Browser, report: str, position: int
) -> None:
    card = make_scorecard(ROWS)
    rows = next(item for item in card.checks if item.check.id == "k8s-privileged-container")
    fails = [row for row in rows.findings if row.name.startswith("worker-")]
    wanted = sorted(fails, key=lambda row: row.id)[position]
    browser.open(f"{report}#finding-{wanted.id}", 1440)
    browser.wait_for(READY)
    row = f"document.getElementById('finding-{wanted.id}')"
    assert browser.evaluate(f"{row}.classList.contains('found')")
    assert browser.evaluate(f"{row} === document.activeElement")
    assert wanted.name in browser.evaluate(f"{row}.textContent")
    assert browser.evaluate(
        f"{row}.getBoundingClientRect().top >= 0"
        f" && {row}.getBoundingClientRect().bottom <= innerHeight"
    )


def test_the_theme_can_be_chosen_with_the_keyboard(browser: Browser, report: str) -> None:
    browser.open(report, 1440)
    browser.wait_for(READY)
    focused = []
    for _ in range(3):
        browser.press("Tab")
        focused.append(browser.evaluate("document.activeElement.textContent.trim()"))
        if focused[-1] == "Dark theme":
            break
    assert focused[0] == "Skip to the summary"
    assert focused[-1] == "Dark theme"
    outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.press("Enter")
    assert browser.evaluate("document.documentElement.dataset.theme") == "dark"
    ground = browser.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == "rgb(20, 24, 29)"


def test_folding(browser: Browser, report: str) -> None:
    browser.open(report, 1440)
    browser.wait_for(READY)
    opened = "document.querySelectorAll('details.check[open]').length"
    browser.evaluate("document.querySelector('[data-fold=shut]').click()")
    assert browser.evaluate(opened) == 0
    browser.evaluate("document.querySelector('[data-fold=open]').click()")
    assert browser.evaluate(opened) == browser.evaluate(
        "document.querySelectorAll('details.check').length"
    )
