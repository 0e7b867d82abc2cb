"""Which engine is asked: the same one that `docker` itself would ask."""

import hashlib
import json
from pathlib import Path

import pytest

from auditor.collect.base import Deadline
from auditor.collect.engine import connect
from auditor.errors import CollectError
from tests.support.fake_engine import fake_engine


def address(host: str | None = None) -> str:
    with connect(host, Deadline.after(10), 2.0) as engine:
        return engine.host


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Docker configuration of the test's own, and no environment."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


def add_context(settings: Path, name: str, host: str) -> None:
    folder = settings / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}
    (folder / "meta.json").write_text(json.dumps(meta))


def test_the_host_that_was_given_comes_before_all_others(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with fake_engine(tmp_path, {}) as (host, _):
        assert address(host) == host


def test_the_environment_comes_before_contexts(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_context(settings, "other", "unix:///nowhere.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "other")
    with fake_engine(tmp_path, {}) as (host, _):
        monkeypatch.setenv("DOCKER_HOST", host)
        assert address() == host


def test_the_context_of_the_environment_comes_before_the_current_one(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_context(settings, "other", "unix:///nowhere.sock")
    (settings / "config.json").write_text('{"currentContext": "other"}')
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    with fake_engine(tmp_path, {}) as (host, _):
        add_context(settings, "mine", host)
        assert address() == host


def test_the_current_context_is_used(settings: Path, tmp_path: Path) -> None:
    (settings / "config.json").write_text('{"currentContext": "mine"}')
    with fake_engine(tmp_path, {}) as (host, _):
        add_context(settings, "mine", host)
        assert address() == host


def test_a_context_that_is_not_there_is_one_clear_line(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(CollectError, match="there is no Docker context 'gone'"):
        address()


def test_a_context_that_is_broken_is_one_clear_line(settings: Path) -> None:
    add_context(settings, "mine", "unix:///nowhere.sock")
    next(settings.glob("contexts/meta/*/meta.json")).write_text("{")
    (settings / "config.json").write_text('{"currentContext": "mine"}')
    with pytest.raises(CollectError, match="the Docker client is not set up well"):
        address()


@pytest.mark.parametrize("host", ["gopher://x", "tcp://", "ftp://127.0.0.1:1"])
def test_a_host_that_is_none_is_one_clear_line(settings: Path, host: str) -> None:
    with pytest.raises(CollectError) as error:
        address(host)
    assert "\n" not in str(error.value)


def test_certificates_that_are_not_there_are_one_clear_line(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / "none"))
    with pytest.raises(CollectError, match="certificate"):
        address()


def test_nobody_at_a_tcp_port_is_one_clear_line(settings: Path) -> None:
    with pytest.raises(CollectError, match="the connection was refused"):
        address("tcp://127.0.0.1:1")
