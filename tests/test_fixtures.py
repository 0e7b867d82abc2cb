"""Every check against its own fixtures: the good, the bad, and what could not be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.evaluate import evaluate
from auditor.model import worst
from auditor.registry import discover
from auditor.snapshot import dump_snapshot, parse_snapshot
from tests.support.fixtures import FIXTURES, fixture_files, fixture_snapshot, load_fixture

REGISTRY = discover()


@pytest.mark.parametrize(
    "path", fixture_files(), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_fixture_gives_the_status_it_is_named_for(path: Path, tmp_path: Path) -> None:
    check = REGISTRY.get(path.parent.name)
    assert check is not None, f"no check is called {path.parent.name}"
    data = load_fixture(path)
    snapshot = parse_snapshot(dump_snapshot(fixture_snapshot(data, tmp_path)))

    found = evaluate(snapshot, [check])

    shown = "\n".join(
        f"{row.status} {row.kind}/{row.name} {row.path}: {row.observed}" for row in found
    )
    status = worst(row.status for row in found)
    assert str(status) == path.name.split(".")[0], shown
    for wanted in data.get("expect", ()):
        assert any(
            all(_matches(getattr(row, key), value) for key, value in wanted.items())
            for row in found
        ), f"no finding like {wanted} in:\n{shown}"


def _matches(seen: object, wanted: object) -> bool:
    """Equal, or for text a part of it: evidence is prose, its facts are what is asserted."""
    if isinstance(wanted, str) and isinstance(seen, str):
        return wanted == str(seen) or (len(wanted) > 3 and wanted in seen)
    return seen == wanted


@pytest.mark.parametrize("check", REGISTRY, ids=lambda check: check.id)
def test_every_check_has_a_pass_a_fail_and_an_unknown_fixture(check) -> None:
    names = {path.name.split(".")[0] for path in (FIXTURES / check.id).glob("*.yaml")}
    assert {"pass", "fail", "unknown"} <= names


def test_no_fixture_folder_is_without_its_check() -> None:
    assert {path.name for path in FIXTURES.iterdir() if path.is_dir()} <= set(REGISTRY.checks)
