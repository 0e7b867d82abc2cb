"""`--probe-admission` on a real API server: its own answers, and nothing stored."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from typer.testing import CliRunner

from auditor.cli import app
from auditor.cli.probing import admission_probes
from auditor.collect.base import Harvest
from auditor.collect.kubernetes import collect_kubernetes
from auditor.collect.probes import KIND, SCOPE, Probes
from auditor.config import Config, KubernetesTable
from auditor.model import Reason
from auditor.snapshot import load_snapshot
from checks.kubernetes._admission.violations import VIOLATIONS
from tests.live.conftest import require
from tests.support.account import Account
from tests.support.controlplane import Assets, ControlPlane
from tests.support.kube_world import RBAC, named

pytestmark = pytest.mark.live

ENFORCE = "pod-security.kubernetes.io/enforce"
ADMISSION = "admissionregistration.k8s.io/v1"
CREATE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}
READ = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "get"]}
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
BASELINE = {
    "k8s-privileged-container",
    "k8s-host-pid",
    "k8s-host-ipc",
    "k8s-host-network",
    "k8s-added-capabilities",
    "k8s-windows-host-process",
    "k8s-host-path-volume",
    "k8s-host-port",
}


def only_in(name: str) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def world() -> list[dict[str, Any]]:
    """Namespaces that each answer in a way of their own."""

    def space(name: str, **labels: str) -> dict[str, Any]:
        return named("v1", "Namespace", name, meta={"labels": labels})

    return [
        space("probe-open"),
        space("probe-baseline", **{ENFORCE: "baseline", f"{ENFORCE}-version": "v1.30"}),
        space("probe-restricted", **{ENFORCE: "restricted"}),
        space("probe-policy"),
        space("probe-quota"),
        space("probe-limits"),
        space("probe-webhook"),
        named("v1", "ResourceQuota", "full", "probe-quota", spec={"hard": {"pods": "0"}}),
        named(
            "v1",
            "LimitRange",
            "large",
            "probe-limits",
            spec={"limits": [{"type": "Container", "min": {"cpu": "4"}}]},
        ),
        named(
            ADMISSION,
            "ValidatingAdmissionPolicy",
            "probe-no-host-pid",
            spec={
                "matchConstraints": {"resourceRules": [RULE]},
                "validations": [
                    {
                        "expression": "!has(object.spec.hostPID) || !object.spec.hostPID",
                        "message": "no hostPID here",
                    }
                ],
            },
        ),
        named(
            ADMISSION,
            "ValidatingAdmissionPolicyBinding",
            "probe-no-host-pid",
            spec={
                "policyName": "probe-no-host-pid",
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": only_in("probe-policy")},
            },
        ),
        named(
            ADMISSION,
            "ValidatingWebhookConfiguration",
            "probe-hook",
            webhooks=[
                {
                    "name": "hook.example.org",
                    "clientConfig": {"url": "https://127.0.0.1:1/"},
                    "rules": [RULE],
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                    "failurePolicy": "Fail",
                    "timeoutSeconds": 1,
                    "namespaceSelector": only_in("probe-webhook"),
                }
            ],
        ),
    ]


@pytest.fixture(scope="module")
def plane(controlplane_assets: Assets) -> Iterator[ControlPlane]:
    with require(lambda: ControlPlane.start(controlplane_assets)) as started:
        assert started.apply(world()) == []
        # The controller that would count is off: the quota is full because we say so.
        started.request(
            "PATCH",
            "/api/v1/namespaces/probe-quota/resourcequotas/full/status",
            {"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}},
            "application/merge-patch+json",
        )
        started.run_pod(
            named(
                "v1",
                "Pod",
                "resident",
                "probe-open",
                spec={"containers": [{"name": "c", "image": "registry.example.org/app:1"}]},
            )
        )
        started.wait_until("the policy is in force", lambda: _refuses_host_pid(started))
        yield started


def _refuses_host_pid(plane: ControlPlane) -> bool:
    harvest = collected(plane.kubeconfig, probes_for("probe-policy"))
    return outcomes(harvest, "probe-policy")["k8s-host-pid"] == {"refused"}


def probes_for(*names: str) -> Probes:
    probes = admission_probes(True, Config())
    assert probes is not None
    only = frozenset(names) if names else None
    return Probes(probes.compliant, probes.violations, probes.skipped, only)


def collected(kubeconfig: Path, probes: Probes | None, **settings: Any) -> Harvest:
    config = KubernetesTable(**settings)
    return collect_kubernetes(kubeconfig=kubeconfig, config=config, probes=probes)


def outcomes(harvest: Harvest, namespace: str) -> dict[str, set[str]]:
    return {
        item.name: {row["outcome"] for row in item.body["results"]}
        for item in harvest.resources
        if item.kind == KIND and item.namespace == namespace
    }


def body_of(harvest: Harvest, namespace: str, rule: str) -> Any:
    (found,) = [
        item.body
        for item in harvest.resources
        if (item.kind, item.namespace, item.name) == (KIND, namespace, rule)
    ]
    return found


@pytest.fixture(scope="module")
def answered(plane: ControlPlane) -> Harvest:
    harvest = collected(plane.kubeconfig, probes_for())
    assert harvest.gaps == []
    return harvest


def test_every_namespace_but_the_platforms_own_is_asked_about_every_rule(
    answered: Harvest,
) -> None:
    asked = {(item.namespace, item.name) for item in answered.resources if item.kind == KIND}
    spaces = {item.name for item in answered.resources if item.kind == "Namespace"}
    others = spaces - set(Config().rules.system_namespaces)
    assert asked == {(space, item.id) for space in others for item in VIOLATIONS}
    assert {row.scope: row.count for row in answered.coverage}[SCOPE] == len(asked)
    for item in answered.resources:
        if item.kind == KIND:
            variants = next(rule.variants for rule in VIOLATIONS if rule.id == item.name)
            assert [row["variant"] for row in item.body["results"]] == list(variants)


def test_without_any_policy_every_pod_is_admitted(answered: Harvest) -> None:
    assert set().union(*outcomes(answered, "probe-open").values()) == {"admitted"}


def test_the_levels_of_pod_security_refuse_what_they_should(answered: Harvest) -> None:
    baseline = outcomes(answered, "probe-baseline")
    assert {rule for rule, seen in baseline.items() if seen == {"refused"}} == BASELINE
    # Of NET_RAW the baseline refuses one variant, which adds it, and admits those that keep it.
    assert {rule for rule, seen in baseline.items() if "admitted" in seen} == (
        set(baseline) - BASELINE
    )
    assert set().union(*outcomes(answered, "probe-restricted").values()) == {"refused"}
    body = body_of(answered, "probe-baseline", "k8s-host-pid")
    (row,) = body["results"]
    assert row["by"] == "PodSecurity baseline:v1.30"
    assert "host namespaces (hostPID=true)" in row["message"]
    assert 'pods "auditor-probe-*" is forbidden' in row["message"]
    assert body["compliant"]["outcome"] == "admitted"


def test_an_admission_policy_is_named_with_its_binding(answered: Harvest) -> None:
    seen = outcomes(answered, "probe-policy")
    assert {rule for rule, found in seen.items() if found == {"refused"}} == {"k8s-host-pid"}
    (row,) = body_of(answered, "probe-policy", "k8s-host-pid")["results"]
    assert row["by"] == ("ValidatingAdmissionPolicy probe-no-host-pid, binding probe-no-host-pid")
    assert "no hostPID here" in row["message"]


@pytest.mark.parametrize(
    ("namespace", "words"),
    [
        ("probe-quota", "exceeded quota: full"),
        ("probe-limits", "minimum cpu usage per Container is 4"),
        ("probe-webhook", 'failed calling webhook "hook.example.org"'),
    ],
)
def test_what_refuses_every_pod_is_no_judgement_of_one(
    answered: Harvest, namespace: str, words: str
) -> None:
    assert set().union(*outcomes(answered, namespace).values()) == {"failed"}
    body = body_of(answered, namespace, "k8s-host-pid")
    assert words in body["compliant"]["message"]
    assert "no pod at all" in body["note"]


def keys_of_pods(plane: ControlPlane) -> int:
    """How many pods etcd holds, asked of etcd itself."""

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    body = {
        "key": encoded("/registry/pods/"),
        "range_end": encoded("/registry/pods0"),
        "count_only": True,
    }
    answer = urllib3.request("POST", f"{plane._etcd_url}/v3/kv/range", json=body)
    assert answer.status == 200
    return int(answer.json().get("count", 0))


def events_since(plane: ControlPlane, version: str) -> list[tuple[str, str]]:
    """Every change to a pod since a resource version: a watch tells them all, in order."""
    path = f"/api/v1/pods?watch=true&resourceVersion={version}&timeoutSeconds=2"
    # Not by `request`: what comes is no document but one on each line, or nothing at all.
    text = plane._http.request("GET", plane.url + path).data.decode()
    events = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


def pods(plane: ControlPlane) -> tuple[str, dict[str, str]]:
    listed = plane.request("GET", "/api/v1/pods")
    items = (item["metadata"] for item in listed["items"])
    return listed["metadata"]["resourceVersion"], {
        item["name"]: item["resourceVersion"] for item in items
    }


def test_nothing_is_stored(plane: ControlPlane) -> None:
    """By the list, by the watch, and by etcd's own count: several hundred pods, not one of them."""
    version, before = pods(plane)
    keys = keys_of_pods(plane)
    harvest = collected(plane.kubeconfig, probes_for())
    admitted = sum(
        row["outcome"] == "admitted"
        for item in harvest.resources
        if item.kind == KIND
        for row in item.body["results"]
    )
    assert admitted > 100
    assert pods(plane)[1] == before
    assert keys_of_pods(plane) == keys == len(before)
    assert events_since(plane, version) == []


def test_the_watch_and_the_count_would_have_seen_a_stored_pod(plane: ControlPlane) -> None:
    """The proof above can fail: the same pod without dryRun is seen by all three."""
    version, before = pods(plane)
    keys = keys_of_pods(plane)
    pod = {**probes_for().compliant, "metadata": {"name": "stored"}}
    path = "/api/v1/namespaces/probe-open/pods"
    plane.request("POST", path, pod)
    assert keys_of_pods(plane) == keys + 1
    assert set(pods(plane)[1]) == {*before, "stored"}
    assert ("ADDED", "stored") in events_since(plane, version)
    plane.request("DELETE", f"{path}/stored?gracePeriodSeconds=0")


@pytest.fixture
def account(plane: ControlPlane) -> Iterator[Callable[..., Account]]:
    made: list[Account] = []

    def make(name: str, *rules: dict[str, Any]) -> Account:
        made.append(Account(plane, name, rules))
        plane.wait_until("the role is known", lambda: made[-1].may("list", "", "pods"))
        return made[-1]

    yield make
    for item in made:
        item.remove()


def test_without_the_right_the_gap_names_the_role(account: Callable[..., Account]) -> None:
    auditor = account("probe-reader", READ)
    harvest = collected(auditor.kubeconfig, probes_for())
    (gap,) = harvest.gaps
    assert (gap.scope, gap.reason, gap.namespace) == (SCOPE, Reason.FORBIDDEN, None)
    assert 'cannot create resource "pods"' in gap.detail
    assert "deploy/probe-rbac.yaml" in gap.remedy
    assert [item for item in harvest.resources if item.kind == KIND] == []


def test_a_right_in_one_namespace_is_a_gap_of_the_others(
    plane: ControlPlane, account: Callable[..., Account]
) -> None:
    auditor = account("probe-narrow", READ)
    role = named(f"{RBAC}/v1", "Role", "probe", "probe-baseline", rules=[CREATE])
    subject = {"kind": "ServiceAccount", "name": auditor.name, "namespace": auditor.name}
    reference = {"apiGroup": RBAC, "kind": "Role", "name": "probe"}
    binding = named(
        f"{RBAC}/v1",
        "RoleBinding",
        "probe",
        "probe-baseline",
        roleRef=reference,
        subjects=[subject],
    )
    assert plane.apply([role, binding]) == []
    plane.wait_until(
        "the role is known", lambda: auditor.may("create", "", "pods", "probe-baseline")
    )
    harvest = collected(auditor.kubeconfig, probes_for("probe-open", "probe-baseline"))
    (gap,) = harvest.gaps
    assert (gap.scope, gap.namespace) == (SCOPE, "probe-open")
    assert set(outcomes(harvest, "probe-baseline")) == {item.id for item in VIOLATIONS}


def test_with_the_right_alone_beside_reading_all_is_answered(
    account: Callable[..., Account], answered: Harvest
) -> None:
    auditor = account("probe-full", READ, CREATE)
    auditor.plane.wait_until("the role is known", lambda: auditor.may("create", "", "pods"))
    harvest = collected(auditor.kubeconfig, probes_for())
    assert harvest.gaps == []
    for namespace in ("probe-baseline", "probe-restricted", "probe-policy"):
        assert outcomes(harvest, namespace) == outcomes(answered, namespace)


def test_the_deadline_holds(plane: ControlPlane) -> None:
    started = time.monotonic()
    harvest = collected(plane.kubeconfig, probes_for(), deadline=0.4, parallel=1)
    assert time.monotonic() - started < 2
    reasons = {gap.reason for gap in harvest.gaps if gap.scope == SCOPE}
    assert reasons == {Reason.TIMED_OUT}
    assert SCOPE not in {row.scope for row in harvest.coverage}


def test_it_is_an_option_and_off_without_it(plane: ControlPlane, tmp_path: Path) -> None:
    """From the command line to the snapshot."""

    def kinds(*options: str) -> set[str | None]:
        saved = tmp_path / "snapshot.json.gz"
        command = ["collect", "--kubeconfig", str(plane.kubeconfig), "--output", str(saved), "-q"]
        result = CliRunner().invoke(app, [*command, *options])
        assert result.exit_code == 0, result.output
        found = load_snapshot(saved).resources
        return {item.namespace for item in found if item.kind == KIND}

    assert kinds() == set()
    assert {"probe-open", "probe-restricted"} <= kinds("--probe-admission")
    wanted = tmp_path / "config.toml"
    wanted.write_text("[audit]\n[kubernetes]\nprobe_admission = true\n")
    assert {"probe-open"} <= kinds("--config", str(wanted))
