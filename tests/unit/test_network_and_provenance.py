"""What fixtures cannot say: the server's version, images and flags one by one, shared answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from auditor.collect.base import Harvest
from auditor.collect.objects import SpecPool, resource_from
from auditor.evaluate import evaluate, views
from auditor.model import Finding, Status, Target, View
from auditor.registry import discover
from checks.kubernetes._cni import Agent, Enforces, agents
from checks.kubernetes._network import EGRESS, INGRESS, Rule, allows, everything, network_index
from checks.kubernetes.network_rules import METADATA
from tests.support.fixtures import snapshot_of

REGISTRY = discover()
TARGET = "kubernetes:unit"


def harvest(*bodies: Mapping[str, Any], version: str = "v1.35.0") -> Harvest:
    specs, found = SpecPool(), Harvest()
    found.targets.append(Target(TARGET, "kubernetes", "unit", {"version": version}))
    for body in bodies:
        resource = resource_from(body, source="kubernetes", target=TARGET, specs=specs)
        found.resources.append(resource)
    return found


def view_of(*bodies: Mapping[str, Any]) -> View:
    (view,) = views(snapshot_of(harvest(*bodies)))
    return view


def judged(check: str, found: Harvest) -> list[Finding]:
    chosen = REGISTRY.get(check)
    assert chosen is not None
    return evaluate(snapshot_of(found), [chosen])


def pod(name: str, namespace: str = "ledger", **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }


def policy(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ledger"}
    version = "networking.k8s.io/v1"
    return {"apiVersion": version, "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def daemonset(image: str, *args: str, container: str = "agent") -> dict[str, Any]:
    spec = {"containers": [{"name": container, "image": image, "args": list(args)}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "kube-system"},
        "spec": {"template": {"spec": spec}},
    }


@pytest.mark.parametrize(
    ("version", "status"),
    [("v1.33.5-eks-113cf36", Status.FAIL), ("v1.33.5-gke.1162000", Status.REVIEW)],
)
def test_without_a_visible_api_server_the_platform_decides(version: str, status: Status) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ledger"}}
    (row,) = judged("k8s-image-provenance", harvest(body, version=version))
    assert row.status is status
    assert "nothing verifies images" in row.observed


@pytest.mark.parametrize(
    ("image", "plugin", "enforces"),
    [
        ("docker.io/calico/node:v3.29.1", "Calico", Enforces.YES),
        ("rancher/mirrored-calico-node:v3.29.1", "Calico", Enforces.YES),
        ("localhost:5000/calico/node@sha256:" + "0" * 64, "Calico", Enforces.YES),
        ("quay.io/cilium/cilium:v1.17.0@sha256:" + "0" * 64, "Cilium", Enforces.YES),
        ("antrea/antrea-agent-ubuntu:v2.2.0", "Antrea", Enforces.YES),
        ("weaveworks/weave-npc:2.8.1", "Weave Net", Enforces.YES),
        ("weaveworks/weave-kube:2.8.1", "Weave Net", Enforces.NO),
        ("rancher/mirrored-flannel-flannel:v0.26.1", "Flannel", Enforces.NO),
        ("docker.io/kindest/kindnetd:v20240813-c6f155d6", "kindnet", Enforces.YES),
        ("docker.io/kindest/kindnetd:v20240513-cd2ac642", "kindnet", Enforces.NO),
        ("docker.io/kindest/kindnetd:v20240612-00000000", "kindnet", Enforces.UNCLEAR),
        ("docker.io/aojea/kindnetd:v1.8.0", "kindnet", Enforces.YES),
        ("docker.io/aojea/kindnetd:v1.2.0", "kindnet", Enforces.NO),
        ("ghcr.io/aojea/kindnetd:stable", "kindnet", Enforces.UNCLEAR),
        ("registry.k8s.io/networking/kube-network-policies:v0.9.0", "kube-network", Enforces.YES),
        ("mcr.microsoft.com/containernetworking/azure-npm:v1.6.0", "Azure", Enforces.YES),
        ("mcr.microsoft.com/containernetworking/azure-cns:v1.6.0", "Azure CNI", Enforces.NO),
    ],
)
def test_an_agent_is_known_by_its_image(image: str, plugin: str, enforces: Enforces) -> None:
    (agent,) = agents(view_of(daemonset(image)))
    assert agent.plugin.startswith(plugin)
    assert agent.enforces is enforces


@pytest.mark.parametrize(
    "image",
    [
        "quay.io/cilium/cilium-envoy:v1.31",
        "quay.io/calico/typha:v3.29.1",
        "docker.io/calico/kube-controllers:v3.29.1",
        "acme.example/not-calico/node-exporter:1",
    ],
)
def test_what_only_looks_alike_is_no_agent(image: str) -> None:
    assert [*agents(view_of(daemonset(image)))] == []


def agent_with(*args: str, container: str) -> Agent:
    (agent,) = agents(view_of(daemonset("mirror.example/net:1", *args, container=container)))
    return agent


def test_flags_are_read_in_both_forms() -> None:
    for args, enforces in (
        (("--enable-policy=never",), Enforces.NO),
        (("--enable-policy", "never"), Enforces.NO),
        (("--enable-policy=always",), Enforces.YES),
        (("--config-dir=/tmp",), Enforces.YES),
    ):
        assert agent_with(*args, container="cilium-agent").enforces is enforces, args
    for args, enforces in (
        # Whether its controller is on stands in a ConfigMap, which is not here.
        (("--enable-network-policy=true",), Enforces.UNCLEAR),
        (("--enable-network-policy", "--enable-ipv6=false"), Enforces.UNCLEAR),
        (("--enable-network-policy=false",), Enforces.NO),
        ((), Enforces.NO),
    ):
        assert agent_with(*args, container="aws-eks-nodeagent").enforces is enforces, args


@pytest.mark.parametrize(
    ("body", "reached"),
    [
        ({}, True),
        ({"to": [], "ports": []}, True),
        ({"ports": [{"port": 80}]}, True),
        ({"ports": [{"port": 80, "protocol": "UDP"}]}, False),
        ({"ports": [{"port": 80, "protocol": "TCP"}]}, True),
        ({"ports": [{"port": 79, "endPort": 81}]}, True),
        ({"ports": [{"port": 81, "endPort": 90}]}, False),
        ({"ports": [{"port": "http"}]}, False),
        ({"ports": [{"protocol": "TCP"}]}, True),
        ({"to": [{"podSelector": {}}]}, False),
        ({"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}]}, True),
        ({"to": [{"ipBlock": {"cidr": "169.254.169.253/31"}}]}, False),
        ({"to": [{"ipBlock": {"cidr": "::/0"}}]}, False),
        ({"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]}, False),
        ({"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}, True),
        ({"to": [{"ipBlock": {"cidr": "no address"}}]}, False),
    ],
)
def test_a_rule_allows_an_address_by_its_peers_and_ports(body: dict, reached: bool) -> None:
    assert bool(allows(Rule("spec.egress[0].to", "to", body), METADATA[0], 80)) is reached


def test_blocks_that_only_together_are_everything() -> None:
    assert everything(["0.0.0.0/1", "128.0.0.0/1"]) == "0.0.0.0/1 and 128.0.0.0/1"
    assert everything(["0.0.0.0/1", "8000::/1"]) == ""
    assert everything(["::/1", "8000::/1"]) != ""
    assert everything([]) == ""


def test_labels_that_no_policy_looks_at_change_no_answer() -> None:
    view = view_of(
        policy("web", podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Egress"]),
        policy("rest", podSelector={"matchExpressions": [{"key": "old", "operator": "Exists"}]}),
        pod("a", app="web", build="1"),
        pod("b", app="web", build="2"),
        pod("c", app="api", old=""),
    )
    index = network_index(view)
    sets = {item.name: [*index.label_sets(item)] for item in view.workloads}
    assert sets["a"] == sets["b"] == [frozenset({("app", "web")})]
    names = {
        (item.name, direction): [
            found.name
            for labels in sets[item.name]
            for found in index.selecting("ledger", direction, labels)
        ]
        for item in view.workloads
        for direction in (INGRESS, EGRESS)
    }
    assert names == {
        ("a", INGRESS): [],
        ("a", EGRESS): ["web"],
        ("b", INGRESS): [],
        ("b", EGRESS): ["web"],
        ("c", INGRESS): ["rest"],
        ("c", EGRESS): [],
    }
