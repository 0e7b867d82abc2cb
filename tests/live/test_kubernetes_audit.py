"""A live API server, collected and judged: what is there, what may not be seen, who asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from auditor.collect.base import Harvest
from auditor.collect.kubernetes import collect_kubernetes
from auditor.collect.kubernetes.kinds import CONSTRAINTS, CUSTOM_KINDS, KINDS
from auditor.config import KubernetesTable
from auditor.errors import CollectError
from auditor.evaluate import evaluate
from auditor.model import Finding, Reason, Resource, Severity, Status, worst
from auditor.registry import discover
from auditor.scopes import subject_scopes
from tests.support.account import Account
from tests.support.controlplane import ApiError, ControlPlane
from tests.support.fixtures import snapshot_of
from tests.support.kube_world import CLUSTER_WIDE, VALUE, named, world

pytestmark = pytest.mark.live

CHECKS = [check for check in discover() if check.platform == "kubernetes"]
SCOPES = {kind.scope for kind in KINDS}
HARMLESS = {Status.PASS, Status.NOT_APPLICABLE}
CUSTOM = {CONSTRAINTS, *(kind.scope for kind in CUSTOM_KINDS)}


def remove(plane: ControlPlane, *paths: str) -> None:
    for path in paths:
        try:
            plane.request("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise


@pytest.fixture(scope="module")
def populated(controlplane: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane with one object of every kind; they are gone again afterwards."""
    assert controlplane.apply(world("live-world")) == []
    controlplane.mark_running("live-world", "careless")
    yield controlplane
    remove(controlplane, *CLUSTER_WIDE)


def collected(kubeconfig: Path, **settings: Any) -> Harvest:
    return collect_kubernetes(kubeconfig=kubeconfig, config=KubernetesTable(**settings))


def stored(harvest: Harvest) -> str:
    """Everything a snapshot would hold, as text."""
    snapshot = snapshot_of(harvest)
    parts = [*snapshot.resources, *snapshot.gaps, *snapshot.targets]
    return "".join(
        repr(part) if not isinstance(part, Resource) else orjson.dumps(part.body).decode()
        for part in parts
    )


def rows(harvest: Harvest, check: str, namespace: str | None = None) -> list[Finding]:
    chosen = [item for item in CHECKS if item.id == check]
    found = evaluate(snapshot_of(harvest), chosen)
    return [row for row in found if namespace in (None, row.namespace)]


def test_everything_is_read_and_no_value_is_kept(populated: ControlPlane) -> None:
    harvest = collected(populated.kubeconfig, page_size=3)
    assert harvest.gaps == []
    counts = {row.scope: row.count for row in harvest.coverage}
    assert {"selfsubjectreviews", "apigroups", *SCOPES, *CUSTOM} == set(counts)
    assert [scope for scope in SCOPES if not counts[scope]] == []
    assert [scope for scope in CUSTOM if counts[scope]] == []
    uid = populated.request("GET", "/api/v1/namespaces/kube-system")["metadata"]["uid"]
    target = harvest.targets[0]
    assert (target.id, target.name, target.facts["version"]) == (
        f"kubernetes:{uid}",
        "test",
        "v1.35.4",
    )
    assert target.facts["auditor"] == "kubernetes-admin"
    assert VALUE not in stored(harvest)
    assert {item.kind for item in harvest.resources} & {"Secret", "Event"} == set()
    kinds = [(item.kind, item.name) for item in harvest.resources]
    assert ("CustomResourceDefinition", "things.live.example.org") in kinds
    (request,) = [item for item in harvest.resources if item.name == "live-request"]
    assert request.body["subject"] == {
        "commonName": "live-eve",
        "organizations": ["live-people", "live-operators"],
    }
    assert (request.spec["username"], "request" in request.spec) == ("kubernetes-admin", False)


def test_what_was_read_is_judged(populated: ControlPlane) -> None:
    harvest = collected(populated.kubeconfig)
    (privileged,) = [
        row
        for row in rows(harvest, "k8s-privileged-container", "live-world")
        if row.status is Status.FAIL
    ]
    assert (privileged.kind, privileged.name, privileged.count) == ("Pod", "careless", 1)
    assert privileged.path == "spec.containers[0].securityContext.privileged"
    (config,) = [
        row
        for row in rows(harvest, "k8s-configmap-secrets", "live-world")
        if row.status is Status.FAIL
    ]
    assert (config.path, config.observed) == (
        "data.API_TOKEN",
        f"credential name, {len(VALUE)} characters",
    )
    assert {row.path for row in rows(harvest, "k8s-literal-env-secrets", "live-world")} >= {
        "spec.containers[0].env[0].value",
        "spec.containers[0].args",
    }
    admins = rows(harvest, "k8s-cluster-admin-binding")
    assert ("User", "live-eve") in {
        (row.kind, row.name) for row in admins if row.status is Status.FAIL
    }
    shipped = [row for row in admins if row.name == "system:masters"]
    assert shipped
    assert [row for row in shipped if row.status not in HARMLESS] == []
    (open_rule,) = rows(harvest, "k8s-network-policy-open-rule", "live-world")
    # The API server stores an empty "to" as none at all.
    assert open_rule.observed == "missing: every destination, on every port"


def test_no_built_in_role_or_binding_fails(populated: ControlPlane) -> None:
    """Whatever this version ships is recognised: only our own objects fail."""
    harvest = collected(populated.kubeconfig)
    ours = ("live", "wild", "bench", "audit")
    for check in ("k8s-rbac-wildcard", "k8s-cluster-admin-binding"):
        failing = [row for row in rows(harvest, check) if row.status is not Status.PASS]
        failing = [row for row in failing if row.status is not Status.NOT_APPLICABLE]
        assert [row.name for row in failing if not row.name.startswith(ours)] == []
    (wild,) = rows(harvest, "k8s-rbac-wildcard", "live-world")
    assert (wild.severity, wild.observed.split("; ")[-1]) == (
        Severity.HIGH,
        "bound by RoleBinding/live-world/wild",
    )


@pytest.fixture
def account(controlplane: ControlPlane) -> Iterator[Callable[..., Path]]:
    """A function that makes a service account with some rules and gives its kubeconfig."""
    made: list[Account] = []

    def make(name: str, rules: list[dict[str, Any]]) -> Path:
        made.append(Account(controlplane, name, rules))
        return made[-1].kubeconfig

    yield make
    for item in made:
        item.remove()


def test_an_account_that_may_only_list_pods(
    populated: ControlPlane, account: Callable[..., Path]
) -> None:
    pods = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    harvest = collected(account("live-narrow", [pods]))
    readable = {"pods", "apigroups", "selfsubjectreviews", *CUSTOM}
    assert {row.scope for row in harvest.coverage} == readable
    assert {(gap.scope, gap.reason) for gap in harvest.gaps} == {
        (scope, Reason.FORBIDDEN) for scope in SCOPES - {"pods"}
    }
    gap = next(gap for gap in harvest.gaps if gap.scope == "deployments")
    assert 'cannot list resource "deployments"' in gap.detail
    assert 'apiGroups: ["apps"], resources: ["deployments"]' in gap.remedy
    assert harvest.targets[0].id == "kubernetes:test"
    assert harvest.targets[0].facts["auditor"] == "system:serviceaccount:live-narrow:live-narrow"

    found = evaluate(snapshot_of(harvest), CHECKS)
    for check in CHECKS:
        if {*subject_scopes(check), *check.needs} <= readable:
            continue
        seen = worst(row.status for row in found if row.check == check.id)
        assert seen in {Status.FAIL, Status.UNKNOWN}, check.id
    # A container seen to be privileged is, whatever else is hidden.
    assert any(
        row.check == "k8s-privileged-container" and row.status is Status.FAIL for row in found
    )


def test_an_audit_changes_nothing(populated: ControlPlane) -> None:
    """The version of every object is the same before and after."""

    def versions() -> dict[str, str]:
        return {
            f"{kind.scope}/{item['metadata'].get('namespace')}/{item['metadata']['name']}": item[
                "metadata"
            ]["resourceVersion"]
            for kind in KINDS
            for item in populated.request("GET", kind.path("v1"))["items"]
        }

    before = versions()
    collected(populated.kubeconfig)
    assert versions() == before


HOSTILE = '<script>alert("1")</script>'


def test_hostile_names_are_carried_as_plain_text(controlplane: ControlPlane) -> None:
    """The API takes no markup in labels, but in annotations, images, arguments and env names."""
    container = {
        "name": "app",
        "image": "registry.example.org/app:1",
        "args": [HOSTILE],
        "env": [{"name": f"{HOSTILE}_PASSWORD", "value": VALUE}],
        "resources": {},
    }
    objects = [
        named("v1", "Namespace", "live-hostile", meta={"annotations": {"note": HOSTILE}}),
        named(
            "v1",
            "Pod",
            "x" * 63,
            "live-hostile",
            spec={"containers": [container]},
            meta={"labels": {"a" * 63: "B_" + "-" * 60 + "z"}},
        ),
    ]
    assert controlplane.apply(objects) == []
    try:
        harvest = collected(controlplane.kubeconfig)
        assert harvest.gaps == []
        found = rows(harvest, "k8s-literal-env-secrets", "live-hostile")
        assert f"{HOSTILE}_PASSWORD: credential name" in found[0].observed
        namespace = next(item for item in harvest.resources if item.name == "live-hostile")
        assert namespace.metadata["annotations"] == {"note": HOSTILE}
        assert VALUE not in stored(harvest)
    finally:
        remove(controlplane, "/api/v1/namespaces/live-hostile")


def test_an_expired_client_certificate_is_said_to_be_one(controlplane: ControlPlane) -> None:
    kubeconfig = controlplane.kubeconfig_for("late", ["system:masters"], expired=True)
    with pytest.raises(CollectError) as raised:
        collected(kubeconfig)
    line = str(raised.value)
    assert "the client certificate expired on 20" in line
    assert "renew it" in line
    assert "\n" not in line


def test_a_token_of_another_cluster_is_not_accepted(
    controlplane: ControlPlane, tmp_path: Path
) -> None:
    text = controlplane.kubeconfig_for_serviceaccount("default", "default").read_text()
    path = tmp_path / "kubeconfig"
    path.write_text(
        "\n".join(line + "x" if "token:" in line else line for line in text.split("\n"))
    )
    with pytest.raises(CollectError, match="does not accept the credentials"):
        collected(path)


def test_a_server_of_another_authority_is_not_trusted(
    controlplane: ControlPlane, tmp_path: Path
) -> None:
    """And with the check switched off it is read, which the facts say."""
    import yaml

    config = yaml.safe_load(controlplane.kubeconfig.read_text())
    del config["clusters"][0]["cluster"]["certificate-authority-data"]
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(CollectError, match="certificate does not verify"):
        collected(path)
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    path.write_text(yaml.safe_dump(config))
    harvest = collected(path)
    assert harvest.gaps == []
    assert "not verified" in harvest.targets[0].facts["TLS"]
