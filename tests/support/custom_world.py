"""Custom resource definitions of all kinds that an audit knows, and an object of each, for a live
API server: as small as it takes them, for it is not their schemas that are tested.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auditor.collect.kubernetes.kinds import CONSTRAINTS, CUSTOM_KINDS, Kind
from tests.support.controlplane import ApiError, ControlPlane
from tests.support.kube_world import CUSTOM, VALUE, named

CONSTRAINT = Kind(
    "k8sonlysigned", "K8sOnlySigned", CONSTRAINTS, ("v1beta1",), cluster_wide=True, custom=True
)
"""A kind as Gatekeeper makes it for somebody's template."""

KINDS: tuple[Kind, ...] = (*CUSTOM_KINDS, CONSTRAINT)

_SPECS: dict[str, dict[str, Any]] = {
    "ClusterPolicy": {
        "validationFailureAction": "Enforce",
        "rules": [
            {
                "name": "no-privileged",
                "validate": {"pattern": {"spec": {"=(hostPID)": "false"}}},
            },
            {"name": "make", "generate": {"kind": "Secret", "data": {"data": {"p": VALUE}}}},
        ],
    },
    "ConstraintTemplate": {
        "crd": {"spec": {"names": {"kind": "K8sOnlySigned"}}},
        "targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": "package x"}],
    },
    "SealedSecret": {
        "encryptedData": {"password": VALUE},
        "template": {"data": {"config": VALUE}},
    },
    "ExternalSecret": {
        "secretStoreRef": {"name": "vault"},
        "target": {"template": {"data": {"config": VALUE}}},
        "data": [{"secretKey": "password", "remoteRef": {"key": "shop/db"}}],
    },
    "SecretStore": {"provider": {"fake": {"data": [{"key": "a", "value": VALUE}]}}},
    "ClusterSecretStore": {"provider": {"vault": {"server": "https://vault.example.org"}}},
}


def definition(kind: Kind) -> dict[str, Any]:
    """The custom resource definition of a kind, in the first version that is known of it."""
    name = f"{kind.plural}.{kind.group}"
    scope = "Cluster" if kind.cluster_wide else "Namespaced"
    version = {
        "name": kind.versions[0],
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": CUSTOM},
    }
    return named(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        name,
        # Groups below k8s.io are the project's own, and want to be approved by it.
        meta={"annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        spec={
            "group": kind.group,
            "scope": scope,
            "names": {"kind": kind.name, "plural": kind.plural},
            "versions": [version],
        },
    )


def example(kind: Kind, namespace: str) -> dict[str, Any]:
    """A small object of a kind."""
    return named(
        f"{kind.group}/{kind.versions[0]}",
        kind.name,
        "example",
        "" if kind.cluster_wide else namespace,
        spec=_SPECS.get(kind.name, {"note": "an example"}),
    )


def install(plane: ControlPlane, kinds: Iterable[Kind]) -> None:
    """Create the definitions side by side and wait until each kind is served."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    chosen = list(kinds)
    for kind in chosen:
        plane.request("POST", path, definition(kind))
    for kind in chosen:
        listed = kind.path(kind.versions[0])
        plane.wait_until(f"{listed} is served", lambda listed=listed: plane.request("GET", listed))
    plane.wait_until("the list of groups has all", lambda: _groups(plane) >= set(_names(chosen)))


def uninstall(plane: ControlPlane, kinds: Iterable[Kind]) -> None:
    """Delete the definitions, and wait until no group of theirs is served that was not before."""
    for kind in kinds:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        try:
            plane.request("DELETE", f"{path}/{kind.plural}.{kind.group}")
        except ApiError as error:
            if error.status != 404:
                raise


def _names(kinds: Iterable[Kind]) -> list[str]:
    return [kind.group for kind in kinds]


def _groups(plane: ControlPlane) -> set[str]:
    return {group["name"] for group in plane.request("GET", "/apis")["groups"]}
