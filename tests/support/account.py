"""A service account with rules of its own, for tests of what an auditor may and may not see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.controlplane import ApiError, ControlPlane
from tests.support.kube_world import RBAC, named


class Account:
    """A namespace, a service account and a ClusterRole bound to it, all of one name."""

    def __init__(self, plane: ControlPlane, name: str, rules: Sequence[Mapping[str, Any]]) -> None:
        self.plane = plane
        self.name = name
        reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": name}
        objects = [
            named("v1", "Namespace", name),
            named("v1", "ServiceAccount", name, name),
            named(f"{RBAC}/v1", "ClusterRole", name, rules=list(rules)),
            named(f"{RBAC}/v1", "ClusterRoleBinding", name, roleRef=reference, subjects=[subject]),
        ]
        assert plane.apply(objects) == []
        self.kubeconfig: Path = plane.kubeconfig_for_serviceaccount(name, name)

    def set_rules(self, rules: Iterable[Mapping[str, Any]]) -> None:
        """Replace the rules; the API server takes a moment to know them."""
        role = named(f"{RBAC}/v1", "ClusterRole", self.name, rules=list(rules))
        self.plane.request("PUT", f"/apis/{RBAC}/v1/clusterroles/{self.name}", role)

    def may(self, verb: str, group: str, resource: str, namespace: str = "default") -> bool:
        """Ask the API server; `resource` may name a subresource."""
        parent, _, below = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": parent, "subresource": below}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{self.name}:{self.name}",
                "groups": ["system:authenticated", "system:serviceaccounts"],
                "resourceAttributes": attributes | {"namespace": namespace},
            },
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(self.plane.request("POST", path, review)["status"]["allowed"])

    def remove(self) -> None:
        """Delete all that was made."""
        for path in (
            f"/apis/{RBAC}/v1/clusterrolebindings/{self.name}",
            f"/apis/{RBAC}/v1/clusterroles/{self.name}",
            f"/api/v1/namespaces/{self.name}",
        ):
            try:
                self.plane.request("DELETE", path)
            except ApiError as error:
                if error.status != 404:
                    raise
