"""Text that came from somewhere else: cleaned, isolated, clipped; and prose split into blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import text
from tests.support.scorecards import CONTROL, LONG, RIGHT_TO_LEFT, SCRIPT


@given(st.text())
def test_clean_leaves_nothing_that_html_forbids_or_that_turns_the_direction(value: str) -> None:
    cleaned = text.clean(value)
    assert isinstance(cleaned, str)
    assert len(cleaned) == len(value)
    for character in cleaned:
        point = ord(character)
        assert point >= 0x20
        assert not 0x7F <= point <= 0x9F
        assert not 0xD800 <= point <= 0xDFFF
        assert not 0x202A <= point <= 0x202E
        assert not 0x2066 <= point <= 0x2069
        assert point not in {0x2028, 0x2029, 0xFFFE, 0xFFFF}


def test_clean_leaves_ordinary_text_of_any_script_alone() -> None:
    value = "Größe 図 \u05d0\u05d1 e\u0301 ✓"
    assert text.clean(value) == value


def test_a_right_to_left_override_is_shown_and_not_obeyed() -> None:
    assert "\u202e" not in text.name(RIGHT_TO_LEFT)
    assert "payroll-\ufffdgpj.exe-\u05d0" in text.name(RIGHT_TO_LEFT)


def test_control_characters_become_replacement_characters() -> None:
    assert text.name(CONTROL) == "<bdi>bell\ufffdnul\ufffdesc\ufffd[31m\ufffdline</bdi>"


def test_a_name_is_isolated_and_escaped() -> None:
    shown = text.name(SCRIPT)
    assert shown.startswith("<bdi>&lt;/script&gt;")
    assert "<script" not in shown


def test_what_is_cut_off_is_counted() -> None:
    shown = text.clip(LONG, 100)
    assert shown == "x" * 100 + "… (9,900 more characters)"
    assert text.clip("x" * 100, 100) == "x" * 100


def test_nothing_is_shown_for_nothing() -> None:
    assert text.name(None) == text.text("") == text.path(None) == ""


def test_a_path_may_break_after_dots_and_slashes() -> None:
    assert text.path("a/b.c..d<") == "<bdi>a/<wbr>b.<wbr>c..<wbr>d&lt;</bdi>"


@pytest.mark.parametrize(
    ("score", "shown"),
    [(None, "–"), (0.0, "0 %"), (0.29, "29 %"), (2 / 3, "66 %"), (0.999, "99 %"), (1.0, "100 %")],
)
def test_a_score_is_rounded_down(score: float | None, shown: str) -> None:
    assert text.percent(score) == shown


@pytest.mark.parametrize(
    ("taken_at", "shown"),
    [
        ("2026-03-31T22:15:04Z", "2026-03-31 22:15:04 UTC"),
        ("2026-03-31T23:15:04.9+01:00", "2026-03-31 22:15:04 UTC"),
        ("2026-03-31T22:15:04", "2026-03-31 22:15:04 UTC"),
        ("yesterday", "yesterday"),
    ],
)
def test_times_are_shown_in_utc(taken_at: str, shown: str) -> None:
    assert text.when(taken_at) == shown


def _plain(source: str) -> list[tuple[str, list[str]]]:
    return [
        (block.kind, ["".join(span.text for span in item) for item in block.items])
        for block in text.prose(source)
    ]


def test_prose_with_a_hanging_indent_is_one_paragraph() -> None:
    source = "fails when it is\n    set, for this reason:\n    it is so."
    assert _plain(source) == [("text", ["Fails when it is set, for this reason: it is so."])]


def test_an_indented_snippet_keeps_its_own_indentation() -> None:
    source = "Change\nit:\n\n    spec:\n      a: 1\n\n      b: 2\n\nThen roll it out."
    assert _plain(source) == [
        ("text", ["Change it:"]),
        ("code", ["spec:\n  a: 1\n\n  b: 2"]),
        ("text", ["Then roll it out."]),
    ]


def test_a_snippet_under_a_hanging_indent_is_found() -> None:
    source = "change the secret\n    and build again:\n\n        RUN make\n          it"
    assert _plain(source) == [
        ("text", ["Change the secret and build again:"]),
        ("code", ["RUN make\n  it"]),
    ]


def test_lists_are_found_and_their_items_may_go_on() -> None:
    assert _plain("Do:\n- one\n  and more\n- two\n\n1. first\n2. second") == [
        ("text", ["Do:"]),
        ("list", ["one and more", "two"]),
        ("list", ["first", "second"]),
    ]


def test_backticks_mark_code_and_the_space_between_two_of_them_stays() -> None:
    (block,) = text.prose("`a` ``b`` c")
    assert [(span.text, span.code) for span in block.items[0]] == [
        ("a", True),
        (" ", False),
        ("b", True),
        (" c", False),
    ]


@given(st.text(alphabet=" \n`-:ab\t"))
def test_prose_never_fails_and_loses_no_letter(source: str) -> None:
    shown = "".join("".join(items) for _, items in _plain(source))
    letters = [letter.lower() for letter in source if letter in "ab"]
    assert [letter.lower() for letter in shown if letter in "abAB"] == letters
