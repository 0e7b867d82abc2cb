"""What is kept of each kind of object, metadata aside: one small function a kind.

Each takes the decoded object, returns the kept fields, and raises `ValueError` with the place in
words where the object has a shape that no API server would take.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from auditor.collect.objects.certificates import subject_of
from auditor.collect.objects.custom import CUSTOM_REDUCERS
from auditor.collect.objects.metadata import Reducer, prune_metadata
from auditor.collect.objects.podspec import SpecPool, as_text, listed, prune_pod_spec, summary_of
from auditor.collect.secrets import detect, redact
from auditor.model import Json
from auditor.workloads import TEMPLATE_PATHS

# Code in a ConfigMap assigns to variables called `password` all the time; settings mean it.
_SOURCE_CODE = frozenset(
    {".c", ".go", ".java", ".js", ".lua", ".php", ".pl", ".py", ".rb", ".rs", ".tpl", ".ts"}
)


def reduce_pod(body: Mapping[str, Json], specs: SpecPool | None = None) -> dict[str, Json]:
    """A pod: its spec shared through `specs`, where it runs, and what its containers report."""
    raw = body.get("spec")
    if not isinstance(raw, Mapping):
        raise ValueError("spec is not an object")
    kept: dict[str, Json] = {"spec": prune_pod_spec(raw) if specs is None else specs.share(raw)}
    for key in ("nodeName", "hostname"):
        if raw.get(key):
            kept[key] = raw[key]
    status = body.get("status")
    if isinstance(status, Mapping):
        kept["status"] = {
            "phase": status.get("phase"),
            "containerStatuses": [
                {
                    key: item[key]
                    for key in ("name", "ready", "restartCount", "imageID")
                    if key in item
                }
                for item in status.get("containerStatuses") or ()
                if isinstance(item, Mapping)
            ],
        }
    return kept


def _workload(body: Mapping[str, Json]) -> dict[str, Json]:
    """A kind with a pod template, which stands at one of `TEMPLATE_PATHS`."""
    parts = TEMPLATE_PATHS[str(body.get("kind"))].split(".")[:-1]
    kept: dict[str, Json] = {}
    source: Mapping[str, Json] = body
    into = kept
    for depth, part in enumerate(parts):
        value = source.get(part)
        if not isinstance(value, Mapping):
            raise ValueError(f"{'.'.join(parts[: depth + 1])} is not an object")
        if part == "template":
            into[part] = _template(value)
            break
        into[part] = {
            key: item
            for key, item in value.items()
            if key not in {"jobTemplate", "template", "volumeClaimTemplates"}
        }
        source, into = value, into[part]
    return kept


def _template(raw: Mapping[str, Json]) -> dict[str, Json]:
    metadata = raw.get("metadata")
    return {
        "metadata": prune_metadata(metadata) if isinstance(metadata, Mapping) else {},
        "spec": prune_pod_spec(raw.get("spec")),
    }


def _replicaset(body: Mapping[str, Json]) -> dict[str, Json]:
    """Old revisions of a Deployment run nothing and are judged nowhere: their template goes."""
    spec, metadata = body.get("spec"), body.get("metadata")
    old = (
        isinstance(spec, Mapping)
        and isinstance(metadata, Mapping)
        and spec.get("replicas") == 0
        and any(
            isinstance(owner, Mapping)
            and owner.get("controller")
            and owner.get("kind") == "Deployment"
            for owner in metadata.get("ownerReferences") or ()
        )
    )
    return {"spec": {"replicas": 0}} if old else _workload(body)


def _configmap(body: Mapping[str, Json]) -> dict[str, Json]:
    kept: dict[str, Json] = {}
    for field in ("data", "binaryData"):
        values = body.get(field)
        if values is None:
            continue
        if not isinstance(values, Mapping):
            raise ValueError(f"{field} is not an object")
        kept[field] = {
            str(key): _config_value(str(key), as_text(value)) for key, value in values.items()
        }
    return kept


def _config_value(key: str, text: str) -> dict[str, Json]:
    settings = "\n" in text and PurePosixPath(key).suffix.lower() not in _SOURCE_CODE
    return summary_of(text, detect(text, key, assignments=settings))


def _secret(body: Mapping[str, Json]) -> dict[str, Json]:
    keys = {
        str(key)
        for field in ("data", "stringData")
        if isinstance(body.get(field), Mapping)
        for key in body[field]
    }
    return {"type": as_text(body.get("type")) or "Opaque", "keys": sorted(keys)}


def _namespace(body: Mapping[str, Json]) -> dict[str, Json]:
    status = body.get("status")
    phase = status.get("phase") if isinstance(status, Mapping) else None
    return {"status": {"phase": phase}} if phase else {}


def _node(body: Mapping[str, Json]) -> dict[str, Json]:
    kept: dict[str, Json] = {}
    spec, status = body.get("spec"), body.get("status")
    if isinstance(spec, Mapping):
        kept["spec"] = {key: spec[key] for key in ("taints", "unschedulable") if key in spec}
    if isinstance(status, Mapping):
        kept["status"] = {
            "nodeInfo": status.get("nodeInfo") or {},
            "conditions": [
                {key: item.get(key) for key in ("type", "status")}
                for item in status.get("conditions") or ()
                if isinstance(item, Mapping)
            ],
        }
    return kept


def _rules(body: Mapping[str, Json]) -> dict[str, Json]:
    kept: dict[str, Json] = {"rules": listed(body, "rules", _kind(body))}
    if body.get("aggregationRule"):
        kept["aggregationRule"] = body["aggregationRule"]
    return kept


def _binding(body: Mapping[str, Json]) -> dict[str, Json]:
    if not isinstance(body.get("roleRef"), Mapping):
        raise ValueError("roleRef is not an object")
    return {
        "roleRef": body["roleRef"],
        "subjects": listed(body, "subjects", _kind(body)),
    }


def _kind(body: Mapping[str, Json]) -> str:
    return str(body.get("kind"))


def _service_account(body: Mapping[str, Json]) -> dict[str, Json]:
    kept: dict[str, Json] = {
        key: [item.get("name") for item in listed(body, key, "ServiceAccount")]
        for key in ("secrets", "imagePullSecrets")
        if body.get(key)
    }
    if body.get("automountServiceAccountToken") is not None:
        kept["automountServiceAccountToken"] = body["automountServiceAccountToken"]
    return kept


def _webhooks(body: Mapping[str, Json]) -> dict[str, Json]:
    hooks = []
    for raw in listed(body, "webhooks", _kind(body)):
        hook = dict(raw)
        client = hook.get("clientConfig")
        if isinstance(client, Mapping):
            kept = {key: value for key, value in client.items() if key != "caBundle"}
            if kept.get("url"):
                kept["url"] = redact(as_text(kept["url"]))[0]
            hook["clientConfig"] = kept
        hooks.append(hook)
    return {"webhooks": hooks}


def _crd(body: Mapping[str, Json]) -> dict[str, Json]:
    """Names and groups alone: the schemas of a few operators outweigh the rest of a cluster."""
    spec = body.get("spec")
    if not isinstance(spec, Mapping):
        return {}
    names = spec.get("names")
    kept: dict[str, Json] = {key: spec[key] for key in ("group", "scope") if key in spec}
    if isinstance(names, Mapping):
        kept["names"] = {key: names[key] for key in ("kind", "plural") if key in names}
    return {"spec": kept}


def _spec(body: Mapping[str, Json]) -> dict[str, Json]:
    spec = body.get("spec")
    if spec is None:
        return {}
    if not isinstance(spec, Mapping):
        raise ValueError("spec is not an object")
    return {"spec": spec}


def _signing_request(body: Mapping[str, Json]) -> dict[str, Json]:
    """Who asks for a certificate, for whom, and what became of it; neither the request itself nor
    the certificate, and not `extra`, which holds the asker's own session.
    """
    spec, status = body.get("spec"), body.get("status")
    if not isinstance(spec, Mapping):
        raise ValueError("spec is not an object")
    status = status if isinstance(status, Mapping) else {}
    return {
        "subject": subject_of(spec.get("request")),
        "spec": {
            key: spec[key]
            for key in ("signerName", "username", "groups", "usages", "expirationSeconds")
            if spec.get(key) is not None
        },
        "status": {
            "conditions": [
                {"type": as_text(item.get("type"))}
                for item in status.get("conditions") or ()
                if isinstance(item, Mapping)
            ],
            "certificate": bool(status.get("certificate")),
        },
    }


REDUCERS: Mapping[str, Reducer] = {
    **CUSTOM_REDUCERS,
    **dict.fromkeys(TEMPLATE_PATHS, _workload),
    "ReplicaSet": _replicaset,
    "Pod": reduce_pod,
    "ConfigMap": _configmap,
    "Secret": _secret,
    "Namespace": _namespace,
    "Node": _node,
    "Role": _rules,
    "ClusterRole": _rules,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
    "ServiceAccount": _service_account,
    "ValidatingWebhookConfiguration": _webhooks,
    "MutatingWebhookConfiguration": _webhooks,
    "CustomResourceDefinition": _crd,
    "CertificateSigningRequest": _signing_request,
    **dict.fromkeys(
        (
            "CSIDriver",
            "Ingress",
            "LimitRange",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "ResourceQuota",
            "Service",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ),
        _spec,
    ),
}
