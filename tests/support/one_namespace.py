"""A cluster with one namespace, for what is decided of a namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auditor.collect.base import Harvest
from auditor.evaluate import views
from auditor.model import Reason, Resource, Target, View
from tests.support.fixtures import snapshot_of

TARGET = "kubernetes:unit"


def view_of(
    labels: Mapping[str, str] | None = None,
    *,
    version: str = "v1.35.4",
    probes: Sequence[tuple[str, Mapping[str, Any]]] = (),
    hidden: Sequence[str] = (),
    servers: Sequence[Sequence[str]] = (),
    more: Sequence[Resource] = (),
) -> tuple[Resource, View]:
    """A namespace, and a view of its cluster: `probes` holds what a dry run said of a rule's pods
    in it, `hidden` the scopes that could not be read, `servers` the flags of each API server
    that runs as a pod, and `more` what else there is.
    """
    harvest = Harvest()
    facts = {"version": version} if version else {}
    harvest.targets.append(Target(TARGET, "kubernetes", "unit", facts))
    metadata = {"name": "shop", "labels": dict(labels or {})}
    namespace = Resource("kubernetes", TARGET, "Namespace", None, "shop", {"metadata": metadata})
    harvest.resources += [namespace, *more]
    for rule, body in probes:
        harvest.resources.append(
            Resource("kubernetes", TARGET, "AdmissionProbe", "shop", rule, body)
        )
    for number, flags in enumerate(servers):
        command = ["kube-apiserver", "--etcd-servers=https://127.0.0.1:2379", *flags]
        spec = {"containers": [{"name": "kube-apiserver", "command": command}]}
        name = f"kube-apiserver-{number}"
        body = {"metadata": {"name": name}, "spec": spec}
        harvest.resources.append(
            Resource("kubernetes", TARGET, "Pod", "kube-system", name, body, spec_path="spec")
        )
    for scope in hidden:
        harvest.gap(TARGET, "kubernetes", scope, Reason.FORBIDDEN, "403")
    return namespace, views(snapshot_of(harvest))[0]
