"""Whether pods are isolated at all: network policies of a namespace, and pods that none selects."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import (
    Resource,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
    review,
)
from auditor.registry import check
from checks.kubernetes._accepted import accepted_workload
from checks.kubernetes._network import (
    EGRESS,
    INGRESS,
    PLUGIN_SCOPES,
    everything_together,
    nearly_everything,
    network_index,
    opens_every_port,
    opens_everything,
    ports_of,
    rules,
)
from checks.kubernetes._pods import some
from checks.kubernetes._scopes import is_system

SYSTEM = "a system namespace: the rule speaks of the others"
_JUDGE = "a person to judge what those policies do"


@check(
    id="k8s-network-policy",
    title="Every namespace has a network policy",
    severity="medium",
    applies_to="kubernetes/Namespace",
    needs=("networkpolicies", *PLUGIN_SCOPES),
    settings=("system_namespaces",),
)
def network_policy(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks for a NetworkPolicy in each namespace that is not the platform's.

    Why: Without a policy every pod reaches every other pod, the cloud's metadata service and the
    world: one compromised container sees the whole network.

    Rule: Passes when the namespace has a NetworkPolicy, whatever the policy says; further checks
    look at that. Gives a review when it has none, but policies of other kinds may speak of its
    pods: those of Cilium and Calico, and the cluster-wide AdminNetworkPolicy,
    BaselineAdminNetworkPolicy and ClusterNetworkPolicy; what they do is not computed. Fails when
    there is neither. Namespaces in `[rules] system_namespaces` are not asked, as the benchmark
    excepts them. Unknown when policies could not be listed; manifests without a policy are unknown
    too, for it may be in the cluster already.

    Fix: Deny everything by default, then allow what is needed:

        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata:
          name: default-deny
          namespace: ledger
        spec:
          podSelector: {}
          policyTypes: [Ingress, Egress]

    Source: CIS Kubernetes 5.3.2; the hardening guide's "Network policies defined".
    """
    if is_system(namespace.name, view):
        yield not_applicable(SYSTEM)
        return
    policies = view.in_namespace("NetworkPolicy", namespace.name)
    if policies:
        yield passed(observed=f"{len(policies)} network policies", stands=True)
        return
    others = network_index(view).others(namespace.name)
    if others:
        yield review("", f"no NetworkPolicy, but {some(others)}", _JUDGE, stands=False)
    else:
        yield failed("", "no NetworkPolicy", "at least one NetworkPolicy", stands=False)


@check(
    id="k8s-default-deny-ingress",
    title="Every namespace denies incoming traffic by default",
    severity="medium",
    applies_to="kubernetes/Namespace",
    needs=("networkpolicies", *PLUGIN_SCOPES),
    settings=("system_namespaces",),
)
def default_deny_ingress(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks for a network policy that isolates every pod of a namespace against incoming traffic.

    Why: Policies that name the pods they protect forget the pod of tomorrow. With a default, who
    adds a pod must also say who may talk to it.

    Rule: Passes when a NetworkPolicy with the direction Ingress selects all pods (an empty
    `podSelector`) and no such policy has a rule that allows every source on every port of a
    protocol. Rules that allow named peers do not matter: policies add up, so one that denies
    everything beside one that allows something is the same as the second alone. Fails when no
    policy selects all pods, or the rules of those that do, one alone or several together, open
    everything again. Gives a review when such a rule opens everything but for exceptions, and when
    no policy selects all pods, but policies of other kinds (Cilium, Calico, AdminNetworkPolicy)
    speak of incoming traffic here. Namespaces in `[rules] system_namespaces` are not asked. Unknown
    when policies could not be listed, and in manifests that hold no opening rule: the cluster may
    hold another policy.

    Fix: Add the default beside the policies that are there:

        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata:
          name: default-deny-ingress
          namespace: ledger
        spec:
          podSelector: {}
          policyTypes: [Ingress]

    Source: Kubernetes documentation, "Network Policies", default policies; goes beyond CIS
    Kubernetes 5.3.2; NIST SP 800-190, 4.3.3.
    """
    yield _default_deny(namespace, view, INGRESS)


@check(
    id="k8s-default-deny-egress",
    title="Every namespace denies outgoing traffic by default",
    severity="low",
    applies_to="kubernetes/Namespace",
    needs=("networkpolicies", *PLUGIN_SCOPES),
    settings=("system_namespaces",),
)
def default_deny_egress(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks for a network policy that isolates every pod of a namespace against outgoing traffic.

    Why: Data leaves, and commands arrive, over connections that the intruder's process opens
    itself. Few programs need more than a handful of destinations, and those can be named.

    Rule: Passes when a NetworkPolicy with the direction Egress selects all pods (an empty
    `podSelector`) and no such policy has a rule that allows every destination on every port of a
    protocol. Note that `policyTypes` must name Egress unless the policy has egress rules. Fails
    when no policy selects all pods, or the rules of those that do, one alone or several together,
    open everything again. Gives a review when such a rule opens everything but for exceptions, and
    when no policy selects all pods, but policies of other kinds (Cilium, Calico,
    AdminNetworkPolicy) speak of outgoing traffic here. Namespaces in `[rules] system_namespaces`
    are not asked. Unknown when policies could not be listed, and in manifests that hold no opening
    rule.

    Fix: Deny everything, and allow the cluster's DNS with it, which nearly every pod needs:

        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata:
          name: default-deny-egress
          namespace: ledger
        spec:
          podSelector: {}
          policyTypes: [Egress]
          egress:
            - to:
                - namespaceSelector:
                    matchLabels:
                      kubernetes.io/metadata.name: kube-system
                  podSelector:
                    matchLabels:
                      k8s-app: kube-dns
              ports:
                - {protocol: UDP, port: 53}
                - {protocol: TCP, port: 53}

    Source: Kubernetes documentation, "Network Policies", default policies; goes beyond CIS
    Kubernetes 5.3.2; NIST SP 800-190, 4.3.3.
    """
    yield _default_deny(namespace, view, EGRESS)


_EXCEPTIONS = "a person to judge whether the exceptions are enough"


def _default_deny(namespace: Resource, view: View, direction: str) -> Verdict:
    if is_system(namespace.name, view):
        return not_applicable(SYSTEM)
    index = network_index(view)
    whole = index.of_all_pods(namespace.name, direction)
    expected = f"a policy that selects all pods for {direction}, and none that opens everything"
    for policy in whole:
        for rule in rules(policy, direction):
            how = opens_everything(rule)
            if how and opens_every_port(rule.body):
                path = f"NetworkPolicy/{policy.name}: {rule.path}"
                observed = f"{how}, {ports_of(rule.body)}: all pods are open to everything again"
                return failed(path, observed, expected)
    for policy in whole:
        for rule in rules(policy, direction):
            how = nearly_everything(rule)
            if how and opens_every_port(rule.body):
                path = f"NetworkPolicy/{policy.name}: {rule.path}"
                observed = f"{how}, {ports_of(rule.body)}: open to nearly everything again"
                return review(path, observed, _EXCEPTIONS, stands=False)
    together = everything_together(whole, direction)
    if together:
        expected = f"policies for {direction} that leave some addresses out"
        return failed("", f"rules of {some(dict.fromkeys(together))} together allow all", expected)
    if whole:
        return passed()
    others = index.others(namespace.name, direction)
    some_pods = [policy.name for policy in index.policies(namespace.name, direction)]
    observed = f"no NetworkPolicy selects all pods for {direction}"
    if some_pods:
        observed += f"; only some are selected by {some(some_pods)}"
    if others:
        return review("", f"{observed}; but {some(others)}", _JUDGE, stands=False)
    return failed("", observed, expected, stands=False)


@check(
    id="k8s-pod-without-network-policy",
    title="Every pod is selected by a network policy in each direction",
    severity="medium",
    applies_to="kubernetes/workload",
    needs=("networkpolicies", *PLUGIN_SCOPES),
    settings=("accepted_workloads", "system_namespaces"),
    excuse=accepted_workload,
)
def pod_without_network_policy(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks for a network policy that selects each pod, once for ingress and once for egress.

    Why: A pod that no policy selects in a direction is open in it, however many policies its
    namespace has. A typing error in a label is enough, and nothing warns of it.

    Rule: Passes when for each direction at least one NetworkPolicy of the pod's namespace selects
    the pod's labels. Fails for each direction for which none does. Live pods are judged by the
    labels that they carry now, templates without pods by theirs; where only some pods of a
    workload are not selected, they are named. Gives a review where policies of other kinds
    (Cilium, Calico, AdminNetworkPolicy) speak of that direction and may select the pod. Does not
    apply to pods on the node's network, where NetworkPolicy has no effect, nor in `[rules]
    system_namespaces`. Workloads in `[rules] accepted_workloads` are waived with the reason given
    there. Unknown when pods, workloads or policies could not be listed; in manifests, where none
    of them selects the pod.

    Fix: Select all pods by default, so that no label can be forgotten:

        spec:
          podSelector: {}
          policyTypes: [Ingress, Egress]

    Source: Kubernetes documentation, "Network Policies", the two sorts of pod isolation; goes
    beyond CIS Kubernetes 5.3.2.
    """
    if is_system(workload.namespace, view):
        yield not_applicable(SYSTEM)
        return
    if workload.spec.get("hostNetwork"):
        yield not_applicable(HOST_NETWORK)
        return
    index = network_index(view)
    sets = index.label_sets(workload)
    total = sum(len(names) for names in sets.values())
    for direction in (INGRESS, EGRESS):
        others = index.others(workload.namespace, direction)
        path = labels_path(workload, direction)
        open_sets = [
            names
            for labels, names in sets.items()
            if not index.selecting(workload.namespace, direction, labels)
        ]
        if not open_sets:
            yield passed(path, stands=True)
            continue
        names = [name for found in open_sets for name in found]
        observed = f"no NetworkPolicy selects it for {direction}"
        if len(names) < total:
            observed = f"{len(names)} of {total} pods ({some(names)}): {observed}"
        if others:
            yield review(path, f"{observed}; but {some(others)}", _JUDGE, stands=False)
        else:
            yield failed(path, observed, "a policy that selects the pod's labels", stands=False)


HOST_NETWORK = "on the node's network, where no NetworkPolicy has an effect"


def labels_path(workload: Resource, direction: str) -> str:
    """Where the labels stand by which policies select the pods of a workload."""
    return f"{workload.spec_path.removesuffix('spec')}metadata.labels ({direction})"
