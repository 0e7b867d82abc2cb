"""The Dockerfile collector: what it reads, what it refuses, and that no secret gets through."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from auditor.collect.dockerfile import (
    MAX_BYTES,
    MAX_INSTRUCTIONS,
    collect_dockerfiles,
    is_dockerfile_name,
)
from auditor.collect.secrets.names import is_literal
from auditor.evaluate import evaluate
from auditor.model import Reason, Resource, Status
from auditor.registry import discover
from tests.support.fixtures import snapshot_of

EXAMPLES = Path(__file__).parents[2] / "examples" / "dockerfiles"
CHECKS = [check for check in discover() if check.platform == "dockerfile"]


def read(folder: Path, text: str | bytes) -> Resource:
    file = folder / "Dockerfile"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    harvest = collect_dockerfiles([file], base=folder)
    assert not harvest.gaps
    return harvest.resources[0]


def refused(folder: Path, data: bytes) -> tuple[Reason, str]:
    file = folder / "Dockerfile"
    file.write_bytes(data)
    harvest = collect_dockerfiles([file], base=folder)
    (gap,) = harvest.gaps
    assert not harvest.resources
    assert (gap.source, gap.scope, gap.name) == ("dockerfile", "dockerfiles", "Dockerfile")
    assert gap.remedy
    return gap.reason, gap.detail


def of(resource: Resource, path: str) -> dict[str, Any]:
    return next(item for item in resource.body["instructions"] if item["path"] == path)


def test_the_resource_is_named_and_counted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "Dockerfile").write_text("FROM alpine:3.20\n")
    harvest = collect_dockerfiles([tmp_path], base=tmp_path)
    (resource,) = harvest.resources
    assert (resource.source, resource.target, resource.kind) == (
        "dockerfile",
        "files",
        "Dockerfile",
    )
    assert (resource.name, resource.origin) == ("sub/Dockerfile", "sub/Dockerfile")
    assert [(item.scope, item.count) for item in harvest.coverage] == [("dockerfiles", 1)]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Dockerfile", True),
        ("Dockerfile.dev", True),
        ("DockerfileSlim", True),
        ("web.Dockerfile", True),
        ("Containerfile", True),
        ("dockerfile", True),
        ("Dockerfile.dockerignore", False),
        ("dockerfile_parser.py", False),
        ("Dockerfile.md", False),
        ("Makefile", False),
    ],
)
def test_names_of_dockerfiles(name: str, is_one: bool) -> None:
    assert is_dockerfile_name(name) is is_one


def test_folders_are_walked_once_and_safely(tmp_path: Path) -> None:
    for name in ("a/Dockerfile", "b/web.Dockerfile", ".git/Dockerfile", "node_modules/Dockerfile"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("FROM scratch\n")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again.Dockerfile").symlink_to(tmp_path / "a" / "Dockerfile")
    harvest = collect_dockerfiles([tmp_path, tmp_path / "a"], base=tmp_path)
    assert [item.name for item in harvest.resources] == ["again.Dockerfile", "b/web.Dockerfile"]
    assert not harvest.gaps


def test_what_cannot_be_read_is_a_gap(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    os.mkfifo(tmp_path / "Dockerfile")
    names = [tmp_path / "absent", tmp_path / "circle", tmp_path / "Dockerfile"]
    harvest = collect_dockerfiles(names, base=tmp_path)
    assert [(gap.name, gap.reason) for gap in harvest.gaps] == [
        ("absent", Reason.ABSENT),
        ("circle", Reason.FAILED),
        ("Dockerfile", Reason.REFUSED),
    ]
    assert harvest.coverage[0].count == 0


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b"", Reason.MALFORMED, "file with no instructions"),
        (b"\x7fELF\x02\x01\x01\x00\x00", Reason.MALFORMED, "not text"),
        (bytes(range(128, 256)) * 20, Reason.MALFORMED, "not text"),
        (b"FROM alpine:3.20\0\nUSER root", Reason.MALFORMED, "NUL"),
        (b"hello there\n", Reason.MALFORMED, "it has no FROM"),
        (b"RUN true\nFROM alpine:3.20\n", Reason.MALFORMED, "before the first FROM"),
        (b"FROM alpine:3.20\nRUN <<EOF\nx", Reason.MALFORMED, "unterminated heredoc"),
        (b"FROM alpine:3.20\nENV a=b hunter2xyz\n", Reason.MALFORMED, "not a Dockerfile"),
        (b"FROM a\n" + b"#" * MAX_BYTES, Reason.REFUSED, "larger than 512 KiB"),
        (b"FROM a\n" + b"RUN x\n" * MAX_INSTRUCTIONS, Reason.REFUSED, "instructions"),
        (b"FROM a\nRUN " + b"a;" * 20_000, Reason.REFUSED, "more commands"),
    ],
)
def test_what_is_no_dockerfile_is_a_gap(
    tmp_path: Path, data: bytes, reason: Reason, detail: str
) -> None:
    seen = refused(tmp_path, data)
    assert seen[0] is reason
    assert detail in seen[1]
    assert "hunter2xyz" not in seen[1]


def test_an_unknown_instruction_hides_only_itself(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM alpine:3.20\nINCLUDE other\nUSER app\n")
    harvest = collect_dockerfiles([file], base=tmp_path)
    assert [gap.detail for gap in harvest.gaps] == [
        "no Dockerfile instruction, and so not judged: line 2"
    ]
    found = evaluate(snapshot_of(harvest), [c for c in CHECKS if c.id == "dockerfile-user"])
    assert sorted(str(row.status) for row in found) == ["pass", "unknown"]


@pytest.mark.parametrize(
    "data",
    [
        b"FROM alpine:3.20\r\nRUN a \\\r\n  b\r\nUSER x",
        b"\xef\xbb\xbfFROM alpine:3.20\nRUN a \\\n  b\nUSER x\n",
        "FROM alpine:3.20\nRUN a \\\n  b\nUSER x".encode("utf-16"),
        b"# escape=`\nFROM alpine:3.20\nRUN a `\n  b\nUSER x",
        b"FROM alpine:3.20\nRUN a \\\n\n# remark\n  b\nUSER x",
    ],
    ids=["crlf", "utf-8 mark", "utf-16", "escape", "remark inside"],
)
def test_encodings_line_ends_and_continuations(tmp_path: Path, data: bytes) -> None:
    resource = read(tmp_path, data)
    run, user = of(resource, "stage[0].RUN[0]"), of(resource, "stage[0].USER[0]")
    assert [command["words"] for command in run["commands"]] == [["a", "b"]]
    a, b = run["commands"][0]["at"]
    assert b[0] == run["end_line"] > a[0] == run["line"]
    assert b[1] == 3
    assert user["expanded"] == ["x"]


def test_stages_know_their_bases(tmp_path: Path) -> None:
    resource = read(
        tmp_path,
        "ARG V=3.20\nARG OPEN\nFROM alpine:${V} AS Build\nFROM build AS next\n"
        "FROM --platform=linux/arm64 other:${OPEN}\n",
    )
    stages = resource.body["stages"]
    assert [stage["name"] for stage in stages] == ["build", "next", None]
    assert [stage["base_expanded"] for stage in stages] == ["alpine:3.20", "build", None]
    assert [stage["base_stage"] for stage in stages] == [None, 0, None]
    assert stages[2]["platform"] == "linux/arm64"
    assert stages[2]["unresolved"] == ["OPEN"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ARG U=1\nFROM a\nUSER $U", "${U}"),
        ("ARG U=1\nFROM a\nARG U\nUSER $U", "1"),
        ("ARG U=1\nFROM a\nARG U=2\nUSER $U", "2"),
        ("FROM a\nARG U=1\nENV U=2\nUSER $U", "2"),
        ("FROM a\nENV U=2\nARG U=1\nUSER $U", "2"),
        ("FROM a\nENV A=x\nENV A=y B=$A\nUSER $B", "x"),
        ("FROM a AS one\nENV U=5\nFROM one\nUSER $U", "5"),
        ("FROM a AS one\nARG U=5\nFROM one\nUSER $U", "5"),
        ("FROM a AS one\nENV U=5\nFROM b\nUSER $U", "${U}"),
        ("FROM a\nARG U\nUSER ${U:-7}", "7"),
        ("FROM scratch\nUSER x$U", "x"),
    ],
)
def test_scopes_of_variables(tmp_path: Path, text: str, expected: str) -> None:
    users = [item for item in read(tmp_path, text).body["instructions"] if item["cmd"] == "USER"]
    assert users[-1]["expanded"] == [expected]


def test_here_documents_are_scripts_where_a_shell_reads_them(tmp_path: Path) -> None:
    resource = read(
        tmp_path,
        "FROM a\nRUN <<EOF\napk add gcc\nEOF\nRUN bash -e <<X\napk del gcc\nX\n"
        "RUN <<EOF\n#!/usr/bin/env python3\nimport os\nEOF\nRUN python3 <<EOF\nimport os\nEOF\n",
    )
    first, second, third, fourth = (of(resource, f"stage[0].RUN[{n}]") for n in range(4))
    assert [(item["words"], item["at"][0]) for item in first["commands"]] == [
        (["apk", "add", "gcc"], [3, 1])
    ]
    assert second["commands"][-1]["words"] == ["apk", "del", "gcc"]
    assert second["commands"][-1]["at"][0] == [6, 1]
    assert third["commands"] is None
    assert [item["words"] for item in fourth["commands"]] == [["python3"]]


def test_another_shell_is_not_read_as_a_posix_one(tmp_path: Path) -> None:
    text = 'FROM a AS x\nSHELL ["pwsh", "-c"]\nRUN Get-Item\nFROM x\nRUN Get-Item\nFROM a\nRUN b\n'
    resource = read(tmp_path, text)
    assert of(resource, "stage[0].RUN[0]")["commands"] is None
    assert of(resource, "stage[1].RUN[0]")["commands"] is None
    assert of(resource, "stage[2].RUN[0]")["commands"]


def test_paths_do_not_move_with_lines(tmp_path: Path) -> None:
    text = "FROM a\nRUN x\nENV A=b\nRUN y\n"
    before = [item["path"] for item in read(tmp_path, text).body["instructions"]]
    after = [item["path"] for item in read(tmp_path, "\n# remark\n\n" + text).body["instructions"]]
    assert before == after == [
        "stage[0].FROM", "stage[0].RUN[0]", "stage[0].ENV[0]", "stage[0].RUN[1]",
    ]  # fmt: skip


def test_a_secret_is_gone_wherever_its_value_stands(tmp_path: Path) -> None:
    value = "zq8" + "Kd0wPe"
    resource = read(
        tmp_path,
        f"FROM a\nENV API_TOKEN={value} \\\n  MODE=x\nRUN echo {value} | tee /x\n"
        f'CMD ["run", "--header", "X: {value}"]\nRUN curl $API_TOKEN\n# {value}\n',
    )
    data = orjson.dumps(resource.body)
    assert value.encode() not in data
    hit = of(resource, "stage[0].ENV[0]")["secrets"]
    assert hit == [
        {
            "key": "API_TOKEN",
            "detector": "credential name",
            "length": 9,
            "placeholder": False,
            "line": 2,
            "column": 15,
        }
    ]
    assert of(resource, "stage[0].RUN[1]")["commands"][0]["words"] == ["curl", "«redacted»"]


def test_a_secret_that_goes_on_over_a_line_is_taken_out_whole(tmp_path: Path) -> None:
    first, second = "qZ7" + "first", "second" + "Wx3"
    resource = read(tmp_path, f'FROM a\nENV API_TOKEN="{first}\\\n{second}"\nUSER x\n')
    data = orjson.dumps(resource.body)
    assert first.encode() not in data
    assert second.encode() not in data
    assert of(resource, "stage[0].USER[0]")["line"] == 4


SECRET = st.text("abcdefghijkABCDEFGHIJK0123456789@%+_", min_size=8, max_size=30)
PLACES = st.sampled_from(
    [
        "ENV DB_PASSWORD={}",
        'ENV A=b DB_PASSWORD="{}" C=d',
        "ENV DB_PASSWORD {}",
        "ARG NPM_TOKEN={}",
        "LABEL org.example.secret='{}'",
        "RUN make --password {} all",
        "RUN make --token={} \\\n  && b",
        "RUN a \\\n  # remark\n  && API_KEY='{}' b",
        'CMD ["x", "--password", "{}"]',
        "RUN <<EOF\nexport AWS_SECRET_ACCESS_KEY={}\nEOF",
        "COPY <<EOF /x\npassword: {}\nEOF",
        "HEALTHCHECK CMD curl -H 'Authorization: Bearer {}' localhost",
        "ONBUILD ENV DB_PASSWORD={}",
    ]
)


@given(secret=SECRET, place=PLACES)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_body_ever_holds_a_secret(tmp_path: Path, secret: str, place: str) -> None:
    assume(is_literal(secret))
    assume(secret not in place)
    resource = read(tmp_path, f"FROM a\nRUN echo before\n{place.format(secret)}\nUSER app\n")
    assert secret.encode() not in orjson.dumps(resource.body)
    assert sum(len(item["secrets"]) for item in resource.body["instructions"]) == 1
    found = evaluate(
        snapshot_of(collect_dockerfiles([tmp_path / "Dockerfile"], base=tmp_path)),
        [check for check in CHECKS if check.id == "dockerfile-secrets"],
    )
    assert {row.status for row in found} == {Status.FAIL}
    assert all(secret not in row.observed + row.path for row in found)


PIECES = st.sampled_from(
    [
        *("FROM a", "RUN", "COPY", "ENV", "ARG", "CMD", "ONBUILD", "SHELL", "USER", " ", "\n"),
        *("\\\n", "<<EOF", "EOF\n", '["a"]', "'", '"', "\\", "$", "${", "}", "=", "--from=x", "#"),
        *("`", "$(", "&&", "|", ";", "apk add gcc", "TOKEN=abcd", "é", "\u0085", "\x7f", "\x00"),
        *("# auditor: accept dockerfile-user -- x", "ADD --chown=a . /x", "chmod -R a-w /x"),
        *("bash <(", "USER a", "# auditor: accept", "pip install", "EXPOSE 1-99", "curl x"),
        *("rm -rf {a,b}/*", "apt-get update", "wget -O", "chown -R a:b ."),
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join) | st.binary(max_size=200))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_file_is_a_resource_or_a_gap_and_every_check_decides_it(
    tmp_path: Path, content: str | bytes
) -> None:
    file = tmp_path / "Dockerfile"
    file.write_bytes(content if isinstance(content, bytes) else b"FROM a\n" + content.encode())
    harvest = collect_dockerfiles([file], base=tmp_path)
    assert harvest.resources or harvest.gaps
    assert Status.ERROR not in {row.status for row in evaluate(snapshot_of(harvest), CHECKS)}


def test_the_good_example_passes_every_rule_and_the_bad_ones_fail_each() -> None:
    good = evaluate(snapshot_of(collect_dockerfiles([EXAMPLES / "good"])), CHECKS)
    assert {row.check: str(row.status) for row in good} == {c.id: "pass" for c in CHECKS}
    bad = evaluate(snapshot_of(collect_dockerfiles([EXAMPLES / "bad"])), CHECKS)
    assert {row.check for row in bad if row.status is Status.FAIL} == {c.id for c in CHECKS}
