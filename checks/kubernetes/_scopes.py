"""What of a scope could be read: a check must know before it says that something is not there."""

from __future__ import annotations

from auditor.model import Gap, Json, Reason, Resource, View
from checks.kubernetes._pods import mapping

EVERYTHING = "*"


def gap_of(view: View, *scopes: str, name: str | None = None) -> Gap | None:
    """A gap that hides the first of the scopes that is hidden, or None when all were read.

    With a `name`, gaps of other single objects do not count.
    """
    for scope in (EVERYTHING, *scopes):
        for gap in view.gaps:
            narrow = gap.name is not None and name is not None and gap.name != name
            if gap.scope == scope and not narrow:
                return gap
    return None


def only_partial(view: View, *scopes: str) -> bool:
    """Whether the scopes are hidden by nature alone: manifests, which show what they hold."""
    gaps = [gap for gap in view.gaps if gap.scope in (*scopes, EVERYTHING)]
    return bool(gaps) and all(gap.reason is Reason.PARTIAL for gap in gaps)


def is_system(namespace: str | None, view: View) -> bool:
    """Whether a namespace belongs to the platform, by `[rules] system_namespaces`."""
    return namespace in view.settings["system_namespaces"]


def labels_of(resource: Resource) -> dict[str, str]:
    """The labels of a resource."""
    return {str(key): str(value) for key, value in mapping(resource.metadata.get("labels")).items()}


def namespace_labels(namespace: Resource) -> dict[str, str]:
    """The labels of a namespace, with the one that the API server sets on each of them."""
    return {**labels_of(namespace), "kubernetes.io/metadata.name": namespace.name}


def selects(selector: Json, labels: dict[str, str]) -> bool:
    """Whether a label selector selects something with these labels; an empty one selects all.

    The rules are those of `metav1.LabelSelector`: every requirement must hold.
    """
    wanted = mapping(mapping(selector).get("matchLabels"))
    if any(labels.get(str(key)) != str(value) for key, value in wanted.items()):
        return False
    expressions = mapping(selector).get("matchExpressions")
    return all(
        _holds(mapping(expression), labels)
        for expression in (expressions if isinstance(expressions, list) else ())
    )


def _holds(expression: Json, labels: dict[str, str]) -> bool:
    key, operator = str(expression.get("key")), expression.get("operator")
    values = [str(value) for value in expression.get("values") or ()]
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    return False
