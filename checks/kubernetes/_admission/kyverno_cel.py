"""ValidatingPolicy of policies.kyverno.io: Kubernetes' own form of a policy, run by Kyverno.

Kyverno adds functions of its own to CEL (images, HTTP, other resources): an expression that uses
one does not compile here and stays undecided. Source: kyverno/kyverno 1.15,
`api/policies.kyverno.io` and `pkg/cel/policies/vpol`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from auditor.model import Resource
from checks.kubernetes._admission.answers import Answer, Outcome
from checks.kubernetes._admission.asked import Asked
from checks.kubernetes._admission.cel_rules import Rules
from checks.kubernetes._admission.kyverno_rules import Exceptions
from checks.kubernetes._admission.matching import MalformedError, constrained, obj, text, words


class CelPolicy:
    """One policy. `acts` is false where it refuses nothing at admission."""

    NAMESPACED: ClassVar[str] = "NamespacedValidatingPolicy"

    def __init__(self, resource: Resource, exceptions: Exceptions) -> None:
        self.by = f"Kyverno {resource.kind} {resource.name}"
        self.name = resource.name
        self.exceptions = exceptions
        self.problem = ""
        self.acts = True
        try:
            spec = resource.spec
            evaluation = obj(spec.get("evaluation"), "evaluation")
            at_admission = obj(evaluation.get("admission"), "admission").get("enabled") is not False
            of_kubernetes = text(evaluation.get("mode"), "mode", "Kubernetes") in ("", "Kubernetes")
            actions = words(spec.get("validationActions"), "validationActions") or ("Deny",)
            self.acts = at_admission and of_kubernetes and "Deny" in actions
            self.constraints = obj(spec.get("matchConstraints"), "matchConstraints")
            self.rules = Rules({**spec, "auditAnnotations": None})
        except MalformedError as error:
            self.problem = str(error)

    def answers(self, request: Asked) -> Iterator[Answer]:
        """One answer for each refusal, or one for the policy as a whole."""
        if self.problem:
            raise MalformedError(self.problem)
        if not constrained(
            self.constraints, request.name, request.labels, request.namespace_labels
        ):
            return
        said = self.rules.judge(request)
        if not said:
            yield Answer(Outcome.ADMITTED, self.by, "lets it through")
            return
        exception = self.exceptions.to(self.name, "", request)
        for item in said:
            by = f"{self.by}, {item.where}"
            if exception and item.outcome is Outcome.REFUSED:
                why = f"{item.why}; but the PolicyException {exception} may let it through"
                yield Answer(Outcome.UNDECIDED, by, why)
            else:
                yield Answer(item.outcome, by, item.why)
