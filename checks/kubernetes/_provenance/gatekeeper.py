"""Gatekeeper with Ratify, as constraints that ask Ratify about the images of a pod.

Ratify is asked by a constraint template of its own, whose kind begins with `Ratify`
(RatifyVerification in its documentation); the code of templates is not kept, so that others
cannot be told from any other constraint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from auditor.model import Json, Resource, View
from checks.kubernetes._pods import mapping, objects
from checks.kubernetes._provenance.claims import Claim, Grip, named, narrowed, pod_hooks
from checks.kubernetes._scopes import namespace_labels, selects

_CONSTRAINTS = "constraints.gatekeeper.sh"
_HOOK = "validation.gatekeeper.sh"


def ratify(namespace: Resource, view: View) -> Iterator[Claim]:
    """Constraints of Ratify that are about pods of a namespace."""
    hooks = [hook for hook in pod_hooks(view) if hook.name == _HOOK and hook.asked_in(namespace)]
    for constraint in view.of_group(_CONSTRAINTS):
        match = mapping(constraint.spec.get("match"))
        if not constraint.kind.startswith("Ratify") or not _is_about(match, namespace):
            continue
        by = f"Ratify by the Gatekeeper constraint {constraint.kind} {constraint.name}"
        action = constraint.spec.get("enforcementAction") or "deny"
        if not hooks or _is_excluded(namespace, view):
            yield Claim(Grip.AUDITS, by, "Gatekeeper is not asked about pods here")
        elif action not in ("deny", "scoped"):
            yield Claim(Grip.AUDITS, by, f"enforcementAction is {action}")
        else:
            limits = [
                narrowed(hooks),
                "only at the enforcement points it names" if action == "scoped" else "",
                "only some pods"
                if any(match.get(key) for key in ("labelSelector", "name"))
                else "",
                "Gatekeeper's webhook admits pods when it does not answer (failurePolicy Ignore)"
                if all(hook.fails_open for hook in hooks)
                else "",
            ]
            why = "; ".join(filter(None, limits))
            yield Claim(Grip.IN_PART if why else Grip.ENFORCES, by, why)


def _is_about(match: Mapping[str, Json], namespace: Resource) -> bool:
    kinds = objects(match.get("kinds"))
    pods = not kinds or any(
        {"", "*"} & {*_texts(item, "apiGroups")} and {"Pod", "*"} & {*_texts(item, "kinds")}
        for item in kinds
    )
    return (
        pods
        and match.get("scope") != "Cluster"
        and (not match.get("namespaces") or named(match["namespaces"], namespace.name))
        and not named(match.get("excludedNamespaces"), namespace.name)
        and selects(match.get("namespaceSelector"), namespace_labels(namespace))
    )


def _texts(item: Mapping[str, Json], key: str) -> list[str]:
    listed = item.get(key)
    return [str(text) for text in listed] if isinstance(listed, list) else []


def _is_excluded(namespace: Resource, view: View) -> bool:
    """Whether Gatekeeper's own configuration keeps its webhook out of a namespace."""
    return any(
        named(entry.get("excludedNamespaces"), namespace.name)
        and {"*", "webhook"} & {*_texts(entry, "processes")}
        for config in view.of_kind("Config")
        for entry in objects(config.spec.get("match"))
    )
