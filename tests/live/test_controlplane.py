"""The control plane of the live tests is a real one."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from kubernetes import client, config

from tests.support.controlplane import ApiError, Assets, ControlPlane, StartError

pytestmark = pytest.mark.live


# The client is typed in part, and not in each of its versions.
load: Any = config.new_client_from_config


def core(kubeconfig: Path) -> Any:
    return client.CoreV1Api(load(str(kubeconfig)))


def test_server_says_the_version_it_was_pinned_to(controlplane: ControlPlane) -> None:
    version: Any = client.VersionApi(load(str(controlplane.kubeconfig))).get_code()
    assert (version.git_version, version.major, version.minor) == ("v1.35.4", "1", "35")


def test_namespace_gets_its_default_service_account(controlplane: ControlPlane) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "with-account"}}
    assert controlplane.apply([namespace]) == []
    accounts = core(controlplane.kubeconfig).list_namespaced_service_account("with-account")
    assert [account.metadata.name for account in accounts.items] == ["default"]


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
def test_aggregated_role_has_rules(controlplane: ControlPlane, role: str) -> None:
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}"
    assert any("pods" in rule["resources"] for rule in controlplane.request("GET", path)["rules"])


def test_expired_certificate_is_unauthorized(controlplane: ControlPlane) -> None:
    kubeconfig = controlplane.kubeconfig_for("late", ["system:masters"], expired=True)
    with pytest.raises(client.ApiException) as refused:
        core(kubeconfig).list_namespace()
    assert refused.value.status == 401


def test_user_without_a_role_is_forbidden(controlplane: ControlPlane) -> None:
    with pytest.raises(client.ApiException) as refused:
        core(controlplane.kubeconfig_for("nobody", ["strangers"])).list_namespace()
    assert refused.value.status == 403


def test_service_account_token_has_the_rights_bound_to_it(controlplane: ControlPlane) -> None:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "account-views"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "view",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "tokens"}],
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "reader", "namespace": "tokens"},
    }
    assert controlplane.apply([binding, account], create_namespaces=True) == []
    api = core(controlplane.kubeconfig_for_serviceaccount("tokens", "reader"))
    assert api.list_namespaced_pod("tokens").items == []
    with pytest.raises(client.ApiException) as refused:
        api.list_namespaced_secret("tokens")
    assert refused.value.status == 403


def test_run_pod_has_a_token_volume_and_runs(controlplane: ControlPlane) -> None:
    manifest = {
        "metadata": {"name": "runs", "namespace": "default"},
        "spec": {
            "initContainers": [{"name": "first", "image": "registry.test:5000/tools"}],
            "containers": [{"name": "main", "image": "nginx:1.29"}],
        },
    }
    pod = controlplane.run_pod(manifest, node="node-of-run-pod")
    assert pod["status"]["phase"] == "Running"
    assert pod["spec"]["volumes"][0]["name"].startswith("kube-api-access-")
    image = pod["status"]["containerStatuses"][0]["imageID"]
    assert image.startswith("docker.io/library/nginx@sha256:")
    node = core(controlplane.kubeconfig).read_node("node-of-run-pod")
    assert {c.type: c.status for c in node.status.conditions}["Ready"] == "True"
    assert node.spec.taints is None


def test_apply_puts_definitions_first_and_names_what_fails(
    controlplane: ControlPlane, tmp_path: Path
) -> None:
    column = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "shop.test/v1",
            "kind": "Order",
            "metadata": {"name": "one", "namespace": "shop"},
        },
        {"apiVersion": "shop.test/v1", "kind": "Invoice", "metadata": {"name": "none"}},
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "orders.shop.test"},
            "spec": {
                "group": "shop.test",
                "scope": "Namespaced",
                "names": {"kind": "Order", "plural": "orders", "singular": "order"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": column},
                    }
                ],
            },
        },
    ]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects))
    failed = controlplane.apply(tmp_path, create_namespaces=True)
    assert failed == [("Invoice none", "the server has no Invoice in shop.test/v1")]
    assert controlplane.apply(tmp_path, create_namespaces=True) == failed
    listed = controlplane.request("GET", "/apis/shop.test/v1/namespaces/shop/orders")
    assert [order["metadata"]["name"] for order in listed["items"]] == ["one"]


def test_request_raises_what_the_server_refuses(controlplane: ControlPlane) -> None:
    with pytest.raises(ApiError, match="not found") as refused:
        controlplane.request("GET", "/api/v1/namespaces/absent")
    assert refused.value.status == 404


def test_server_proves_itself_by_its_authority(controlplane: ControlPlane) -> None:
    trusting = urllib3.PoolManager(ca_certs=str(controlplane.ca_file))
    assert trusting.request("GET", controlplane.url + "/livez").status == 200
    with pytest.raises(urllib3.exceptions.MaxRetryError) as refused:
        urllib3.PoolManager().request("GET", controlplane.url + "/livez", retries=0)
    assert isinstance(refused.value.reason, urllib3.exceptions.SSLError | ssl.SSLError)


def test_workload_controllers_make_pods_that_can_be_marked_running(
    fresh_controlplane: Callable[..., ControlPlane],
) -> None:
    plane = fresh_controlplane(workload_controllers=True)
    labels = {"app": "web"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "nginx:1.29"}]},
            },
        },
    }
    assert plane.apply([deployment]) == []
    api = core(plane.kubeconfig)
    plane.wait_until("two pods", lambda: len(api.list_namespaced_pod("default").items) == 2)
    for pod in api.list_namespaced_pod("default").items:
        assert pod.metadata.owner_references[0].kind == "ReplicaSet"
        assert plane.mark_running("default", pod.metadata.name)["status"]["phase"] == "Running"


def test_wrong_flag_shows_the_log_and_leaves_nothing(controlplane_assets: Assets) -> None:
    with pytest.raises(StartError, match="unknown flag: --no-such-flag"):
        ControlPlane.start(
            controlplane_assets, controllers=False, extra_apiserver_args=["--no-such-flag"]
        )


def test_stop_ends_every_server_and_removes_the_folder(
    fresh_controlplane: Callable[..., ControlPlane],
) -> None:
    plane = fresh_controlplane(controllers=False)
    folder = plane.folder
    plane.stop()
    plane.stop()
    assert not folder.exists()
    with pytest.raises(urllib3.exceptions.HTTPError):
        plane.request("GET", "/livez")
