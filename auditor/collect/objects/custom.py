"""What is kept of custom resources: policies whole enough to be decided, stores of secrets bare.

All text goes through `redact`. Where a kind is known to carry values of secrets, encrypted ones
included, the fields that hold them are not kept at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from auditor.collect.objects.metadata import Reducer
from auditor.collect.objects.podspec import as_text
from auditor.collect.secrets import redact
from auditor.model import Json


def reduce_other(body: Mapping[str, Json]) -> dict[str, Json]:
    """Anything else, a custom resource above all: all its text goes through `redact`."""
    return {
        str(key): _redacted(value, str(key))
        for key, value in body.items()
        if key not in {"apiVersion", "kind", "metadata", "status"}
    }


def _redacted(value: Json, key: str | None) -> Json:
    if isinstance(value, str):
        return redact(value, key)[0]
    if isinstance(value, Mapping):
        # {"name": "TOKEN", "value": "…"}: the name that counts stands beside the value.
        named = value.get("name") if isinstance(value.get("value"), str) else None
        return {
            str(field): _redacted(
                item, named if field == "value" and isinstance(named, str) else str(field)
            )
            for field, item in value.items()
        }
    if isinstance(value, list):
        return [_redacted(item, key) for item in value]
    return value


def _kyverno_policy(body: Mapping[str, Json]) -> dict[str, Json]:
    """A Kyverno policy without what its rules write into other objects, Secrets among them."""
    spec = body.get("spec")
    rules = spec.get("rules") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(rules, list):
        return reduce_other(body)
    return reduce_other(
        {**body, "spec": {**spec, "rules": [_kyverno_rule(rule) for rule in rules]}}
    )


def _kyverno_rule(rule: Json) -> Json:
    if not isinstance(rule, Mapping) or "generate" not in rule:
        return rule
    return {**rule, "generate": _without_data(rule["generate"])}


def _without_data(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _without_data(item) for key, item in value.items() if key != "data"}
    if isinstance(value, list):
        return [_without_data(item) for item in value]
    return value


def _constraint_template(body: Mapping[str, Json]) -> dict[str, Json]:
    """A Gatekeeper template: the kind that it makes, and of its code a fingerprint.

    CEL is kept, for it can be read; Rego is long, and who knows a library's template knows it by
    its fingerprint: the first 16 hex digits of the SHA-256 over the source and its libraries.
    """
    spec = _mapping(body.get("spec"))
    names = _mapping(_mapping(_mapping(spec.get("crd")).get("spec")).get("names"))
    targets = spec.get("targets")
    return {
        "spec": {
            "crd": {"spec": {"names": {"kind": as_text(names.get("kind"))}}},
            "targets": [
                _target(target)
                for target in (targets if isinstance(targets, list) else ())
                if isinstance(target, Mapping)
            ],
        }
    }


def _target(raw: Mapping[str, Json]) -> dict[str, Json]:
    kept: dict[str, Json] = {"target": as_text(raw.get("target"))}
    if raw.get("rego"):
        kept["rego"] = _fingerprint(raw["rego"], raw.get("libs"))
    code = raw.get("code")
    if isinstance(code, list):
        kept["code"] = [_engine(item) for item in code if isinstance(item, Mapping)]
    return kept


def _engine(raw: Mapping[str, Json]) -> dict[str, Json]:
    source = _mapping(raw.get("source"))
    kept = {key: _redacted(value, key) for key, value in source.items() if key != "libs"}
    if source.get("rego"):
        kept["rego"] = _fingerprint(source["rego"], source.get("libs"))
    return {"engine": as_text(raw.get("engine")), "source": kept}


def _fingerprint(code: Json, libraries: Json) -> dict[str, Json]:
    digest = hashlib.sha256(as_text(code).encode())
    for library in libraries if isinstance(libraries, list) else ():
        digest.update(b"\0" + as_text(library).encode())
    return {"length": len(as_text(code)), "fingerprint": digest.hexdigest()[:16]}


def _sealed_secret(body: Mapping[str, Json]) -> dict[str, Json]:
    """Names of keys: an encrypted value is still somebody's secret, and a template may hold one
    that was never encrypted.
    """
    spec = _mapping(body.get("spec"))
    template = _mapping(spec.get("template"))
    kept: dict[str, Json] = {"encryptedData": _keys(spec.get("encryptedData"))}
    if template:
        kept["template"] = {
            "type": as_text(template.get("type")) or "Opaque",
            "data": _keys(template.get("data")),
        }
    return {"spec": kept}


def _external_secret(body: Mapping[str, Json]) -> dict[str, Json]:
    """References are kept; texts of the template for the Secret that it makes are not."""
    return {
        str(key): _redacted(_without_template(value), str(key))
        for key, value in body.items()
        if key not in {"apiVersion", "kind", "metadata", "status"}
    }


def _without_template(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {
            str(key): _keys(_mapping(item).get("data"))
            if key == "template"
            else _without_template(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_template(item) for item in value]
    return value


def _secret_store(body: Mapping[str, Json]) -> dict[str, Json]:
    """Which kind of store, and for whom; how one logs in to it is nobody's business here.

    A provider's settings become the sorted names of their fields: the provider `fake` alone holds
    the secrets themselves.
    """
    spec = _mapping(body.get("spec"))
    providers = _mapping(spec.get("provider"))
    kept: dict[str, Json] = {
        "provider": {str(name): {"fields": _keys(value)} for name, value in providers.items()}
    }
    for key in ("conditions", "controller"):
        if spec.get(key):
            kept[key] = _redacted(spec[key], key)
    return {"spec": kept}


def _keys(value: Json) -> list[str]:
    return sorted(_names(value))


def _names(value: Json) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (str(key) for key in value)


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


CUSTOM_REDUCERS: Mapping[str, Reducer] = {
    "ClusterPolicy": _kyverno_policy,
    "Policy": _kyverno_policy,
    "ConstraintTemplate": _constraint_template,
    "SealedSecret": _sealed_secret,
    **dict.fromkeys(("ExternalSecret", "ClusterExternalSecret"), _external_secret),
    **dict.fromkeys(("SecretStore", "ClusterSecretStore"), _secret_store),
}
"""The kinds of custom resources that are more than text to redact; see `reduce_other`."""
