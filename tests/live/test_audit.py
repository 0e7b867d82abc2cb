"""The whole command on real parts: a live API server and engine, through to the five files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.controlplane import ControlPlane
from tests.support.engine import Engine

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
FILES = {"report.html", "report.pdf", "findings.json", "findings.csv", "snapshot.json.gz"}
READER = {"kind": "ServiceAccount", "name": "reader", "namespace": "whole"}
HARDENED = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
AMOUNTS = {"cpu": "100m", "memory": "64Mi"}


def auditor(*arguments: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, in a folder of its own."""
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONPATH": str(ROOT), **env}
    command = [sys.executable, "-m", "auditor", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )


def findings(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "findings.json").read_text())
    return found


@pytest.fixture(scope="module")
def cluster(fresh_plane: ControlPlane) -> ControlPlane:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "only-pods"}
    errors = fresh_plane.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "whole"}},
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "reader", "namespace": "whole"},
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "only-pods"},
                "rules": rules,
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "only-pods"},
                "roleRef": role,
                "subjects": [READER],
            },
            ROOT / "examples/manifests/bad",
        ]
    )
    assert errors == []
    fresh_plane.run_pod(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "good", "namespace": "whole"},
            "spec": {
                "serviceAccountName": "reader",
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "app",
                        "image": "example.test/app:1.0",
                        "securityContext": HARDENED,
                        "resources": {"requests": AMOUNTS, "limits": AMOUNTS},
                        "livenessProbe": {"httpGet": {"path": "/", "port": 8080}},
                    }
                ],
            },
        }
    )
    return fresh_plane


@pytest.fixture(scope="module")
def fresh_plane(controlplane_assets: Any) -> Iterator[ControlPlane]:
    with ControlPlane.start(controlplane_assets) as plane:
        yield plane


def test_an_audit_of_a_cluster_is_repeated_from_its_snapshot(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    direct = auditor(
        "audit", "-q", "--kubeconfig", cluster.kubeconfig, "--output", "direct", cwd=tmp_path
    )
    assert (direct.returncode, direct.stderr) == (1, "")
    assert {path.name for path in (tmp_path / "direct").iterdir()} == FILES
    saved = tmp_path / "direct/snapshot.json.gz"
    again = auditor("report", saved, "--output", "again", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (1, "")
    for name in FILES - {"snapshot.json.gz"}:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "direct" / name).read_bytes()


def test_an_account_that_reads_only_pods_ends_incomplete_and_passes_nothing(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    kubeconfig = cluster.kubeconfig_for_serviceaccount("whole", "reader")
    result = auditor("audit", "-q", "--kubeconfig", kubeconfig, "--output", "out", cwd=tmp_path)
    assert result.returncode == 3, result.stdout + result.stderr
    found = findings(tmp_path / "out")
    hidden = {gap["scope"] for gap in found["gaps"] if gap["reason"].startswith("forbidden")}
    assert {"deployments", "configmaps", "clusterrolebindings", "namespaces"} <= hidden
    assert "pods" not in hidden
    assert {row["status"] for row in found["controls"]} <= {"unknown", "not-applicable"}
    passes = {row["resource"]["name"] for row in found["findings"] if row["status"] == "pass"}
    # What was read is judged: the pod, and who the auditor is.
    assert passes == {"good", "system:serviceaccount:whole:reader"}


def test_collectors_import_nothing_beside_each_other(
    cluster: ControlPlane, engine: Engine, tmp_path: Path
) -> None:
    """Two threads that import libraries with a circle between them can be handed half a module."""
    script = tmp_path / "watch.py"
    script.write_text(
        """
import sys
from pathlib import Path
from auditor.collect.world import Request, gather
from auditor.config import Config

before = set()
request = Request(
    kubeconfig=Path(sys.argv[1]),
    docker_host=sys.argv[2],
    dockerfiles=[Path(sys.argv[3], "examples/dockerfiles")],
    manifests=[Path(sys.argv[3], "examples/manifests")],
    app_configs=[Path(sys.argv[3], "examples/app-config")],
)
snapshot = gather(request, Config(), meanwhile=lambda: before.update(sys.modules))
late = {name.partition(".")[0] for name in set(sys.modules) - before}
print(len(snapshot.targets), sorted(late - set(sys.stdlib_module_names)))
"""
    )
    command = [sys.executable, script, cluster.kubeconfig, engine.host, ROOT]
    result = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert result.stdout == "3 []\n", result.stderr


def test_an_expired_certificate_is_one_clear_line(cluster: ControlPlane, tmp_path: Path) -> None:
    kubeconfig = cluster.kubeconfig_for("late", expired=True)
    result = auditor("audit", "-q", "--kubeconfig", kubeconfig, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "the client certificate expired on" in result.stderr


def test_hostile_names_are_text_in_every_form(cluster: ControlPlane, tmp_path: Path) -> None:
    """A label may hold no markup, but an annotation, a CSR's user or an image may."""
    hostile = "<script>alert(1)</script>"
    cluster.run_pod(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "hostile", "namespace": "whole", "annotations": {"a": hostile}},
            "spec": {
                "containers": [{"name": "app", "image": "x", "command": [hostile]}],
                "volumes": [{"name": "v", "hostPath": {"path": f"/var/run/{hostile}/docker.sock"}}],
            },
        }
    )
    result = auditor(
        "audit", "-q", "--kubeconfig", cluster.kubeconfig, "--output", "out", cwd=tmp_path
    )
    assert result.returncode == 1
    html = (tmp_path / "out/report.html").read_text()
    assert hostile not in html


def test_three_containers_side_by_side(engine: Engine, tmp_path: Path) -> None:
    """The guide's hardened options pass, a plain container fails, a privileged one is said so."""
    image = engine.build("whole", "FROM scratch\nCOPY busybox /bin/busybox\n")
    names = (
        engine.container("whole-plain", image),
        engine.container(
            "whole-hardened",
            image,
            user="10001:10001",
            read_only=True,
            tmpfs={"/tmp": "rw,size=100M"},
            security_opt=["no-new-privileges:true"],
            cap_drop=["ALL"],
            mem_limit=64 * 1024**2,
            nano_cpus=500_000_000,
        ),
        engine.container("whole-privileged", image, start=False, privileged=True),
    )
    result = auditor("audit", "-q", "--docker", engine.host, "--output", "out", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    verdicts: dict[str, dict[str, str]] = {}
    for row in findings(tmp_path / "out")["findings"]:
        verdicts.setdefault(row["check"], {})[row["resource"]["name"]] = row["status"]
    table = {
        "docker-privileged-container": ("pass", "pass", "fail"),
        "docker-read-only-root-filesystem": ("fail", "pass", "fail"),
        "docker-no-new-privileges": ("fail", "pass", "fail"),
        "docker-capabilities-dropped": ("fail", "pass", "fail"),
        "docker-non-root-user": ("fail", "pass", "fail"),
        "docker-memory-limit": ("fail", "pass", "fail"),
        "docker-cpu-limit": ("fail", "pass", "fail"),
    }
    seen = {check: tuple(verdicts[check][name] for name in names) for check in table}
    assert seen == table
