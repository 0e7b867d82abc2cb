"""A pod as admission sees it: with the defaults of the API and of the server's own plugins.

Validation comes last, when every absent field that has a default has it, the service account's
token is mounted and the status is there. Policies are written against that form: one that asks for
`object.spec.securityContext` without `has()` is right, for the API sets it. Mutating webhooks and
policies are not played here: what they mend is seen by `--probe-admission` alone.

Sources: `k8s.io/kubernetes` 1.35, `pkg/apis/core/v1/defaults.go`, `pkg/registry/core/pod` and
`plugin/pkg/admission/{serviceaccount,defaulttolerationseconds,priority}`; held against a real API
server by `tests/live/test_admission_policies.py`.
"""

from __future__ import annotations

from copy import deepcopy

from auditor.model import Json, Resource, View
from checks.kubernetes._admission.answers import Pod
from checks.kubernetes._pods import mapping, objects

_TOKEN = "kube-api-access-xxxxx"  # the API server ends it with random letters
_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_CONTAINER_LISTS = ("initContainers", "containers")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_MODES = ("secret", "configMap", "projected", "downwardAPI")

_POD_DEFAULTS: dict[str, Json] = {
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
    "priority": 0,
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
_FALSE_IS_ABSENT = frozenset(
    {"hostIPC", "hostNetwork", "hostPID", "readOnly", "stdin", "stdinOnce", "tty"}
)
_MAPS = frozenset({"annotations", "labels", "limits", "nodeSelector", "requests"})
_PROBE_DEFAULTS = {
    "failureThreshold": 3,
    "periodSeconds": 10,
    "successThreshold": 1,
    "timeoutSeconds": 1,
}
_UNREADY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def as_created(pod: Pod, namespace: str, *, token: bool = True) -> dict[str, Json]:
    """Return a copy of a pod as it reaches validation in a namespace.

    `token` says whether its service account lets a token be mounted. What has a shape that the
    API would not take is left as it is.
    """
    made: dict[str, Json] = deepcopy(dict(pod))
    metadata = _lean(dict(mapping(made.get("metadata"))))
    metadata.update(
        namespace=namespace,
        uid="00000000-0000-0000-0000-000000000000",
        creationTimestamp="2000-01-01T00:00:00Z",
        generation=1,
    )
    made.update(apiVersion="v1", kind="Pod", metadata=metadata)
    spec = made.get("spec")
    if not isinstance(spec, dict):
        return made
    made["spec"] = spec = _lean(spec)
    made["status"] = {"phase": "Pending", "qosClass": _quality(spec)}
    for key, value in _POD_DEFAULTS.items():
        spec.setdefault(key, deepcopy(value))
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    tolerations = spec.setdefault("tolerations", [])
    if isinstance(tolerations, list):
        tolerations += [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            for key in _UNREADY
            if not any(_tolerates(item, key) for item in objects(tolerations))
        ]
    for volume in objects(spec.get("volumes")):
        _volume(volume)
    for key in _CONTAINER_LISTS:
        for container in objects(spec.get(key)):
            _container(container, on_host=spec.get("hostNetwork") is True)
    if token and spec.get("automountServiceAccountToken") is not False:
        _mount_token(spec)
    return made


def mounts_token(pod: Pod, namespace: str, view: View) -> bool:
    """Whether the service account of a pod lets its token be mounted, as far as it was read."""
    spec = mapping(pod.get("spec"))
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    account: Resource
    for account in view.in_namespace("ServiceAccount", namespace):
        if account.name == name:
            return account.body.get("automountServiceAccountToken") is not False
    return True


def _lean(value: Json) -> Json:
    """A value without the fields that the API leaves out where they say nothing."""
    if isinstance(value, dict):
        return {
            name: _lean(item)
            for name, item in value.items()
            if item is not None
            and not (item == [] and name != "containers")
            and not (item is False and name in _FALSE_IS_ABSENT)
            and not (item == {} and name in _MAPS)
            and not (name == "hostPort" and item == 0)
        }
    if isinstance(value, list):
        return [_lean(item) for item in value]
    return value


def _tolerates(toleration: Json, key: str) -> bool:
    named = toleration.get("key") or key
    return bool(named == key and toleration.get("effect") in (None, "", "NoExecute"))


def _container(container: Json, *, on_host: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if "imagePullPolicy" not in container:
        container["imagePullPolicy"] = (
            "Always" if _latest(container.get("image")) else "IfNotPresent"
        )
    resources = container.setdefault("resources", {})
    limits = mapping(mapping(resources).get("limits"))
    if limits and isinstance(resources, dict):
        requests = resources.setdefault("requests", {})
        if isinstance(requests, dict):
            for key, value in limits.items():
                requests.setdefault(key, value)
    for port in objects(container.get("ports")):
        _set(port, "protocol", "TCP")
        if on_host and not port.get("hostPort"):
            _set(port, "hostPort", port.get("containerPort"), over=True)
    for entry in objects(container.get("env")):
        _field(mapping(entry.get("valueFrom")).get("fieldRef"))
    for name in _PROBES:
        probe = container.get(name)
        if isinstance(probe, dict):
            for key, value in _PROBE_DEFAULTS.items():
                probe.setdefault(key, value)
            if isinstance(probe.get("httpGet"), dict):
                probe["httpGet"].setdefault("scheme", "HTTP")


def _set(target: Json, key: str, value: Json, *, over: bool = False) -> None:
    if over or key not in target:
        target[key] = value


def _latest(image: Json) -> bool:
    name = str(image or "").rpartition("/")[2]
    return "@" not in name and name.partition(":")[2] in ("", "latest")


def _volume(volume: Json) -> None:
    for source in _MODES:
        if isinstance(volume.get(source), dict):
            volume[source].setdefault("defaultMode", 420)
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")
    for item in objects(mapping(volume.get("downwardAPI")).get("items")):
        _field(item.get("fieldRef"))


def _field(reference: Json) -> None:
    if isinstance(reference, dict):
        reference.setdefault("apiVersion", "v1")


def _mount_token(spec: dict[str, Json]) -> None:
    """Add the projected volume of the service account's token, mounted in every container."""
    volumes = spec.setdefault("volumes", [])
    if not isinstance(volumes, list):
        return
    namespace = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources: list[Json] = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {
            "configMap": {
                "name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {"downwardAPI": {"items": [{"path": "namespace", **namespace}]}},
    ]
    volumes.append({"name": _TOKEN, "projected": {"sources": sources, "defaultMode": 420}})
    mount = {"name": _TOKEN, "readOnly": True, "mountPath": _MOUNT}
    for key in _CONTAINER_LISTS:
        for container in objects(spec.get(key)):
            mounts = container.get("volumeMounts")
            found = mounts if isinstance(mounts, list) else []
            if not any(item.get("mountPath") == _MOUNT for item in objects(found)):
                _set(container, "volumeMounts", [*found, dict(mount)], over=True)


def _quality(spec: dict[str, Json]) -> str:
    """The pod's quality of service class (`pkg/apis/core/v1/helper/qos`)."""
    containers = [item for key in _CONTAINER_LISTS for item in objects(spec.get(key))]
    asked = [mapping(item.get("resources")) for item in containers]
    if not any(mapping(item.get("requests")) or mapping(item.get("limits")) for item in asked):
        return "BestEffort"
    for item in asked:
        limits = mapping(item.get("limits"))
        requests = {**limits, **mapping(item.get("requests"))}
        if any(
            limits.get(key) is None or requests[key] != limits[key] for key in ("cpu", "memory")
        ):
            return "Burstable"
    return "Guaranteed"
