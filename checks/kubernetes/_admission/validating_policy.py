"""ValidatingAdmissionPolicies: what they and their bindings say of a pod.

The API server's own order is followed (`k8s.io/apiserver`, package
`admission/plugin/policy/validating`). A parameter object is a thing of any kind and is not read: a
policy that looks at one is left to a person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from auditor.model import Json, Resource, View
from checks.kubernetes._admission.answers import Answer, Outcome, Pod
from checks.kubernetes._admission.asked import Asked, asked
from checks.kubernetes._admission.cel import UnsupportedError
from checks.kubernetes._admission.cel_rules import Rules, Said
from checks.kubernetes._admission.matching import MalformedError, constrained, obj, text, words


def answers(pod: Pod, namespace: Resource, view: View) -> Iterator[Answer]:
    """One answer for each binding whose policy is asked about the pod; each refusal is one."""
    policies = view.index(_Policies)
    if not policies.bound:
        return
    try:
        request = asked(pod, namespace, view)
    except UnsupportedError as error:
        for bound in policies.bound:
            yield Answer(Outcome.UNDECIDED, bound.by, f"the pod cannot be asked about: {error}")
        return
    for bound in policies.bound:
        yield from bound.answers(request)


class _Policies:
    """Every binding of the view together with its policy; one to a missing policy does nothing."""

    def __init__(self, view: View) -> None:
        policies = {item.name: _Policy(item) for item in view.of_kind("ValidatingAdmissionPolicy")}
        self.bound: list[_Bound] = []
        for binding in view.of_kind("ValidatingAdmissionPolicyBinding"):
            policy = policies.get(str(binding.spec.get("policyName")))
            if policy is not None:
                self.bound.append(_Bound(policy, binding))


class _Policy:
    def __init__(self, resource: Resource) -> None:
        self.name = resource.name
        self.problem = ""
        try:
            spec = resource.spec
            self.constraints = obj(spec.get("matchConstraints"), "matchConstraints")
            self.rules = Rules(spec)
            self.takes_params = bool(obj(spec.get("paramKind"), "paramKind"))
        except MalformedError as error:
            self.problem = str(error)


class _Bound:
    """A policy as one binding applies it."""

    def __init__(self, policy: _Policy, binding: Resource) -> None:
        self.policy = policy
        self.by = f"ValidatingAdmissionPolicy {policy.name} (bound by {binding.name})"
        self.problem = policy.problem
        self.known: dict[tuple[object, ...], bool] = {}
        try:
            spec = binding.spec
            self.narrowed: Mapping[str, Json] = obj(spec.get("matchResources"), "matchResources")
            self.actions = words(spec.get("validationActions"), "validationActions")
            reference = obj(spec.get("paramRef"), "paramRef")
            missing = reference.get("parameterNotFoundAction")
            self.parameter = bool(reference) and not self.problem and policy.takes_params
            # A binding that names no parameter gives null to a policy that takes one.
            self.unbound = not reference
            self.missing_allowed = text(missing, "parameterNotFoundAction", "Deny") == "Allow"
        except MalformedError as error:
            self.problem = self.problem or str(error)

    def answers(self, request: Asked) -> Iterator[Answer]:
        if self.problem:
            yield self._answer(Outcome.UNDECIDED, f"cannot be read: {self.problem}")
            return
        try:
            if not self._matches(request):
                return
        except MalformedError as error:
            yield self._answer(Outcome.UNDECIDED, f"cannot be read: {error}")
            return
        said = self.policy.rules.judge(
            request, deny="Deny" in self.actions, without_params=self.unbound
        )
        if self.parameter:
            yield self._with_parameter(said)
        elif said:
            for item in said:
                yield Answer(item.outcome, f"{self.by}, {item.where}", item.why)
        else:
            acts = ", ".join(self.actions) or "no action"
            why = "lets it through" if "Deny" in self.actions else f"has {acts}, and not Deny"
            yield self._answer(Outcome.ADMITTED, why)

    def _matches(self, request: Asked) -> bool:
        key = (request.identity, request.namespace)
        if key not in self.known:
            self.known[key] = all(
                constrained(part, request.name, request.labels, request.namespace_labels)
                for part in (self.policy.constraints, self.narrowed)
            )
        return self.known[key]

    def _with_parameter(self, said: tuple[Said, ...]) -> Answer:
        """What is certain although the parameter objects are not read.

        A policy that never looks at one says the same with each; but none may be there, which
        refuses everything or passes the policy over.
        """
        rules = self.policy.rules
        if not rules.by_params:
            if not said and (self.missing_allowed or not rules.fails):
                return self._answer(Outcome.ADMITTED, "lets it through, whatever its parameters")
            refused = any(item.outcome is Outcome.REFUSED for item in said)
            if refused and rules.fails and not self.missing_allowed:
                item = next(item for item in said if item.outcome is Outcome.REFUSED)
                return Answer(Outcome.REFUSED, f"{self.by}, {item.where}", item.why)
        why = f"depends on a parameter object, which is not read: {rules.quoted()}"
        return self._answer(Outcome.UNDECIDED, why)

    def _answer(self, outcome: Outcome, why: str) -> Answer:
        return Answer(outcome, self.by, why)
