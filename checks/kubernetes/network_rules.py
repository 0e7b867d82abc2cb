"""What network policies let through: rules that allow everything, and the metadata service."""

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
    Rule,
    allows,
    nearly_everything,
    network_index,
    opens_everything,
    ports_of,
    rules,
)
from checks.kubernetes._pods import some
from checks.kubernetes._scopes import is_system
from checks.kubernetes.network_policy import HOST_NETWORK, SYSTEM, labels_path


@check(
    id="k8s-network-policy-open-rule",
    title="No network policy rule opens to everything",
    severity="medium",
    applies_to="kubernetes/NetworkPolicy",
)
def network_policy_open_rule(policy: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the peers of every rule of a network policy that is in effect.

    Why: A rule with an empty `to` or `from` reads like a restriction and allows every address
    there is: the policy is there, the audit item is ticked, and the data leaves all the same.

    Rule: Fails for each rule whose `to` or `from` is missing or empty, or whose `ipBlock`s
    together cover all of IPv4 or IPv6; ports that narrow the rule are shown. Gives a review where
    such a block has exceptions. Passes otherwise, and for rules of a direction that `policyTypes`
    leaves out, which have no effect. The hardening guide's own example has `to: []` and fails
    here. Unknown when network policies could not be listed.

    Fix: Name who is meant:

        egress:
          - to:
              - namespaceSelector:
                  matchLabels:
                    kubernetes.io/metadata.name: ledger-db
                podSelector:
                  matchLabels:
                    app: postgres
            ports:
              - protocol: TCP
                port: 5432

    Source: CIS Kubernetes 5.3.2 and beyond; NIST SP 800-190, 4.3.3.
    """
    for direction in (INGRESS, EGRESS):
        for rule in rules(policy, direction):
            yield _judge(rule)
    yield passed()


def _judge(rule: Rule) -> Verdict:
    whom = "source" if rule.peers == "from" else "destination"
    ports = ports_of(rule.body)
    expected = "a podSelector, a namespaceSelector or a narrower ipBlock"
    opened = opens_everything(rule)
    if opened:
        return failed(rule.path, f"{opened}: every {whom}, {ports}", expected)
    nearly = nearly_everything(rule)
    if nearly:
        observed = f"{nearly}: nearly every {whom}, {ports}"
        return review(rule.path, observed, "a person to judge whether the exceptions are enough")
    return passed(rule.path)


METADATA = ("169.254.169.254", "fd00:ec2::254")
"""Where instance metadata is served: the link-local address that AWS, Azure, Google Cloud, Oracle
and OpenStack share, and the one AWS has for IPv6 (Amazon EC2 User Guide, "Instance metadata")."""

_PORT = 80
_JUDGE = "a person to judge what those policies do"


@check(
    id="k8s-metadata-egress",
    title="Pods cannot reach the cloud's metadata service",
    severity="medium",
    applies_to="kubernetes/workload",
    needs=("networkpolicies", *PLUGIN_SCOPES),
    settings=("accepted_workloads", "system_namespaces"),
    excuse=accepted_workload,
)
def metadata_egress(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at whether network policies let a pod connect to the address of instance metadata.

    Why: On a cloud's machine http://169.254.169.254 hands out the node's credentials to whoever
    asks. A request that an application can be tricked into sending is enough to take them.

    Rule: Fails when no NetworkPolicy selects the pod for Egress, and for each rule that allows TCP
    port 80 to 169.254.169.254 or fd00:ec2::254: by a `to` that is missing or empty, or by an
    `ipBlock` that holds the address and does not except it. Passes when policies select the pod
    and no rule does. Gives a review instead of a failure where policies of other kinds (Cilium,
    Calico, AdminNetworkPolicy) may deny it all the same. Does not apply to pods on the node's
    network, where NetworkPolicy has no effect, nor in `[rules] system_namespaces`. What the cloud
    restricts (the hop limit of IMDSv2, a metadata server for workloads) cannot be seen from the
    API, nor whether the cluster runs on a cloud at all: the rule is one layer of several. Workloads
    in `[rules] accepted_workloads` are waived. Unknown when pods, workloads or policies could not
    be listed.

    Fix: Deny egress by default. Where a pod must reach the internet, except the address:

        egress:
          - to:
              - ipBlock:
                  cidr: 0.0.0.0/0
                  except: [169.254.0.0/16]

    Source: goes beyond CIS Kubernetes 5.3.2; NSA and CISA, Kubernetes Hardening Guide, "Protecting
    sensitive cloud infrastructure"; Amazon EC2 User Guide, "Instance metadata".
    """
    if is_system(workload.namespace, view):
        yield not_applicable(SYSTEM)
        return
    if workload.spec.get("hostNetwork"):
        yield not_applicable(HOST_NETWORK)
        return
    index = network_index(view)
    others = index.others(workload.namespace, EGRESS)
    allowed = view.index(_Allowed)
    # Equal for several pods of a workload, so each is told once.
    found: dict[Verdict, None] = {}
    for labels, names in index.label_sets(workload).items():
        selecting = index.selecting(workload.namespace, EGRESS, labels)
        if not selecting:
            found[_not_selected(workload, names, others)] = None
        for policy in selecting:
            found.update(dict.fromkeys(allowed.by(policy)))
    yield from found
    yield passed()


class _Allowed:
    """What each policy lets through to the metadata service, judged once for all its pods."""

    def __init__(self, view: View) -> None:
        self._index = network_index(view)
        self._by: dict[int, list[Verdict]] = {}

    def by(self, policy: Resource) -> list[Verdict]:
        """The verdicts on the rules of a policy that allow it."""
        found = self._by.get(id(policy))
        if found is None:
            others = self._index.others(policy.namespace, EGRESS)
            judged = (_allowed(policy, rule, others) for rule in rules(policy, EGRESS))
            found = self._by[id(policy)] = [verdict for verdict in judged if verdict is not None]
        return found


def _not_selected(workload: Resource, names: list[str], others: list[str]) -> Verdict:
    path = labels_path(workload, EGRESS)
    observed = f"no NetworkPolicy selects it for {EGRESS}: {METADATA[0]} can be reached"
    if 0 < len(names) < workload.count:
        observed = f"{len(names)} of {workload.count} pods ({some(names)}): {observed}"
    if others:
        return review(path, f"{observed}, unless {some(others)} denies it", _JUDGE)
    expected = f"a policy for {EGRESS} that does not allow {' or '.join(METADATA)}"
    return failed(path, observed, expected, stands=False)


def _allowed(policy: Resource, rule: Rule, others: list[str]) -> Verdict | None:
    path = f"NetworkPolicy/{policy.name}: {rule.path}"
    reached = {address: how for address in METADATA if (how := allows(rule, address, _PORT))}
    if not reached:
        return None
    how = " and ".join(dict.fromkeys(reached.values()))
    observed = f"{how}: TCP {_PORT} to {' and '.join(reached)}"
    if others:
        # Denials of those kinds come before what a NetworkPolicy allows.
        return review(path, f"{observed}, unless {some(others)} denies it", _JUDGE)
    return failed(path, observed, "an ipBlock that excepts the address, or named pods")
