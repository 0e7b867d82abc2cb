"""The parts of a check's docstring, in the ways in which people indent them."""

from __future__ import annotations

import pytest

from auditor.errors import CatalogueError
from auditor.model import Check
from auditor.registry import check


def declared(docstring: str) -> Check:
    def probe(resource: object, view: object) -> list[object]:
        return []

    probe.__doc__ = docstring
    made = check(id="k8s-some", title="Some", severity="low", applies_to="kubernetes/workload")(
        probe  # type: ignore[arg-type]
    )
    found = made.__auditor_check__  # type: ignore[attr-defined]
    assert isinstance(found, Check)
    return found


FLUSH = """Look at it,
    and again.

    Why: because
    of this.
    Rule: fails when so.
    Fix: set it:

        spec:
          good: true

    Source: here.
    """

HANGING = """Look at it,
    and again.

    Why: because
        of this.
    Rule: fails when so.
    Fix: set it:

            spec:
              good: true
    Source: here.
    """

APART = """Look at it,
    and again.

    Why:
    because
    of this.

    Rule:
    fails when so.

    Fix:
    set it:

        spec:
          good: true

    Source: here.
    """


@pytest.mark.parametrize("docstring", [FLUSH, HANGING, APART])
def test_the_parts_are_the_same_however_they_are_indented(docstring: str) -> None:
    found = declared(docstring)

    assert found.summary == "Look at it,\nand again."
    assert found.why == "because\nof this."
    assert found.rule == "fails when so."
    assert found.fix == "set it:\n\n    spec:\n      good: true"
    assert found.source == "here."


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    Why: because\n    of this.\n", "", "has the parts Rule, Fix, Source"),
        ("Why: because\n    of this.", "Why:", "says nothing under Why"),
        ("Rule: fails when so.", "Rules: fails when so.", "has the parts Why, Fix, Source"),
    ],
)
def test_a_docstring_that_lacks_a_part_is_refused(old: str, new: str, message: str) -> None:
    broken = FLUSH.replace(old, new)
    assert broken != FLUSH

    with pytest.raises(CatalogueError, match=message):
        declared(broken)
