"""What one mechanism says of the images of one namespace, and what mechanisms share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from fnmatch import fnmatchcase
from typing import NamedTuple

from auditor.model import Json, Resource, View
from checks.kubernetes._admission.matching import MalformedError, covered
from checks.kubernetes._pods import objects
from checks.kubernetes._scopes import namespace_labels, selects


class Grip(Enum):
    """How firmly a mechanism holds the images of new pods in a namespace; the best one counts."""

    ENFORCES = 0
    """No image whose origin was not verified is admitted."""
    IN_PART = 1
    """It refuses something, but not everywhere or not everything, or what it refuses cannot be
    seen."""
    AUDITS = 2
    """It looks, and admits all the same."""


class Claim(NamedTuple):
    """What one mechanism does to a namespace: `by` names it, `why` says what limits it."""

    grip: Grip
    by: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.by}: {self.why}" if self.why else self.by


Mechanism = Callable[[Resource, View], Iterator[Claim]]
"""Asks one mechanism about a namespace; yields nothing where it has no say in it."""


class Hook(NamedTuple):
    """A webhook that is asked about new pods, and the name of its configuration.

    `validates` says whether it stands in a ValidatingWebhookConfiguration.
    """

    configuration: str
    name: str
    body: Mapping[str, Json]
    validates: bool

    def asked_in(self, namespace: Resource) -> bool:
        """Whether it is asked about pods of a namespace."""
        return selects(self.body.get("namespaceSelector"), namespace_labels(namespace))

    @property
    def fails_open(self) -> bool:
        """Whether pods are admitted when it does not answer."""
        return self.body.get("failurePolicy") == "Ignore"


def pod_hooks(view: View) -> list[Hook]:
    """All webhooks that are asked about the creation of pods."""
    return view.index(_pod_hooks)


def _pod_hooks(view: View) -> list[Hook]:
    return [
        Hook(configuration.name, str(body.get("name")), body, kind.startswith("Validating"))
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for configuration in view.of_kind(kind)
        for body in objects(configuration.body.get("webhooks"))
        if asks_about_pods(body.get("rules"))
    ]


def asks_about_pods(rules: Json) -> bool:
    """Whether any of some admission rules is about a new pod."""
    try:
        return any(covered(rule, "") for rule in objects(rules))
    except MalformedError:
        return False


def narrowed(hooks: list[Hook]) -> str:
    """What keeps some webhooks from refusing every pod of a namespace that they should, if so."""
    if all(hook.body.get("matchConditions") for hook in hooks):
        return "its webhook has matchConditions"
    if all(_has_selector(hook.body.get("objectSelector")) for hook in hooks):
        return "its webhook is asked only about pods with certain labels"
    if all(hook.fails_open for hook in hooks):
        return "its webhook admits pods when it does not answer (failurePolicy Ignore)"
    return ""


def _has_selector(selector: Json) -> bool:
    return isinstance(selector, dict) and bool(
        selector.get("matchLabels") or selector.get("matchExpressions")
    )


def is_every_image(globs: list[str]) -> bool:
    """Whether patterns for images take in every one there is."""
    return any(glob.strip("/") in {"*", "**", "*/*", "**/*", "*:*"} for glob in globs)


def named(patterns: Json, name: str) -> bool:
    """Whether a list of names, with wildcards, holds a name."""
    listed = patterns if isinstance(patterns, list) else ()
    return any(fnmatchcase(name, str(pattern)) for pattern in listed)
