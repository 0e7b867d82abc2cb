"""Pods under their root owners: what is judged, under which name, and how often it lives."""

from __future__ import annotations

from typing import Any

from auditor.collect.objects import SpecPool, resource_from
from auditor.model import Resource
from auditor.workloads import group_workloads

SPEC = {"containers": [{"name": "c", "image": "i"}]}
VERSIONS = {"CronJob": "batch/v1", "Job": "batch/v1", "Pod": "v1"}


def made(
    kind: str,
    name: str,
    owner: tuple[str, str] | None = None,
    spec: dict[str, Any] | None = None,
    pool: SpecPool | None = None,
    namespace: str = "n",
) -> Resource:
    template = {"metadata": {"labels": {"of": name}}, "spec": spec or SPEC}
    bodies: dict[str, dict[str, Any]] = {
        "Pod": spec or SPEC,
        "CronJob": {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}},
    }
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    body = {
        "apiVersion": VERSIONS.get(kind, "apps/v1"),
        "kind": kind,
        "metadata": metadata,
        "spec": bodies.get(kind, {"template": template}),
    }
    return resource_from(body, source="kubernetes", target="t", specs=pool)


def rows(*resources: Resource) -> list[tuple[str, str, int, str]]:
    return [
        (item.kind, item.name, item.count, item.spec_path) for item in group_workloads(resources)
    ]


def test_pods_stand_under_their_root_owner_with_its_path() -> None:
    pool = SpecPool()
    assert rows(
        made("CronJob", "nightly"),
        made("Job", "nightly-1", ("CronJob", "nightly")),
        made("Pod", "nightly-1-a", ("Job", "nightly-1"), pool=pool),
        made("Pod", "nightly-1-b", ("Job", "nightly-1"), pool=pool),
    ) == [("CronJob", "nightly", 2, "spec.jobTemplate.spec.template.spec")]


def test_a_pod_that_differs_from_its_template_is_a_workload_of_its_own() -> None:
    pool = SpecPool()
    other = SPEC | {"hostPID": True}
    assert rows(
        made("Deployment", "web"),
        made("ReplicaSet", "web-1", ("Deployment", "web")),
        made("Pod", "web-1-a", ("ReplicaSet", "web-1"), pool=pool),
        made("Pod", "web-1-b", ("ReplicaSet", "web-1"), pool=pool),
        made("Pod", "web-1-c", ("ReplicaSet", "web-1"), other, pool=pool),
    ) == [
        ("Deployment", "web", 2, "spec.template.spec"),
        ("Deployment", "web", 1, "spec.template.spec"),
    ]


def test_a_workload_without_pods_is_judged_by_its_template() -> None:
    assert rows(
        made("Deployment", "idle"), made("ReplicaSet", "idle-1", ("Deployment", "idle"))
    ) == [("Deployment", "idle", 0, "spec.template.spec")]


def test_an_owner_that_was_not_read_is_named_as_the_pod_names_it() -> None:
    assert rows(made("Pod", "web-1-a", ("ReplicaSet", "web-1"))) == [
        ("ReplicaSet", "web-1", 1, "spec.template.spec")
    ]


def test_a_static_pod_and_a_pod_of_an_operators_kind_stand_for_themselves() -> None:
    assert rows(
        made("Pod", "kube-apiserver-one", ("Node", "one")), made("Pod", "db-0", ("Database", "db"))
    ) == [("Pod", "db-0", 1, "spec"), ("Pod", "kube-apiserver-one", 1, "spec")]


def test_owners_of_one_name_in_two_namespaces_are_two() -> None:
    assert [
        (item.namespace, item.count)
        for item in group_workloads(
            [
                made("Deployment", "web"),
                made("Deployment", "web", namespace="m"),
                made("Pod", "a", ("Deployment", "web"), namespace="m"),
            ]
        )
    ] == [("m", 1), ("n", 0)]


def test_owners_that_own_each_other_end() -> None:
    assert len(rows(made("Pod", "p", ("Job", "a")), made("Job", "a", ("Job", "a")))) == 1
