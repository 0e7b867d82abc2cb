"""Faults between us and a real API server: each audit ends in time, says what is hidden, and judges
what it read as the undisturbed audit did.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditor.collect.base import Harvest
from auditor.collect.kubernetes import collect_kubernetes
from auditor.collect.kubernetes.kinds import CUSTOM_KINDS, KINDS
from auditor.config import KubernetesTable
from auditor.evaluate import evaluate
from auditor.model import Finding, Reason, Status
from auditor.registry import discover
from auditor.scopes import subject_scopes
from tests.live.conftest import require
from tests.support import custom_world
from tests.support.controlplane import Assets, ControlPlane
from tests.support.fault_proxy import (
    Fault,
    FaultProxy,
    broken,
    busy,
    cut,
    expired,
    forbidden,
    proxying,
    stalling,
)
from tests.support.fixtures import snapshot_of
from tests.support.kube_world import SPEC, named, world

pytestmark = pytest.mark.live

CHECKS = [check for check in discover() if check.platform == "kubernetes"]
PODS = "/api/v1/pods"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
PAGE = 5
INSTALLED = [
    kind
    for kind in CUSTOM_KINDS
    if kind.group in {"kyverno.io", "external-secrets.io", "cilium.io"}
]
PATHS = {kind.path(kind.versions[0]): kind.scope for kind in (*KINDS, *INSTALLED)}


@pytest.fixture(scope="module")
def plane(controlplane_assets: Assets) -> Iterator[ControlPlane]:
    """A control plane of these tests' own: nobody else changes anything in it meanwhile."""
    with require(lambda: ControlPlane.start(controlplane_assets)) as started:
        custom_world.install(started, INSTALLED)
        pods = [named("v1", "Pod", f"pod-{n}", "live-world", spec=SPEC) for n in range(12)]
        custom = [custom_world.example(kind, "live-world") for kind in INSTALLED]
        assert started.apply([*world("live-world"), *pods, *custom]) == []
        yield started


@pytest.fixture
def proxy(plane: ControlPlane, tmp_path: Path) -> Iterator[FaultProxy]:
    user = yaml.safe_load(plane.kubeconfig.read_text())["users"][0]["user"]
    files = []
    for name in ("client-certificate-data", "client-key-data"):
        files.append(tmp_path / name)
        files[-1].write_bytes(base64.b64decode(user[name]))
    with proxying(plane.url, plane.ca_file, *files) as running:
        yield running


@pytest.fixture
def collect(proxy: FaultProxy, tmp_path: Path) -> Callable[..., Harvest]:
    kubeconfig = proxy.kubeconfig(tmp_path)

    def run(**settings: Any) -> Harvest:
        table = {
            "page_size": PAGE,
            "call_timeout": 5.0,
            "deadline": 20.0,
            "retries": 2,
            **settings,
        }
        started = time.monotonic()
        harvest = collect_kubernetes(kubeconfig=kubeconfig, config=KubernetesTable(**table))
        assert time.monotonic() - started < table["deadline"] + 1
        return harvest

    return run


_BASELINE: list[list[Finding]] = []


@pytest.fixture
def baseline(collect: Callable[..., Harvest]) -> list[Finding]:
    """The findings of the undisturbed audit, of which there is one for all tests."""
    if not _BASELINE:
        harvest = collect()
        assert harvest.gaps == []
        _BASELINE.append(judged(harvest))
    return _BASELINE[0]


def judged(harvest: Harvest) -> list[Finding]:
    return list(evaluate(snapshot_of(harvest), CHECKS))


def touched(scopes: set[str]) -> set[str]:
    """The checks to whose verdicts the scopes belong."""
    return {check.id for check in CHECKS if scopes & {*subject_scopes(check), *check.needs}}


def by_check(rows: list[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {check.id: [] for check in CHECKS}
    for row in rows:
        found[row.check].append(row)
    return found


def same_verdicts(harvest: Harvest, undisturbed: list[Finding]) -> None:
    """What a gap does not touch is judged as ever; what it touches is as ever, or unknown."""
    scopes = {gap.scope for gap in harvest.gaps}
    now, before = by_check(judged(harvest)), by_check(undisturbed)
    for check in touched(scopes):
        same_or_unknown(now.pop(check), before[check])
    for check, rows in now.items():
        if rows != before[check]:
            # It needs nothing to judge at all, and says itself what a gap keeps from it.
            fresh = [row for row in rows if row not in before[check]]
            assert {row.status for row in fresh} == {Status.UNKNOWN}, check
            words = {word for gap in harvest.gaps for word in (gap.scope, gap.detail)}
            assert all(any(word in row.observed for word in words) for row in fresh), check


def same_or_unknown(rows: list[Finding], before: list[Finding]) -> None:
    """No verdict is another one than before; one that is gone has left an unknown behind."""
    was: dict[tuple[str | None, str, str], set[Status]] = {}
    for row in before:
        was.setdefault((row.namespace, row.kind, row.name), set()).add(row.status)
    for row in rows:
        if row.status is not Status.UNKNOWN:
            assert row.status in was.get((row.namespace, row.kind, row.name), set()), row
    subjects = {(row.namespace, row.kind, row.name) for row in rows}
    if was.keys() - subjects or not rows:
        assert Status.UNKNOWN in {row.status for row in rows}, before[0].check


def gaps_of(harvest: Harvest) -> set[tuple[str, Reason]]:
    return {(gap.scope, gap.reason) for gap in harvest.gaps}


def test_through_the_proxy_an_audit_is_the_same_as_without_it(
    plane: ControlPlane, baseline: list[Finding]
) -> None:
    config = KubernetesTable()
    direct = collect_kubernetes(kubeconfig=plane.kubeconfig, config=config)
    assert judged(direct) == baseline


@pytest.mark.parametrize("path", PATHS, ids=list(PATHS.values()))
def test_a_forbidden_kind_hides_itself_and_nothing_else(
    proxy: FaultProxy, collect: Callable[..., Harvest], baseline: list[Finding], path: str
) -> None:
    proxy.faults[path] = forbidden
    harvest = collect()
    assert gaps_of(harvest) == {(PATHS[path], Reason.FORBIDDEN)}
    assert harvest.gaps[0].remedy.startswith("add to the auditor's ClusterRole: - {apiGroups: ")
    assert PATHS[path] not in {row.scope for row in harvest.coverage}
    assert proxy.count(path) == 1
    same_verdicts(harvest, baseline)


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/version", "version"),
        ("/apis/authentication.k8s.io/v1/selfsubjectreviews", "selfsubjectreviews"),
        ("/apis", "apigroups"),
    ],
)
def test_what_is_no_list_and_forbidden_hides_itself_and_nothing_else(
    proxy: FaultProxy,
    collect: Callable[..., Harvest],
    baseline: list[Finding],
    path: str,
    scope: str,
) -> None:
    proxy.faults[path] = forbidden
    harvest = collect()
    assert gaps_of(harvest) == {(scope, Reason.FORBIDDEN)}
    # Without /apis every custom kind is tried, and those that are there are found all the same.
    counts = {row.scope: row.count for row in harvest.coverage}
    assert [counts[kind.scope] for kind in INSTALLED] == [1] * len(INSTALLED)
    same_verdicts(harvest, baseline)


PASSING: dict[str, Fault | Callable[[], Fault]] = {
    "429 with Retry-After": lambda: busy("1", times=2),
    "a cut in the middle of the first page": lambda: cut(times=1),
    "a cut in the middle of a later page": lambda: cut(times=2, only_later_pages=True),
    "a continue token that expired": lambda: expired(times=2),
    "a page that is late": lambda: stalling(times=1),
    "a later page that stops half-way": lambda: stalling(
        times=1, only_later_pages=True, begun=True
    ),
}


@pytest.mark.parametrize("path", [PODS, ROLES], ids=["pods", "clusterroles"])
@pytest.mark.parametrize("case", PASSING)
def test_a_fault_that_passes_leaves_no_trace(
    proxy: FaultProxy,
    collect: Callable[..., Harvest],
    baseline: list[Finding],
    case: str,
    path: str,
) -> None:
    proxy.faults[path] = PASSING[case]()  # type: ignore[call-arg,operator]
    harvest = collect(call_timeout=0.7)
    assert harvest.gaps == []
    assert proxy.count(path) > 3
    assert judged(harvest) == baseline


LASTING: dict[str, tuple[Callable[[], Fault], Reason, str]] = {
    "429, come back in an hour": (lambda: busy("3600"), Reason.FAILED, "too many requests"),
    "429 for ever": (lambda: busy("1"), Reason.FAILED, "too many requests"),
    "500 for ever": (lambda: broken, Reason.FAILED, "etcdserver: request timed out"),
    "every later page cut": (
        lambda: cut(only_later_pages=True),
        Reason.UNREACHABLE,
        f"the connection was cut; {PAGE} were read before",
    ),
    "every page cut": (lambda: cut(), Reason.UNREACHABLE, "the connection was cut"),
    "every continue token expired": (
        lambda: expired(),
        Reason.FAILED,
        f"consistent list result.; {PAGE} were read before",
    ),
    "a stall of 30 seconds": (lambda: stalling(), Reason.TIMED_OUT, "no whole answer within"),
    "later pages stop half-way": (
        lambda: stalling(only_later_pages=True, begun=True),
        Reason.TIMED_OUT,
        f"{PAGE} were read before",
    ),
}


@pytest.mark.parametrize("path", [PODS, ROLES], ids=["pods", "clusterroles"])
@pytest.mark.parametrize("case", LASTING)
def test_a_fault_that_stays_is_the_gap_of_its_kind(
    proxy: FaultProxy,
    collect: Callable[..., Harvest],
    baseline: list[Finding],
    case: str,
    path: str,
) -> None:
    make, reason, words = LASTING[case]
    proxy.faults[path] = make()
    harvest = collect(call_timeout=0.7, retries=1)
    assert gaps_of(harvest) == {(PATHS[path], reason)}
    assert words in harvest.gaps[0].detail
    assert harvest.gaps[0].remedy
    same_verdicts(harvest, baseline)


def test_a_stall_longer_than_the_deadline_ends_with_it(
    proxy: FaultProxy, collect: Callable[..., Harvest], baseline: list[Finding]
) -> None:
    """30 seconds, of which two are given."""
    proxy.faults[PODS] = stalling()
    started = time.monotonic()
    harvest = collect(call_timeout=60.0, deadline=2.0, retries=4)
    assert 1.5 < time.monotonic() - started < 3
    assert gaps_of(harvest) == {("pods", Reason.TIMED_OUT)}
    same_verdicts(harvest, baseline)


def test_when_every_list_stalls_the_deadline_still_holds(
    proxy: FaultProxy, collect: Callable[..., Harvest]
) -> None:
    proxy.faults.update({path: stalling() for path in PATHS})
    started = time.monotonic()
    harvest = collect(call_timeout=60.0, deadline=2.0, parallel=4)
    assert time.monotonic() - started < 3
    hidden = {gap.scope for gap in harvest.gaps}
    assert {gap.reason for gap in harvest.gaps} == {Reason.TIMED_OUT}
    assert hidden >= set(PATHS.values())
    # Not one check passes, or says that it does not apply, on what was never read.
    for row in judged(harvest):
        check = next(item for item in CHECKS if item.id == row.check)
        if hidden & {*subject_scopes(check), *check.needs}:
            assert row.status not in {Status.PASS, Status.NOT_APPLICABLE}, row
