"""The steps of a path to cluster-admin, taken on a real API server: what counts works.

Each case gives a user the rights of one technique, has the index name the path, and then takes its
first step for real. The other half are the refusals on which the index relies.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from auditor.collect.kubernetes import collect_kubernetes
from auditor.config import KubernetesTable
from auditor.evaluate import views
from checks.kubernetes._rbac_index import Step, rbac_index
from tests.support.controlplane import ApiError, ControlPlane
from tests.support.fixtures import snapshot_of

pytestmark = pytest.mark.live

RBAC = "rbac.authorization.k8s.io"
SPACE = "judge-powers"
Rule = dict[str, list[str]]


def rule(verbs: str, resources: str, group: str = "", names: str = "") -> Rule:
    found = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return {**found, "resourceNames": names.split()} if names else found


class Actor:
    """A user with a certificate of its own, who asks the API server as itself."""

    def __init__(self, plane: ControlPlane, name: str) -> None:
        self.url = plane.url
        certificate, key = plane._authority.issue(name, [])
        self.http = urllib3.PoolManager(
            ca_certs=str(plane.ca_file), cert_file=str(certificate), key_file=str(key)
        )

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """The status and the answer."""
        patch = "application/merge-patch+json"
        sent = {"Content-Type": patch if method == "PATCH" else "application/json"}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        data = None if body is None else json.dumps(body)
        answer = self.http.request(method, self.url + path, body=data, headers=sent, retries=False)
        return answer.status, json.loads(answer.data or b"{}")


class Cluster:
    """A namespace with a strong account, and users that are given rights one by one."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.users = 0
        self.made: list[str] = []

    def object(self, path: str, kind: str, name: str, **fields: Any) -> None:
        version = f"{RBAC}/v1" if RBAC in path else "v1"
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}
        self.plane.request("POST", path, body)
        self.made.append(f"{path}/{name}")

    def user(self, *rules: Rule, namespace: str | None = None) -> str:
        """A new user with these rights; it is ready when the authorizer knows them."""
        self.users += 1
        name = f"judge-user-{self.users}"
        self.object(f"/apis/{RBAC}/v1/clusterroles", "ClusterRole", name, rules=list(rules))
        where = f"namespaces/{namespace}/rolebindings" if namespace else "clusterrolebindings"
        kind = "RoleBinding" if namespace else "ClusterRoleBinding"
        ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
        subject = {"apiGroup": RBAC, "kind": "User", "name": name}
        self.object(f"/apis/{RBAC}/v1/{where}", kind, name, roleRef=ref, subjects=[subject])
        resource, _, subresource = rules[-1]["resources"][-1].partition("/")
        attributes = {
            "verb": rules[-1]["verbs"][-1],
            "group": rules[-1]["apiGroups"][0],
            "resource": resource,
            "subresource": subresource,
            "namespace": namespace or "",
            "name": (rules[-1].get("resourceNames") or [""])[0],
        }
        review = {"spec": {"user": name, "resourceAttributes": attributes}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        self.plane.wait_until(
            f"{name} has its rights",
            lambda: self.plane.request("POST", path, review)["status"]["allowed"],
        )
        return name

    def path_of(self, user: str) -> tuple[Step, ...] | None:
        """What the index says of a user, from the cluster as it is collected."""
        harvest = collect_kubernetes(kubeconfig=self.plane.kubeconfig, config=KubernetesTable())
        (view,) = views(snapshot_of(harvest))
        return rbac_index(view).path_to_admin(("User", None, user))

    def first(self, user: str) -> str:
        """The first step of its path, in words."""
        path = self.path_of(user)
        assert path, f"the index finds no path for {user}"
        return path[0].text

    def is_admin(self, user: str, groups: list[str]) -> bool:
        """Whether a user may do everything now."""
        every = {"verb": "*", "group": "*", "resource": "*"}
        review = {"spec": {"user": user, "groups": groups, "resourceAttributes": every}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(self.plane.request("POST", path, review)["status"]["allowed"])


BOSS = f"system:serviceaccount:{SPACE}:boss"


@pytest.fixture(scope="module")
def cluster(controlplane: ControlPlane) -> Iterator[Cluster]:
    found = Cluster(controlplane)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    assert controlplane.apply([space]) == []
    accounts = f"/api/v1/namespaces/{SPACE}/serviceaccounts"
    found.object(accounts, "ServiceAccount", "boss")
    found.object(
        f"/apis/{RBAC}/v1/clusterrolebindings",
        "ClusterRoleBinding",
        "judge-boss",
        roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        subjects=[{"kind": "ServiceAccount", "namespace": SPACE, "name": "boss"}],
    )
    controlplane.wait_until("the account is strong", lambda: found.is_admin(BOSS, []))
    yield found
    for path in reversed(found.made):
        try:
            controlplane.request("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise
    controlplane.request("DELETE", f"/api/v1/namespaces/{SPACE}")


def binding(user: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "metadata": {"name": f"{user}-more"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }


def test_bind_gives_cluster_admin_and_writing_bindings_alone_does_not(cluster: Cluster) -> None:
    path = f"/apis/{RBAC}/v1/clusterrolebindings"
    writing = cluster.user(rule("create update patch", "clusterrolebindings", RBAC))
    status, _ = Actor(cluster.plane, writing).ask("POST", path, binding(writing))
    assert status == 403
    assert cluster.path_of(writing) is None

    user = cluster.user(
        rule("create", "clusterrolebindings", RBAC),
        rule("bind", "clusterroles", RBAC, "cluster-admin"),
    )
    assert "bind cluster-admin to itself" in cluster.first(user)
    status, _ = Actor(cluster.plane, user).ask("POST", path, binding(user))
    assert status == 201
    cluster.made.append(f"{path}/{user}-more")
    cluster.plane.wait_until("it is cluster-admin", lambda: cluster.is_admin(user, []))


def test_escalate_extends_ones_own_role_and_update_alone_does_not(cluster: Cluster) -> None:
    more = {"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}
    roles = f"/apis/{RBAC}/v1/clusterroles"
    writing = cluster.user(rule("get update patch", "clusterroles", RBAC))
    status, _ = Actor(cluster.plane, writing).ask("PATCH", f"{roles}/{writing}", more)
    assert status == 403
    assert cluster.path_of(writing) is None

    user = cluster.user(rule("get patch escalate", "clusterroles", RBAC))
    assert f"its own ClusterRole {user}" in cluster.first(user)
    status, _ = Actor(cluster.plane, user).ask("PATCH", f"{roles}/{user}", more)
    assert status == 200
    cluster.plane.wait_until("it is cluster-admin", lambda: cluster.is_admin(user, []))


def test_a_token_of_a_strong_account(cluster: Cluster) -> None:
    user = cluster.user(rule("create", "serviceaccounts/token", "", "boss"), namespace=SPACE)
    assert "create a token of" in cluster.first(user)
    path = f"/api/v1/namespaces/{SPACE}/serviceaccounts/boss/token"
    status, answer = Actor(cluster.plane, user).ask("POST", path, {"spec": {}})
    assert status == 201 and answer["status"]["token"]


def test_a_token_secret_of_a_strong_account_by_create_and_get(cluster: Cluster) -> None:
    reading = cluster.user(rule("get list watch", "secrets"), namespace=SPACE)
    assert cluster.path_of(reading) is None

    user = cluster.user(rule("create get", "secrets"), namespace=SPACE)
    assert "create a token secret" in cluster.first(user)
    actor = Actor(cluster.plane, user)
    path = f"/api/v1/namespaces/{SPACE}/secrets"
    body = {
        "metadata": {
            "name": "taken",
            "annotations": {"kubernetes.io/service-account.name": "boss"},
        },
        "type": "kubernetes.io/service-account-token",
    }
    assert actor.ask("POST", path, body)[0] == 201
    cluster.plane.wait_until(
        "the secret has a token",
        lambda: actor.ask("GET", f"{path}/taken")[1].get("data", {}).get("token"),
    )


def test_patch_and_deletecollection_read_secrets_and_update_and_delete_do_not(
    cluster: Cluster,
) -> None:
    path = f"/api/v1/namespaces/{SPACE}/secrets"
    cluster.object(path, "Secret", "judge-read", data={"key": "dmFsdWU="})
    held = {"key": "dmFsdWU="}
    user = cluster.user(rule("patch deletecollection", "secrets"), namespace=SPACE)
    actor = Actor(cluster.plane, user)
    assert actor.ask("GET", f"{path}/judge-read")[0] == 403
    assert actor.ask("PATCH", f"{path}/judge-read?dryRun=All", {})[1]["data"] == held
    _, answer = actor.ask("DELETE", f"{path}?dryRun=All")
    assert held in [item.get("data") for item in answer["items"]]

    actor = Actor(cluster.plane, cluster.user(rule("update delete", "secrets"), namespace=SPACE))
    body = {"metadata": {"name": "judge-read"}}
    status, answer = actor.ask("PUT", f"{path}/judge-read?dryRun=All", body)
    assert status == 200 and "data" not in answer
    status, answer = actor.ask("DELETE", f"{path}/judge-read?dryRun=All")
    assert status == 200 and "data" not in answer


def test_a_pod_that_runs_as_a_strong_account(cluster: Cluster) -> None:
    user = cluster.user(rule("create", "pods"), namespace=SPACE)
    assert "create pods" in cluster.first(user)
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "taken"},
        "spec": {"serviceAccountName": "boss", "containers": [{"name": "a", "image": "a"}]},
    }
    path = f"/api/v1/namespaces/{SPACE}/pods"
    status, answer = Actor(cluster.plane, user).ask("POST", path, body)
    assert status == 201
    mounts = answer["spec"]["containers"][0]["volumeMounts"]
    assert any("serviceaccount" in mount["mountPath"] for mount in mounts)
    cluster.plane.request("DELETE", f"{path}/taken?gracePeriodSeconds=0")


def test_impersonating_a_group_needs_a_user_or_an_account_too(cluster: Cluster) -> None:
    path = f"/apis/{RBAC}/v1/clusterroles"
    alone = cluster.user(rule("impersonate", "groups"))
    actor = Actor(cluster.plane, alone)
    assert actor.ask("GET", path, Impersonate_Group="system:masters")[0] >= 400
    masked = {"Impersonate_User": alone, "Impersonate_Group": "system:masters"}
    assert actor.ask("GET", path, **masked)[0] == 403
    assert cluster.path_of(alone) is None

    user = cluster.user(rule("impersonate", "users", "", "somebody"), rule("impersonate", "groups"))
    # Equally short, and first by name: any group that is cluster-admin.
    assert cluster.first(user).startswith("impersonate Group:")
    masked = {"Impersonate_User": "somebody", "Impersonate_Group": "system:masters"}
    assert Actor(cluster.plane, user).ask("GET", path, **masked)[0] == 200


def test_impersonating_an_account(cluster: Cluster) -> None:
    path = f"/apis/{RBAC}/v1/clusterroles"
    users = cluster.user(rule("impersonate", "users", "", BOSS))
    assert Actor(cluster.plane, users).ask("GET", path, Impersonate_User=BOSS)[0] == 403
    assert cluster.path_of(users) is None

    user = cluster.user(rule("impersonate", "serviceaccounts", "", "boss"), namespace=SPACE)
    assert cluster.first(user) == f"impersonate ServiceAccount:{SPACE}:boss"
    assert Actor(cluster.plane, user).ask("GET", path, Impersonate_User=BOSS)[0] == 200


def test_impersonating_an_account_that_is_not_there(cluster: Cluster) -> None:
    cluster.object(
        f"/apis/{RBAC}/v1/clusterrolebindings",
        "ClusterRoleBinding",
        "judge-left-over",
        roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        subjects=[{"kind": "ServiceAccount", "namespace": SPACE, "name": "gone"}],
    )
    tokens = cluster.user(rule("create", "serviceaccounts/token", "", "gone"), namespace=SPACE)
    assert cluster.path_of(tokens) is None

    user = cluster.user(rule("impersonate", "serviceaccounts", "", "gone"), namespace=SPACE)
    assert cluster.first(user) == f"impersonate ServiceAccount:{SPACE}:gone"
    gone = f"system:serviceaccount:{SPACE}:gone"
    cluster.plane.wait_until("its binding counts", lambda: cluster.is_admin(gone, []))
    path = f"/apis/{RBAC}/v1/clusterroles"
    assert Actor(cluster.plane, user).ask("GET", path, Impersonate_User=gone)[0] == 200


def test_a_certificate_is_refused_for_system_masters_and_approved_for_others(
    cluster: Cluster,
) -> None:
    group = "certificates.k8s.io"
    user = cluster.user(
        rule("create get", "certificatesigningrequests", group),
        rule("update patch", "certificatesigningrequests/approval", group),
        rule("approve", "signers", group, "kubernetes.io/kube-apiserver-client"),
    )
    assert cluster.first(user).startswith("request and approve a client certificate of")
    actor = Actor(cluster.plane, user)
    path = f"/apis/{group}/v1/certificatesigningrequests"
    status, answer = actor.ask("POST", path, _request("judge-masters", "x", "system:masters"))
    assert status == 403 and "system:masters" in answer["message"]

    manager = "system:kube-controller-manager"
    status, answer = actor.ask("POST", path, _request("judge-other", manager, "any"))
    assert status == 201
    cluster.made.append(f"{path}/judge-other")
    answer["status"]["conditions"] = [
        {"type": "Approved", "status": "True", "reason": "Judged", "message": "by itself"}
    ]
    status, answer = actor.ask("PUT", f"{path}/judge-other/approval", answer)
    assert status == 200
    assert answer["status"]["conditions"][0]["type"] == "Approved"


def _request(name: str, user: str, group: str) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [
        x509.NameAttribute(NameOID.COMMON_NAME, user),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, group),
    ]
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(attributes))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(request).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }


def test_binding_in_one_namespace_gives_that_namespace(cluster: Cluster) -> None:
    user = cluster.user(
        rule("create", "rolebindings", RBAC),
        rule("bind", "clusterroles", RBAC, "cluster-admin"),
        namespace=SPACE,
    )
    assert f"bind cluster-admin to itself in namespace {SPACE}" in cluster.first(user)
    actor = Actor(cluster.plane, user)
    wide = f"/apis/{RBAC}/v1/clusterrolebindings"
    assert actor.ask("POST", wide, binding(user))[0] == 403
    path = f"/apis/{RBAC}/v1/namespaces/{SPACE}/rolebindings"
    assert actor.ask("POST", path, binding(user))[0] == 201
    cluster.made.append(f"{path}/{user}-more")
    token = f"/api/v1/namespaces/{SPACE}/serviceaccounts/boss/token"
    cluster.plane.wait_until(
        "it has the namespace", lambda: actor.ask("POST", token, {"spec": {}})[0] == 201
    )


def test_no_certificate_controller_is_needed_to_see_that_nodes_proxy_is_one_right(
    cluster: Cluster,
) -> None:
    user = cluster.user(rule("get", "nodes/proxy"))
    assert "through the kubelets" in cluster.first(user)
    # There is no kubelet here; the API server lets the request through to one that is not there.
    path = "/api/v1/nodes/nowhere/proxy/run/kube-system/pod/container?cmd=id"
    assert Actor(cluster.plane, user).ask("GET", path)[0] == 404
    other = cluster.user(rule("get", "nodes"))
    assert Actor(cluster.plane, other).ask("GET", path)[0] == 403
    assert cluster.path_of(other) is None
