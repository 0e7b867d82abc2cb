"""Discovery: built-in checks, plugin folders and entry points; ids are never shared."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from auditor import registry
from auditor.errors import CatalogueError, ConfigError
from auditor.registry import discover

PLUGIN = '''
from auditor.model import failed
from auditor.registry import check


@check(id="{id}", title="Ours", severity="low", applies_to="kubernetes/ConfigMap")
def ours(resource, view):
    """Look.

    Why: because.
    Rule: fails always.
    Fix: none.
    Source: this test.
    """
    yield failed("data", "seen", "wanted")
'''


def test_built_in_checks_are_found_and_documented() -> None:
    found = discover()
    assert len(found) >= 40
    assert list(found.checks) == sorted(found.checks)
    for check in found:
        assert check.summary and check.why and check.rule and check.fix and check.source
        assert check.title[0].isupper() and not check.title.endswith(".")


def test_a_plugin_folder_adds_its_checks_to_this_registry_alone(tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text(PLUGIN.format(id="ours-first"))
    (tmp_path / "_helper.py").write_text("raise RuntimeError('a helper is not a plugin')")
    assert "ours-first" in discover([tmp_path])
    assert "ours-first" not in discover()


def test_an_id_that_is_taken_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text(PLUGIN.format(id="k8s-privileged-container"))
    with pytest.raises(CatalogueError, match="two checks share the id k8s-privileged-container"):
        discover([tmp_path])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nothing_of_that_name", "does not load"),
        (PLUGIN.format(id="NotKebab"), "not kebab-case"),
        (PLUGIN.replace("Fix: none.", "").format(id="ours-first"), "write Why, Rule, Fix, Source"),
    ],
)
def test_a_broken_plugin_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(CatalogueError) as error:
        discover([tmp_path])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="plugin folder does not exist"):
        discover([tmp_path / "none"])


def test_an_installed_package_adds_checks_through_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed_plugin.py").write_text(PLUGIN.format(id="ours-installed"))
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("ours", "installed_plugin", "auditor.checks")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    assert "ours-installed" in discover()
    sys.modules.pop("installed_plugin")


def test_an_unknown_check_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="there is no check 'nonsense'"):
        discover().select(["nonsense"])
