"""`check dockerfile --fix` and `--write`: what is mended passes, and nothing else is touched."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.cli import fixing
from auditor.cli.dockerfile_fixes import FIXERS, Edit, edited
from auditor.collect.dockerfile import collect_dockerfiles
from auditor.errors import ConfigError
from auditor.evaluate import evaluate
from auditor.model import Status
from auditor.registry import discover
from tests.support.fixtures import snapshot_of
from tests.unit.test_cli import BAD_DOCKERFILE, ROOT, run  # noqa: F401

REGISTRY = discover(builtin="checks.dockerfile")
SET = "ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1"
BAD_TEXT = (ROOT / BAD_DOCKERFILE).read_text()


def mended(folder: Path, text: str) -> fixing.Mended:
    file = folder / "Dockerfile"
    file.write_bytes(text.encode())
    taken = snapshot_of(collect_dockerfiles([file], base=Path.cwd()))
    (result,) = fixing.mend(taken, REGISTRY)
    return result


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ADD --chown=a a b /x/", "COPY --chown=a a b /x/"),
        ("  add a /x", "  copy a /x"),
        ("RUN apk add -t x a && apk del x", "RUN apk add --no-cache -t x a && apk del x"),
        (
            f"{SET}\nRUN true && \\\n  pip install x==1",
            f"{SET}\nRUN true && \\\n  pip install --no-cache-dir x==1",
        ),
        (
            f"{SET}\nRUN <<EOF\npip install x==1\nEOF",
            f"{SET}\nRUN <<EOF\npip install --no-cache-dir x==1\nEOF",
        ),
        (
            "RUN apt-get update && \\\n  # why\n  apt-get install -y a=1",
            "RUN apt-get update && \\\n  # why\n  apt-get install -y a=1 \\\n"
            " && rm -rf /var/lib/apt/lists/*",
        ),
        (
            "RUN apt-get update\n# both\nRUN apt-get install -y a=1",
            "# both\nRUN apt-get update \\\n && apt-get install -y a=1 \\\n"
            " && rm -rf /var/lib/apt/lists/*",
        ),
        ("RUN dnf install -y a-1", "RUN dnf install -y a-1 \\\n && dnf clean all"),
        ("CMD exec /run --now x=1", 'CMD ["/run", "--now", "x=1"]'),
        ("ENTRYPOINT /run a", 'ENTRYPOINT ["/run", "a"]'),
    ],
)
def test_what_has_one_answer_is_mended(tmp_path: Path, before: str, after: str) -> None:
    result = mended(tmp_path, f"FROM debian:12\n{before}\n")
    assert result.after.decode() == f"FROM debian:12\n{after}\n"
    assert sum(result.fixed.values())


@pytest.mark.parametrize(
    "text",
    [
        "ADD a https://example.org/b /x/",
        "ADD --keep-git-dir a /x",
        'RUN sh -c "apk add a=1"',
        "ARG V=add\nRUN apk ${V} a=1",
        "RUN apt-get update; apt-get install -y a=1",
        "RUN apt-get update || true",
        "RUN apt-get update && apt-get install -y a=1 # why",
        "RUN apt-get update && apt-get install -y a=1\nRUN apt-get install -y b=1",
        "CMD cd /x && ./run",
        "CMD echo $HOME",
        "CMD umask 077",
        "CMD A=b /run",
        "ENTRYPOINT /run\nCMD a",
        "RUN apt-get update\nUSER a\nRUN apt-get install -y a=1 && rm -rf /var/lib/apt/lists/*",
        "# auditor: accept dockerfile-add-local -- on purpose\nADD a /x",
    ],
)
def test_what_needs_a_person_is_left_alone(tmp_path: Path, text: str) -> None:
    result = mended(tmp_path, f"FROM debian:12\n{text}\n")
    assert result.after == result.before
    assert not result.diff and not result.fixed


def test_python_defaults_stand_after_the_last_from(tmp_path: Path) -> None:
    text = "# escape=`\nFROM python:3.12 AS a\nRUN a\nFROM python:3.12\nENV PYTHONUNBUFFERED=1\n"
    result = mended(tmp_path, text)
    assert result.after.decode() == text.replace(
        "FROM python:3.12\nENV", "FROM python:3.12\nENV PYTHONDONTWRITEBYTECODE=1\nENV"
    )


def test_line_ends_are_kept(tmp_path: Path) -> None:
    result = mended(tmp_path, "FROM debian:12\r\nADD a /x\r\nCMD run \r\n")
    assert result.after == b'FROM debian:12\r\nCOPY a /x\r\nCMD ["run"] \r\n'


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"FROM a\r\nADD a b\n", "line ends of two kinds"),
        (b"\xef\xbb\xbfFROM a\nADD a b\n", "byte-order mark"),
        ("FROM a\nADD a b\n".encode("utf-16"), "UTF-8"),
    ],
)
def test_a_file_that_would_be_changed_elsewhere_is_refused(
    tmp_path: Path, data: bytes, says: str
) -> None:
    file = tmp_path / "Dockerfile"
    file.write_bytes(data)
    taken = snapshot_of(collect_dockerfiles([file], base=Path.cwd()))
    with pytest.raises(ConfigError, match=says):
        fixing.mend(taken, REGISTRY)


LINES = st.sampled_from(
    [
        *BAD_TEXT.split("\n\n"),
        *("ADD a /x", "ADD https://example.org/a b /x/", "RUN apt-get update", "USER app"),
        *("RUN apt-get update && apt-get install -y a", "RUN apk add a; apk update", "CMD run"),
        *("RUN pip install a && yum install b", "ENTRYPOINT run me", "FROM python:3.12 AS x"),
        *("RUN <<EOF\napk add a\npip3 install x\nEOF", "FROM x", "# why", "ENV PYTHONUNBUFFERED=0"),
        *("RUN npm ci \\\n  && true", "ONBUILD ADD a b", "ENV A_TOKEN=zq8Kd0wPe", "CMD a \\\n b"),
        "# auditor: accept dockerfile-package-cache -- on purpose",
    ]
)


@given(st.lists(LINES, max_size=12).map("\n".join))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_said_to_be_mended_no_longer_fails(tmp_path: Path, text: str) -> None:
    result = mended(tmp_path, f"FROM debian:12\n{text}\n")
    before = _failing(tmp_path, result.before)
    after = _failing(tmp_path, result.after)
    for check_id, count in result.fixed.items():
        assert check_id in FIXERS
        assert len(before[check_id]) - len(after[check_id]) >= count > 0
    assert all(len(after[check.id]) <= len(before[check.id]) for check in REGISTRY)
    assert "zq8Kd0wPe" not in result.diff
    assert bool(result.fixed) == (result.after != result.before)
    again = mended(tmp_path, result.after.decode())
    assert again.after == again.before, "a second time there is nothing left to mend"


def _failing(folder: Path, data: bytes) -> dict[str, list[object]]:
    (folder / "Dockerfile").write_bytes(data)
    found = evaluate(
        snapshot_of(collect_dockerfiles([folder / "Dockerfile"], base=folder)), REGISTRY
    )
    rows: dict[str, list[object]] = {check.id: [] for check in REGISTRY}
    for row in found:
        if row.status in {Status.FAIL, Status.UNKNOWN, Status.ERROR}:
            rows[row.check].append(row)
    return rows


def test_edits_that_touch_are_refused() -> None:
    assert edited("abc", [Edit(1, 2, "x"), Edit(0, 0, "y"), Edit(0, 0, "y")]) == "yaxc"
    with pytest.raises(ValueError, match="same place"):
        edited("abc", [Edit(0, 2, ""), Edit(1, 3, "")])


def test_fix_prints_a_diff_and_changes_nothing(run, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "Dockerfile"
    file.write_text(BAD_TEXT)
    result = run("check", "dockerfile", "Dockerfile", "--fix")
    assert result.code == 1
    assert result.out.startswith("--- a/Dockerfile\n+++ b/Dockerfile\n@@ ")
    assert "+COPY . /opt/ledger-export\n" in result.out
    assert "made-up-for-a-demo" not in result.out + result.err
    assert "mends: dockerfile-add-local (1)" in result.err
    assert file.read_text() == BAD_TEXT


def test_the_diff_of_a_file_without_secrets_can_be_applied(run, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "Dockerfile"
    file.write_text("FROM python:3.12\nADD a /x\nCMD run it")
    result = run("check", "dockerfile", "Dockerfile", "--fix")
    (tmp_path / "a.diff").write_text(result.out)
    subprocess.run(["git", "apply", "--unsafe-paths", "a.diff"], check=True, cwd=tmp_path)
    assert file.read_text().endswith('COPY a /x\nCMD ["run", "it"]')


def test_write_mends_the_file_and_checks_what_is_left(run, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "real"
    file.write_text("FROM alpine:3.20\nADD a /x\nUSER app\n")
    file.chmod(0o640)
    (tmp_path / "Dockerfile").symlink_to(file)
    result = run("check", "dockerfile", "Dockerfile", "--write", "--only", "dockerfile-add-local")
    assert result.code == 0, result
    assert file.read_text() == "FROM alpine:3.20\nCOPY a /x\nUSER app\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (tmp_path / "Dockerfile").is_symlink()


def test_write_refuses_what_git_does_not_hold(run, tmp_path: Path) -> None:  # noqa: F811
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments],
            check=True,
            cwd=tmp_path,
            capture_output=True,
        )

    file = tmp_path / "Dockerfile"
    file.write_text("FROM alpine:3.20\nADD a /x\n")
    git("init")
    # What the repository configures must not be run.
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\ntouch ran\n")
    hook.chmod(0o755)
    git("config", "core.fsmonitor", str(hook))
    before = file.read_text()
    asked = ("check", "dockerfile", "Dockerfile", "--write")
    untracked = run(*asked)
    assert (untracked.code, file.read_text()) == (2, before)
    assert "changes that are not committed; commit it first, or say --force" in untracked.err
    git("-c", "core.fsmonitor=false", "add", "Dockerfile")
    git("-c", "core.fsmonitor=false", "commit", "-m", "x")
    file.write_text(before + "# changed\n")
    assert run(*asked).code == 2
    assert not (tmp_path / "ran").exists()
    assert run(*asked, "--force").code == 1
    assert "COPY a /x" in file.read_text()
    git("-c", "core.fsmonitor=false", "commit", "-am", "y")
    file.write_text(before)
    git("-c", "core.fsmonitor=false", "commit", "-am", "z")
    assert run(*asked).code == 1
    assert "COPY a /x" in file.read_text()


def test_a_file_that_cannot_be_written_stays_whole(
    run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = tmp_path / "Dockerfile"
    file.write_text("FROM alpine:3.20\nADD a /x\n")
    monkeypatch.setattr(fixing, "write_whole", full)
    result = run("check", "dockerfile", "Dockerfile", "--write")
    assert result.code == 2
    assert "Dockerfile: cannot be written: No space left on device" in result.err
    assert file.read_text() == "FROM alpine:3.20\nADD a /x\n"


@pytest.mark.parametrize("options", [["--force"], ["--fix", "--format", "json"]])
def test_options_that_do_not_go_together(run, tmp_path: Path, options: list[str]) -> None:  # noqa: F811
    (tmp_path / "Dockerfile").write_text("FROM alpine:3.20\n")
    result = run("check", "dockerfile", "Dockerfile", *options)
    assert result.code == 2 and result.err.startswith("auditor: ")
