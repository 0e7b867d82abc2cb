"""Whether admission rules and selectors apply to the creation of a pod, as the API server matches.

Sources: `k8s.io/apiserver` 1.35, `pkg/admission/plugin/policy/matching` and
`pkg/admission/plugin/webhook/predicates`; `metav1.LabelSelectorAsSelector`. What has a shape that
no API server takes raises `MalformedError`, and is then left to a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditor.model import Json
from checks.kubernetes._admission.cel import UnsupportedError, weigh

MAX_WEIGHT = 100_000.0
"""Characters and values of a rule that is walked or evaluated."""

OPERATION, GROUP, VERSION, RESOURCE, KIND = "CREATE", "", "v1", "pods", "Pod"
"""The request that is asked about."""


class MalformedError(Exception):
    """A policy, or a part of it, that no API server would take as it stands."""


def whole(value: Json, what: str) -> None:
    """Refuse what is too large or too deep to be walked, or was not kept as it is written."""
    try:
        weight = weigh(value)
    except UnsupportedError as error:
        raise MalformedError(f"{what} cannot be read: {error}") from error
    if weight > MAX_WEIGHT:
        raise MalformedError(f"{what} is too large")
    if "«" in str(value):
        raise MalformedError(f"parts of {what} were not kept: they looked like a secret")


def obj(value: Json, what: str) -> Mapping[str, Json]:
    """An object, or an empty one for an absent value."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is not an object")
    return value


def items(value: Json, what: str) -> Sequence[Mapping[str, Json]]:
    """A list of objects, empty where it is absent."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise MalformedError(f"{what} is not a list of objects")
    return value


def words(value: Json, what: str) -> Sequence[str]:
    """A list of texts, empty where it is absent."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MalformedError(f"{what} is not a list of texts")
    return value


def text(value: Json, what: str, default: str = "") -> str:
    """A text, or the default where it is absent."""
    if value is None:
        return default
    if not isinstance(value, str):
        raise MalformedError(f"{what} is not a text")
    return value


def selected(selector: Json, labels: Mapping[str, str], what: str = "selector") -> bool:
    """Whether a label selector selects these labels; an absent or empty one selects all."""
    found = obj(selector, what)
    for key, value in obj(found.get("matchLabels"), f"{what}.matchLabels").items():
        if labels.get(key) != text(value, f"{what}.matchLabels"):
            return False
    return all(
        _holds(item, labels, what)
        for item in items(found.get("matchExpressions"), f"{what}.matchExpressions")
    )


def _holds(expression: Mapping[str, Json], labels: Mapping[str, str], what: str) -> bool:
    key = text(expression.get("key"), f"{what} key")
    values = words(expression.get("values"), f"{what} values")
    operator = expression.get("operator")
    if operator == "In" and values:
        return labels.get(key) in values
    if operator == "NotIn" and values:
        return key not in labels or labels[key] not in values
    if operator == "Exists" and not values:
        return key in labels
    if operator == "DoesNotExist" and not values:
        return key not in labels
    raise MalformedError(f"{what} has the operator {operator} with {len(values)} values")


def covered(rule: Mapping[str, Json], name: str) -> bool:
    """Whether a rule (`RuleWithOperations`, with `resourceNames` or not) is about a new pod."""
    if rule.get("scope") not in (None, "*", "Namespaced"):
        return False
    for key, wanted in (("operations", OPERATION), ("apiGroups", GROUP), ("apiVersions", VERSION)):
        if not {"*", wanted} & set(words(rule.get(key), key)):
            return False
    if not any(_is_pods(resource) for resource in words(rule.get("resources"), "resources")):
        return False
    names = words(rule.get("resourceNames"), "resourceNames")
    return not names or name in names


def _is_pods(resource: str) -> bool:
    """`pods`, `*`, `*/*` and `pods/*` are pods themselves; `pods/exec` and `*/exec` are not."""
    kind, _, part = resource.partition("/")
    return kind in ("*", RESOURCE) and part in ("*", "")


def constrained(
    constraints: Mapping[str, Json],
    name: str,
    labels: Mapping[str, str],
    namespace_labels: Mapping[str, str],
) -> bool:
    """Whether `matchConstraints`, or a binding's `matchResources`, take in a pod.

    Without resource rules they take in everything. `matchPolicy` changes nothing: pods have one
    version and no equivalent in another group.
    """
    if not selected(constraints.get("namespaceSelector"), namespace_labels, "namespaceSelector"):
        return False
    if not selected(constraints.get("objectSelector"), labels, "objectSelector"):
        return False
    excluded = items(constraints.get("excludeResourceRules"), "excludeResourceRules")
    if any(covered(rule, name) for rule in excluded):
        return False
    rules = items(constraints.get("resourceRules"), "resourceRules")
    return not rules or any(covered(rule, name) for rule in rules)
