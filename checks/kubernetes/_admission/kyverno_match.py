"""Which pods a Kyverno rule speaks of: `match` and `exclude`, and exceptions to it.

Who creates the pod is not known: a filter by user, role or group is undecided (None). Source:
kyverno/kyverno, `pkg/engine/utils/match.go` and `pkg/utils/kube/kind.go`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from auditor.model import Json
from checks.kubernetes._admission.asked import Asked
from checks.kubernetes._admission.kyverno_conditions import Answer3, every, some
from checks.kubernetes._admission.kyverno_pattern import any_like, is_like
from checks.kubernetes._admission.matching import (
    GROUP,
    KIND,
    OPERATION,
    VERSION,
    MalformedError,
    items,
    obj,
    selected,
    text,
    words,
)

_WHO = ("subjects", "roles", "clusterRoles")
_VERSION = re.compile(r"v\d((alpha|beta)\d)?.*|\*")


def speaks_of(rule: Mapping[str, Json], request: Asked) -> Answer3:
    """Whether a rule is about a pod: it matches, and is not excluded."""
    excluded = covers(rule.get("exclude"), request)
    kept = None if excluded is None else not excluded
    return every((covers(rule.get("match"), request), kept))


def covers(block: Json, request: Asked) -> Answer3:
    """Whether a `match` block takes in a pod; one that says nothing takes in none."""
    found = obj(block, "match")
    choices, needed = items(found.get("any"), "any"), items(found.get("all"), "all")
    if choices:
        return some(_filter(entry, request) for entry in choices)
    if needed:
        return every(_filter(entry, request) for entry in needed)
    return _filter(found, request)


def _filter(entry: Mapping[str, Json], request: Asked) -> Answer3:
    resources = obj(entry.get("resources"), "resources")
    who = any(entry.get(key) for key in _WHO)
    if not any(resources.values()) and not who:
        return False
    return every((_resources(resources, request), None if who else True))


def _resources(resources: Mapping[str, Json], request: Asked) -> bool:
    kinds = words(resources.get("kinds"), "kinds")
    names = words(resources.get("names"), "names")
    name = text(resources.get("name"), "name")
    namespaces = words(resources.get("namespaces"), "namespaces")
    operations = words(resources.get("operations"), "operations")
    annotations = obj(resources.get("annotations"), "annotations")
    own = obj(obj(request.object.get("metadata"), "metadata").get("annotations"), "annotations")
    return (
        (not kinds or any(_is_pod(kind) for kind in kinds))
        and (not name or is_like(request.name, name))
        and (not names or any_like(request.name, names))
        and (not namespaces or any_like(request.namespace.name, namespaces))
        and (not operations or OPERATION in operations)
        and all(_annotated(own, str(key), value) for key, value in annotations.items())
        and _selects(resources.get("selector"), request.labels)
        and _selects(resources.get("namespaceSelector"), request.namespace_labels)
    )


def _annotated(own: Mapping[str, Json], key: str, value: Json) -> bool:
    wanted = text(value, "annotations")
    return any(is_like(str(k), key) and is_like(str(v), wanted) for k, v in own.items())


def _selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """A label selector whose `matchLabels` may have wildcards in keys and values."""
    found = obj(selector, "selector")
    wanted = obj(found.get("matchLabels"), "matchLabels")
    wild = {
        str(key): text(value, "matchLabels")
        for key, value in wanted.items()
        if set(f"{key}{value}") & set("*?")
    }
    rest = {**found, "matchLabels": {k: v for k, v in wanted.items() if k not in wild}}
    return selected(rest, labels) and all(
        any(is_like(own, key) and is_like(held, value) for own, held in labels.items())
        for key, value in wild.items()
    )


def _is_pod(kind: str) -> bool:
    """`Pod`, `v1/Pod`, `*/Pod`, `/v1/Pod`, `*`: pods themselves and no part of them."""
    parts = kind.split("/")
    group, version, part = "*", "*", ""
    if len(parts) == 1:
        name = parts[0]
    elif len(parts) == 2 and parts == ["*", "*"]:
        return True
    elif len(parts) == 2 and _VERSION.fullmatch(parts[0]):
        version, name = parts
    elif len(parts) == 2:
        name, part = parts
    elif len(parts) == 3 and _VERSION.fullmatch(parts[0]) and parts[1][:1].isupper():
        version, name, part = parts
    elif len(parts) == 3:
        group, version, name = parts
    elif len(parts) == 4:
        group, version, name, part = parts
    else:
        raise MalformedError(f"the kind {kind}")
    name, _, dotted = name.partition(".")
    part = part or dotted
    return (
        is_like(KIND, name)
        and is_like(VERSION, version)
        and is_like(GROUP, group)
        and (not part or part == "*")
    )
