"""Faults of an API server that a real one cannot be made to have, one list at a time."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditor.collect.base import Harvest
from auditor.model import Reason
from tests.support.kube_server import (
    PODS,
    SECRET,
    UID,
    Answer,
    Handler,
    Server,
    collector,
    covered,
    names,
    only_gap,
    pods,
    serving,
)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def collect(server: Server, tmp_path: Path) -> Callable[..., Harvest]:
    return collector(server, tmp_path)


def test_a_healthy_server_leaves_no_gap(server: Server, collect: Callable[..., Harvest]) -> None:
    harvest = collect()
    assert harvest.gaps == []
    target = harvest.targets[0]
    assert (target.id, target.name) == (f"kubernetes:{UID}", "faulty")
    assert target.facts["version"] == "v1.35.4"
    assert target.facts["auditor"] == "eve"
    assert target.facts["auditor groups"] == "a, b"
    assert target.facts["secrets"] == "not requested"
    assert SECRET not in repr(harvest)
    asked = {path for path, _, _ in server.seen}
    assert not any("secrets" in path for path in asked)
    assert {token for _, _, token in server.seen} == {f"Bearer {SECRET}"}
    assert covered(harvest)["pods"] == 0


def test_pages_are_followed_to_the_end(server: Server, collect: Callable[..., Harvest]) -> None:
    def paged(handler: Handler, query: dict[str, str]) -> None:
        pages = {"": pods("a", "b", token="2"), "2": pods("c", "d", token="3"), "3": pods("e")}
        handler.reply(pages[query.get("continue", "")])

    server.faults[PODS] = paged
    harvest = collect()
    assert names(harvest) == ["a", "b", "c", "d", "e"]
    assert covered(harvest)["pods"] == 5
    assert [query["limit"] for query in server.queries(PODS)] == ["2", "2", "2"]


def test_compressed_pages_are_read(server: Server, collect: Callable[..., Harvest]) -> None:
    data = gzip.compress(json.dumps(pods(*(f"p{n}" for n in range(2000)))).encode())
    server.faults[PODS] = lambda handler, _: handler.reply(data, Content_Encoding="gzip")
    assert len(names(collect())) == 2000


def test_an_expired_list_is_begun_again_and_nothing_is_twice(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    calls: list[str] = []

    def expires_once(handler: Handler, query: dict[str, str]) -> None:
        calls.append(query.get("continue", ""))
        if calls[-1] and calls.count("2") == 1:
            handler.status(410, "the provided continue parameter is too old")
        else:
            handler.reply(pods("c") if calls[-1] else pods("a", "b", token="2"))

    server.faults[PODS] = expires_once
    harvest = collect()
    assert names(harvest) == ["a", "b", "c"]
    assert calls == ["", "2", "", "2"]
    assert harvest.gaps == []


def test_a_list_that_always_expires_is_a_gap_and_ends(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    def expires(handler: Handler, query: dict[str, str]) -> None:
        if "continue" in query:
            handler.status(410, "too old")
        else:
            handler.reply(pods("a", "b", token="2"))

    server.faults[PODS] = expires
    harvest = collect()
    gap = only_gap(harvest)
    assert (gap.scope, gap.reason, gap.detail) == (
        "pods",
        Reason.FAILED,
        "too old; 2 were read before",
    )
    assert names(harvest) == ["a", "b"]
    assert "pods" not in covered(harvest)
    assert len(server.queries(PODS)) == 8


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_honoured(
    server: Server, collect: Callable[..., Harvest], code: int
) -> None:
    times: list[float] = []

    def busy_once(handler: Handler, _: dict[str, str]) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            handler.status(code, "too many requests", Retry_After="1")
        else:
            handler.reply(pods("a"))

    server.faults[PODS] = busy_once
    assert names(collect()) == ["a"]
    assert 1.0 <= times[1] - times[0] < 2.0


@pytest.mark.parametrize("after", ["3600", "Fri, 31 Dec 2199 23:59:59 GMT"])
def test_a_retry_after_beyond_the_bound_is_not_waited_for(
    server: Server, collect: Callable[..., Harvest], after: str
) -> None:
    server.faults[PODS] = lambda handler, _: handler.status(429, "busy", Retry_After=after)
    started = time.monotonic()
    gap = only_gap(collect(max_retry_after=5.0))
    assert time.monotonic() - started < 3
    assert (gap.scope, gap.reason) == ("pods", Reason.FAILED)
    assert "max_retry_after" in gap.remedy
    assert len(server.queries(PODS)) == 1


def test_a_server_error_is_tried_again_and_then_a_gap(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults[PODS] = lambda handler, _: handler.status(500, f"etcd: password={SECRET}")
    harvest = collect(retries=2)
    gap = only_gap(harvest)
    assert (gap.scope, gap.reason) == ("pods", Reason.FAILED)
    assert len(server.queries(PODS)) == 3
    assert SECRET not in repr(harvest)


def cut_short(handler: Handler, _: dict[str, str]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"items": [')
    handler.close_connection = True


def cut_in_a_chunk(handler: Handler, _: dict[str, str]) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"400\r\n{")
    handler.close_connection = True


@pytest.mark.parametrize("cut", [cut_short, cut_in_a_chunk])
def test_a_page_cut_short_is_fetched_again(
    server: Server, collect: Callable[..., Harvest], cut: Answer
) -> None:
    calls: list[int] = []

    def cut_once(handler: Handler, query: dict[str, str]) -> None:
        calls.append(1)
        if len(calls) == 2:
            cut(handler, query)
        else:
            handler.reply(pods("b") if "continue" in query else pods("a", token="2"))

    server.faults[PODS] = cut_once
    harvest = collect()
    assert names(harvest) == ["a", "b"]
    assert harvest.gaps == []


def test_a_page_lost_for_good_keeps_what_was_read(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    def lost(handler: Handler, query: dict[str, str]) -> None:
        if "continue" in query:
            cut_short(handler, query)
        else:
            handler.reply(pods("a", "b", token="2"))

    server.faults[PODS] = lost
    harvest = collect(retries=1)
    gap = only_gap(harvest)
    assert (gap.scope, gap.reason) == ("pods", Reason.UNREACHABLE)
    assert gap.detail == "the connection was cut; 2 were read before"
    assert names(harvest) == ["a", "b"]
    assert "pods" not in covered(harvest)


def silent(handler: Handler, _: dict[str, str]) -> None:
    time.sleep(1.5)
    handler.close_connection = True


def dripping(handler: Handler, _: dict[str, str]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _n in range(30):
        handler.wfile.write(b" ")
        time.sleep(0.05)
    handler.close_connection = True


@pytest.mark.parametrize("stall", [silent, dripping])
def test_a_page_that_stalls_times_out(
    server: Server, collect: Callable[..., Harvest], stall: Answer
) -> None:
    server.faults[PODS] = stall
    started = time.monotonic()
    gap = only_gap(collect(call_timeout=0.5, retries=0))
    assert time.monotonic() - started < 1.4
    assert (gap.scope, gap.reason) == ("pods", Reason.TIMED_OUT)
    assert gap.detail == "no whole answer within 0.5 s"


def test_the_deadline_ends_everything(server: Server, collect: Callable[..., Harvest]) -> None:
    server.faults[PODS] = silent
    started = time.monotonic()
    gap = only_gap(collect(call_timeout=5.0, deadline=0.6, retries=20))
    assert time.monotonic() - started < 1.4
    assert (gap.scope, gap.reason) == ("pods", Reason.TIMED_OUT)


def test_a_forbidden_kind_is_a_gap_of_that_kind_with_the_rule_that_mends_it(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    path = "/apis/apps/v1/deployments"
    server.faults[path] = lambda handler, _: handler.status(403, "deployments.apps is forbidden")
    harvest = collect()
    gap = only_gap(harvest)
    assert (gap.scope, gap.reason) == ("deployments", Reason.FORBIDDEN)
    assert gap.detail == "deployments.apps is forbidden"
    rule = '{apiGroups: ["apps"], resources: ["deployments"], verbs: ["get", "list"]}'
    assert rule in gap.remedy
    assert len(server.queries(path)) == 1
    assert set(covered(harvest)) >= {"pods", "replicasets", "namespaces", "selfsubjectreviews"}


def not_served(handler: Handler, _: dict[str, str]) -> None:
    handler.reply(b"404 page not found\n", 404)


def test_an_api_that_is_not_served_holds_nothing(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    group = "/apis/admissionregistration.k8s.io"
    for version in ("v1", "v1beta1", "v1alpha1"):
        server.faults[f"{group}/{version}/validatingadmissionpolicies"] = not_served
    harvest = collect()
    assert harvest.gaps == []
    assert covered(harvest)["validatingadmissionpolicies"] == 0


def test_an_older_version_of_an_api_is_found(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults["/apis/batch/v1/cronjobs"] = not_served
    harvest = collect()
    assert harvest.gaps == []
    assert len(server.queries("/apis/batch/v1beta1/cronjobs")) == 1


def test_an_api_served_only_in_versions_of_the_future_is_a_gap(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    groups = {"groups": [{"name": "apps", "versions": [{"version": "v3"}]}]}
    server.faults["/apis"] = lambda handler, _: handler.reply(groups)
    server.faults["/apis/apps/v1/deployments"] = not_served
    gap = only_gap(collect())
    assert (gap.scope, gap.reason) == ("deployments", Reason.ABSENT)
    assert "served only as v3" in gap.detail


def test_a_core_kind_that_is_not_there_and_a_proxys_404_are_gaps(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults[PODS] = not_served
    server.faults["/apis/apps/v1/daemonsets"] = lambda handler, _: handler.reply(b"<html>", 404)
    harvest = collect()
    assert {(gap.scope, gap.reason) for gap in harvest.gaps} == {
        ("pods", Reason.ABSENT),
        ("daemonsets", Reason.ABSENT),
    }


@pytest.mark.parametrize(
    "body", [b"<html>log in</html>", b"[]", b'{"items": 3, "metadata": {}}', b'{"items": []}', b"{"]
)
def test_an_answer_that_is_no_list_is_a_gap(
    server: Server, collect: Callable[..., Harvest], body: bytes
) -> None:
    server.faults[PODS] = lambda handler, _: handler.reply(body)
    gap = only_gap(collect())
    assert (gap.scope, gap.reason) == ("pods", Reason.MALFORMED)


def test_a_server_that_repeats_its_page_is_left(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    server.faults[PODS] = lambda handler, _: handler.reply(pods("a", token="again"))
    assert only_gap(collect()).reason is Reason.MALFORMED


def test_a_malformed_object_is_a_gap_of_its_own(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    page = pods("good", "bad")
    page["items"][1]["spec"] = []
    page["items"].extend([7, {"metadata": {"name": "none", "namespace": "n"}}])
    server.faults[PODS] = lambda handler, _: handler.reply(page)
    harvest = collect()
    assert names(harvest) == ["good"]
    assert covered(harvest)["pods"] == 1
    assert {(gap.namespace, gap.name, gap.reason) for gap in harvest.gaps} == {
        ("n", "bad", Reason.MALFORMED),
        (None, "item 2", Reason.MALFORMED),
        ("n", "none", Reason.MALFORMED),
    }


def test_a_redirect_is_not_followed(server: Server, collect: Callable[..., Harvest]) -> None:
    """Another server would be handed the token."""
    server.faults[PODS] = lambda handler, _: handler.reply(b"", 302, Location="/stolen")
    assert only_gap(collect()).scope == "pods"
    assert server.queries("/stolen") == []


def test_what_a_server_says_is_one_short_line(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    message = "no\n\x1b[31m access\x07 " + "x" * 5000
    server.faults[PODS] = lambda handler, _: handler.status(403, message)
    detail = only_gap(collect()).detail
    assert detail.startswith("no [31m access xxx")
    assert detail.isprintable()
    assert len(detail) < 400


def test_without_the_cluster_id_the_contexts_name_stands_for_it(
    server: Server, collect: Callable[..., Harvest]
) -> None:
    path = "/api/v1/namespaces/kube-system"
    server.faults[path] = lambda handler, _: handler.status(403, "forbidden")
    harvest = collect()
    assert harvest.targets[0].id == "kubernetes:faulty"
    assert "context" in harvest.targets[0].facts["cluster UID"]


def test_nothing_is_logged_on_the_way(
    server: Server, collect: Callable[..., Harvest], caplog: pytest.LogCaptureFixture
) -> None:
    server.faults[PODS] = cut_short
    with caplog.at_level(logging.WARNING):
        collect(retries=1)
    assert caplog.records == []
