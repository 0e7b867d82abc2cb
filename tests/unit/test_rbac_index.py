"""The RBAC index, rule by rule: each case is one line of the authorizer's semantics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from auditor.collect.objects import resource_from
from auditor.model import Gap, Reason, Resource, Target, View
from auditor.subjects import rbac_subjects
from auditor.workloads import group_workloads
from checks.kubernetes._rbac_index import (
    RbacIndex,
    SubjectKey,
    is_builtin_subject,
    natural_groups,
    rbac_index,
    subjects_of,
)
from checks.kubernetes._rbac_paths import added_path
from checks.kubernetes._rbac_shipped import SHIPPED_BINDINGS

GROUP = "rbac.authorization.k8s.io"
ALICE: SubjectKey = ("User", None, "alice")
OPS: SubjectKey = ("Group", None, "ops")
MASTERS: SubjectKey = ("Group", None, "system:masters")
SHIPPED = {"kubernetes.io/bootstrapping": "rbac-defaults"}

Body = dict[str, Any]


def rule(verbs: str, resources: str = "", groups: str = "core", names: str = "") -> Body:
    return {
        "verbs": verbs.split(),
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "resourceNames": names.split(),
    }


def urls(verbs: str, paths: str) -> Body:
    return {"verbs": verbs.split(), "nonResourceURLs": paths.split()}


def role(
    name: str, *rules: Body, namespace: str | None = None, labels: Mapping[str, str] | None = None
) -> Body:
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {key: value for key, value in metadata.items() if value is not None},
        "rules": list(rules),
    }


def subject(key: SubjectKey) -> Body:
    kind, namespace, name = key
    return {"kind": kind, "name": name, **({"namespace": namespace} if namespace else {})}


def binding(
    name: str,
    to: str,
    *keys: SubjectKey,
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Body:
    kind, _, role_name = to.rpartition("/")
    metadata: Body = {"name": name, "labels": dict(labels or {})}
    if namespace:
        metadata["namespace"] = namespace
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"kind": kind or "ClusterRole", "name": role_name},
        "subjects": [subject(key) for key in keys],
    }


def account(namespace: str, name: str) -> SubjectKey:
    return "ServiceAccount", namespace, name


def account_object(namespace: str, name: str, **fields: Any) -> Body:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, **fields}


def pod(namespace: str, name: str, account_name: str, **spec: Any) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"serviceAccountName": account_name, "containers": [{"name": "a"}], **spec},
    }


def view_of(
    *bodies: Body, gaps: Iterable[Gap] = (), source: str = "kubernetes", version: str = "v1.35.0"
) -> View:
    resources: list[Resource] = [resource_from(body, source=source, target="t") for body in bodies]
    target = Target("t", "kubernetes", "test", {"version": version})
    settings = {"system_namespaces": ["kube-system"], "accepted_subjects": []}
    return View(
        target,
        resources,
        group_workloads(resources),
        list(gaps),
        {},
        settings,
        rbac_subjects(resources),
    )


def index_of(*bodies: Body, **options: Any) -> RbacIndex:
    return rbac_index(view_of(*bodies, **options))


def hidden(scope: str, reason: Reason = Reason.FORBIDDEN, name: str | None = None) -> Gap:
    return Gap("t", "kubernetes", scope, reason, "403", name=name)


def granted(*rules: Body, namespace: str | None = None) -> RbacIndex:
    """An index in which alice holds the rules, cluster-wide or in a namespace."""
    return index_of(role("r", *rules), binding("b", "r", ALICE, namespace=namespace))


# Rules


@pytest.mark.parametrize(
    ("resources", "resource", "subresource", "allowed"),
    [
        ("pods", "pods", "", True),
        ("pods", "pods", "exec", False),
        ("pods/exec", "pods", "exec", True),
        ("pods/exec", "pods", "", False),
        ("*", "pods", "", True),
        ("*", "pods", "exec", True),
        ("*/exec", "pods", "exec", True),
        ("*/exec", "pods", "", False),
        ("*/exec", "exec", "", False),
        ("*/exec", "pods", "attach", False),
        ("pods/*", "pods", "exec", False),
        ("pods/*", "pods", "", False),
        ("*/*", "pods", "exec", False),
        ("pod*", "pods", "", False),
        ("PODS", "pods", "", False),
    ],
)
def test_only_two_forms_of_a_resource_are_patterns(
    resources: str, resource: str, subresource: str, allowed: bool
) -> None:
    index = granted(rule("get", resources))
    assert index.can(ALICE, "get", "", resource, subresource) is allowed
    assert bool(index.who_can("get", "", resource, subresource)[1:]) is allowed


@pytest.mark.parametrize(
    ("names", "name", "allowed"),
    [
        ("", "", True),
        ("", "a", True),
        ("a", "a", True),
        ("a b", "b", True),
        ("a", "b", False),
        ("a", "", False),
        ("*", "a", False),
        ("*", "*", True),
    ],
)
def test_resource_names_are_literal_and_a_request_without_a_name_matches_none(
    names: str, name: str, allowed: bool
) -> None:
    for verb in ("get", "list", "create", "deletecollection"):
        index = granted(rule(verb, "secrets", names=names))
        assert index.can(ALICE, verb, "", "secrets", name=name) is allowed


def test_name_none_asks_for_some_object_of_the_kind() -> None:
    index = granted(rule("get", "secrets", names="a"))
    (grant,) = index.matching(ALICE, "get", "", "secrets", name=None)
    assert grant.names == {"a"}
    assert not index.matching(ALICE, "get", "", "secrets")


def test_verbs_and_groups_have_wildcards_and_an_empty_group_is_the_core() -> None:
    assert granted(rule("*", "pods")).can(ALICE, "escalate", "", "pods")
    assert granted(rule("get", "pods", "*")).can(ALICE, "get", "apps", "pods")
    assert not granted(rule("get", "pods", "apps")).can(ALICE, "get", "", "pods")
    assert not granted({"verbs": ["get"], "resources": ["pods"]}).can(ALICE, "get", "", "pods")
    assert not granted(rule("", "pods")).can(ALICE, "get", "", "pods")


def test_the_lists_of_two_rules_do_not_mix() -> None:
    index = granted(rule("get", "pods"), rule("delete", "secrets"))
    assert not index.can(ALICE, "get", "", "secrets")
    assert not index.can(ALICE, "delete", "", "pods")


@pytest.mark.parametrize(
    ("path", "asked", "allowed"),
    [
        ("/metrics", "/metrics", True),
        ("/metrics", "/metrics/cadvisor", False),
        ("/metrics/*", "/metrics/cadvisor", True),
        ("/metrics/*", "/metrics", False),
        ("/metrics*", "/metrics", True),
        ("*", "/anything", True),
        ("/a*b", "/axb", False),
    ],
)
def test_paths_match_exactly_or_by_a_prefix(path: str, asked: str, allowed: bool) -> None:
    index = granted(urls("get", path))
    assert index.can_url(ALICE, "get", asked) is allowed
    assert (ALICE in {key for key, _ in index.who_can_url("get", asked)}) is allowed
    assert not index.can_url(ALICE, "post", asked)


def test_a_rolebinding_grants_no_path() -> None:
    index = granted(urls("get", "*"), namespace="shop")
    assert not index.can_url(ALICE, "get", "/metrics")
    assert [key for key, _ in index.who_can_url("get", "/metrics")] == [MASTERS]


# Bindings


def test_a_rolebinding_to_a_clusterrole_grants_in_its_namespace_only() -> None:
    index = granted(rule("get", "secrets"), namespace="shop")
    assert index.can(ALICE, "get", "", "secrets", namespace="shop")
    assert not index.can(ALICE, "get", "", "secrets", namespace="bank")
    assert not index.can(ALICE, "get", "", "secrets")
    assert [key for key, _ in index.who_can("get", "", "secrets", namespace="shop")] == [
        MASTERS,
        ALICE,
    ]
    (grant,) = index.direct(ALICE)
    assert grant.path == "RoleBinding/shop/b: ClusterRole/r rules[0]"
    assert grant.allows("get", "", "secrets", namespace="shop")
    assert not grant.allows("get", "", "secrets")


def test_a_role_of_another_namespace_is_another_role() -> None:
    index = index_of(
        role("r", rule("get", "secrets"), namespace="bank"),
        binding("b", "Role/r", ALICE, namespace="shop"),
    )
    assert not index.effective(ALICE)
    assert [item.name for item in index.dangling(ALICE)] == ["b"]


def test_a_clusterrolebinding_cannot_give_a_role() -> None:
    index = index_of(
        role("r", rule("get", "secrets"), namespace="bank"), binding("b", "Role/r", ALICE)
    )
    assert not index.effective(ALICE)


def test_a_binding_to_a_missing_role_grants_nothing_and_is_dangling() -> None:
    index = index_of(binding("b", "gone", ALICE))
    assert not index.effective(ALICE)
    assert [item.name for item in index.dangling(ALICE)] == ["b"]
    assert not index.unread(ALICE)


@pytest.mark.parametrize("gap", [hidden("clusterroles"), hidden("clusterroles", name="gone")])
def test_a_role_that_could_not_be_read_is_not_missing(gap: Gap) -> None:
    index = index_of(binding("b", "gone", ALICE), gaps=[gap])
    assert [item.name for item in index.unread(ALICE)] == ["b"]
    assert not index.dangling(ALICE)


def test_a_gap_of_another_role_makes_no_binding_unread() -> None:
    index = index_of(binding("b", "gone", ALICE), gaps=[hidden("clusterroles", name="other")])
    assert index.dangling(ALICE) and not index.unread(ALICE)


def test_a_subject_that_a_binding_names_twice_is_granted_once() -> None:
    index = index_of(role("r", rule("get", "pods")), binding("b", "r", ALICE, ALICE))
    assert len(index.direct(ALICE)) == 1


def test_kinds_of_other_groups_that_share_a_name_are_not_rbac() -> None:
    other = {**role("r", rule("get", "pods"), namespace="shop"), "apiVersion": "iam.example/v1"}
    index = index_of(other, binding("b", "Role/r", ALICE, namespace="shop"))
    assert index.dangling(ALICE)


# Subjects


def test_an_account_without_a_namespace_is_of_the_bindings_own() -> None:
    body = binding("b", "r", namespace="shop")
    body["subjects"] = [{"kind": "ServiceAccount", "name": "web"}]
    index = index_of(role("r", rule("get", "pods")), body)
    assert index.can(account("shop", "web"), "get", "", "pods", namespace="shop")
    wide = {**binding("c", "r"), "subjects": body["subjects"]}
    assert not list(index_of(role("r", rule("get", "pods")), wide).subjects())


def test_the_user_name_of_an_account_is_the_account() -> None:
    user: SubjectKey = ("User", None, "system:serviceaccount:shop:web")
    index = index_of(role("r", rule("get", "pods")), binding("b", "r", user))
    assert index.can(account("shop", "web"), "get", "", "pods")
    odd: SubjectKey = ("User", None, "system:serviceaccount:shop")
    index = index_of(role("r", rule("get", "pods")), binding("b", "r", odd))
    assert index.can(odd, "get", "", "pods")


@pytest.mark.parametrize(
    ("group", "member", "inside"),
    [
        ("system:authenticated", ALICE, True),
        ("system:authenticated", account("shop", "web"), True),
        ("system:authenticated", OPS, True),
        ("system:authenticated", ("User", None, "system:anonymous"), False),
        ("system:unauthenticated", ("User", None, "system:anonymous"), True),
        ("system:unauthenticated", ALICE, False),
        ("system:serviceaccounts", account("shop", "web"), True),
        ("system:serviceaccounts", ALICE, False),
        ("system:serviceaccounts:shop", account("shop", "web"), True),
        ("system:serviceaccounts:shop", account("bank", "web"), False),
        ("system:serviceaccounts", ("Group", None, "system:serviceaccounts:shop"), True),
        ("system:authenticated", ("Group", None, "system:unauthenticated"), False),
    ],
)
def test_who_is_in_a_group_by_nature(group: str, member: SubjectKey, inside: bool) -> None:
    index = index_of(role("r", rule("get", "secrets")), binding("b", "r", ("Group", None, group)))
    assert index.can(member, "get", "", "secrets") is inside
    assert bool(index.effective(member)) is inside
    assert bool(index.matching(member, "get", "", "secrets")) is inside
    assert not index.direct(member) or member == ("Group", None, group)


def test_groups_that_are_known_from_elsewhere_can_be_added() -> None:
    index = index_of(role("r", rule("get", "pods")), binding("b", "r", OPS))
    assert not index.can(ALICE, "get", "", "pods")
    assert index.can(ALICE, "get", "", "pods", groups=("ops",))
    assert len(index.matching(ALICE, "get", "", "pods", groups=("ops",))) == 1


def test_system_masters_may_do_everything_without_any_binding() -> None:
    index = index_of()
    assert index.can(MASTERS, "escalate", GROUP, "clusterroles")
    assert index.can(ALICE, "escalate", GROUP, "clusterroles", groups=("system:masters",))
    assert index.can_url(MASTERS, "get", "/metrics")
    ((key, grant),) = index.who_can("get", "", "secrets")
    assert key == MASTERS and "system:masters" in grant.path
    assert index.effective(MASTERS)[-1].allows("get", "", "secrets", namespace="shop")


def test_the_subjects_of_the_model_are_those_of_the_index() -> None:
    keys = [ALICE, OPS, account("shop", "web"), ("User", None, "system:serviceaccount:shop:db")]
    view = view_of(role("r", rule("get", "pods")), binding("b", "r", *keys))
    made = {(item.kind, item.namespace, item.name) for item in view.subjects}
    assert made == set(rbac_index(view).subjects())
    assert made == {key for item in view.of_kind("ClusterRoleBinding") for key in subjects_of(item)}


# Aggregation


def _gathering(name: str, *labels: Mapping[str, str], own: Mapping[str, str] | None = None) -> Body:
    body = role(name, rule("get", "stale"), labels=own)
    body["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": item} for item in labels]}
    return body


def test_a_live_aggregated_role_holds_what_the_api_server_stores() -> None:
    gathering = _gathering("all", {"to": "all"})
    index = index_of(
        gathering,
        role("part", rule("get", "pods"), labels={"to": "all"}),
        binding("b", "all", ALICE),
    )
    assert index.can(ALICE, "get", "", "stale")
    assert not index.can(ALICE, "get", "", "pods")


def test_in_manifests_an_aggregated_role_is_gathered_through_others_and_in_circles() -> None:
    index = index_of(
        _gathering("all", {"to": "all"}, {"to": "both"}, own={"to": "some"}),
        _gathering("some", {"to": "some"}, own={"to": "all"}),
        role("one", rule("get", "pods"), labels={"to": "all"}),
        role("two", rule("get", "secrets"), labels={"to": "some"}),
        role("three", rule("get", "nodes"), labels={"to": "nobody"}),
        binding("b", "all", ALICE),
        source="manifest",
    )
    assert index.can(ALICE, "get", "", "pods")
    assert index.can(ALICE, "get", "", "secrets")
    assert not index.can(ALICE, "get", "", "nodes")
    assert not index.can(ALICE, "get", "", "stale")


def test_manifests_that_bind_a_shipped_role_grant_what_it_ships_with() -> None:
    partial = hidden("clusterroles", Reason.PARTIAL)
    index = index_of(binding("b", "edit", ALICE, namespace="shop"), gaps=[partial])
    assert index.can(ALICE, "create", "", "pods", namespace="shop")
    assert index.can(ALICE, "get", "", "configmaps", namespace="shop")
    assert not index.can(ALICE, "create", GROUP, "rolebindings", namespace="shop")
    assert not index.unread(ALICE)
    index = index_of(binding("b", "edit", ALICE), gaps=[hidden("clusterroles")])
    assert not index.effective(ALICE) and index.unread(ALICE)
    index = index_of(binding("b", "cluster-admin", ALICE), gaps=[hidden("clusterroles")])
    assert index.is_admin(ALICE)
    index = index_of(binding("b", "edit", ALICE))
    assert index.dangling(ALICE)


# What Kubernetes ships


def _discovery(*keys: SubjectKey, rules: Iterable[Body] = (), **labels: Any) -> list[Body]:
    given = rules or [urls("get", "/api /apis")]
    return [
        role("system:discovery", *given, labels=labels.get("role", SHIPPED)),
        binding("system:discovery", "system:discovery", *keys, labels=labels.get("own", SHIPPED)),
    ]


AUTHENTICATED: SubjectKey = ("Group", None, "system:authenticated")


def test_what_a_shipped_binding_gives_its_shipped_subject_is_not_added() -> None:
    index = index_of(*_discovery(AUTHENTICATED))
    assert not index.added(AUTHENTICATED)
    assert index.effective(ALICE) and not index.added(ALICE)


def test_one_more_subject_of_a_shipped_binding_is_added() -> None:
    controller = account("kube-system", "job-controller")
    name = "system:controller:job-controller"
    index = index_of(
        role(name, rule("create", "pods"), labels=SHIPPED),
        binding(name, name, controller, ALICE, labels=SHIPPED),
    )
    assert not index.added(controller)
    assert [grant.path for grant in index.added(ALICE)]


@pytest.mark.parametrize(
    "bodies",
    [
        _discovery(AUTHENTICATED, own={}),
        _discovery(AUTHENTICATED, role={}),
        _discovery(AUTHENTICATED, rules=[rule("get", "secrets")]),
        _discovery(AUTHENTICATED, rules=[urls("get", "/metrics")]),
        [
            role("mine", urls("get", "/api"), labels=SHIPPED),
            binding("mine", "mine", AUTHENTICATED, labels=SHIPPED),
        ],
    ],
    ids=["binding without label", "role without label", "more rules", "more paths", "other name"],
)
def test_what_only_looks_shipped_is_added(bodies: list[Body]) -> None:
    index = index_of(*bodies)
    assert index.added(AUTHENTICATED) and index.added(ALICE)


def test_parts_of_kubernetes_are_told_from_groups_that_hold_everybody() -> None:
    assert is_builtin_subject(MASTERS)
    assert is_builtin_subject(("User", None, "system:kube-scheduler"))
    assert is_builtin_subject(("User", None, "system:node:worker-1"))
    assert is_builtin_subject(account("kube-system", "job-controller"))
    assert not is_builtin_subject(account("shop", "job-controller"))
    assert not is_builtin_subject(("User", None, "system:masters"))
    assert not is_builtin_subject(AUTHENTICATED)
    assert not is_builtin_subject(("Group", None, "system:serviceaccounts"))
    assert not is_builtin_subject(account("kube-system", "tiller"))
    assert (None, "cluster-admin") in SHIPPED_BINDINGS
    assert natural_groups(("User", None, "system:anonymous"))[0][2] == "system:unauthenticated"


# Cluster-admin, and paths to it


def test_who_is_admin_by_one_role_or_by_several_together() -> None:
    half = "get list watch create"
    rest = "update patch delete deletecollection"
    bodies = [
        role("all", rule("*", "*", "*")),
        role("half", rule(half, "*", "*")),
        role("rest", rule(rest, "*", "*")),
        role("named", rule("*", "*", "*", names="a")),
        binding("1", "all", OPS),
        binding("2", "half", ALICE, account("shop", "web")),
        binding("3", "rest", ALICE),
        binding("4", "all", ("User", None, "bob"), namespace="kube-system"),
        binding("5", "named", ("User", None, "carol")),
    ]
    index = index_of(*bodies)
    assert index.is_admin(OPS) and index.is_admin(ALICE) and index.is_admin(MASTERS)
    for key in (account("shop", "web"), ("User", None, "bob"), ("User", None, "carol")):
        assert not index.is_admin(key)
    assert index.path_to_admin(ALICE) == ()


BOSS = account("ops", "boss")
STRONG = [
    role("all", rule("*", "*", "*")),
    binding("boss", "all", BOSS),
    account_object("ops", "boss"),
    account_object("shop", "web"),
]


def path_texts(index: RbacIndex, key: SubjectKey = ALICE) -> list[str] | None:
    path = index.path_to_admin(key)
    return None if path is None else [step.text for step in path]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule("create", "pods")], "create pods in namespace ops that run as"),
        ([rule("create", "cronjobs", "batch")], "create cronjobs in namespace ops"),
        ([rule("create", "serviceaccounts/token")], "create a token of"),
        ([rule("create", "serviceaccounts/token", names="boss")], "create a token of"),
        ([rule("impersonate", "serviceaccounts", names="boss")], "impersonate ServiceAccount:ops"),
        ([rule("create get", "secrets")], "create a token secret in namespace ops"),
        (
            [
                rule("bind", "clusterroles", GROUP, names="cluster-admin"),
                rule("create", "rolebindings", GROUP),
            ],
            "bind cluster-admin to itself in namespace ops",
        ),
    ],
)
def test_a_way_through_an_account_of_the_namespace(rules: list[Body], expected: str) -> None:
    index = index_of(*STRONG, role("r", *rules), binding("b", "r", ALICE, namespace="ops"))
    (text,) = path_texts(index) or [""]
    assert expected in text and "ServiceAccount:ops:boss" in text
    (step,) = index.path_to_admin(ALICE) or ()
    assert step.gains == BOSS and step.path.startswith("RoleBinding/ops/b: ClusterRole/r rules[")
    elsewhere = index_of(*STRONG, role("r", *rules), binding("b", "r", ALICE, namespace="shop"))
    assert elsewhere.path_to_admin(ALICE) is None


@pytest.mark.parametrize(
    "rules",
    [
        [rule("create", "pods", names="boss")],
        [rule("create", "serviceaccounts/token", names="other")],
        [rule("get list", "secrets")],
        [rule("create", "secrets")],
        [rule("bind", "clusterroles", GROUP, names="view"), rule("create", "rolebindings", GROUP)],
        [rule("bind", "clusterroles", GROUP)],
        [rule("create update patch", "rolebindings clusterrolebindings roles clusterroles", GROUP)],
        [rule("escalate", "roles", GROUP)],
        [rule("create", "pods/exec")],
        [rule("update patch", "deployments", "apps")],
        [rule("get create", "nodes/proxy")],
        [rule("impersonate", "users")],
    ],
)
def test_what_leads_nowhere_in_a_namespace(rules: list[Body]) -> None:
    index = index_of(*STRONG, role("r", *rules), binding("b", "r", ALICE, namespace="ops"))
    assert index.path_to_admin(ALICE) is None


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            [rule("bind", "clusterroles", GROUP), rule("create", "clusterrolebindings", GROUP)],
            "bind cluster-admin to itself",
        ),
        ([rule("escalate patch", "clusterroles", GROUP)], "its own ClusterRole r"),
        (
            [
                rule("impersonate", "groups", names="system:masters"),
                rule("impersonate", "users", names="x"),
            ],
            "impersonate Group:system:masters",
        ),
        ([rule("get", "nodes/proxy")], "through the kubelets"),
        (
            [rule("create", "mutatingwebhookconfigurations", "admissionregistration.k8s.io")],
            "alter objects as others write them",
        ),
        (
            [rule("create", "persistentvolumes persistentvolumeclaims pods")],
            "create a hostPath volume",
        ),
    ],
)
def test_a_way_that_needs_nobody_else(rules: list[Body], expected: str) -> None:
    index = index_of(role("r", *rules), binding("b", "r", ALICE))
    (text,) = path_texts(index) or [""]
    assert expected in text


@pytest.mark.parametrize(
    "rules",
    [
        [rule("bind", "clusterroles", GROUP)],
        [rule("escalate", "clusterroles", GROUP)],
        [rule("escalate patch", "clusterroles", GROUP, names="another")],
        [rule("patch update create", "clusterroles clusterrolebindings", GROUP)],
        [rule("impersonate", "groups")],
        [rule("impersonate", "users", names="nobody-strong")],
        [rule("create", "persistentvolumes")],
        [rule("delete", "mutatingwebhookconfigurations", "admissionregistration.k8s.io")],
        [rule("*", "validatingwebhookconfigurations", "admissionregistration.k8s.io")],
        [rule("get list watch", "*", "*")],
    ],
)
def test_what_leads_nowhere_in_the_whole_cluster(rules: list[Body]) -> None:
    kept = [item for item in rules if "nodes/proxy" not in item["resources"]]
    index = index_of(role("r", *kept), binding("b", "r", ALICE))
    path = index.path_to_admin(ALICE)
    # Reading everything is reading nodes/proxy: the only one of these that leads on.
    assert path is None or "*" in rules[0]["resources"]


def test_a_certificate_makes_any_user_but_never_system_masters() -> None:
    rules = [
        rule("create", "certificatesigningrequests", "certificates.k8s.io"),
        rule("update", "certificatesigningrequests/approval", "certificates.k8s.io"),
        rule("approve", "signers", "certificates.k8s.io", names="kubernetes.io/*"),
    ]
    bodies = [role("r", *rules), binding("b", "r", ALICE)]
    nodes = path_texts(index_of(*bodies)) or [""]
    assert "certificate of any node" in nodes[0]
    only = [*rules[:2], {**rules[2], "resourceNames": ["kubernetes.io/kube-apiserver-client"]}]
    bodies = [role("r", *only), binding("b", "r", ALICE)]
    assert index_of(*bodies).path_to_admin(ALICE) is None
    more = [role("all", rule("*", "*", "*")), binding("c", "all", OPS)]
    assert "certificate of Group:ops" in (path_texts(index_of(*bodies, *more)) or [""])[0]


def test_code_in_a_running_pod_counts_where_it_has_a_token() -> None:
    bodies = [*STRONG, role("r", rule("create", "pods/exec")), binding("b", "r", ALICE)]
    assert index_of(*bodies, pod("shop", "web-1", "web")).path_to_admin(ALICE) is None
    found = path_texts(index_of(*bodies, pod("ops", "boss-1", "boss"))) or [""]
    assert "pods/exec" in found[0]
    silent = pod("ops", "boss-1", "boss", automountServiceAccountToken=False)
    assert index_of(*bodies, silent).path_to_admin(ALICE) is None
    reading = [*STRONG, role("r", rule("get", "pods/exec")), binding("b", "r", ALICE)]
    running = pod("ops", "boss-1", "boss")
    assert index_of(*reading, running).path_to_admin(ALICE) is None
    assert index_of(*reading, running, version="v1.34.2").path_to_admin(ALICE)


def test_listed_token_secrets_are_worth_reading() -> None:
    bodies = [*STRONG[:2], role("r", rule("get", "secrets")), binding("b", "r", ALICE)]
    old = account_object("ops", "boss", secrets=[{"name": "boss-token-x1"}])
    assert "token secrets" in (path_texts(index_of(*bodies, old)) or [""])[0]
    assert index_of(*bodies, account_object("ops", "boss")).path_to_admin(ALICE) is None


def test_an_account_that_does_not_exist_is_no_way_unless_it_can_be_made() -> None:
    base = STRONG[:2]
    pods = [role("r", rule("create", "pods")), binding("b", "r", ALICE, namespace="ops")]
    assert index_of(*base, *pods).path_to_admin(ALICE) is None
    assert index_of(*base, *pods, gaps=[hidden("serviceaccounts")]).path_to_admin(ALICE)
    more = [
        role("r", rule("create", "pods serviceaccounts")),
        binding("b", "r", ALICE, namespace="ops"),
    ]
    assert index_of(*base, *more).path_to_admin(ALICE)


def test_the_shortest_path_wins_and_long_ones_are_chained() -> None:
    bodies = [
        *STRONG,
        account_object("ci", "builder"),
        role("pods", rule("create", "pods")),
        role("token", rule("create", "serviceaccounts/token")),
        binding("1", "pods", account("ci", "builder"), namespace="ops"),
        binding("2", "token", ALICE, namespace="ci"),
    ]
    index = index_of(*bodies)
    path = index.path_to_admin(ALICE) or ()
    assert [step.gains for step in path] == [account("ci", "builder"), BOSS]
    assert path[1].subject == account("ci", "builder")
    short = binding("3", "token", ALICE, namespace="ops")
    assert len(index_of(*bodies, short).path_to_admin(ALICE) or ()) == 1


def test_a_way_through_a_group_that_holds_everybody_is_everybodys() -> None:
    everybody: SubjectKey = ("Group", None, "system:serviceaccounts:shop")
    bodies = [
        *STRONG,
        role("pods", rule("create", "pods")),
        binding("1", "pods", everybody, namespace="ops"),
    ]
    index = index_of(*bodies)
    assert index.path_to_admin(account("shop", "web"))
    assert index.path_to_admin(account("shop", "not-even-there"))
    assert index.path_to_admin(ALICE) is None


def test_two_halves_of_a_step_may_come_from_a_group_and_from_the_subject() -> None:
    bodies = [
        role("bind", rule("bind", "clusterroles", GROUP)),
        role("create", rule("create", "clusterrolebindings", GROUP)),
        binding("1", "bind", AUTHENTICATED),
        binding("2", "create", ALICE),
    ]
    assert index_of(*bodies).path_to_admin(ALICE)


def test_a_part_of_kubernetes_is_judged_by_what_was_added() -> None:
    scheduler: SubjectKey = ("User", None, "system:kube-scheduler")
    view = view_of(
        *STRONG,
        role("system:kube-scheduler", rule("create", "pods"), labels=SHIPPED),
        binding("system:kube-scheduler", "system:kube-scheduler", scheduler, labels=SHIPPED),
    )
    assert rbac_index(view).path_to_admin(scheduler)
    assert added_path(view, scheduler) is None
    view = view_of(
        *STRONG, role("r", rule("create", "pods")), binding("b", "r", scheduler, namespace="ops")
    )
    assert added_path(view, scheduler)
