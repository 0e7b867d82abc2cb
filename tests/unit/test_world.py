"""One audit of several targets: what cannot be reached is kept as what it is, never dropped."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from auditor.collect.world import Request, gather
from auditor.config import Config
from auditor.errors import CollectError
from auditor.evaluate import evaluate
from auditor.model import Reason, Status
from auditor.registry import discover
from auditor.scopes import EVERYTHING

ROOT = Path(__file__).parents[2]
GOOD = ROOT / "examples/dockerfiles/good/Dockerfile"


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


def test_an_engine_that_was_named_and_is_not_there_hides_everything() -> None:
    snapshot = gather(Request(docker=True, dockerfiles=[GOOD]), Config())
    (gap,) = snapshot.gaps
    assert (gap.scope, gap.source, gap.reason) == (EVERYTHING, "docker", Reason.ABSENT)
    rows = [row for row in evaluate(snapshot, discover()) if row.target == gap.target]
    assert {row.status for row in rows} == {Status.UNKNOWN}
    assert {row.check.partition("-")[0] for row in rows} == {"docker", "image"}


def test_a_cluster_that_was_only_looked_for_is_a_note() -> None:
    snapshot = gather(Request(discover=True, dockerfiles=[GOOD]), Config())
    assert [note.partition(":")[0] for note in snapshot.settings["notes"]] == ["Kubernetes cluster"]


def test_a_target_alone_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(CollectError, match=r"none\.sock"):
        gather(Request(docker=True), Config())


def test_a_collector_that_crashes_is_a_gap_beside_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("auditor.collect.docker.collect_docker", crash)
    snapshot = gather(Request(docker=True, dockerfiles=[GOOD]), Config())
    (gap,) = snapshot.gaps
    assert (gap.scope, gap.reason) == (EVERYTHING, Reason.FAILED)
    assert "the collector crashed (ZeroDivisionError)" in gap.detail
    with pytest.raises(CollectError, match="crashed"):
        gather(Request(docker=True), Config())


def test_targets_and_coverage_of_files_are_one() -> None:
    manifests = ROOT / "examples/manifests/good"
    snapshot = gather(Request(dockerfiles=[GOOD, GOOD], manifests=[manifests]), Config())
    assert [target.id for target in snapshot.targets] == ["files"]
    scopes = [(item.target, item.scope) for item in snapshot.coverage]
    assert len(scopes) == len(set(scopes))


@pytest.mark.parametrize(
    "module",
    sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for folder in ("auditor", "reports", "checks")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__main__.py"
    ),
)
def test_every_module_can_be_the_first_to_be_imported(module: str) -> None:
    """A command imports only what it needs: no module may rely on another having come before."""
    ours = ("auditor", "reports", "checks")
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in ours}
    try:
        importlib.import_module(module)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in ours]:
            del sys.modules[name]
        sys.modules.update(kept)
