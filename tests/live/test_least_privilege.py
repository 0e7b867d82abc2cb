"""The shipped roles, on a real API server: enough for a full audit, and no right too many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditor.collect.base import Harvest
from auditor.collect.kubernetes import collect_kubernetes
from auditor.collect.kubernetes.kinds import CONSTRAINTS, CUSTOM_KINDS, KINDS, Kind
from auditor.config import KubernetesTable
from auditor.model import Gap, Reason
from tests.support import custom_world
from tests.support.account import Account
from tests.support.controlplane import ControlPlane
from tests.support.kube_world import named

pytestmark = pytest.mark.live

DEPLOY = Path(__file__).parents[2] / "deploy"
OLD_CALICO = "crd.projectcalico.org"
LISTED = {(kind.group, kind.plural): kind for kind in (*KINDS, *CUSTOM_KINDS)}


def rules_of(file: str) -> list[dict[str, Any]]:
    """The rules of the ClusterRole in a file of deploy/."""
    documents = yaml.safe_load_all((DEPLOY / file).read_text())
    (role,) = [item for item in documents if item["kind"] == "ClusterRole"]
    return list(role["rules"])


BASE = rules_of("rbac.yaml")
GATEKEEPER = rules_of("gatekeeper-rbac.yaml")
GRANTS = [
    (group, resource)
    for rule in BASE
    for group in rule["apiGroups"]
    for resource in rule["resources"]
]


def without(group: str, resource: str) -> list[dict[str, Any]]:
    """The shipped rules but for one resource, one rule for each group."""
    return [
        {
            "apiGroups": [name],
            "resources": [item for item in rule["resources"] if (name, item) != (group, resource)],
            "verbs": rule["verbs"],
        }
        for rule in (*BASE, *GATEKEEPER)
        for name in rule["apiGroups"]
        if rule["resources"] != [resource] or name != group
    ]


@pytest.fixture(scope="module")
def plane(controlplane: ControlPlane) -> Iterator[ControlPlane]:
    """A cluster in which every custom kind is installed, Calico in its newer form."""
    kinds = [kind for kind in custom_world.KINDS if kind.group != OLD_CALICO]
    custom_world.install(controlplane, kinds)
    objects = [named("v1", "Namespace", "least"), *(example(kind) for kind in kinds)]
    assert controlplane.apply(objects) == []
    yield controlplane
    custom_world.uninstall(controlplane, custom_world.KINDS)
    controlplane.request("DELETE", "/api/v1/namespaces/least")


def example(kind: Kind) -> dict[str, Any]:
    return custom_world.example(kind, "least")


@pytest.fixture(scope="module")
def account(plane: ControlPlane) -> Iterator[Account]:
    made = Account(plane, "least-privilege", [*BASE, *GATEKEEPER])
    yield made
    made.remove()


def collected(account: Account) -> Harvest:
    return collect_kubernetes(kubeconfig=account.kubeconfig, config=KubernetesTable())


def gaps_once(account: Account, expected: Callable[[set[str]], bool]) -> list[Gap]:
    """The gaps of an audit, when the API server knows the new rules: some moments after."""
    deadline = time.monotonic() + 20
    while True:
        gaps = collected(account).gaps
        if expected({gap.scope for gap in gaps}) or time.monotonic() > deadline:
            return gaps
        time.sleep(0.05)


def test_the_shipped_roles_are_enough_for_a_full_audit(account: Account) -> None:
    account.set_rules([*BASE, *GATEKEEPER])
    assert gaps_once(account, lambda scopes: not scopes) == []
    counts = {row.scope: row.count for row in collected(account).coverage}
    custom = {kind.scope for kind in custom_world.KINDS if kind.group != OLD_CALICO}
    assert {scope: counts[scope] for scope in custom} == dict.fromkeys(custom, 1)
    assert {kind.scope for kind in KINDS} < set(counts)


def test_every_kind_that_is_collected_is_in_the_role_and_nothing_else() -> None:
    assert sorted(GRANTS) == sorted(LISTED)
    assert {tuple(rule["verbs"]) for rule in (*BASE, *GATEKEEPER)} == {("get", "list")}
    assert [(rule["apiGroups"], rule["resources"]) for rule in GATEKEEPER] == [
        ([CONSTRAINTS], ["*"])
    ]


@pytest.mark.parametrize(
    ("group", "resource"), [grant for grant in GRANTS if grant[0] != OLD_CALICO]
)
def test_without_any_one_of_its_rights_an_audit_has_the_gap_of_that_name(
    account: Account, group: str, resource: str
) -> None:
    scope = LISTED[group, resource].scope
    account.set_rules(without(group, resource))
    gaps = gaps_once(account, lambda scopes: scopes == {scope})
    assert [(gap.scope, gap.reason) for gap in gaps] == [(scope, Reason.FORBIDDEN)]
    assert f'apiGroups: ["{group}"], resources: ["{resource}"]' in gaps[0].remedy


def test_without_gatekeepers_role_only_its_constraints_are_hidden(account: Account) -> None:
    account.set_rules(BASE)
    gaps = gaps_once(account, lambda scopes: scopes == {CONSTRAINTS})
    assert [(gap.scope, gap.reason) for gap in gaps] == [(CONSTRAINTS, Reason.FORBIDDEN)]
    assert "gatekeeper-rbac.yaml" in gaps[0].remedy


def test_calicos_older_form_needs_its_own_rights(account: Account) -> None:
    older = [kind for kind in CUSTOM_KINDS if kind.group == OLD_CALICO]
    custom_world.install(account.plane, older)
    assert account.plane.apply([example(kind) for kind in older]) == []
    account.set_rules([*BASE, *GATEKEEPER])
    assert gaps_once(account, lambda scopes: not scopes) == []
    counts = {row.scope: row.count for row in collected(account).coverage}
    assert [counts[kind.scope] for kind in older] == [1, 1]
    # The newer form shows the same objects: it is not listed beside the older.
    assert counts["networkpolicies.projectcalico.org"] == 0
    for kind in older:
        account.set_rules(without(kind.group, kind.plural))
        gaps = gaps_once(account, lambda scopes, kind=kind: scopes == {kind.scope})
        assert [(gap.scope, gap.reason) for gap in gaps] == [(kind.scope, Reason.FORBIDDEN)]
    custom_world.uninstall(account.plane, older)


FORBIDDEN = [
    ("get", "", "secrets"),
    ("list", "", "secrets"),
    ("watch", "", "secrets"),
    ("create", "", "pods"),
    ("create", "", "pods/exec"),
    ("get", "", "pods/exec"),
    ("create", "", "pods/attach"),
    ("get", "", "pods/proxy"),
    ("get", "", "pods/log"),
    ("create", "", "pods/portforward"),
    ("get", "", "services/proxy"),
    ("get", "", "nodes/proxy"),
    ("create", "", "nodes/proxy"),
    ("create", "", "serviceaccounts/token"),
    ("update", "certificates.k8s.io", "certificatesigningrequests/approval"),
    ("impersonate", "", "users"),
    ("bind", "rbac.authorization.k8s.io", "clusterroles"),
    ("escalate", "rbac.authorization.k8s.io", "clusterroles"),
    ("delete", "apps", "deployments"),
    ("patch", "kyverno.io", "clusterpolicies"),
    ("create", CONSTRAINTS, "k8sonlysigned"),
]


def test_the_shipped_roles_grant_nothing_that_could_do_harm(account: Account) -> None:
    account.set_rules([*BASE, *GATEKEEPER])
    account.plane.wait_until("the role is known", lambda: account.may("list", "", "pods"))
    assert [grant for grant in FORBIDDEN if account.may(*grant)] == []
    verbs = ("create", "update", "patch", "delete", "deletecollection", "watch")
    assert [(verb, *grant) for grant in GRANTS for verb in verbs if account.may(verb, *grant)] == []


def test_the_role_for_probing_adds_the_creation_of_pods_and_nothing_else(account: Account) -> None:
    rules = rules_of("probe-rbac.yaml")
    assert rules == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}]
    account.set_rules(rules)
    account.plane.wait_until("the role is known", lambda: account.may("create", "", "pods"))
    account.plane.wait_until("the old is gone", lambda: not account.may("list", "", "pods"))
    assert [grant for grant in FORBIDDEN if account.may(*grant)] == [("create", "", "pods")]


@pytest.mark.parametrize("file", ["rbac.yaml", "gatekeeper-rbac.yaml", "probe-rbac.yaml"])
def test_the_shipped_files_are_taken_as_they_are(plane: ControlPlane, file: str) -> None:
    """And bind to the one account that rbac.yaml makes."""
    assert plane.apply([DEPLOY / "rbac.yaml", DEPLOY / file]) == []
    documents = list(yaml.safe_load_all((DEPLOY / file).read_text()))
    (binding,) = [item for item in documents if item["kind"] == "ClusterRoleBinding"]
    (role,) = [item for item in documents if item["kind"] == "ClusterRole"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "auditor", "namespace": "auditor"}
    ]
    for kind in ("clusterrolebindings", "clusterroles"):
        for name in {role["metadata"]["name"], "auditor"}:
            plane.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/{kind}/{name}")
    plane.request("DELETE", "/api/v1/namespaces/auditor")
    plane.wait_until("the namespace is gone", lambda: not _is_there(plane))


def _is_there(plane: ControlPlane) -> bool:
    names = plane.request("GET", "/api/v1/namespaces")["items"]
    return any(item["metadata"]["name"] == "auditor" for item in names)
