"""`who-can` and `can` as a user meets them: answers, gaps, exit codes, hostile names."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auditor.cli import main
from auditor.cli.access import parse_subject
from auditor.cli.resource_names import Named, named
from auditor.errors import ConfigError
from auditor.snapshot import save_snapshot
from tests.support.fixtures import fixture_snapshot

GROUP = "rbac.authorization.k8s.io"
HOSTILE = "mallory\x1b[2J[bold]\n"


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["auditor", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def _role(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": list(rules),
    }


def _bound(name: str, role: str, *subjects: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": list(subjects),
    }


PODS = {"verbs": ["create", "get"], "apiGroups": [""], "resources": ["pods", "nodes"]}
WORLD = [
    _role("pods", PODS),
    _role("all", {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
    _role("metrics", {"verbs": ["get"], "nonResourceURLs": ["/metrics*"]}),
    _bound("team", "pods", {"kind": "User", "name": "alice"}, namespace="ops"),
    _bound("everywhere", "pods", {"kind": "Group", "name": "developers"}),
    _bound("hostile", "pods", {"kind": "User", "name": HOSTILE}, namespace="shop"),
    _bound("operator", "all", {"kind": "ServiceAccount", "namespace": "ops", "name": "op"}),
    _bound("metrics", "metrics", {"kind": "User", "name": "alice"}),
    _bound("gone", "missing", {"kind": "User", "name": "alice"}),
    {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "op", "namespace": "ops"},
    },
    {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "names": {"plural": "widgets", "kind": "Widget"}},
    },
]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.json.gz"
    save_snapshot(fixture_snapshot({"kubernetes": WORLD}, tmp_path), path)
    return path


@pytest.fixture
def with_gap(tmp_path: Path) -> Path:
    path = tmp_path / "gap.json.gz"
    gaps = [{"scope": "rolebindings", "remedy": "grant list on rolebindings"}]
    save_snapshot(fixture_snapshot({"kubernetes": WORLD, "gaps": gaps}, tmp_path), path)
    return path


def test_who_can_lists_the_whole_cluster_and_each_namespace(run, saved: Path) -> None:
    result = run("who-can", "create", "pods", "--snapshot", saved)
    assert result.code == 0 and not result.err
    lines = result.out.splitlines()
    assert any("Group:developers" in line and "everywhere" in line for line in lines)
    assert any("User:alice" in line and "namespace ops" in line for line in lines)
    assert lines[-1] == "5 subjects can create pods"


def test_who_can_in_a_namespace_leaves_out_the_others(run, saved: Path) -> None:
    result = run("who-can", "create", "po", "-n", "shop", "--snapshot", saved)
    assert "developers" in result.out and "alice" not in result.out
    assert result.out.splitlines()[-1] == "4 subjects can create pods in namespace shop"


def test_a_resource_without_namespaces_is_granted_for_the_cluster_only(run, saved: Path) -> None:
    for more in ([], ["-n", "ops"]):
        result = run("who-can", "get", "nodes", *more, "--snapshot", saved)
        assert "developers" in result.out and "alice" not in result.out
    assert run("can", "user:alice", "get", "nodes", "-n", "ops", "--snapshot", saved).code == 1


def test_who_can_ask_for_a_path(run, saved: Path) -> None:
    result = run("who-can", "get", "/metrics/cadvisor", "--snapshot", saved)
    assert "User:alice" in result.out and "developers" not in result.out


def test_hostile_names_are_printed_harmlessly(run, saved: Path) -> None:
    for form in ("table", "json"):
        result = run("who-can", "create", "pods", "--format", form, "--snapshot", saved)
        assert "\x1b" not in result.out and "mallory" in result.out
    assert "[bold]" in run("who-can", "create", "pods", "--snapshot", saved).out


def test_who_can_as_json(run, saved: Path) -> None:
    result = run("who-can", "create", "pods", "-n", "ops", "--format", "json", "--snapshot", saved)
    document = json.loads(result.out)
    assert document["schema"] == "auditor/access/v1"
    assert document["complete"] is True and document["gaps"] == []
    assert document["question"] == {
        "verb": "create",
        "group": "",
        "resource": "pods",
        "subresource": "",
        "name": "",
        "namespace": "ops",
    }
    (alice,) = [item for item in document["subjects"] if item["name"] == "alice"]
    assert alice["kind"] == "User" and alice["namespace"] is None
    assert alice["grant"]["path"] == "RoleBinding/ops/team: ClusterRole/pods rules[0]"
    assert alice["grant"]["namespace"] == "ops"


def test_an_incomplete_answer_says_so_and_exits_3(run, with_gap: Path) -> None:
    result = run("who-can", "create", "pods", "--snapshot", with_gap)
    assert result.code == 3
    assert "incomplete" in result.err and "could not read rolebindings" in result.err
    assert "grant list on rolebindings" in result.err
    document = json.loads(
        run("who-can", "create", "pods", "--format", "json", "--snapshot", with_gap).out
    )
    assert document["complete"] is False and document["gaps"][0]["scope"] == "rolebindings"


def test_a_yes_is_proved_by_one_grant_and_a_no_only_by_all(
    run, saved: Path, with_gap: Path
) -> None:
    yes = ("can", "group:developers", "create", "pods", "-n", "ops", "--snapshot")
    no = ("can", "group:developers", "delete", "pods", "-n", "ops", "--snapshot")
    assert [run(*yes, path).code for path in (saved, with_gap)] == [0, 0]
    assert [run(*no, path).code for path in (saved, with_gap)] == [1, 3]
    assert run(*yes, saved).out.startswith("yes\n")
    assert "ClusterRoleBinding/everywhere: ClusterRole/pods rules[0]" in run(*yes, saved).out
    assert run(*no, saved).out == "no\n"


def test_can_answers_for_the_whole_cluster_unless_a_namespace_is_named(run, saved: Path) -> None:
    assert run("can", "user:alice", "create", "pods", "--snapshot", saved).code == 1
    assert run("can", "user:alice", "create", "pods", "-n", "ops", "--snapshot", saved).code == 0
    in_group = ("can", "user:bob", "create", "pods", "--group", "developers", "--snapshot", saved)
    assert run(*in_group).code == 0
    assert run("can", "user:alice", "get", "/metrics", "--snapshot", saved).code == 0
    assert (
        run(
            "can",
            "user:bob",
            "escalate",
            "clusterroles",
            "--group",
            "system:masters",
            "--snapshot",
            saved,
        ).code
        == 0
    )


def test_can_lists_what_a_subject_may_do_and_the_path_to_cluster_admin(run, saved: Path) -> None:
    result = run("can", "user:alice", "--snapshot", saved)
    assert result.code == 0
    assert "RoleBinding/ops/team: ClusterRole/pods rules[0]" in result.out
    assert "ClusterRoleBinding/gone grants nothing: its role does not exist" in result.out
    assert "shortest path to cluster-admin, 1 step:" in result.out
    assert "1. create pods in namespace ops that run as ServiceAccount:ops:op" in result.out
    assert "is cluster-admin" in run("can", "sa:ops:op", "--snapshot", saved).out
    nobody = run("can", "user:zoe", "--snapshot", saved)
    assert "User:zoe is granted nothing" in nobody.out and "no path" in nobody.out
    elsewhere = run("can", "user:alice", "-n", "shop", "--snapshot", saved)
    assert "RoleBinding/ops/team" not in elsewhere.out.split("shortest path")[0]


def test_can_as_json(run, saved: Path) -> None:
    document = json.loads(run("can", "user:alice", "--format", "json", "--snapshot", saved).out)
    assert document["subject"] == {"kind": "User", "namespace": None, "name": "alice"}
    assert len(document["grants"]) == 2 and document["dangling"] == ["ClusterRoleBinding/gone"]
    (step,) = document["path_to_cluster_admin"]
    assert step["gains"] == {"kind": "ServiceAccount", "namespace": "ops", "name": "op"}
    zoe = json.loads(run("can", "user:zoe", "--format", "json", "--snapshot", saved).out)
    assert zoe["path_to_cluster_admin"] is None
    asked = run("can", "user:alice", "get", "pods", "--format", "json", "--snapshot", saved)
    assert json.loads(asked.out)["allowed"] is False and asked.code == 1


@pytest.mark.parametrize("width", ["60", "200"])
def test_a_narrow_terminal_shows_the_same(
    run, saved: Path, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    out = " ".join(run("can", "user:alice", "--snapshot", saved).out.split())
    for part in ("namespace ops", "create get", "nodes pods (core)", "RoleBinding/ops/team"):
        assert part in out


def test_a_narrow_terminal_breaks_no_binding_in_two(
    run, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = run("who-can", "create", "pods", "--snapshot", saved).out.splitlines()
    assert "    by ClusterRoleBinding/everywhere: ClusterRole/pods rules[0]" in lines


@pytest.mark.parametrize("verb", ["*", "impersonate", "impersonate:user-info", "associate-node"])
def test_any_word_of_a_role_is_a_verb(run, saved: Path, verb: str) -> None:
    assert run("who-can", verb, "pods", "--snapshot", saved).code == 0


def test_manifests_give_an_answer_that_says_it_is_incomplete(run, tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "manifests.json.gz"
    held = {"manifests": yaml.safe_dump_all(WORLD[:6])}
    save_snapshot(fixture_snapshot(held, tmp_path), path)
    result = run("who-can", "create", "pods", "--snapshot", path)
    assert result.code == 3 and "User:alice" in result.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("can", "zoe"), "'zoe' is no subject; write sa:NAMESPACE:NAME"),
        (("can", "sa:only-one"), "is no subject"),
        (("can", "user:alice", "get"), "a verb needs a resource"),
        (("who-can", "get", "gadgets"), "'gadgets' is no resource of Kubernetes itself"),
        (("who-can", "get", "pods", "--format", "xml"), "there is no format 'xml'"),
        (("who-can", "GET", "pods"), "'GET' is no verb; write one in lower case"),
        (("can", "user:alice", "get,list", "pods"), "'get,list' is no verb"),
        (("can", "user:alice", "", "pods"), "'' is no verb"),
        (("who-can", "get", "pods/"), "'pods/' names no subresource"),
        (("who-can", "get", "/metrics", "one"), "the path '/metrics' has no objects"),
        (("who-can", "get", "pods", "--kube-context", "other"), "holds no cluster"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_line(
    run, saved: Path, arguments: tuple[str, ...], says: str
) -> None:
    result = run(*arguments, "--snapshot", saved)
    assert result.code == 2 and says in result.err
    assert result.err.count("\n") == 1 and not result.out


def test_without_a_cluster_there_is_nothing_to_ask(run) -> None:
    result = run("who-can", "get", "pods")
    assert result.code == 2 and result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sa:shop:web", ("ServiceAccount", "shop", "web")),
        ("ServiceAccount:shop:web", ("ServiceAccount", "shop", "web")),
        ("system:serviceaccount:shop:web", ("ServiceAccount", "shop", "web")),
        ("User:system:serviceaccount:shop:web", ("ServiceAccount", "shop", "web")),
        ("User:system:serviceaccount:odd", ("User", None, "system:serviceaccount:odd")),
        ("user:alice@example.com", ("User", None, "alice@example.com")),
        ("Group:system:masters", ("Group", None, "system:masters")),
        ("group:a:b", ("Group", None, "a:b")),
    ],
)
def test_a_subject_as_a_person_writes_it(text: str, expected: tuple[str, str | None, str]) -> None:
    assert parse_subject(text) == expected


@pytest.mark.parametrize("text", ["", "alice", "sa:", "sa:shop", "sa:shop:", "sa:a:b:c", "user:"])
def test_what_is_no_subject_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_subject(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pods", Named("", "pods", "", "", True)),
        ("Pod", Named("", "pods", "", "", True)),
        ("po/exec", Named("", "pods", "exec", "", True)),
        ("deploy", Named("apps", "deployments", "", "", True)),
        ("deployments.apps/scale", Named("apps", "deployments", "scale", "", True)),
        ("networkpolicy", Named("networking.k8s.io", "networkpolicies", "", "", True)),
        ("ingressclass", Named("networking.k8s.io", "ingressclasses", "", "", False)),
        ("nodes/proxy", Named("", "nodes", "proxy", "", False)),
        (
            "csr/approval",
            Named("certificates.k8s.io", "certificatesigningrequests", "approval", "", False),
        ),
        ("endpoints", Named("", "endpoints", "", "", True)),
        ("deployments.v1.apps/scale", Named("apps", "deployments", "scale", "", True)),
        ("pods.v1.", Named("", "pods", "", "", True)),
        ("widgets.v1beta1.example.com", Named("example.com", "widgets", "", "", True)),
        ("roles.rbac", Named("rbac.authorization.k8s.io", "roles", "", "", True)),
        (
            "userextras/example.com/role",
            Named("authentication.k8s.io", "userextras", "example.com/role", "", False),
        ),
        ("widgets", Named("example.com", "widgets", "", "", True)),
        ("gadgets.example.com", Named("example.com", "gadgets", "", "", True)),
        ("*", Named("*", "*", "", "", True)),
        ("/healthz", Named("", "", "", "/healthz", False)),
    ],
)
def test_a_resource_as_kubectl_takes_it(text: str, expected: Named) -> None:
    assert named(text, ["widgets.example.com"]) == expected


def test_a_custom_resource_of_two_groups_has_to_be_named_with_one() -> None:
    with pytest.raises(ConfigError, match=r"widgets\.a\.example, widgets\.b\.example"):
        named("widgets", ["widgets.a.example", "widgets.b.example"])
