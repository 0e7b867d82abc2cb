"""Kyverno's policies: what its ClusterPolicies, Policies and ValidatingPolicies say of a pod.

A rule refuses where it validates, enforces, matches, and the pod is not as it wants, while the API
server asks Kyverno's webhook. Rules that mutate, generate or verify images are passed over: they
do not look at what a pod may do. What Kyverno computes and this does not (variables of other
objects, its own functions, who asks) is left to a person, with the rule's name.

Sources: kyverno/kyverno 1.10 to 1.15, `pkg/engine` and `pkg/webhooks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from auditor.model import Resource, View
from checks.kubernetes._admission.answers import Answer, Outcome, Pod
from checks.kubernetes._admission.asked import Asked, asked
from checks.kubernetes._admission.cel import UnsupportedError
from checks.kubernetes._admission.kyverno_cel import CelPolicy
from checks.kubernetes._admission.kyverno_rules import Exceptions, Policy
from checks.kubernetes._admission.matching import MalformedError
from checks.kubernetes._admission.webhooks import KYVERNO, home, kyverno_is_asked

RULES_GROUP = "kyverno.io"
CEL_GROUP = "policies.kyverno.io"

_FILTERED = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""Namespaces that Kyverno's own configuration leaves out as it is installed (`resourceFilters`)."""


def answers(pod: Pod, namespace: Resource, view: View) -> Iterator[Answer]:
    """One answer for each rule that enforces and matches the pod, while Kyverno is asked."""
    policies = view.index(_Policies).of(namespace.name)
    if not policies:
        return
    hook = kyverno_is_asked(pod, namespace, view)
    if hook is None:
        why = "has policies, but no webhook of it is asked about pods here"
        yield Answer(Outcome.ADMITTED, KYVERNO, why)
        return
    doubt = "" if hook.outcome is Outcome.ADMITTED else hook.why
    if not doubt and namespace.name in _FILTERED | home(KYVERNO, view):
        doubt = "Kyverno's configuration, which is not read, leaves this namespace out by default"
    try:
        request = asked(pod, namespace, view)
    except UnsupportedError as error:
        yield Answer(Outcome.UNDECIDED, KYVERNO, f"the pod cannot be asked about: {error}")
        return
    for policy in policies:
        for answer in _said(policy, request):
            if doubt and answer.outcome is Outcome.REFUSED:
                yield Answer(Outcome.UNDECIDED, answer.by, f"{answer.why}; but {doubt}")
            else:
                yield answer


def _said(policy: Policy | CelPolicy, request: Asked) -> Sequence[Answer]:
    try:
        return list(policy.answers(request))
    except (MalformedError, UnsupportedError) as error:
        return [Answer(Outcome.UNDECIDED, policy.by, f"cannot be read: {error}")]


class _Policies:
    """Every policy of the view, by the namespace that it is for; None: for all."""

    def __init__(self, view: View) -> None:
        self.found: dict[str | None, list[Policy | CelPolicy]] = {}
        objects = [*view.of_group(RULES_GROUP), *view.of_group(CEL_GROUP)]
        # Both groups have the kind, so one of the two is called by its group as well.
        exceptions = Exceptions(
            item for item in objects if item.kind.partition(".")[0] == "PolicyException"
        )
        for item in objects:
            policy: Policy | CelPolicy | None = None
            if item.kind in ("ClusterPolicy", "Policy"):
                policy = Policy(item, exceptions)
            elif item.kind in ("ValidatingPolicy", "NamespacedValidatingPolicy"):
                policy = CelPolicy(item, exceptions)
            if policy is not None and policy.acts:
                # A namespaced policy speaks of its own namespace alone.
                own = item.namespace if item.kind in ("Policy", CelPolicy.NAMESPACED) else None
                self.found.setdefault(own, []).append(policy)

    def of(self, namespace: str) -> Sequence[Policy | CelPolicy]:
        return [*self.found.get(None, ()), *self.found.get(namespace, ())]
