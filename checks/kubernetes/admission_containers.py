"""Whether namespaces refuse containers that run as root, gain privileges or keep capabilities."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Verdict, View
from auditor.registry import check
from checks.kubernetes._admission.decide import NEEDS, judged


@check(
    id="k8s-allow-privilege-escalation-admission",
    title="Every namespace refuses containers that may gain privileges",
    severity="medium",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def allow_privilege_escalation_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a container without `allowPrivilegeEscalation: false`.

    Why: The field is true where nobody sets it, so only admission control makes sure that a
    process cannot become more than it was started as, through a setuid binary for example.

    Rule: Asks about pods whose container, or init container, sets it to true, and leaves it
    out. Passes when each is refused, by Pod Security Admission (`enforce` restricted; a level
    pinned to a version before v1.8 does not know the field), a ValidatingAdmissionPolicy bound
    with Deny, a Kyverno policy that enforces or a Gatekeeper constraint with the action deny.
    Fails when one is admitted, and names it. Gives a review when that depends on a webhook or
    policy whose answer cannot be computed, or on one that refuses even a pod that breaks no
    rule. With `--probe-admission` the API server's answer to a dry run counts instead;
    k8s-pod-security-mechanism says when not, and how the pods are chosen. A pod that a mutating
    webhook would mend is not mended here. Does not apply to `[rules] system_namespaces` nor to
    a namespace that is being deleted. Unknown when policies or webhooks could not be read and
    nothing that was read refuses the pods.

    Fix: Label the namespace; `warn` first shows what would be refused:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: restricted

    Source: CIS Kubernetes 5.2.6; Pod Security Standards, restricted, "Privilege Escalation".
    """
    yield from judged("k8s-allow-privilege-escalation", namespace, view)


@check(
    id="k8s-run-as-non-root-admission",
    title="Every namespace refuses containers that run as root",
    severity="medium",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def run_as_non_root_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a container that runs as root in each namespace.

    Why: Most images run as root unless told otherwise. Root in a container is root to the kernel
    they share, and one flaw there is all that it takes to be root on the node.

    Rule: Asks about pods that set neither `runAsNonRoot` nor `runAsUser`, that set the one to
    false or the other to 0, and whose container, or init container, does so against the pod's
    own setting. Passes when each is refused, by Pod Security Admission (`enforce` restricted),
    a ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces or a Gatekeeper
    constraint with the action deny. Fails when one is admitted, and names it. Gives a review
    when that depends on a webhook or policy whose answer cannot be computed, or on one that
    refuses even a pod that breaks no rule. With `--probe-admission` the API server's answer to
    a dry run counts instead; k8s-pod-security-mechanism says when not, and how the pods are
    chosen. Not asked about: `runAsUser: 0` beside `runAsNonRoot: true`, which no kubelet
    starts, and root in a user namespace of the pod's own (`hostUsers: false`). Does not apply
    to `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown when
    policies or webhooks could not be read and nothing that was read refuses the pods.

    Fix: Label the namespace; `warn` first shows what would be refused:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: restricted

    Source: CIS Kubernetes 5.2.7; Pod Security Standards, restricted, "Running as Non-root".
    """
    yield from judged("k8s-run-as-non-root", namespace, view)


@check(
    id="k8s-net-raw-admission",
    title="Every namespace refuses containers that keep NET_RAW",
    severity="medium",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def net_raw_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a container with the capability NET_RAW in each namespace.

    Why: Runtimes give NET_RAW to a container that asks for nothing. With it a process forges
    packets, and so can answer ARP and DNS in the name of others on its network.

    Rule: Asks about pods whose container, or init container, drops nothing, drops all that a
    runtime gives but NET_RAW, and drops ALL but adds NET_RAW. Passes when each is refused, by
    Pod Security Admission (`enforce` restricted at v1.22 or later; baseline only refuses to add
    it), a ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces or a
    Gatekeeper constraint with the action deny. Fails when one is admitted, and names it. Gives
    a review when that depends on a webhook or policy whose answer cannot be computed, or on one
    that refuses even a pod that breaks no rule. With `--probe-admission` the API server's
    answer to a dry run counts instead; k8s-pod-security-mechanism says when not, and how the
    pods are chosen. A pod that a mutating webhook would mend is not mended here. Does not apply
    to `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown when
    policies or webhooks could not be read and nothing that was read refuses the pods.

    Fix: Label the namespace; `warn` first shows what would be refused:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: restricted

    Source: CIS Kubernetes 5.2.8 (5.2.7 in 1.5, 1.6 and 1.20); Pod Security Standards, restricted,
    "Capabilities".
    """
    yield from judged("k8s-net-raw", namespace, view)


@check(
    id="k8s-added-capabilities-admission",
    title="Every namespace refuses added capabilities",
    severity="high",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def added_capabilities_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a container with capabilities beyond the default ones.

    Why: SYS_ADMIN, SYS_PTRACE, NET_ADMIN and their like are parts of root's power over the node:
    some of them alone are enough to leave the container.

    Rule: Asks about pods whose container, or init container, drops ALL and adds SYS_ADMIN,
    NET_ADMIN, BPF, `sys_ptrace` in small letters (which runtimes take as well) and ALL. Passes
    when each is refused, by Pod Security Admission (`enforce` baseline or restricted), a
    ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces or a Gatekeeper
    constraint with the action deny. Fails when one is admitted, and names it: so does a list of
    forbidden names that leaves one out. Gives a review when that depends on a webhook or policy
    whose answer cannot be computed, or on one that refuses even a pod that breaks no rule. With
    `--probe-admission` the API server's answer to a dry run counts instead;
    k8s-pod-security-mechanism says when not, and how the pods are chosen. Does not apply to
    `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown when policies
    or webhooks could not be read and nothing that was read refuses the pods.

    Fix: Label the namespace:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: baseline

    Source: CIS Kubernetes up to 1.11, 5.2.9 (5.2.8 in 1.5, 1.6 and 1.20); Pod Security Standards,
    baseline, "Capabilities".
    """
    yield from judged("k8s-added-capabilities", namespace, view)


@check(
    id="k8s-capabilities-dropped-admission",
    title="Every namespace refuses containers that keep capabilities",
    severity="medium",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def capabilities_dropped_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a container that does not drop all capabilities.

    Why: The set that a runtime gives lets a container change owners of files, bypass their
    permissions and forge packets. Hardly any program needs it; only admission control takes it
    away from all that do not ask.

    Rule: Asks about pods whose container, or init container, sets no capabilities, drops
    NET_RAW alone, and drops ALL but adds CHOWN. Passes when each is refused, by Pod Security
    Admission (`enforce` restricted at v1.22 or later), a ValidatingAdmissionPolicy bound with
    Deny, a Kyverno policy that enforces or a Gatekeeper constraint with the action deny. Fails
    when one is admitted, and names it. Gives a review when that depends on a webhook or policy
    whose answer cannot be computed, or on one that refuses even a pod that breaks no rule. With
    `--probe-admission` the API server's answer to a dry run counts instead;
    k8s-pod-security-mechanism says when not, and how the pods are chosen. A pod that a mutating
    webhook would mend is not mended here. Does not apply to `[rules] system_namespaces` nor to
    a namespace that is being deleted. Unknown when policies or webhooks could not be read and
    nothing that was read refuses the pods.

    Fix: Label the namespace; `warn` first shows what would be refused:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: restricted

    Source: CIS Kubernetes 5.2.9 from 1.12 on and in 1.5, 1.6 and 1.20, else 5.2.10; Pod Security
    Standards, restricted, "Capabilities".
    """
    yield from judged("k8s-capabilities-dropped", namespace, view)
