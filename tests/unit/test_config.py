"""The configuration: the shipped file is the defaults, and every mistake is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.config import Config, load_config
from auditor.errors import ConfigError

ROOT = Path(__file__).parents[2]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_shipped_file_says_exactly_the_defaults() -> None:
    assert load_config(ROOT / "config.toml") == Config()


def test_shipped_file_shows_every_key() -> None:
    import tomllib

    shown = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))
    assert {name: set(table) for name, table in shown.items()} == {
        name: set(table) for name, table in Config().model_dump().items()
    }


def test_misspelt_key_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path, "[audit]\nformats = ['html']\n\n[rules]\n# a comment\nsystem_namespace = []\n"
    )
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value).startswith(
        f"{path}:6: unknown key 'rules.system_namespace'; known here:"
    )
    assert "system_namespaces" in str(error.value)


def test_misspelt_table_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "[audit]\n\n[kubernets]\npage_size = 1\n")
    with pytest.raises(ConfigError, match=r":3: unknown key 'kubernets'"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[kubernetes]\npage_size = 0\n", ":2: kubernetes.page_size"),
        ("[kubernetes]\npage_size = '5'\n", ":2: kubernetes.page_size"),
        ("[audit]\nformats = ['html', 'docx']\n", ":2: audit.formats"),
        ("[audit\n", "is not TOML"),
    ],
)
def test_bad_value_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path, text))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_binary_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "binary.toml")


def test_snapshot_settings_never_hold_what_runs_code() -> None:
    settings = Config().snapshot_settings()
    assert "plugins" not in settings
    assert Config().with_settings(settings) == Config()


def test_settings_of_an_unknown_shape_are_refused() -> None:
    settings = Config().snapshot_settings()
    settings["rules"] = {**settings["rules"], "nonsense": 1}
    with pytest.raises(ConfigError, match=r"rules\.nonsense"):
        Config().with_settings(settings)
