"""The same verdicts from manifests as from the cluster that they were applied to.

Manifests show less: who else is bound, which policy stands there already. What they cannot show
must be `unknown` with that reason, never another verdict. So each world is compared twice: with a
cluster that holds nothing else, and with one where things stand beside it that turn verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from auditor.collect.kubernetes import collect_kubernetes
from auditor.collect.manifests import collect_manifests
from auditor.config import KubernetesTable
from auditor.evaluate import evaluate, views
from auditor.model import Finding, Snapshot, Status, worst
from auditor.registry import discover
from tests.support.controlplane import ControlPlane
from tests.support.fixtures import snapshot_of

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
WORLD = ROOT / "tests/support/parity_world.yaml"
BESIDE = ROOT / "tests/support/parity_beside.yaml"
EXAMPLES = ROOT / "examples/manifests"
INPUTS = ROOT.parent / "shared/inputs/manifests"

CHECKS = [check for check in discover() if check.platform == "kubernetes"]
OF_ITSELF = {check.id for check in CHECKS if not check.needs and check.subject != "binding"}
"""Checks that an object decides alone: manifests must decide them as well."""

PARTIAL = "partial: manifests show only what they hold"

DOCUMENTED = {
    (
        "k8s-resource-limits",
        Status.PASS,
        Status.FAIL,
    ): "a LimitRange that stands in the cluster alone sets limits at admission; the manifest, "
    "which the check speaks of there, sets none (its Rule says so)",
    (
        "k8s-path-to-cluster-admin",
        Status.NOT_APPLICABLE,
        Status.FAIL,
    ): "another binding in the cluster makes the subject cluster-admin outright, which fails in "
    "k8s-cluster-admin-binding; the path that the manifests hold is one all the same",
}
"""The differences that are right: check, what the cluster says, what manifests say."""

Key = tuple[str, str, str | None, str]
"""A check, and the kind, namespace and name of what it judged."""


def judged(snapshot: Snapshot) -> dict[Key, list[Finding]]:
    """All findings about objects; the cluster as a whole has another name in each source."""
    there = {(item.kind, item.namespace, item.name) for item in snapshot.resources}
    there |= {
        (item.kind, item.namespace, item.name)
        for view in views(snapshot)
        for item in (*view.workloads, *view.subjects, view.cluster)
    }
    found: dict[Key, list[Finding]] = {}
    for row in evaluate(snapshot, CHECKS):
        if (row.kind, row.namespace, row.name) in there:
            name = "" if row.kind == "Cluster" else row.name
            found.setdefault((row.check, row.kind, row.namespace, name), []).append(row)
    return found


def told(rows: Sequence[Finding]) -> str:
    return "; ".join(f"{row.status} {row.path}: {row.observed}" for row in rows)


def differences(
    cluster: Mapping[Key, list[Finding]], manifests: Mapping[Key, list[Finding]]
) -> str:
    """What manifests say otherwise than the cluster, and do not say to be hidden, line by line."""
    found = []
    for key in sorted(cluster.keys() & manifests.keys(), key=str):
        live, held = cluster[key], manifests[key]
        status, other = worst(row.status for row in live), worst(row.status for row in held)
        assert status is not None
        assert other is not None
        if status is other and (key[0] not in OF_ITSELF or failing(live) == failing(held)):
            continue
        hidden = [row for row in held if row.status is Status.UNKNOWN]
        if (
            other is Status.UNKNOWN
            and key[0] not in OF_ITSELF
            and all(PARTIAL in row.observed for row in hidden)
        ):
            continue
        if (key[0], status, other) not in DOCUMENTED:
            found.append(f"{key}: cluster: {told(live)} || manifests: {told(held)}")
    return "\n".join(found)


def failing(rows: Sequence[Finding]) -> set[str]:
    return {row.path for row in rows if row.status is Status.FAIL}


def from_cluster(plane: ControlPlane) -> dict[Key, list[Finding]]:
    harvest = collect_kubernetes(kubeconfig=plane.kubeconfig, config=KubernetesTable())
    assert harvest.gaps == []
    return judged(snapshot_of(harvest))


def settle(plane: ControlPlane, wanted: int) -> None:
    """Wait for the controllers to make `wanted` pods, and let them all run."""

    def pods() -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = plane.request("GET", "/api/v1/pods")["items"]
        return listed

    plane.wait_until(f"{wanted} pods are there", lambda: len(pods()) >= wanted)
    for pod in pods():
        plane.mark_running(pod["metadata"]["namespace"], pod["metadata"]["name"])


def run_now(plane: ControlPlane, namespace: str, name: str) -> None:
    """A Job of a CronJob, as `kubectl create job --from` makes it."""
    path = f"/apis/batch/v1/namespaces/{namespace}"
    cronjob = plane.request("GET", f"{path}/cronjobs/{name}")
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": name,
        "uid": cronjob["metadata"]["uid"],
        "controller": True,
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{name}-by-hand", "ownerReferences": [owner]},
        "spec": cronjob["spec"]["jobTemplate"]["spec"],
    }
    plane.request("POST", f"{path}/jobs", job)


def test_manifests_say_what_the_cluster_says(
    fresh_controlplane: Callable[..., ControlPlane],
) -> None:
    sources = [WORLD, EXAMPLES]
    plane = fresh_controlplane(workload_controllers=True)
    plane.add_node("node-1")
    assert plane.apply(sources) == []
    run_now(plane, "parity-open", "nightly")
    settle(plane, PODS)
    manifests = judged(snapshot_of(collect_manifests(sources, base=ROOT)))
    cluster = from_cluster(plane)
    assert manifests.keys() - cluster.keys() == set()
    assert differences(cluster, manifests) == ""

    assert plane.apply(BESIDE) == []
    beside = from_cluster(plane)
    assert differences(beside, manifests) == ""
    turned = {
        key
        for key in manifests
        if worst(row.status for row in cluster[key]) is not worst(r.status for r in beside[key])
    }
    # The second comparison is worth something: most relations are turned by what stands beside.
    assert {key[0] for key in turned} >= TURNED


PODS = 15
TURNED = {
    "k8s-cluster-admin-binding",
    "k8s-dangling-binding",
    "k8s-default-deny-egress",
    "k8s-default-deny-ingress",
    "k8s-host-pid-admission",
    "k8s-metadata-egress",
    "k8s-network-policy",
    "k8s-path-to-cluster-admin",
    "k8s-pod-without-network-policy",
    "k8s-rbac-wildcard",
    "k8s-resource-limits",
    "k8s-secret-access",
    "k8s-token-automount",
}


@pytest.mark.skipif(not INPUTS.is_dir(), reason="../shared/inputs/manifests is not here")
def test_published_manifests_say_what_the_cluster_says(
    fresh_controlplane: Callable[..., ControlPlane],
) -> None:
    plane = fresh_controlplane(workload_controllers=True)
    plane.add_node("node-1")
    assert plane.apply(INPUTS, create_namespaces=True) == []
    settle(plane, 25)
    manifests = judged(snapshot_of(collect_manifests([INPUTS], base=ROOT)))
    cluster = from_cluster(plane)
    assert len(manifests.keys() & cluster.keys()) > 500
    assert differences(cluster, manifests) == ""
