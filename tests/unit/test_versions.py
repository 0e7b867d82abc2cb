"""Ranges of versions: in the order of publication, without overlaps, open at either end."""

from __future__ import annotations

import pytest

from auditor.versions import Run, expand, runs, spread, told

ORDER = ("1.5", "1.24", "1.7", "1.10", "2.0")


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("1.7", ["1.7"]),
        ("1.24..1.10", ["1.24", "1.7", "1.10"]),
        ("1.7..", ["1.7", "1.10", "2.0"]),
        ("..1.24", ["1.5", "1.24"]),
        ("2.0..", ["2.0"]),
        ("..", list(ORDER)),
    ],
)
def test_a_range_goes_by_the_order_of_publication(text: str, versions: list[str]) -> None:
    assert list(expand(text, ORDER)) == versions


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"1.9": "a"}, "names the version '1.9', which is not declared"),
        ({"1.5..1.9": "a"}, "names the version '1.9', which is not declared"),
        ({"": "a"}, "names the version ''"),
        ({"1.7..1.24": "a"}, "ends before it starts"),
        ({"1.5..1.7": "a", "1.7..": "b"}, "has the version '1.7', which another range has too"),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused(table: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spread(table, ORDER)


def test_ranges_and_versions_lead_back_to_one_another() -> None:
    table = {"1.5": "a", "1.24..1.7": "b", "2.0..": "b"}
    found = runs(spread(table, ORDER), ORDER)
    assert found == [Run("1.5", "1.5", "a"), Run("1.24", "1.7", "b"), Run("2.0", "2.0", "b")]
    assert told(found) == ("a in 1.5", "b in 1.24 to 1.7 and 2.0")
