"""Clusters as clouds and installers make them, on a real API server: what an owner would read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from auditor.collect.kubernetes import collect_kubernetes
from auditor.collect.kubernetes.kinds import CUSTOM_KINDS
from auditor.config import KubernetesTable
from auditor.evaluate import evaluate
from auditor.model import Finding, Status
from auditor.registry import discover
from tests.live.conftest import require
from tests.support.controlplane import Assets, ControlPlane
from tests.support.custom_world import definition, install, uninstall
from tests.support.fixtures import snapshot_of
from tests.support.kube_world import named

pytestmark = pytest.mark.live

CHECKS = {check.id: check for check in discover()}
SPACE = "worlds"


@pytest.fixture(scope="module")
def plane(controlplane_assets: Assets) -> Iterator[ControlPlane]:
    """A control plane with controllers, one node and one namespace."""
    with require(
        lambda: ControlPlane.start(controlplane_assets, workload_controllers=True)
    ) as made:
        made.add_node("node-1")
        spec = {"containers": [{"name": "app", "image": "registry.example.org/app:1"}]}
        pod = named("v1", "Pod", "app", SPACE, meta={"labels": {"app": "web"}}, spec=spec)
        assert made.apply([named("v1", "Namespace", SPACE), pod]) == []
        made.mark_running(SPACE, "app")
        yield made


def judged(plane: ControlPlane, check: str) -> list[Finding]:
    harvest = collect_kubernetes(kubeconfig=plane.kubeconfig, config=KubernetesTable())
    assert harvest.gaps == []
    return list(evaluate(snapshot_of(harvest), [CHECKS[check]]))


def agents(name: str, *containers: dict[str, Any], init: tuple[dict[str, Any], ...] = ()) -> Any:
    labels = {"k8s-app": name}
    spec = {"containers": list(containers), "initContainers": list(init), "hostNetwork": True}
    return named(
        "apps/v1",
        "DaemonSet",
        name,
        "kube-system",
        spec={
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    )


def container(name: str, image: str, *args: str) -> dict[str, Any]:
    return {"name": name, "image": image, "args": list(args)}


def settings(name: str, **data: str) -> Any:
    values = {key.replace("_", "-"): value for key, value in data.items()}
    return named("v1", "ConfigMap", name, "kube-system", data=values)


ECR = "602401143452.dkr.ecr.eu-west-1.amazonaws.com"
AWS_NODE = container("aws-node", f"{ECR}/amazon-k8s-cni:v1.20.4")
AGENT = "aws-eks-nodeagent", f"{ECR}/amazon/aws-network-policy-agent:v1.2.7"
CILIUM = "cilium-agent", "quay.io/cilium/cilium:v1.18.1", "--config-dir=/tmp/cilium/config-map"

WORLDS: dict[str, tuple[list[Any], Status, str]] = {
    "eks": (
        [
            agents("aws-node", AWS_NODE, container(*AGENT, "--enable-network-policy=true")),
            settings("amazon-vpc-cni", enable_network_policy_controller="true"),
        ],
        Status.PASS,
        "Amazon VPC CNI's policy agent",
    ),
    "eks-controller-off": (
        [
            agents("aws-node", AWS_NODE, container(*AGENT, "--enable-network-policy=true")),
            settings("amazon-vpc-cni", enable_network_policy_controller="false"),
        ],
        Status.FAIL,
        "its controller is off",
    ),
    "gke-dataplane-v2": (
        [
            agents("anetd", container("cilium-agent", "gke.gcr.io/cilium/cilium:v1.15.6-gke.1")),
            settings("cilium-config", enable_policy="default", enable_k8s_networkpolicy="true"),
        ],
        Status.PASS,
        "Cilium (DaemonSet kube-system/anetd",
    ),
    "cilium": (
        [
            agents("cilium", container(*CILIUM), init=(container("config", CILIUM[1]),)),
            settings("cilium-config", enable_policy="default"),
        ],
        Status.PASS,
        "Cilium (DaemonSet kube-system/cilium",
    ),
    "cilium-never": (
        [
            agents("cilium", container(*CILIUM), init=(container("config", CILIUM[1]),)),
            settings("cilium-config", enable_policy="never"),
        ],
        Status.FAIL,
        "as only `never` has",
    ),
    "kubeadm-flannel": (
        [
            agents(
                "kube-flannel-ds",
                container("kube-flannel", "ghcr.io/flannel-io/flannel:v0.27.2"),
                init=(container("install-cni", "ghcr.io/flannel-io/flannel:v0.27.2"),),
            )
        ],
        Status.FAIL,
        "Flannel (DaemonSet kube-system/kube-flannel-ds",
    ),
    "kube-router-without-firewall": (
        [
            agents(
                "kube-router",
                container("kube-router", "cloudnativelabs/kube-router:v2", "--run-firewall=false"),
                init=(container("install-cni", "cloudnativelabs/kube-router:v2"),),
            )
        ],
        Status.FAIL,
        "--run-firewall=false",
    ),
    "calico": (
        [agents("calico-node", container("calico-node", "quay.io/calico/node:v3.30.2"))],
        Status.PASS,
        "Calico (DaemonSet kube-system/calico-node",
    ),
}


@pytest.mark.parametrize("world", WORLDS)
def test_network_plugin_of(world: str, plane: ControlPlane) -> None:
    objects, status, observed = WORLDS[world]
    assert plane.apply(objects) == []
    name = objects[0]["metadata"]["name"]
    pods = f"/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app={name}"
    try:
        plane.wait_until("the agent's pod is there", lambda: plane.request("GET", pods)["items"])
        for pod in plane.request("GET", pods)["items"]:
            plane.mark_running("kube-system", pod["metadata"]["name"])
        (found,) = judged(plane, "k8s-cni-network-policy")
    finally:
        plane.request("DELETE", f"/apis/apps/v1/namespaces/kube-system/daemonsets/{name}")
        plane.request("DELETE", "/api/v1/namespaces/kube-system/configmaps")
        # The controller may make one more pod before it knows, and nothing collects garbage here.
        plane.wait_until("no pod is left", lambda: removed(plane, pods))
    assert found.status is status, found.observed
    if status is not Status.PASS:
        assert observed in found.observed


def removed(plane: ControlPlane, pods: str) -> bool:
    """Delete pods; whether there were none any more, for some time."""
    for _ in range(3):
        listed = plane.request("GET", pods)["items"]
        for pod in listed:
            where = f"/api/v1/namespaces/kube-system/pods/{pod['metadata']['name']}"
            plane.request("DELETE", f"{where}?gracePeriodSeconds=0")
        if listed:
            return False
        time.sleep(0.2)
    return True


NATIVE = {
    "crd.projectcalico.org": "v1",
    "projectcalico.org": "v3",
}


@pytest.mark.parametrize("group", NATIVE)
def test_policies_of_calico_of_either_group_are_read(group: str, plane: ControlPlane) -> None:
    """Whichever group a cluster serves, its policies keep "nothing is there" from being said."""
    kinds = [kind for kind in CUSTOM_KINDS if kind.group == group]
    version = f"{group}/{NATIVE[group]}"
    spec = {"types": ["Ingress"], "ingress": []}
    install(plane, kinds)
    try:
        assert plane.apply([named(version, "NetworkPolicy", "np", SPACE, spec=spec)]) == []
        assert status_of(plane, SPACE) == {
            "k8s-network-policy": (Status.REVIEW, "Calico NetworkPolicy np"),
            "k8s-default-deny-ingress": (Status.REVIEW, "Calico NetworkPolicy np"),
            "k8s-default-deny-egress": (Status.FAIL, ""),
        }
        path = f"/apis/{version}"
        plane.request("DELETE", f"{path}/namespaces/{SPACE}/networkpolicies/np")
        everywhere = {"types": ["Ingress", "Egress"]}
        assert plane.apply([named(version, "GlobalNetworkPolicy", "gnp", spec=everywhere)]) == []
        assert set(status_of(plane, SPACE).values()) == {
            (Status.REVIEW, "Calico GlobalNetworkPolicy gnp")
        }
    finally:
        uninstall(plane, kinds)
        gone = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kinds[0].plural}.{group}"
        plane.wait_until("the definitions are gone", lambda: is_gone(plane, gone))


def test_cluster_network_policies_are_read(plane: ControlPlane) -> None:
    """The kind that took the place of AdminNetworkPolicy, by the namespaces that it is about."""
    (kind,) = [kind for kind in CUSTOM_KINDS if kind.name == "ClusterNetworkPolicy"]
    served = definition(kind)
    served["spec"]["versions"][0]["name"] = "v1alpha2"
    version = "policy.networking.k8s.io/v1alpha2"
    subject = {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": SPACE}}}
    spec = {"tier": "Admin", "priority": 1, "subject": subject, "ingress": [{"action": "Deny"}]}
    try:
        policy = named(version, "ClusterNetworkPolicy", "cnp", spec=spec)
        assert plane.apply([served, policy]) == []
        assert status_of(plane, SPACE) == {
            "k8s-network-policy": (Status.REVIEW, "ClusterNetworkPolicy cnp"),
            "k8s-default-deny-ingress": (Status.REVIEW, "ClusterNetworkPolicy cnp"),
            "k8s-default-deny-egress": (Status.FAIL, ""),
        }
        assert {status for status, _ in status_of(plane, "default").values()} == {Status.FAIL}
    finally:
        uninstall(plane, [kind])
        gone = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.{kind.group}"
        plane.wait_until("the definition is gone", lambda: is_gone(plane, gone))


def status_of(plane: ControlPlane, namespace: str) -> dict[str, tuple[Status, str]]:
    """What the checks of a namespace's policies say, and what other policies they name."""
    found = {}
    for check in ("k8s-network-policy", "k8s-default-deny-ingress", "k8s-default-deny-egress"):
        (row,) = [row for row in judged(plane, check) if row.name == namespace]
        found[check] = (row.status, row.observed.partition("but ")[2])
    return found


def is_gone(plane: ControlPlane, path: str) -> bool:
    listed = plane.request("GET", path.rpartition("/")[0])["items"]
    return path.rpartition("/")[2] not in {item["metadata"]["name"] for item in listed}
