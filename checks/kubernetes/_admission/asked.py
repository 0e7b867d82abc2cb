"""The request that admission is asked about: a pod, in a namespace, made by somebody.

Prepared once for each pod and kept for the view, for every policy looks at the same one. The pods
are told apart by identity: whoever asks keeps them, and does not change them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from auditor.model import Json, Resource, View
from checks.kubernetes._admission.answers import Pod
from checks.kubernetes._admission.cel import Measure, Path, weigh
from checks.kubernetes._admission.created import as_created, mounts_token
from checks.kubernetes._admission.matching import GROUP, KIND, OPERATION, RESOURCE, VERSION
from checks.kubernetes._pods import mapping
from checks.kubernetes._scopes import namespace_labels

_KEPT = 1000
_KIND = {"group": GROUP, "version": VERSION, "kind": KIND}
_RESOURCE = {"group": GROUP, "version": VERSION, "resource": RESOURCE}


class User(NamedTuple):
    """Somebody who creates a pod."""

    username: str
    groups: Sequence[str]


class Asked:
    """One pod in one namespace, as admission would see it.

    `key` tells a pod from all others, whatever its namespace; `identity` is the same for pods that
    selectors and names cannot tell apart.
    """

    def __init__(self, prepared: _Prepared, namespace: Resource) -> None:
        self.key: object = prepared
        self.identity: object = prepared.identity
        self.namespace = namespace
        self.namespace_labels = namespace_labels(namespace)
        metadata = {**prepared.pod["metadata"], "namespace": namespace.name}
        self.object: Mapping[str, Json] = {**prepared.pod, "metadata": metadata}
        self.measured = prepared.measured
        self.name = str(metadata.get("name") or "")
        self.labels = prepared.labels

    def users(self) -> Sequence[User]:
        """Those who create pods: a person, a controller, and a workload of the same namespace.

        A policy that treats them alike treats (nearly) everybody alike. One that exempts somebody
        by name refuses the rest, which is what it is for.
        """
        account = "system:serviceaccount"
        own = self.namespace.name
        return (
            User("somebody", ("system:authenticated",)),
            User(
                f"{account}:kube-system:replicaset-controller",
                (f"{account}s", f"{account}s:kube-system", "system:authenticated"),
            ),
            User(
                f"{account}:{own}:default",
                (f"{account}s", f"{account}s:{own}", "system:authenticated"),
            ),
        )

    def request(self, user: User) -> dict[str, Json]:
        """The attributes of the request, as CEL sees them (`request`), options aside."""
        return {
            "uid": "",
            "kind": _KIND,
            "resource": _RESOURCE,
            "requestKind": _KIND,
            "requestResource": _RESOURCE,
            "name": self.name,
            "namespace": self.namespace.name,
            "operation": OPERATION,
            "userInfo": {"username": user.username, "groups": list(user.groups)},
            "dryRun": False,
        }

    def namespace_object(self) -> dict[str, Json]:
        """The namespace, as CEL sees it (`namespaceObject`)."""
        metadata = {
            **self.namespace.metadata,
            "name": self.namespace.name,
            "labels": self.namespace_labels,
        }
        return {
            "metadata": metadata,
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }


class _Prepared:
    def __init__(self, pod: Pod, token: bool) -> None:
        weigh(dict(pod))  # what is too deep must not be copied either
        self.pod = as_created(pod, "", token=token)
        # With room for the name of any namespace (DNS labels have 63 characters).
        size = weigh(self.pod) + 64.0
        self.measured: Mapping[Path, Measure] = {("object",): Measure(size, size)}
        metadata = self.pod["metadata"]
        self.labels = _texts(metadata.get("labels"))
        annotations = _texts(metadata.get("annotations"))
        self.identity = (
            str(metadata.get("name") or ""),
            frozenset(self.labels.items()),
            frozenset(annotations.items()),
        )
        self.origin = pod  # so that no other pod can have its identity


def _texts(value: Json) -> dict[str, str]:
    return {str(key): str(item) for key, item in mapping(value).items()}


class _Pods:
    def __init__(self, view: View) -> None:
        self.known: dict[tuple[int, bool], _Prepared] = {}
        self.tokens: dict[tuple[str, str], bool] = {}


def asked(pod: Pod, namespace: Resource, view: View) -> Asked:
    """Prepare a pod for a namespace. Raises `UnsupportedError` if it is too large, or no JSON.

    `key` is the same for the same pod in all namespaces where its token is mounted alike.
    """
    pods = view.index(_Pods)
    spec = mapping(pod.get("spec"))
    account = str(spec.get("serviceAccountName") or "default")
    token = spec.get("automountServiceAccountToken") is not False
    if token:
        place = (namespace.name, account)
        if place not in pods.tokens:
            pods.tokens[place] = mounts_token(pod, namespace.name, view)
        token = pods.tokens[place]
    prepared = pods.known.get((id(pod), token))
    if prepared is None:
        if len(pods.known) >= _KEPT:
            pods.known.clear()
        prepared = pods.known[id(pod), token] = _Prepared(pod, token)
    return Asked(prepared, namespace)
