"""Validating webhooks that are asked about pods: only they themselves know what they say.

Kyverno's and Gatekeeper's are left out: what those enforce is read from their policies (see
`kyverno` and `gatekeeper`). For those modules this one says whether such a webhook is there at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from auditor.model import Json, Resource, View
from checks.kubernetes._admission.answers import Answer, Outcome, Pod
from checks.kubernetes._admission.asked import Asked, asked
from checks.kubernetes._admission.cel import UnsupportedError
from checks.kubernetes._admission.cel_rules import Rules
from checks.kubernetes._admission.matching import MalformedError, constrained, covered, items
from checks.kubernetes._pods import mapping, objects

KYVERNO = "Kyverno"
GATEKEEPER = "Gatekeeper"

_SERVICES = {"kyverno-svc": KYVERNO, "gatekeeper-webhook-service": GATEKEEPER}
_CONFIGURATIONS = {
    "kyverno-resource-validating-webhook-cfg": KYVERNO,
    "gatekeeper-validating-webhook-configuration": GATEKEEPER,
}
"""How the two are recognised: by the names of their service and of their configuration, which
their installers give. Sources: the Helm charts of Kyverno 1.10 to 1.15 and Gatekeeper 3.10 to 3.20.
"""


def answers(pod: Pod, namespace: Resource, view: View) -> Iterator[Answer]:
    """One answer, always undecided, for each webhook of somebody else that is asked."""
    hooks = view.index(_Webhooks).others
    if not hooks:
        return
    for hook in hooks:
        matched = hook.matched(pod, namespace, view)
        if matched is not None:
            yield matched


def installed(owner: str, pod: Pod, namespace: Resource, view: View) -> Answer | None:
    """Whether a webhook of Kyverno or Gatekeeper is asked about a pod: None when it is not.

    An admitted answer says that it is, an undecided one that its match conditions hide it.
    """
    unclear: Answer | None = None
    for hook in view.index(_Webhooks).of(owner):
        matched = hook.matched(pod, namespace, view)
        if matched is not None and hook.readable(pod, namespace, view):
            return Answer(Outcome.ADMITTED, hook.by, "")
        unclear = unclear or matched
    return unclear


def home(owner: str, view: View) -> frozenset[str]:
    """The namespaces in which Kyverno or Gatekeeper itself runs, by its webhooks' services."""
    found = (hook.service.get("namespace") for hook in view.index(_Webhooks).of(owner))
    return frozenset(name for name in found if isinstance(name, str))


class _Webhooks:
    def __init__(self, view: View) -> None:
        self.by_owner: dict[str, list[_Webhook]] = {}
        for configuration in view.of_kind("ValidatingWebhookConfiguration"):
            for raw in objects(configuration.body.get("webhooks")):
                hook = _Webhook(configuration.name, raw)
                self.by_owner.setdefault(hook.owner, []).append(hook)

    def of(self, owner: str) -> Sequence[_Webhook]:
        return self.by_owner.get(owner, ())

    @property
    def others(self) -> Sequence[_Webhook]:
        return self.of("")


class _Webhook:
    def __init__(self, configuration: str, raw: Mapping[str, Json]) -> None:
        self.raw = raw
        self.by = f"webhook {raw.get('name')} ({configuration})"
        self.service = mapping(mapping(raw.get("clientConfig")).get("service"))
        self.owner = _SERVICES.get(str(self.service.get("name")), "") or _CONFIGURATIONS.get(
            configuration, ""
        )
        self.policy = str(raw.get("failurePolicy") or "Fail")
        self.problem = ""
        self.rules: Rules | None = None
        self.selected: dict[tuple[object, ...], bool] = {}
        try:
            self.about_pods = any(
                covered({**rule, "resourceNames": None}, "")
                for rule in items(raw.get("rules"), "rules")
            )
            if raw.get("matchConditions"):
                self.rules = Rules(
                    {
                        "failurePolicy": self.policy,
                        "matchConditions": raw["matchConditions"],
                    }
                )
        except MalformedError as error:
            self.about_pods = True
            self.problem = str(error)

    def matched(self, pod: Pod, namespace: Resource, view: View) -> Answer | None:
        """What to say of the webhook: None when it is not asked about the pod."""
        if not self.about_pods:
            return None
        if self.problem:
            return self._undecided(f"its configuration cannot be read: {self.problem}")
        try:
            request = asked(pod, namespace, view)
            if not self._selects(request):
                return None
            words = (
                f"is asked about the pod (failurePolicy {self.policy}); only it knows its answer"
            )
            if self.rules is None:
                return self._undecided(words)
            applies = self.rules.applies(request)
        except (MalformedError, UnsupportedError) as error:
            return self._undecided(f"may be asked: {error}")
        if applies is None:
            return None
        if applies.outcome is Outcome.ADMITTED:
            return self._undecided(words)
        return Answer(applies.outcome, self.by, applies.why)

    def readable(self, pod: Pod, namespace: Resource, view: View) -> bool:
        """Whether it is certain that the webhook is asked."""
        if self.problem:
            return False
        if self.rules is None:
            return True
        try:
            applies = self.rules.applies(asked(pod, namespace, view))
        except UnsupportedError:
            return False
        return applies is not None and applies.outcome is Outcome.ADMITTED

    def _selects(self, request: Asked) -> bool:
        key = (request.identity, request.namespace)
        if key not in self.selected:
            self.selected[key] = self._constrained(request)
        return self.selected[key]

    def _constrained(self, request: Asked) -> bool:
        selectors = {
            "namespaceSelector": self.raw.get("namespaceSelector"),
            "objectSelector": self.raw.get("objectSelector"),
        }
        return constrained(selectors, request.name, request.labels, request.namespace_labels)

    def _undecided(self, why: str) -> Answer:
        return Answer(Outcome.UNDECIDED, self.by, why)


Asks = Callable[[Pod, Resource, View], Answer | None]

kyverno_is_asked: Asks = partial(installed, KYVERNO)
gatekeeper_is_asked: Asks = partial(installed, GATEKEEPER)
