"""The known components of the platform: what excuses them names checks that there are."""

from __future__ import annotations

from collections import Counter

import pytest

from auditor.model import Resource
from auditor.registry import discover
from checks.kubernetes._accepted import accepted_workload
from checks.kubernetes._platform import PLATFORM, STATIC, Component, platform_reason

CHECKS = discover()


def workload(kind: str, name: str, namespace: str = "kube-system", **body: object) -> Resource:
    return Resource("kubernetes", "kubernetes:x", kind, namespace, name, {"spec": {}, **body})


@pytest.mark.parametrize("component", PLATFORM, ids=lambda item: f"{item.kind}/{item.names[0]}")
def test_a_component_is_excused_from_checks_of_workloads_that_ask(component: Component) -> None:
    for check_id in component.cannot:
        check = CHECKS.get(check_id)
        assert check is not None, f"no check is called {check_id}"
        assert check.applies_to == "kubernetes/workload"
        assert check.excuse is accepted_workload


def test_no_component_is_listed_twice() -> None:
    names = Counter((component.kind, name) for component in PLATFORM for name in component.names)

    assert [name for name, count in names.items() if count > 1] == []


def test_nothing_is_excused_from_reaching_the_engine_or_from_secrets_in_the_environment() -> None:
    excused = {check_id for component in PLATFORM for check_id in component.cannot}

    assert excused.isdisjoint(
        {"k8s-engine-socket-mounted", "k8s-secret-env", "k8s-host-pid", "k8s-host-ipc"}
    )
    assert "k8s-read-only-root-filesystem" not in excused


@pytest.mark.parametrize("name", ["anetd", "azure-ip-masq-agent"])
def test_what_clouds_call_the_same_component_is_excused_as_well(name: str) -> None:
    item = workload("DaemonSet", name, owner={"name": name})

    assert platform_reason("k8s-host-network", item)
    assert platform_reason("k8s-net-raw", item)
    assert platform_reason("k8s-read-only-root-filesystem", item) is None


@pytest.mark.parametrize("name", ["coredns", "metrics-server", "konnectivity-agent"])
def test_a_component_that_needs_nothing_is_not_excused(name: str) -> None:
    for kind in ("DaemonSet", "Deployment", "Pod"):
        item = workload(kind, name, owner={"name": name})

        assert all(platform_reason(check.id, item) is None for check in CHECKS)


def test_a_static_pod_is_known_by_its_node() -> None:
    owned = {"ownerReferences": [{"kind": "Node", "name": "a.example", "controller": True}]}

    for component in PLATFORM:
        if component.kind == STATIC:
            for name in component.names:
                real = workload("Pod", f"{name}-a.example", metadata=owned)
                other = workload("Pod", f"{name}-b.example", metadata=owned)

                assert platform_reason("k8s-host-network", real) == component.reason
                assert platform_reason("k8s-host-network", other) is None
