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
    audit refuse nothing. Gives a review when nothing refuses them for certain and something may: a
    webhook, a policy whose answer cannot be computed, OpenShift's SecurityContextConstraints,
    PodSecurityPolicies before 1.25, or an AdmissionConfiguration that the arguments of the API
    server's pods name, for it may set a level where no label does. Fails when there is nothing.
    Does not apply to `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown
    when policies or webhooks could not be read and the label does not answer.

    Labels count for nothing where those arguments switch the plugin off. Where a cloud runs the
    API server they are not seen, and nowhere can one read which users, namespaces and runtime
    classes an AdmissionConfiguration exempts: state the level on the namespace, and use
    `--probe-admission`.

    The pods that are asked about have the image registry.k8s.io/pause. Where a rule about
    something else, such as labels or registries, refuses even one that is in order, they take the
    labels, and if need be the registry, image and health probes, of a workload that is there, and
    the evidence says whose. A dry run sends them without, and as the user who audits: where it is
    admitted although a policy, by what it says, refuses the pod, the verdict is a review, for the
    policy may spare that user. Ephemeral containers are not asked about. All this holds for the
    checks of single rules too.

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

    Rule: Asks about pods whose container, or init container, is privileged and that are in
    order otherwise. Passes when each is refused, by Pod Security Admission (`enforce` baseline
    or restricted), a ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces
    or a Gatekeeper constraint with the action deny. Fails when one is admitted, and names it.
    Gives a review when that depends on a webhook or policy whose answer cannot be computed, or
    on one that refuses even a pod that breaks no rule. With `--probe-admission` the API
    server's answer to a dry run counts instead; k8s-pod-security-mechanism says when not, and
    how the pods are chosen. A pod that a mutating webhook would mend is not mended here. Does
    not apply to `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown
    when policies or webhooks could not be read and nothing that was read refuses the pods.

    Fix: Label the namespace; `warn` first shows what would be refused:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: baseline
            pod-security.kubernetes.io/enforce-version: latest

    Source: CIS Kubernetes 5.2.2; Pod Security Standards, baseline, "Privileged Containers".
    """
    yield from judged("k8s-privileged-container", namespace, view)
