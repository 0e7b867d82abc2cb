"""Whether namespaces enforce pod security at all, and refuse privileged pods.

That no pod breaks a rule today says nothing about tomorrow: the checks here and in
`admission_host` and `admission_containers` ask what would refuse one. How that is decided is the
same for all of them and stands in `_admission`.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Verdict, View
from auditor.registry import check
from checks.kubernetes._admission.decide import NEEDS, judged, mechanism


@check(
    id="k8s-pod-security-mechanism",
    title="Every namespace enforces some pod security",
    severity="high",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def pod_security_mechanism(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks for anything that refuses insecure pods in each namespace that is not the platform's.

    Why: Without admission control, whoever may create a pod in a namespace, or a Deployment that
    creates one, may ask for the node's processes, network and files, and owns the node.

    Rule: Passes when something refuses at least one of the pods that the other admission checks
    ask about: Pod Security Admission by the label `pod-security.kubernetes.io/enforce` (baseline
    or restricted; an invalid value counts as restricted, as in the API server), a
    ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces, a Gatekeeper
    constraint with the action deny. Which rules it enforces the other checks say. With
    `--probe-admission` the API server's own answer to a dry run counts instead. Labels to warn or
    audit refuse nothing. Gives a review when the only thing that is asked about pods is a webhook
    or a policy whose answer cannot be computed. Fails when there is nothing. Does not apply to
    `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown when policies or
    webhooks could not be read and the label does not answer.

    The API server's AdmissionConfiguration may set a default level and exempt users, namespaces
    and runtime classes, and its flags may switch the plugin off. None of that can be read from
    outside: state the level on the namespace, and use `--probe-admission`.

    Fix: Label the namespace; `warn` first shows what would be refused:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: baseline
            pod-security.kubernetes.io/warn: restricted

    Source: CIS Kubernetes 5.2.1; Pod Security Admission; Pod Security Standards.
    """
    yield from mechanism(namespace, view)


@check(
    id="k8s-privileged-admission",
    title="Every namespace refuses privileged pods",
    severity="high",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def privileged_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a privileged container in each namespace.

    Why: That no pod is privileged today says nothing about tomorrow: whoever may create pods in
    a namespace without admission control may create a privileged one, and owns the node.

    Rule: Asks about pods whose container, or init container, is privileged and that are in order
    otherwise. Passes when each is refused, by Pod Security Admission (`enforce` baseline or
    restricted), a ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces or a
    Gatekeeper constraint with the action deny. Fails when one is admitted, and names it. Gives a
    review when that depends on a webhook or policy whose answer cannot be computed, or on one that
    refuses even a pod that breaks no rule. With `--probe-admission` the API server's answer to a
    dry run counts instead. A pod that a mutating webhook would mend is not mended here. Does not
    apply to `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown when
    policies or webhooks could not be read and nothing that was read refuses the pods.

    Fix: Label the namespace; `warn` first shows what would be refused:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: baseline
            pod-security.kubernetes.io/enforce-version: latest

    Source: CIS Kubernetes 5.2.2; Pod Security Standards, baseline, "Privileged Containers".
    """
    yield from judged("k8s-privileged-container", namespace, view)
