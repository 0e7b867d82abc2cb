"""Kyverno: `verifyImages` rules, and image validating policies.

Fields and defaults as Kyverno's API reference has them: `validationFailureAction` is Audit unless
set, `validationActions` of an ImageValidatingPolicy is Deny unless set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum

from auditor.model import Json, Resource, View
from checks.kubernetes._pods import mapping, objects, some
from checks.kubernetes._provenance.claims import (
    Claim,
    Grip,
    asks_about_pods,
    is_every_image,
    named,
    narrowed,
    pod_hooks,
)
from checks.kubernetes._scopes import namespace_labels, selects


class _Match(IntEnum):
    """How much of a namespace's pods a filter takes in; filters are combined by min and max."""

    NONE = 0
    SOME = 1
    ALL = 2


def kyverno(namespace: Resource, view: View) -> Iterator[Claim]:
    """Every rule of Kyverno that verifies images of pods in a namespace."""
    hooks = [
        hook
        for hook in pod_hooks(view)
        if "kyverno" in hook.configuration and hook.asked_in(namespace)
    ]
    limit = narrowed(hooks)
    for policy in (
        *view.of_kind("ClusterPolicy"),
        *view.in_namespace("Policy", namespace.name),
    ):
        for rule in objects(policy.spec.get("rules")):
            yield from _claims(
                _of_rule(policy, rule, namespace, view), bool(hooks), narrowed(hooks)
            )
    for policy in (
        *view.of_kind("ImageValidatingPolicy"),
        *view.in_namespace("NamespacedImageValidatingPolicy", namespace.name),
    ):
        yield from _claims(_of_policy(policy, namespace, view), bool(hooks), limit)


def _claims(found: Claim | None, is_asked: bool, limit: str) -> Iterator[Claim]:
    """A claim of a policy, as far as Kyverno is asked about the namespace at all."""
    if found is None:
        return
    if not is_asked:
        yield Claim(Grip.AUDITS, found.by, "no webhook of Kyverno is asked about pods here")
    elif limit and found.grip is Grip.ENFORCES:
        yield Claim(Grip.IN_PART, found.by, limit)
    else:
        yield found


def _of_rule(
    policy: Resource, rule: Mapping[str, Json], namespace: Resource, view: View
) -> Claim | None:
    entries = [entry for entry in objects(rule.get("verifyImages")) if _has_attestor(entry)]
    matched = _matches(rule, namespace)
    if not entries or matched is _Match.NONE:
        return None
    by = f"Kyverno {policy.kind} {policy.name}, rule {rule.get('name')}"
    acting = [entry for entry in entries if _enforces(policy, entry, namespace)]
    if policy.spec.get("admission") is False or not acting:
        return Claim(Grip.AUDITS, by, "in audit mode")
    references = [reference for entry in acting for reference in _references(entry)]
    limits = [
        "only some pods" if matched is _Match.SOME else "",
        "under preconditions" if rule.get("preconditions") or rule.get("celPreconditions") else "",
        "" if is_every_image(references) else f"only images like {some(references)}",
        "some images are skipped" if any(e.get("skipImageReferences") for e in acting) else "",
        "not required" if all(entry.get("required") is False for entry in acting) else "",
        _SILENT if _fails_open(policy) else "",
        _excepted(policy, view, "PolicyException"),
    ]
    why = "; ".join(filter(None, limits))
    return Claim(Grip.IN_PART if why else Grip.ENFORCES, by, why)


_SILENT = "pods are admitted when Kyverno does not answer (failurePolicy Ignore)"


def _fails_open(policy: Resource) -> bool:
    configured = mapping(policy.spec.get("webhookConfiguration")).get("failurePolicy")
    return "Ignore" in (policy.spec.get("failurePolicy"), configured)


def _has_attestor(entry: Mapping[str, Json]) -> bool:
    """Whether an entry verifies a signature; without one it only asks for digests."""
    return any(entry.get(key) for key in ("attestors", "attestations", "key", "issuer", "roots"))


def _references(entry: Mapping[str, Json]) -> list[str]:
    listed = entry.get("imageReferences")
    references = [str(item) for item in listed] if isinstance(listed, list) else []
    return [*references, str(entry["image"])] if entry.get("image") else references


def _enforces(policy: Resource, entry: Mapping[str, Json], namespace: Resource) -> bool:
    action = entry.get("failureAction")
    if not action:
        action = policy.spec.get("validationFailureAction")
        for override in objects(policy.spec.get("validationFailureActionOverrides")):
            here = named(override.get("namespaces"), namespace.name)
            if here or (not override.get("namespaces") and _selected(override, namespace)):
                action = override.get("action")
    return str(action).lower() == "enforce"


def _selected(resources: Mapping[str, Json], namespace: Resource) -> bool:
    selector = resources.get("namespaceSelector")
    return bool(selector) and selects(selector, namespace_labels(namespace))


def _matches(rule: Mapping[str, Json], namespace: Resource) -> _Match:
    """How much of a namespace's pods a rule is about: what it matches, less what it excludes."""
    matched = _of_filter(mapping(rule.get("match")), namespace)
    excluded = mapping(rule.get("exclude"))
    if not excluded or matched is _Match.NONE:
        return matched
    out = _of_filter(excluded, namespace)
    return _Match.NONE if out is _Match.ALL else min(matched, _Match(2 - out))


def _of_filter(block: Mapping[str, Json], namespace: Resource) -> _Match:
    if block.get("any"):
        found = (_of_resources(item, namespace) for item in objects(block["any"]))
        return max(found, default=_Match.NONE)
    if block.get("all"):
        found = (_of_resources(item, namespace) for item in objects(block["all"]))
        return min(found, default=_Match.NONE)
    return _of_resources(block, namespace)


_NARROWING = ("name", "names", "selector", "annotations")


def _of_resources(block: Mapping[str, Json], namespace: Resource) -> _Match:
    resources = mapping(block.get("resources"))
    if not _is_pod(resources.get("kinds")):
        return _Match.NONE
    if resources.get("namespaces") and not named(resources["namespaces"], namespace.name):
        return _Match.NONE
    if resources.get("namespaceSelector") and not _selected(resources, namespace):
        return _Match.NONE
    operations = resources.get("operations")
    if isinstance(operations, list) and operations and "CREATE" not in operations:
        return _Match.NONE
    narrowing = [resources.get(key) for key in _NARROWING]
    narrowing += [block.get(key) for key in ("subjects", "roles", "clusterRoles")]
    return _Match.SOME if any(narrowing) else _Match.ALL


def _is_pod(kinds: Json) -> bool:
    """Whether kinds as Kyverno writes them (`Pod`, `v1/Pod`, `*/Pod`, `*`) take in pods."""
    if not kinds:
        return True
    listed = kinds if isinstance(kinds, list) else ()
    return any(str(kind).rpartition("/")[2] in ("Pod", "*") for kind in listed)


def _of_policy(policy: Resource, namespace: Resource, view: View) -> Claim | None:
    spec = policy.spec
    constraints = mapping(spec.get("matchConstraints"))
    if not asks_about_pods(constraints.get("resourceRules")):
        return None
    if not selects(constraints.get("namespaceSelector"), namespace_labels(namespace)):
        return None
    by = f"Kyverno {policy.kind} {policy.name}"
    actions = spec.get("validationActions")
    evaluation = mapping(mapping(spec.get("evaluation")).get("admission"))
    if (isinstance(actions, list) and actions and "Deny" not in actions) or (
        evaluation.get("enabled") is False
    ):
        return Claim(Grip.AUDITS, by, "in audit mode")
    references = objects(spec.get("matchImageReferences"))
    globs = [str(item["glob"]) for item in references if item.get("glob")]
    limits = [
        "" if is_every_image(globs) else f"only images like {some(globs) or 'an expression says'}",
        "" if _verifies(spec) else "what its expressions verify must be read",
        "under matchConditions" if spec.get("matchConditions") else "",
        "only pods with certain labels" if mapping(constraints.get("objectSelector")) else "",
        "some requests are left out" if constraints.get("excludeResourceRules") else "",
        _SILENT if _fails_open(policy) else "",
        _excepted(policy, view, "PolicyException.policies.kyverno.io"),
    ]
    why = "; ".join(filter(None, limits))
    return Claim(Grip.IN_PART if why else Grip.ENFORCES, by, why)


def _verifies(spec: Mapping[str, Json]) -> bool:
    """Whether a validation calls one of the functions that verify, and there is whom to trust."""
    return bool(spec.get("attestors")) and any(
        "verifyImageSignatures(" in str(item.get("expression"))
        or "verifyAttestationSignatures(" in str(item.get("expression"))
        for item in objects(spec.get("validations"))
    )


def _excepted(policy: Resource, view: View, kind: str) -> str:
    """The exceptions to a policy, which may let any pod pass."""
    names: Sequence[str] = [
        exception.name
        for exception in view.of_kind(kind)
        for field, key in (("exceptions", "policyName"), ("policyRefs", "name"))
        for item in objects(exception.spec.get(field))
        if str(item.get(key)).rpartition("/")[2] == policy.name
    ]
    return f"with the exception {some(dict.fromkeys(names))}" if names else ""
