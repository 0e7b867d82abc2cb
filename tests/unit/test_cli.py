"""The command line as a user meets it: exit codes, one clear line, nothing else on stdout."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditor.cli import main

ROOT = Path(__file__).parents[2]

GOOD_DOCKERFILE = (ROOT / "examples/dockerfiles/good/Dockerfile").relative_to(ROOT)
BAD_DOCKERFILE = (ROOT / "examples/dockerfiles/bad/Dockerfile").relative_to(ROOT)


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run `auditor …` in an empty folder with neither cluster nor engine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("AUDITOR_LOG", raising=False)

    def call(*arguments: str | Path, stdin: bytes = b"") -> Result:
        import io

        monkeypatch.setattr(sys, "argv", ["auditor", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = 0
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def refused(result: Result, *says: str) -> None:
    """Exit code 2 and one line, which says what, where and what to do."""
    assert result.code == 2, result
    assert result.err.startswith("auditor: ") and result.err.count("\n") == 1, result.err
    assert "Traceback" not in result.err + result.out
    for part in says:
        assert part in result.err


def test_a_bad_dockerfile_fails_and_a_good_one_passes(run) -> None:
    bad = run("check", "dockerfile", ROOT / BAD_DOCKERFILE)
    assert bad.code == 1
    assert "dockerfile-pinned-base" in bad.out
    good = run("check", "dockerfile", ROOT / GOOD_DOCKERFILE, "--verbose")
    assert good.code == 0, good.out
    assert "dockerfile-pinned-base" in good.out


def test_a_spot_check_in_json_is_nothing_but_json(run) -> None:
    result = run("check", "dockerfile", ROOT / BAD_DOCKERFILE, "--format", "json")
    found = json.loads(result.out)
    assert {row["check"] for row in found["findings"] if row["status"] == "fail"}
    assert result.code == 1


def test_only_runs_the_named_check(run) -> None:
    only = ("--only", "dockerfile-pinned-base", "--format", "json")
    result = run("check", "dockerfile", ROOT / BAD_DOCKERFILE, *only)
    assert {row["check"] for row in json.loads(result.out)["findings"]} == {
        "dockerfile-pinned-base"
    }


def test_fail_on_decides_the_exit_code(run) -> None:
    only = ("--only", "dockerfile-healthcheck")
    assert run("check", "dockerfile", ROOT / BAD_DOCKERFILE, *only).code == 1
    result = run("check", "dockerfile", ROOT / BAD_DOCKERFILE, *only, "--fail-on", "critical")
    assert result.code == 0


def test_manifests_come_from_standard_input(run) -> None:
    pod = b"""
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop}
spec:
  containers: [{name: a, image: b, securityContext: {privileged: true}}]
"""
    result = run("check", "manifest", "-", "--only", "k8s-privileged-container", stdin=pod)
    assert result.code == 1
    assert "spec.containers[0].securityContext.privileged" in result.out.replace("\n", "")


def test_an_audit_leaves_its_five_files_and_says_where(run, tmp_path: Path) -> None:
    result = run("audit", "-q", "--dockerfile", ROOT / BAD_DOCKERFILE)
    (folder,) = (tmp_path / "audit").iterdir()
    names = {path.name for path in folder.iterdir()}
    wanted = {"report.html", "report.pdf", "findings.json", "findings.csv", "snapshot.json.gz"}
    assert (result.code, names) == (1, wanted)
    assert all(name in result.out for name in wanted)
    assert result.err == ""


def test_a_second_audit_of_the_day_keeps_the_first(run, tmp_path: Path) -> None:
    for _ in range(3):
        run("audit", "-q", "--dockerfile", ROOT / BAD_DOCKERFILE, "--format", "json")
    folders = sorted(path.name for path in (tmp_path / "audit").iterdir())
    assert [name.partition(".")[2] for name in folders] == ["", "1", "2"]


def test_a_report_from_the_snapshot_is_the_same_bytes(run, tmp_path: Path) -> None:
    run("audit", "-q", "--dockerfile", ROOT / BAD_DOCKERFILE, "--output", tmp_path / "direct")
    saved = tmp_path / "direct/snapshot.json.gz"
    run("report", saved, "--output", tmp_path / "again")
    for name in ("report.html", "report.pdf", "findings.json", "findings.csv"):
        assert (tmp_path / "direct" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_flipped_byte_in_a_snapshot_is_refused(run, tmp_path: Path) -> None:
    run("collect", "-q", "--dockerfile", ROOT / BAD_DOCKERFILE)
    saved = tmp_path / "snapshot.json.gz"
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 0x10
    saved.write_bytes(data)
    refused(run("report", saved), str(saved), "altered")


def test_collecting_manifests_is_complete_though_they_show_only_a_part(run) -> None:
    manifests = ROOT / "examples/manifests/good"
    assert run("collect", "-q", "--manifests", manifests).code == 0


def test_an_interrupt_is_one_clear_line(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("auditor.collect.world.gather", interrupt)
    result = run("audit", "-q", "--dockerfile", ROOT / GOOD_DOCKERFILE)
    assert (result.code, result.out) == (130, "")
    assert result.err.startswith("auditor: interrupted") and result.err.count("\n") == 1


def test_nothing_to_audit_is_said(run) -> None:
    refused(run("audit"), "no-engine.sock")


def test_an_empty_folder_is_nothing_to_audit(run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(run("audit", "--manifests", tmp_path / "empty"), "name a target")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["audit", "--config", "{bad_config}"], "unknown key 'audit.formatz'"),
        (["audit", "--config", "none.toml"], "cannot read the configuration"),
        (["audit", "--dockerfile", "none"], "--dockerfile none: there is no such file"),
        (["audit", "--kubeconfig", "none"], "--kubeconfig none: there is no such file"),
        (["audit", "--kubeconfig", "{junk}"], "kubeconfig"),
        (["audit", "--kubeconfig", "{nowhere}"], "127.0.0.1:1"),
        (["audit", "--kubeconfig", "{nowhere}", "--kube-context", "other"], "other"),
        (["audit", "--docker", "unix:///none.sock"], "none.sock"),
        (["audit", "--image", "{junk}"], "junk"),
        (["audit", "--dockerfile", "{junk}"], "junk"),
        (["audit", "--manifests", "{laughs}"], "laughs"),
        (["audit", "--app-config", "{junk}"], "junk"),
        (["audit", "--benchmark", "cis-kubernetes@0.1", "--dockerfile", "."], "known: "),
        (["audit", "--format", "docx", "--dockerfile", "."], "known: html, pdf"),
        (["audit", "--fail-on", "bad", "--dockerfile", "."], "known: critical"),
        (["report", "{junk}"], "not a snapshot"),
        (["report", "none"], "cannot read the snapshot"),
        (["check", "dockerfile", "none"], "there is no such file"),
        (["check", "image", "none:1"], "none"),
        (["check", "container", "none"], "no-engine.sock"),
        (["check", "dockerfile", "{junk}", "--only", "nonsense"], "there is no check 'nonsense'"),
        (["explain", "nonsense"], "there is no check or control 'nonsense'"),
        (["list", "controls", "nonsense"], "there is no benchmark 'nonsense'"),
    ],
)
def test_bad_input_is_one_clear_line(run, tmp_path: Path, arguments: list[str], says: str) -> None:
    files = {
        "bad_config": (tmp_path / "bad.toml", b"[audit]\nformatz = []\n"),
        "junk": (tmp_path / "junk", bytes(range(256)) * 8),
        "nowhere": (tmp_path / "nowhere.yaml", NOWHERE),
        "laughs": (tmp_path / "laughs.yaml", LAUGHS),
    }
    for path, data in files.values():
        path.write_bytes(data)
    paths = {name: str(path) for name, (path, _) in files.items()}
    refused(run(*(argument.format(**paths) for argument in arguments)), says)
    assert not (tmp_path / "audit").exists()


NOWHERE = b"""
apiVersion: v1
kind: Config
current-context: nowhere
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
clusters: [{name: nowhere, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: nobody, user: {token: not-a-token}}]
"""

LAUGHS = b"a0: &a0 [lol]\n" + b"".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n".encode() for n in range(1, 12)
)


def test_beside_other_targets_an_unreachable_cluster_is_a_gap(run, tmp_path: Path) -> None:
    (tmp_path / "nowhere.yaml").write_bytes(NOWHERE)
    result = run(
        "audit", "-q", "--kubeconfig", tmp_path / "nowhere.yaml",
        "--dockerfile", ROOT / GOOD_DOCKERFILE, "--output", tmp_path / "out",
    )  # fmt: skip
    found = json.loads((tmp_path / "out/findings.json").read_text())
    kubernetes = [row for row in found["findings"] if row["check"].startswith("k8s-")]
    assert result.code == 3
    assert {row["status"] for row in kubernetes} == {"unknown"}
    assert [gap["reason"].partition(":")[0] for gap in found["gaps"]] == ["unreachable"]


def test_strict_turns_incomplete_into_failure(run, tmp_path: Path) -> None:
    (tmp_path / "nowhere.yaml").write_bytes(NOWHERE)
    arguments = (
        "audit", "-q", "--format", "json", "--kubeconfig", tmp_path / "nowhere.yaml",
        "--dockerfile", ROOT / GOOD_DOCKERFILE,
    )  # fmt: skip
    assert (run(*arguments).code, run(*arguments, "--strict").code) == (3, 1)


def test_a_found_configuration_may_not_run_code(run, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/ours.py").write_text("raise SystemExit('code was run')")
    (tmp_path / "config.toml").write_text("[audit]\n[plugins]\nfolders = ['plugins']\n")
    refused(run("list", "checks"), "say --config config.toml")


def test_somebody_elses_configuration_is_left_alone(run, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("baseURL = 'x'\n")
    assert run("list", "benchmarks").code == 0


def test_lists_are_plain_lines_in_a_pipe(run) -> None:
    checks = run("list", "checks").out.splitlines()
    assert all(line.count("\t") == 3 for line in checks)
    controls = run("list", "controls", "cis-kubernetes@2.0.1").out.splitlines()
    assert len(controls) == 131
    assert any("no check yet" in line for line in controls)


def test_explain_knows_checks_and_controls_in_every_version(run) -> None:
    assert "Why" in run("explain", "k8s-privileged-container").out
    plain = run("explain", "5.2.2").out
    assert "1.12" in plain and "2.0.1" in plain and "k8s-privileged-container" in plain
    assert run("explain", "cis-kubernetes:5.2.2").code == 0


def test_hostile_text_cannot_drive_the_terminal(run) -> None:
    pod = b'apiVersion: v1\nkind: Pod\nmetadata: {name: "x\\e[2Jy", namespace: "[red]n"}\n'
    pod += b"spec: {containers: [{name: a, image: b, securityContext: {privileged: true}}]}\n"
    result = run("check", "manifest", "-", "--only", "k8s-privileged-container", stdin=pod)
    assert "\x1b[2J" not in result.out
    assert "[red]n" in result.out


def test_version(run) -> None:
    assert run("version").out.startswith("auditor 0.")
