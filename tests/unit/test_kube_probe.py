"""Admission probes: what is sent, how answers are told apart, and what ends the asking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.cli.probing import admission_probes
from auditor.collect.base import Harvest
from auditor.collect.kubernetes.http import Api
from auditor.collect.probes import KIND, SCOPE, Probes
from auditor.config import Config, KubernetesTable
from auditor.model import Reason, Resource
from tests.support.kube_server import Handler, Server, collector, covered, only_gap, serving

GOOD = {"metadata": {"name": "x", "labels": {"which": "good"}}, "spec": {"containers": []}}
BAD = {"metadata": {"name": "x", "labels": {"which": "bad"}}, "spec": {"containers": []}}
WORSE = {"metadata": {"name": "x", "labels": {"which": "worse"}}, "spec": {"containers": []}}
PROBES = Probes(GOOD, {"rule-a": {"bad": BAD, "worse": WORSE}}, frozenset({"kube-system"}))
SHOP = "/api/v1/namespaces/shop/pods"
FORBIDDEN = 'pods is forbidden: User "eve" cannot create resource "pods" in API group "" in "shop"'
NAMED = 'pods "auditor-probe-x7k2q" is forbidden: '


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        namespaces(running, "kube-system", "shop")
        running.faults[SHOP] = admitting
        yield running


@pytest.fixture
def collect(server: Server, tmp_path: Path) -> Callable[..., Harvest]:
    return collector(server, tmp_path)


def namespaces(server: Server, *names: str) -> None:
    items = [{"metadata": {"name": name}} for name in names]
    answer = {"metadata": {}, "items": items}
    server.faults["/api/v1/namespaces"] = lambda handler, _: handler.reply(answer)


def admitting(handler: Handler, _: dict[str, str]) -> None:
    handler.reply({"metadata": {"name": "auditor-probe-x7k2q", "uid": "u"}}, 201)


def which(handler: Handler) -> str:
    sent = [body for path, body in handler.server.sent if path == handler.path]
    return str(sent[-1]["metadata"]["labels"]["which"])


def refusing(code: int, message: str, *pods: str) -> Callable[[Handler, dict[str, str]], None]:
    """Refuse the named pods (all if none is named), and admit the others."""

    def answer(handler: Handler, query: dict[str, str]) -> None:
        if not pods or which(handler) in pods:
            handler.status(code, message)
        else:
            admitting(handler, query)

    return answer


def probed(harvest: Harvest) -> dict[tuple[str | None, str], Resource]:
    return {(item.namespace, item.name): item for item in harvest.resources if item.kind == KIND}


def sent(server: Server) -> list[tuple[str, dict[str, Any]]]:
    return [(path, body) for path, body in server.sent if "/pods" in path]


def test_nothing_is_asked_unless_it_is_wanted(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    harvest = collect()
    assert sent(server) == []
    assert SCOPE not in covered(harvest)
    assert [gap for gap in harvest.gaps if gap.scope == SCOPE] == []


def test_every_pod_is_a_dry_run_with_a_name_of_its_own(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    harvest = collect(PROBES, parallel=1)
    assert harvest.gaps == []
    assert [path for path, _ in sent(server)] == [f"{SHOP}?dryRun=All"] * 3
    labels = [body["metadata"].pop("labels")["which"] for _, body in sent(server)]
    assert labels == ["good", "bad", "worse"]
    for _, body in sent(server):
        assert body == {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "auditor-probe-", "namespace": "shop"},
            "spec": {"containers": []},
        }
    admitted = {"outcome": "admitted", "by": "", "message": ""}
    (found,) = probed(harvest).values()
    assert (found.namespace, found.name, found.source) == ("shop", "rule-a", "kubernetes")
    assert found.body == {
        "results": [{"variant": "bad", **admitted}, {"variant": "worse", **admitted}],
        "compliant": admitted,
        "note": "",
    }
    assert covered(harvest)[SCOPE] == 1
    assert harvest.targets[0].facts["admission probes"].startswith("3 answers")


@pytest.mark.parametrize(
    ("code", "message", "outcome", "by"),
    [
        (
            403,
            NAMED + 'violates PodSecurity "restricted:v1.30": privileged (…)',
            "refused",
            "PodSecurity restricted:v1.30",
        ),
        (
            422,
            NAMED + "ValidatingAdmissionPolicy 'no-root' with binding 'all' denied request: no",
            "refused",
            "ValidatingAdmissionPolicy no-root, binding all",
        ),
        (
            400,
            'admission webhook "validate.kyverno.svc-fail" denied the request: a service account',
            "refused",
            "webhook validate.kyverno.svc-fail",
        ),
        (403, NAMED + "PodSecurityPolicy: unable to admit pod: []", "refused", "PodSecurityPolicy"),
        (
            403,
            NAMED + "unable to validate against any security context constraint: []",
            "refused",
            "SecurityContextConstraints",
        ),
        (403, NAMED + "a plugin of somebody's own says no", "refused", "admission"),
        (403, NAMED + "exceeded quota: q, requested: pods=1, used: pods=9", "failed", ""),
        (403, NAMED + "failed quota: q: must specify limits.cpu for: main", "failed", ""),
        (403, NAMED + "minimum cpu usage per Container is 1, but request is 10m", "failed", ""),
        (
            403,
            NAMED + 'error looking up service account shop/default: serviceaccount "x" not found',
            "failed",
            "",
        ),
        (
            403,
            NAMED + "unable to create new content in namespace shop because it is being terminated",
            "failed",
            "",
        ),
        (400, 'admission webhook "old.example.org" does not support dry run', "failed", ""),
        (422, 'Pod "auditor-probe-x7k2q" is invalid: spec: Forbidden: no', "failed", ""),
        (404, 'namespaces "shop" not found', "failed", ""),
        (500, 'failed calling webhook "w.example.org": no endpoints', "failed", ""),
    ],
)
def test_a_refusal_is_told_apart_from_an_answer_that_says_nothing(
    server: Server,
    collect: Callable[..., Harvest],
    code: int,
    message: str,
    outcome: str,
    by: str,
) -> None:
    server.faults[SHOP] = refusing(code, message, "bad")
    harvest = collect(PROBES)
    assert harvest.gaps == []
    bad, worse = probed(harvest)["shop", "rule-a"].body["results"]
    words = message.replace("auditor-probe-x7k2q", "auditor-probe-*")
    assert bad == {"variant": "bad", "outcome": outcome, "by": by, "message": words}
    assert worse["outcome"] == "admitted"
    # What is no fault of the server's own is not asked again.
    assert len(sent(server)) == (4 if code >= 500 else 3)


def test_a_proxys_refusal_is_none_of_admission(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults[SHOP] = lambda handler, _: handler.reply(b"<html>no</html>", 403)
    (found,) = probed(collect(PROBES)).values()
    assert {row["outcome"] for row in found.body["results"]} == {"failed"}


def test_where_no_pod_at_all_can_be_created_no_more_is_asked(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults[SHOP] = refusing(403, NAMED + "exceeded quota: q")
    harvest = collect(PROBES)
    (found,) = probed(harvest).values()
    assert [row["outcome"] for row in found.body["results"]] == ["failed", "failed"]
    assert "no pod at all" in found.body["note"]
    assert len(sent(server)) == 1
    assert harvest.gaps == []


def test_without_the_right_to_create_pods_there_is_one_gap(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults[SHOP] = refusing(403, FORBIDDEN)
    harvest = collect(PROBES)
    gap = only_gap(harvest)
    assert (gap.scope, gap.reason, gap.namespace) == (SCOPE, Reason.FORBIDDEN, None)
    assert "deploy/probe-rbac.yaml" in gap.remedy
    assert "cannot create" in gap.detail
    assert probed(harvest) == {}
    assert SCOPE not in covered(harvest)
    assert len(sent(server)) == 1


def test_a_right_in_some_namespaces_is_a_gap_of_the_others(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    namespaces(server, "shop", "till", "kube-system")
    server.faults["/api/v1/namespaces/till/pods"] = refusing(403, FORBIDDEN)
    harvest = collect(PROBES)
    gap = only_gap(harvest)
    assert (gap.scope, gap.namespace) == (SCOPE, "till")
    assert list(probed(harvest)) == [("shop", "rule-a")]


@pytest.mark.parametrize("version", ["v1.17.9", "v0.9", "strange", ""])
def test_a_server_that_may_not_know_dry_runs_is_sent_no_pod(
    server: Server, collect: Callable[..., Harvest], version: str
) -> None:
    server.faults["/version"] = lambda handler, _: handler.reply({"gitVersion": version})
    harvest = collect(PROBES)
    gap = only_gap(harvest)
    assert (gap.scope, gap.reason) == (SCOPE, Reason.NOT_REQUESTED)
    assert "no pod was sent" in gap.detail
    assert sent(server) == []


def test_a_server_that_stores_a_pod_is_asked_nothing_more(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    def storing(handler: Handler, _: dict[str, str]) -> None:
        handler.reply({"metadata": {"name": "auditor-probe-x7k2q", "resourceVersion": "7"}}, 201)

    namespaces(server, "shop", "till", "kube-system")
    server.faults[SHOP] = server.faults["/api/v1/namespaces/till/pods"] = storing
    gap = only_gap(collect(PROBES))
    assert (gap.scope, gap.reason) == (SCOPE, Reason.FAILED)
    assert "stored the pod shop/auditor-probe-x7k2q" in gap.detail
    assert "delete the pod shop/auditor-probe-x7k2q" in gap.remedy
    assert len(sent(server)) == 1


def test_until_one_answer_proves_it_one_pod_is_asked_about_at_a_time(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    """Refusals prove nothing: the first pod that is stored must be the last."""

    def late(handler: Handler, query: dict[str, str]) -> None:
        if which(handler) == "good":
            handler.status(403, NAMED + "no")
        else:
            body = {"metadata": {"name": "auditor-probe-x7k2q", "resourceVersion": "7"}}
            handler.reply(body, 201)

    server.faults[SHOP] = late
    gap = only_gap(collect(PROBES))
    assert gap.reason is Reason.FAILED
    assert [body["metadata"]["labels"]["which"] for _, body in sent(server)] == ["good", "bad"]


def test_a_server_whose_dry_runs_are_switched_off_is_left(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults[SHOP] = refusing(400, "the dryRun alpha feature is disabled")
    gap = only_gap(collect(PROBES))
    assert (gap.scope, gap.reason) == (SCOPE, Reason.FAILED)
    assert len(sent(server)) == 1


def test_the_deadline_ends_the_asking(server: Server, collect: Callable[..., Harvest]) -> None:
    def slow(handler: Handler, query: dict[str, str]) -> None:
        time.sleep(0.4)
        admitting(handler, query)

    namespaces(server, "a", "shop", "kube-system")
    server.faults["/api/v1/namespaces/a/pods"] = admitting
    server.faults[SHOP] = slow
    started = time.monotonic()
    harvest = collect(PROBES, deadline=0.7, parallel=1)
    assert time.monotonic() - started < 2
    gap = only_gap(harvest)
    assert (gap.scope, gap.reason, gap.namespace) == (SCOPE, Reason.TIMED_OUT, "shop")
    assert "deadline" in gap.remedy
    assert list(probed(harvest)) == [("a", "rule-a")]


def test_namespaces_that_could_not_be_listed_are_a_gap_of_the_probes(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults["/api/v1/namespaces"] = lambda handler, _: handler.status(403, "no")
    harvest = collect(PROBES)
    assert {gap.scope for gap in harvest.gaps} == {"namespaces", SCOPE}
    assert SCOPE not in covered(harvest)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/v1/namespaces/shop/pods", {}),
        ("/api/v1/namespaces/shop/pods", {"dryRun": "All", "pretty": "true"}),
        ("/api/v1/namespaces/shop/pods", {"dryRun": ""}),
        ("/api/v1/namespaces/shop/pods/x/exec", {"dryRun": "All"}),
        ("/api/v1/namespaces/shop/pods/x/eviction", {"dryRun": "All"}),
        ("/api/v1/namespaces/a/pods/../secrets", {"dryRun": "All"}),
        ("/api/v1/namespaces/a?/pods", {"dryRun": "All"}),
        ("/api/v1/namespaces", {"dryRun": "All"}),
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}),
        ("/apis/authentication.k8s.io/v1/selfsubjectreviews", {"x": "y"}),
    ],
)
def test_no_other_request_with_a_body_can_be_sent(path: str, query: dict[str, str]) -> None:
    """Not even by mistake: the client itself refuses, before any connection."""
    api = Api.__new__(Api)
    with pytest.raises(ValueError, match="does not POST"):
        api._post(path, query, {}, None)


def test_the_pods_come_from_the_checks_and_only_when_asked_for() -> None:
    assert admission_probes(False, Config()) is None
    named = admission_probes(True, Config(), "shop")
    configured = admission_probes(False, Config(kubernetes=KubernetesTable(probe_admission=True)))
    assert named is not None
    assert configured is not None
    assert (named.asks("shop"), named.asks("till"), configured.asks("till")) == (True, False, True)
    assert not configured.asks("kube-system")
    assert set(named.violations) >= {"k8s-privileged-container", "k8s-host-pid", "k8s-host-port"}
    assert all(variants for variants in named.violations.values())
