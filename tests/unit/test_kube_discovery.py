"""Which custom kinds are listed: those that a server serves, however it tells what it serves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.collect.base import Harvest
from auditor.collect.kubernetes.kinds import CONSTRAINTS, CUSTOM_KINDS
from auditor.model import Reason
from tests.support.kube_server import Handler, Server, collector, covered, only_gap, serving

CUSTOM = {kind.scope for kind in CUSTOM_KINDS}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def collect(server: Server, tmp_path: Path) -> Callable[..., Harvest]:
    return collector(server, tmp_path)


def aggregated(*groups: tuple[str, str, str], stale: str = "") -> dict[str, Any]:
    """A new server's list; each group is a name, its version, and `plural/Kind` of resources."""
    items = []
    for name, version, text in groups:
        resources = [
            {"resource": plural, "responseKind": {"group": name, "version": version, "kind": kind}}
            for plural, _, kind in (part.partition("/") for part in text.split())
        ]
        freshness = "Stale" if name == stale else "Current"
        served = {"version": version, "resources": resources, "freshness": freshness}
        items.append({"metadata": {"name": name}, "versions": [served]})
    return {"kind": "APIGroupDiscoveryList", "items": items}


def plain(**groups: list[str]) -> dict[str, Any]:
    """An old server's list: groups (`_` for the point) and their versions, no resources."""
    return {
        "groups": [
            {
                "name": name.replace("_", "."),
                "versions": [{"version": version} for version in versions],
            }
            for name, versions in groups.items()
        ]
    }


def objects(*names: str) -> dict[str, Any]:
    return {"metadata": {}, "items": [{"metadata": {"name": name}} for name in names]}


def asked(server: Server, text: str) -> list[str]:
    return [path for path, _, _ in server.seen if text in path]


def test_where_no_group_is_served_no_custom_kind_is_asked_for_and_all_are_covered(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults["/apis"] = lambda handler, _: handler.reply(aggregated(("apps", "v1", "")))
    harvest = collect()
    assert harvest.gaps == []
    assert {scope: covered(harvest)[scope] for scope in (*CUSTOM, CONSTRAINTS)} == dict.fromkeys(
        (*CUSTOM, CONSTRAINTS), 0
    )
    groups = {kind.group for kind in CUSTOM_KINDS} | {CONSTRAINTS}
    assert [path for path, _, _ in server.seen if set(path.split("/")) & groups] == []


def test_what_is_served_is_listed_in_the_servers_own_version(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    answer = aggregated(
        ("external-secrets.io", "v1beta1", "externalsecrets/ExternalSecret"),
        ("cilium.io", "v2", "ciliumnodes/CiliumNode"),
    )
    server.faults["/apis"] = lambda handler, _: handler.reply(answer)
    path = "/apis/external-secrets.io/v1beta1/externalsecrets"
    server.faults[path] = lambda handler, _: handler.reply(objects("a", "b"))
    harvest = collect()
    assert harvest.gaps == []
    assert covered(harvest)["externalsecrets.external-secrets.io"] == 2
    assert covered(harvest)["clustersecretstores.external-secrets.io"] == 0
    assert asked(server, "external-secrets.io") == [path]
    assert asked(server, "cilium") == []


def test_an_old_server_is_asked_group_by_group(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    groups = plain(kyverno_io=["v1", "v1alpha2"], batch=["v1"])
    resources = {"resources": [{"name": "policies", "kind": "Policy"}, {"name": "policies/status"}]}
    server.faults["/apis"] = lambda handler, _: handler.reply(groups)
    server.faults["/apis/kyverno.io/v1"] = lambda handler, _: handler.reply(resources)
    server.faults["/apis/kyverno.io/v1alpha2"] = lambda handler, _: handler.reply({"resources": []})
    listed = "/apis/kyverno.io/v1/policies"
    server.faults[listed] = lambda handler, _: handler.reply(objects("p"))
    harvest = collect()
    assert harvest.gaps == []
    assert covered(harvest)["policies.kyverno.io"] == 1
    assert covered(harvest)["clusterpolicies.kyverno.io"] == 0
    assert sorted(asked(server, "kyverno")) == [
        "/apis/kyverno.io/v1",
        "/apis/kyverno.io/v1/policies",
        "/apis/kyverno.io/v1alpha2",
    ]


def test_a_version_of_the_future_is_a_gap(server: Server, collect: Callable[..., Harvest]) -> None:
    answer = aggregated(("cilium.io", "v9", "ciliumnetworkpolicies/CiliumNetworkPolicy"))
    server.faults["/apis"] = lambda handler, _: handler.reply(answer)
    gap = only_gap(collect())
    assert (gap.scope, gap.reason) == ("ciliumnetworkpolicies.cilium.io", Reason.ABSENT)
    assert "served only as v9" in gap.detail


def test_where_groups_cannot_be_read_every_custom_kind_is_tried(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    def not_served(handler: Handler, _: dict[str, str]) -> None:
        handler.reply(b"404 page not found\n", 404)

    server.faults["/apis"] = lambda handler, _: handler.status(403, "forbidden: /apis")
    for kind in CUSTOM_KINDS:
        for version in kind.versions:
            server.faults[kind.path(version)] = not_served
    server.faults[f"/apis/{CONSTRAINTS}/v1beta1"] = not_served
    path = "/apis/bitnami.com/v1alpha1/sealedsecrets"
    server.faults[path] = lambda handler, _: handler.reply(objects("s"))
    harvest = collect()
    gap = only_gap(harvest)
    assert (gap.scope, gap.reason) == ("apigroups", Reason.FORBIDDEN)
    assert 'nonResourceURLs: ["/apis"]' in gap.remedy
    assert covered(harvest)["sealedsecrets.bitnami.com"] == 1
    assert covered(harvest)["clusterpolicies.kyverno.io"] == 0
    assert covered(harvest)[CONSTRAINTS] == 0


@pytest.mark.parametrize("body", [b"[]", b'{"kind": "Status"}', b'{"groups": 3}'])
def test_a_list_of_groups_that_is_none_is_a_gap_and_not_an_empty_list(
    server: Server, collect: Callable[..., Harvest], body: bytes
) -> None:
    server.faults["/apis"] = lambda handler, _: handler.reply(body)
    harvest = collect()
    assert (only_gap(harvest).scope, only_gap(harvest).reason) == ("apigroups", Reason.MALFORMED)
    assert "apigroups" not in covered(harvest)
    assert asked(server, "clusterpolicies")


def test_a_forbidden_custom_kind_is_a_gap_with_its_rule(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    answer = aggregated(("kyverno.io", "v1", "policies/Policy clusterpolicies/ClusterPolicy"))
    server.faults["/apis"] = lambda handler, _: handler.reply(answer)
    path = "/apis/kyverno.io/v1/clusterpolicies"
    server.faults[path] = lambda handler, _: handler.status(403, "no")
    harvest = collect()
    gap = only_gap(harvest)
    assert (gap.scope, gap.reason) == ("clusterpolicies.kyverno.io", Reason.FORBIDDEN)
    assert 'apiGroups: ["kyverno.io"], resources: ["clusterpolicies"]' in gap.remedy
    assert covered(harvest)["policies.kyverno.io"] == 0


def constraints() -> dict[str, Any]:
    kinds = "k8sa/K8sA k8sb/K8sB"
    return aggregated((CONSTRAINTS, "v1beta1", kinds))


def test_constraints_of_every_kind_fill_one_scope(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults["/apis"] = lambda handler, _: handler.reply(constraints())
    for plural, names in (("k8sa", ("x",)), ("k8sb", ("y", "z"))):
        path = f"/apis/{CONSTRAINTS}/v1beta1/{plural}"
        server.faults[path] = lambda handler, _, names=names: handler.reply(objects(*names))
    harvest = collect()
    assert harvest.gaps == []
    assert [row.count for row in harvest.coverage if row.scope == CONSTRAINTS] == [3]
    kinds = {item.name: item.kind for item in harvest.resources if item.name in set("xyz")}
    assert kinds == {"x": "K8sA", "y": "K8sB", "z": "K8sB"}


def test_one_kind_of_constraints_that_is_hidden_hides_their_scope(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults["/apis"] = lambda handler, _: handler.reply(constraints())
    path = f"/apis/{CONSTRAINTS}/v1beta1/k8sb"
    server.faults[path] = lambda handler, _: handler.status(403, "no")
    harvest = collect()
    gap = only_gap(harvest)
    assert (gap.scope, gap.reason, gap.detail) == (CONSTRAINTS, Reason.FORBIDDEN, "K8sB: no")
    assert "deploy/gatekeeper-rbac.yaml" in gap.remedy
    assert CONSTRAINTS not in covered(harvest)


def test_a_group_behind_a_server_that_is_down_is_not_taken_for_empty(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    """Its aggregated server does not say what it serves; the list itself then fails."""
    answer = aggregated(("projectcalico.org", "v3", ""), stale="projectcalico.org")
    server.faults["/apis"] = lambda handler, _: handler.reply(answer)
    for plural in ("networkpolicies", "globalnetworkpolicies"):
        path = f"/apis/projectcalico.org/v3/{plural}"
        server.faults[path] = lambda handler, _: handler.status(503, "service unavailable")
    harvest = collect(retries=0)
    assert {gap.scope for gap in harvest.gaps} == {
        "networkpolicies.projectcalico.org",
        "globalnetworkpolicies.projectcalico.org",
    }


def test_calicos_two_groups_are_not_both_listed(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    answer = aggregated(
        ("crd.projectcalico.org", "v1", "networkpolicies/NetworkPolicy"),
        ("projectcalico.org", "v3", "networkpolicies/NetworkPolicy"),
    )
    server.faults["/apis"] = lambda handler, _: handler.reply(answer)
    path = "/apis/crd.projectcalico.org/v1/networkpolicies"
    server.faults[path] = lambda handler, _: handler.reply(objects("p"))
    harvest = collect()
    assert asked(server, "projectcalico") == [path]
    # It is no NetworkPolicy of Kubernetes' own, and no rule may take it for one.
    assert [item.kind for item in harvest.resources if item.name == "p"] == [
        "NetworkPolicy.crd.projectcalico.org"
    ]


def test_built_in_kinds_are_listed_before_it_is_known_what_is_served(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    """A slow answer of /apis holds up custom kinds alone."""
    listed = threading.Event()

    def late(handler: Handler, _: dict[str, str]) -> None:
        assert listed.wait(5)
        handler.reply(aggregated(("bitnami.com", "v1alpha1", "sealedsecrets/SealedSecret")))

    def last(handler: Handler, _: dict[str, str]) -> None:
        listed.set()
        handler.reply({"metadata": {}, "items": []})

    server.faults["/apis"] = late
    server.faults["/apis/storage.k8s.io/v1/csidrivers"] = last
    harvest = collect()
    assert harvest.gaps == []
    assert covered(harvest)["sealedsecrets.bitnami.com"] == 0
    assert asked(server, "sealedsecrets")
