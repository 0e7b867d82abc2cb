"""The checks of RBAC subjects: what Kubernetes ships, and when one subject may do more."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.evaluate import evaluate, views
from auditor.model import Resource, Status, View
from auditor.registry import discover
from checks.kubernetes import rbac_access, rbac_escalation
from checks.kubernetes._rbac_access import Access, holdings
from checks.kubernetes._rbac_accounts import stronger_account
from checks.kubernetes._rbac_index import rbac_index
from tests.support.fixtures import fixture_snapshot

DATA = Path(__file__).parent / "data"
RBAC = "rbac.authorization.k8s.io/v1"
SUBJECT_CHECKS = [
    check for check in discover() if check.module.startswith("checks.kubernetes.rbac")
]
ACCESSES = {
    name: value
    for module in (rbac_access, rbac_escalation)
    for name, value in vars(module).items()
    if isinstance(value, Access)
}
OLDER_OR_OPTIONAL = {
    "system:controller:expand-controller",
    "system:controller:persistent-volume-binder",
    "system:controller:storage-version-migrator-controller",
}
"""Roles that had a right up to Kubernetes 1.25, or have it with a feature that is off."""


def shipped() -> list[dict[str, Any]]:
    """Every RBAC object of a fresh kube-apiserver 1.35.4, as it listed them."""
    found: list[dict[str, Any]] = json.loads((DATA / "rbac-1.35.json").read_text())
    return found


def view_of(objects: list[dict[str, Any]], folder: Path) -> View:
    return views(fixture_snapshot({"kubernetes": objects}, folder))[0]


def named(kind: str, name: str, namespace: str | None = None, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": RBAC, "kind": kind, "metadata": metadata, **fields}


def test_nothing_that_kubernetes_ships_fails(tmp_path: Path) -> None:
    snapshot = fixture_snapshot({"kubernetes": shipped()}, tmp_path)

    found = evaluate(snapshot, SUBJECT_CHECKS)

    bad = [row for row in found if row.status not in {Status.PASS, Status.NOT_APPLICABLE}]
    assert [(row.check, row.kind, row.name, row.observed) for row in bad] == []
    assert len(found) > 500


@pytest.mark.parametrize("name", sorted(ACCESSES))
def test_the_roles_that_ship_with_a_right_are_the_ones_named(name: str, tmp_path: Path) -> None:
    roles = [
        item
        for item in shipped()
        if item["kind"] in ("Role", "ClusterRole")
        and item["metadata"].get("labels", {}).get("kubernetes.io/bootstrapping")
    ]
    bindings = [
        named(
            f"{role['kind']}Binding",
            f"probe-{role['metadata']['name']}",
            role["metadata"].get("namespace"),
            roleRef={"kind": role["kind"], "name": role["metadata"]["name"]},
            subjects=[{"kind": "User", "name": role["metadata"]["name"]}],
        )
        for role in roles
    ]
    index = rbac_index(view_of([*roles, *bindings], tmp_path))
    access = ACCESSES[name]

    holders = {key[2] for key in index.subjects() if any(holdings(key, index, access))}

    # What is only there to be gathered into `edit` is bound to nobody.
    holders = {holder for holder in holders if not holder.startswith("system:aggregate-to-")}
    assert holders - access.shipped == set()
    assert access.shipped - holders <= OLDER_OR_OPTIONAL


VERBS = ("get", "create", "other-verb")
GROUPS = ("", "apps", "other-group")
THINGS = ("pods", "pods/exec", "secrets", "other", "other/exec", "other/thing")
NAMES = ("", "a", "b", "other-name")


def rule() -> st.SearchStrategy[dict[str, Any]]:
    def some(*words: str) -> st.SearchStrategy[list[str]]:
        return st.lists(st.sampled_from(words), min_size=1, max_size=2, unique=True)

    return st.fixed_dictionaries(
        {
            "verbs": some("get", "create", "*"),
            "apiGroups": some("", "apps", "*"),
            "resources": some("pods", "pods/exec", "secrets", "*/exec", "*"),
            "resourceNames": st.lists(st.sampled_from(("a", "b")), max_size=1),
        }
    )


@settings(max_examples=150, deadline=None)
@given(account=st.lists(rule(), max_size=2), subject=st.lists(rule(), max_size=2))
def test_an_account_is_stronger_if_and_only_if_it_may_do_what_the_subject_may_not(
    account: list[dict[str, Any]], subject: list[dict[str, Any]], tmp_path_factory: Any
) -> None:
    """Against every request there can be: names that no rule has stand for all others."""
    objects: list[dict[str, Any]] = []
    for who, rules, kind in (("strong", account, "ServiceAccount"), ("alice", subject, "User")):
        space = {"namespace": "ledger"} if kind == "ServiceAccount" else {}
        objects += [
            named("Role", who, "ledger", rules=rules),
            named(
                "RoleBinding",
                who,
                "ledger",
                roleRef={"kind": "Role", "name": who},
                subjects=[{"kind": kind, "name": who, **space}],
            ),
        ]
    objects.append(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "strong", "namespace": "ledger"},
        }
    )
    view = view_of(objects, tmp_path_factory.getbasetemp())
    index = rbac_index(view)
    more = [
        (verb, group, thing, name)
        for verb, group, thing, name in itertools.product(VERBS, GROUPS, THINGS, NAMES)
        if (request := (verb, group, *thing.split("/"), *([""] * (1 - thing.count("/"))), name))
        and index.can(("ServiceAccount", "ledger", "strong"), *request, namespace="ledger")
        and not index.can(("User", None, "alice"), *request, namespace="ledger")
    ]

    found = stronger_account(("User", None, "alice"), "ledger", view)

    assert (found is not None) == bool(more)
    if found is not None:
        assert found.account == "ServiceAccount:ledger:strong"


def test_no_subject_has_more_than_one_row_for_a_binding(tmp_path: Path) -> None:
    """Many rules of one role are one row, with the first rule as its place."""
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": [verb]} for verb in ("get", "list")
    ]
    objects = [
        named("ClusterRole", "reader", rules=rules),
        *(
            named(
                "ClusterRoleBinding",
                name,
                roleRef={"kind": "ClusterRole", "name": "reader"},
                subjects=[{"kind": "User", "name": "alice"}],
            )
            for name in ("one", "two")
        ),
    ]
    (secrets,) = [check for check in SUBJECT_CHECKS if check.id == "k8s-secret-access"]

    found = evaluate(fixture_snapshot({"kubernetes": objects}, tmp_path), [secrets])

    assert [row.path for row in found] == [
        "ClusterRoleBinding/one: ClusterRole/reader rules[0]",
        "ClusterRoleBinding/two: ClusterRole/reader rules[0]",
    ]
    assert len({row.id for row in found}) == 2


def test_the_subjects_are_resources_of_their_own(tmp_path: Path) -> None:
    """An accepted subject is named in the configuration as its row names it."""
    binding = named(
        "ClusterRoleBinding",
        "b",
        roleRef={"kind": "ClusterRole", "name": "cluster-admin"},
        subjects=[{"kind": "User", "name": "system:serviceaccount:ci:runner"}],
    )
    (subject,) = view_of([binding], tmp_path).subjects
    assert isinstance(subject, Resource)
    assert (subject.kind, subject.namespace, subject.name) == ("ServiceAccount", "ci", "runner")
