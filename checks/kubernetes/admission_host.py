"""Whether namespaces refuse pods that reach into their node: its namespaces, files and ports."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Verdict, View
from auditor.registry import check
from checks.kubernetes._admission.decide import NEEDS, judged


@check(
    id="k8s-host-pid-admission",
    title="Every namespace refuses pods with the node's process namespace",
    severity="high",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def host_pid_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a pod with `hostPID` in each namespace.

    Why: A pod in the node's process namespace sees every process with its arguments and, with
    a little privilege, reads the environment and the memory of other pods' processes.

    Rule: Asks about a pod with `hostPID: true` that is in order otherwise. Passes when it is
    refused, by Pod Security Admission (`enforce` baseline or restricted), a
    ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces or a Gatekeeper
    constraint with the action deny. Fails when it is admitted. Gives a review when that depends
    on a webhook or policy whose answer cannot be computed, or on one that refuses even a pod
    that breaks no rule. With `--probe-admission` the API server's answer to a dry run counts
    instead; k8s-pod-security-mechanism says when not, and how the pods are chosen. Does not
    apply to `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown when
    policies or webhooks could not be read and nothing that was read refuses the pod.

    Fix: Label the namespace; an agent that needs `hostPID` gets a namespace of its own:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: baseline

    Source: CIS Kubernetes 5.2.3; Pod Security Standards, baseline, "Host Namespaces".
    """
    yield from judged("k8s-host-pid", namespace, view)


@check(
    id="k8s-host-ipc-admission",
    title="Every namespace refuses pods with the node's IPC namespace",
    severity="high",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def host_ipc_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a pod with `hostIPC` in each namespace.

    Why: Shared memory and semaphores of the node's processes are open to a pod in its IPC
    namespace: data that was never meant to leave them can be read and changed.

    Rule: Asks about a pod with `hostIPC: true` that is in order otherwise. Passes when it is
    refused, by Pod Security Admission (`enforce` baseline or restricted), a
    ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces or a Gatekeeper
    constraint with the action deny. Fails when it is admitted. Gives a review when that depends
    on a webhook or policy whose answer cannot be computed, or on one that refuses even a pod
    that breaks no rule. With `--probe-admission` the API server's answer to a dry run counts
    instead; k8s-pod-security-mechanism says when not, and how the pods are chosen. Does not
    apply to `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown when
    policies or webhooks could not be read and nothing that was read refuses the pod.

    Fix: Label the namespace:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: baseline

    Source: CIS Kubernetes 5.2.4; Pod Security Standards, baseline, "Host Namespaces".
    """
    yield from judged("k8s-host-ipc", namespace, view)


@check(
    id="k8s-host-network-admission",
    title="Every namespace refuses pods with the node's network",
    severity="high",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def host_network_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a pod with `hostNetwork` in each namespace.

    Why: On the node's network no NetworkPolicy holds, what listens on the node's loopback address
    is in reach, and so is the cloud's metadata service with the node's credentials.

    Rule: Asks about a pod with `hostNetwork: true` that is in order otherwise. Passes when it
    is refused, by Pod Security Admission (`enforce` baseline or restricted), a
    ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces or a Gatekeeper
    constraint with the action deny. Fails when it is admitted. Gives a review when that depends
    on a webhook or policy whose answer cannot be computed, or on one that refuses even a pod
    that breaks no rule. With `--probe-admission` the API server's answer to a dry run counts
    instead; k8s-pod-security-mechanism says when not, and how the pods are chosen. Does not
    apply to `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown when
    policies or webhooks could not be read and nothing that was read refuses the pod.

    Fix: Label the namespace; network plugins and ingress controllers that need the node's network
    get a namespace of their own:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: baseline

    Source: CIS Kubernetes 5.2.5; Pod Security Standards, baseline, "Host Namespaces".
    """
    yield from judged("k8s-host-network", namespace, view)


@check(
    id="k8s-windows-host-process-admission",
    title="Every namespace refuses Windows host processes",
    severity="high",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def windows_host_process_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a Windows pod with `hostProcess` in each namespace.

    Why: A host process runs outside of any container, as a user of the Windows node up to SYSTEM:
    it is to Windows what a privileged container is to Linux.

    Rule: Asks about pods with `windowsOptions.hostProcess`, set on the pod, set on its
    containers, and in a pod that does not say that it is for Windows. They have `hostNetwork`
    too, for the API takes no host process without it; so what refuses the node's network
    refuses them. Passes when each is refused, by Pod Security Admission (`enforce` baseline or
    restricted), a ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces or
    a Gatekeeper constraint with the action deny. Fails when one is admitted, and names it.
    Gives a review when that depends on a webhook or policy whose answer cannot be computed, or
    on one that refuses even a pod that breaks no rule. With `--probe-admission` the API
    server's answer to a dry run counts instead; k8s-pod-security-mechanism says when not, and
    how the pods are chosen. It is asked in clusters without a Windows node too: one can be
    added. Does not apply to `[rules] system_namespaces` nor to a namespace that is being
    deleted. Unknown when policies or webhooks could not be read and nothing that was read
    refuses the pods.

    Fix: Label the namespace:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: baseline

    Source: CIS Kubernetes 5.2.10; Pod Security Standards, baseline, "HostProcess".
    """
    yield from judged("k8s-windows-host-process", namespace, view)


@check(
    id="k8s-host-path-volume-admission",
    title="Every namespace refuses hostPath volumes",
    severity="high",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def host_path_volume_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a pod with a hostPath volume in each namespace.

    Why: A folder of the node in a pod is a way out of it: the kubelet's credentials and the
    engine's socket lie there to be read, and a file that root runs is there to be written.

    Rule: Asks about pods that mount the node's `/`, `/var/log` read-only, and a folder of no
    note, into a container and into an init container. Passes when each is refused, by Pod
    Security Admission (`enforce` baseline or restricted), a ValidatingAdmissionPolicy bound
    with Deny, a Kyverno policy that enforces or a Gatekeeper constraint with the action deny.
    Fails when one is admitted, and names it: so does a list of forbidden paths that leaves one
    out, and one of paths that are allowed read-only, for a pod follows links out of them. A
    policy that allows only paths that are not asked about passes: what lies there a person must
    know. Gives a review when that depends on a webhook or policy whose answer cannot be
    computed, or on one that refuses even a pod that breaks no rule. With `--probe-admission`
    the API server's answer to a dry run counts instead; k8s-pod-security-mechanism says when
    not, and how the pods are chosen. Does not apply to `[rules] system_namespaces` nor to a
    namespace that is being deleted. Unknown when policies or webhooks could not be read and
    nothing that was read refuses the pods.

    Fix: Label the namespace; agents that need the node's files get a namespace of their own:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: baseline

    Source: CIS Kubernetes 5.2.11; Pod Security Standards, baseline, "HostPath Volumes".
    """
    yield from judged("k8s-host-path-volume", namespace, view)


@check(
    id="k8s-host-port-admission",
    title="Every namespace refuses ports of the node",
    severity="medium",
    applies_to="kubernetes/Namespace",
    needs=NEEDS,
    settings=("system_namespaces",),
)
def host_port_admission(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what would refuse a pod with `hostPort` in each namespace.

    Why: A port of the node is open wherever the node is reached, past Services and ingress, with
    many network plugins past NetworkPolicies too, and may stand in for a service of the node.

    Rule: Asks about pods with a low and a high `hostPort`, in a container and in an init
    container. Passes when each is refused, by Pod Security Admission (`enforce` baseline or
    restricted), a ValidatingAdmissionPolicy bound with Deny, a Kyverno policy that enforces or
    a Gatekeeper constraint with the action deny. Fails when one is admitted, and names it: so
    does a policy that allows a range with one of the two ports (80 and 30080). One that allows
    a list of others passes, as it may by the Pod Security Standards. Gives a review when that
    depends on a webhook or policy whose answer cannot be computed, or on one that refuses even
    a pod that breaks no rule. With `--probe-admission` the API server's answer to a dry run
    counts instead; k8s-pod-security-mechanism says when not, and how the pods are chosen. Does
    not apply to `[rules] system_namespaces` nor to a namespace that is being deleted. Unknown
    when policies or webhooks could not be read and nothing that was read refuses the pods.

    Fix: Label the namespace, and publish ports with a Service:

        metadata:
          labels:
            pod-security.kubernetes.io/enforce: baseline

    Source: CIS Kubernetes 5.2.12; Pod Security Standards, baseline, "Host Ports".
    """
    yield from judged("k8s-host-port", namespace, view)
