"""The HTML report, read as a browser's parser reads it."""

import base64
import hashlib
import html
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from types import MappingProxyType
from typing import Any

import pytest

from auditor.aggregate import aggregate
from auditor.catalogue import Catalogue
from auditor.config import Config
from auditor.model import Snapshot, Status
from auditor.registry import Registry
from auditor.scorecard import TEMPLATE_SECTIONS, Scorecard
from reports import text
from reports.document import TITLES
from reports.html import MARKUP_ROWS, render_html
from reports.view import live, subject
from tests.support.scorecards import (
    CONTROL,
    HOSTILE,
    RIGHT_TO_LEFT,
    SCRIPT,
    TAKEN_AT,
    TEMPLATE,
    WHY,
    make_scorecard,
)


class Page(HTMLParser):
    """Every element with its attributes, the text, and the texts of scripts and styles."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.raw: list[tuple[str, dict[str, str], str]] = []
        self.text = ""
        self._open: tuple[str, dict[str, str]] | None = None
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag in ("script", "style"):
            self._open = (tag, found)
            self.raw.append((tag, found, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, attributes, before = self.raw[-1]
            self.raw[-1] = (tag, attributes, before + data)
        else:
            self.text += data

    def values(self, name: str) -> list[str]:
        return [found[name] for _, found in self.elements if name in found]

    def data(self) -> dict[str, Any]:
        (text,) = (text for _, found, text in self.raw if found.get("id") == "rows")
        loaded: dict[str, Any] = json.loads(text)
        return loaded


@pytest.fixture(scope="module")
def card() -> Scorecard:
    return make_scorecard()


@pytest.fixture(scope="module")
def source(card: Scorecard) -> str:
    return render_html(card)


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def words(source: str) -> str:
    """What the body says, with a space wherever an element begins or ends."""
    body = source[source.index("<main>") : source.index("</main>")]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def empty_card() -> Scorecard:
    settings = Config().snapshot_settings()
    snapshot = Snapshot(TAKEN_AT, "0.1.0", (), (), (), (), settings)
    settings["benchmarks"] = []
    return aggregate(snapshot, [], Registry({}), Catalogue((), {}))


def hostile_card() -> Scorecard:
    """The scorecard with hostile text in every field that a template prints."""
    nasty = f"{SCRIPT}{TEMPLATE}{CONTROL}{RIGHT_TO_LEFT}\"'><b onclick=x>"
    card = make_scorecard(organisation=nasty, prepared_by=nasty, period=nasty)
    target = replace(
        card.targets[0],
        target=replace(card.targets[0].target, name=nasty, facts=MappingProxyType({nasty: nasty})),
    )
    gap = replace(card.gaps[0], target_name=nasty, hides=(nasty,))
    rows = tuple(replace(row, kind=nasty, waiver=nasty) for row in card.checks[0].findings)
    check = replace(
        card.checks[0],
        findings=rows,
        check=replace(
            card.checks[0].check,
            title=nasty,
            why=f"{nasty}\n\n    {nasty}",
            rule=nasty,
            fix=f"- {nasty}\n\n    {nasty}\n    {nasty}",
            source=nasty,
        ),
    )
    settings = dict(card.settings)
    settings["rules"] = {**card.settings["rules"], "setuid_allowed": [nasty], nasty: nasty}
    return replace(
        card,
        title=nasty,
        verdict=nasty,
        tool_version=nasty,
        sha256=nasty,
        targets=(target, *card.targets[1:]),
        gaps=(replace(gap, gap=replace(gap.gap, scope=nasty, name=nasty, remedy=nasty)),),
        not_found=(nasty,),
        checks=(check, *card.checks[1:]),
        top=rows[:1],
        settings=settings,
    )


def test_all_eleven_sections_are_there_in_order(page: Page) -> None:
    ids = [value for value in page.values("id") if value in TEMPLATE_SECTIONS]
    assert tuple(ids) == TEMPLATE_SECTIONS
    assert all(title in page.text for title in TITLES.values())


def test_ids_are_unique_and_every_link_leads_somewhere(page: Page) -> None:
    ids = Counter(page.values("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    carried = {f"finding-{row[-1]}" for row in page.data()["rows"]}
    for link in page.values("href"):
        assert link.startswith("#")
        assert link[1:] in ids or link[1:] in carried


def test_nothing_is_fetched_from_anywhere(source: str, page: Page) -> None:
    assert page.values("src") == []
    assert "link" not in {tag for tag, _ in page.elements}
    assert set(re.findall(r"url\(\"?([a-z]+):", source)) == {"data"}
    addresses = set(re.findall(r"https?://[^\s\"'<]+", source))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_the_policy_forbids_all_but_the_two_inline_parts(page: Page) -> None:
    (policy,) = (
        found["content"]
        for tag, found in page.elements
        if found.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    hashes = {
        tag: f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for tag, found, text in page.raw
        if "type" not in found
    }
    assert f"style-src {hashes['style']};" in policy
    assert f"script-src {hashes['script']};" in policy


@pytest.mark.parametrize("make", [make_scorecard, hostile_card], ids=["names", "every field"])
def test_hostile_text_never_becomes_markup(make: Any) -> None:
    plain = Page(render_html(replace(make_scorecard(), findings=())))
    page = Page(render_html(make()))
    assert Counter(tag for tag, _, _ in page.raw) == {"style": 1, "script": 2}
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain.elements}
    names = {name for _, found in page.elements for name in found}
    assert not [name for name in names if name.startswith("on") or name == "style"]
    assert "{{7*7}}" in page.text
    assert "49{% raw %}" not in page.text


def test_hostile_text_in_the_data_cannot_end_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.html.MARKUP_ROWS", 0)
    source = render_html(make_scorecard())
    page = Page(source)
    assert Counter(tag for tag, _, _ in page.raw) == {"style": 1, "script": 2}
    raw = source[source.index('id="rows">') :]
    data = raw[len('id="rows">') : raw.index("</script>")]
    assert not set("<>&\u2028\u2029") & set(data)
    assert any(SCRIPT in shown for shown in page.data()["strings"])


@pytest.mark.parametrize("make", [make_scorecard, hostile_card], ids=["names", "every field"])
def test_no_control_character_and_no_override_is_left(make: Any) -> None:
    source = render_html(make())
    assert (
        re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", source)
        == []
    )


def test_each_hostile_name_can_still_be_read(page: Page) -> None:
    for name in HOSTILE:
        readable = "".join(char if char.isprintable() else "\ufffd" for char in name)
        assert readable[:100] in page.text


def test_a_very_long_name_is_cut_and_counted(source: str) -> None:
    assert "x" * 1000 not in source
    assert "more characters)" in source


def test_the_figures_are_the_scorecards_own(card: Scorecard, page: Page) -> None:
    shown = " ".join(page.text.split())
    for result in card.benchmarks:
        assert f"{result.counts.not_judged} not judged, of which {result.unserved}" in shown
    for item in card.checks:
        if item.judged:
            assert f"{item.failing} / {item.judged}" in shown
    assert card.verdict in shown


def test_every_control_has_its_row(card: Scorecard, page: Page) -> None:
    ids = set(page.values("id"))
    for result in card.benchmarks:
        assert {item.anchor for item in result.controls} <= ids


def test_what_is_not_there_yet_is_said(page: Page) -> None:
    shown = " ".join(page.text.split())
    assert shown.count("no source configured") == 5
    assert shown.count("no evidence source configured") == 6
    assert "No earlier audit is recorded" in shown
    assert "no check yet" in shown


def test_waivers_or_their_absence_are_said(card: Scorecard, source: str) -> None:
    shown = words(source)
    risks = shown[shown.index("8 Accepted risks") : shown.index("9 Monitoring")]
    assert "2 findings fail by the rule and are accepted for a reason" in risks
    reason = "a component of the platform: it <writes> the node's rules"
    own = risks.index("Job shop/import runs by hand k8s-resource-limits")
    assert own < risks.index(f"Job kube-system/cni {reason} k8s-privileged-container")
    assert "runs by hand" in shown[: shown.index("8 Accepted risks")], "beside the finding too"
    none = replace(card, finding_counts=replace(card.finding_counts, waived=0))
    assert "reads no waiver file" in words(render_html(none))


def test_what_the_configuration_accepts_is_printed_and_the_unused_first(source: str) -> None:
    shown = words(source)
    risks = shown[shown.rindex("What the configuration accepts") : shown.index("9 Monitoring")]
    places = [risks.index(text) for text in ("Group:<sre>", "gone/*", "shop/Job/*")]
    assert places == sorted(places)
    assert len(re.findall(r"\bunused\b", risks[: risks.index("An unused one")])) == 2
    assert "runs by hand 1 These entries carry no owner" in risks
    method = shown[shown.index("Thresholds used") :]
    assert "shop/Job/* for k8s-resource-limits : runs by hand (1 set aside)" in method
    assert "gone/* for * : was there once (unused)" in method


def test_a_control_shows_the_benchmarks_word_and_how_the_verdict_came_about(source: str) -> None:
    shown = words(source)
    row = shown[shown.index("5.1.1 What CIS Kubernetes Benchmark asks") :]
    assert "own k8s-cluster-admin-binding 1, manual fail by published rule" in row[:200]
    unserved = shown[shown.index("5.1.2 What CIS Kubernetes Benchmark asks") :]
    assert "own 2, manual no check yet –" in unserved[:150]
    assert "Numbered 5.7.3 in 1.10." in shown


def test_a_frameworks_control_says_why_each_check_was_given_to_it(
    card: Scorecard, source: str
) -> None:
    served = [
        item
        for result in card.benchmarks
        if result.benchmark.kind in {"framework", "mapping"}
        for item in result.controls
        if item.served
    ]
    assert served
    assert words(source).count(WHY) == len(served)


def test_sections_without_a_check_are_folded_and_complete(source: str, page: Page) -> None:
    shown = words(source)
    assert "24 controls in 3 sections that no check decides yet" in shown
    assert ("details", {"class": "undecided"}) in page.elements
    for number in range(1, 22):
        assert f"1.1.{number} What CIS Kubernetes Benchmark asks under 1.1.{number}," in shown


def test_two_versions_stand_side_by_side_by_what_each_control_is_about() -> None:
    shown = words(
        render_html(make_scorecard(chosen=("cis-kubernetes@1.10", "cis-kubernetes@2.0.1")))
    )
    table = shown[shown.index("CIS Kubernetes Benchmark: 1.10 and 2.0.1 side by side") :]
    assert "6 of 56 have another number, or are not in every version" in table
    moved = table[table.index("under 5.6.3, said in words of our own moved") :]
    assert re.match(r".*? moved 1\.10 5\.7\.3 (\w+) 2\.0\.1 5\.6\.3 \1 ", moved)
    assert "not in every version 1.10 5.2.12 no check yet 2.0.1 not in this version" in table
    assert "CIS Kubernetes Benchmark 1.10 5.7.3" in shown, "a finding names the version it decides"


def test_findings_beyond_the_markup_are_data_and_beyond_the_limit_are_counted() -> None:
    card = make_scorecard(3000)
    page = Page(render_html(card))
    rows = [value for value in page.values("id") if value.startswith("finding-")]
    data = page.data()["rows"]
    total = card.finding_counts.fail + card.finding_counts.not_judged
    assert len(rows) == MARKUP_ROWS
    assert len(rows) + len(data) == card.settings["report"]["html_findings"] == 2000
    left = re.findall(r"([\d,]+) more are not in this file", page.text)
    assert sum(int(number.replace(",", "")) for number in left) == total - 2000
    assert f"This file carries 2,000 of {total:,} findings" in page.text
    assert not {row[-1] for row in data} & {row.removeprefix("finding-") for row in rows}


def test_rows_as_data_say_what_the_finding_says() -> None:
    card = make_scorecard(300)
    data = Page(render_html(card)).data()
    known = {row.id: row for row in card.findings}
    strings = data["strings"]
    for row in data["rows"]:
        finding = known[row[14]]
        assert strings[row[1]] == finding.status
        assert strings[row[4]] == text.short(finding.namespace)
        assert strings[row[6]] == text.short(subject(finding))
        assert strings[row[11]] == live(finding)
        assert strings[row[13]] == (finding.waiver or "")


def test_a_small_limit_is_kept() -> None:
    page = Page(render_html(make_scorecard(html_findings=3)))
    assert len([value for value in page.values("id") if value.startswith("finding-")]) == 3
    assert page.data()["rows"] == []


def test_an_audit_that_found_nothing_still_has_its_report() -> None:
    page = Page(render_html(empty_card()))
    assert "No target was found: nothing was looked at." in page.text
    assert tuple(v for v in page.values("id") if v in TEMPLATE_SECTIONS) == TEMPLATE_SECTIONS
    ids = set(page.values("id"))
    assert all(link[1:] in ids for link in page.values("href"))


def test_all_statuses_are_words(page: Page) -> None:
    for status in Status:
        assert str(status).replace("-", " ") in page.text


def test_language_title_and_classification(page: Page) -> None:
    assert page.elements[0][1]["lang"] == "en"
    assert page.text.count("Confidential") >= 2


def test_tables_have_headers_and_form_fields_have_labels(source: str, page: Page) -> None:
    scopes = [found.get("scope") for tag, found in page.elements if tag == "th"]
    assert set(scopes) == {"col", "row", "rowgroup"}
    fields = re.findall(r"<(?:select|input)\b", source)
    assert len(fields) == len(re.findall(r"<label>[^<]+<(?:select|input)\b", source))


def test_the_same_scorecard_gives_the_same_text_whatever_the_hash_seed() -> None:
    code = (
        "import hashlib; from reports.html import render_html;"
        "from tests.support.scorecards import make_scorecard;"
        "print(hashlib.sha256(render_html(make_scorecard(400)).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_importing_the_writers_loads_no_renderer() -> None:
    code = (
        "import sys, reports, reports.html, reports.pdf, reports.findings_csv;"
        "print([m for m in ('jinja2', 'weasyprint', 'markupsafe') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]"
