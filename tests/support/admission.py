"""Views and pods for the tests of what admission policies say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from auditor.collect.objects import resource_from
from auditor.model import Resource, Target, View
from checks.kubernetes._admission.answers import Answer, Mechanism, Outcome, together
from checks.kubernetes._admission.violations import COMPLIANT

TARGET = Target("t", "kubernetes", "t", {"version": "v1.35.0"})


def view_of(*documents: Mapping[str, Any]) -> View:
    """A view of Kubernetes objects, read by the collector's own reducers."""
    resources = [resource_from(item, source="kubernetes", target="t") for item in documents]
    return View(TARGET, resources, [], [], {}, {"system_namespaces": ()})


def namespace(name: str = "shop", **labels: str) -> Resource:
    """A namespace with labels."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    return resource_from(body, source="kubernetes", target="t")


def pod(
    container: Mapping[str, Any] | None = None, *, init: bool = False, **spec: Any
) -> dict[str, Any]:
    """The compliant pod, with fields of its spec and of a container's securityContext changed."""
    made = deepcopy(COMPLIANT)
    made["spec"].update(spec)
    if container:
        target = made["spec"]["containers"][0]
        if init:
            target = deepcopy(target)
            target["name"] = "first"
            made["spec"]["initContainers"] = [target]
        target["securityContext"].update(container)
    return made


def asked(
    mechanism: Mechanism,
    documents: Iterable[Mapping[str, Any]],
    of: Mapping[str, Any] | None = None,
    inside: Resource | None = None,
) -> list[Answer]:
    """All that a mechanism answers."""
    where = namespace() if inside is None else inside
    return list(mechanism(pod() if of is None else of, where, view_of(*documents)))


def outcome(
    mechanism: Mechanism,
    documents: Iterable[Mapping[str, Any]],
    of: Mapping[str, Any] | None = None,
    inside: Resource | None = None,
) -> Outcome | None:
    """What a mechanism's answers say together; None when it gives none."""
    answers = asked(mechanism, documents, of, inside)
    return together(answers) if answers else None
