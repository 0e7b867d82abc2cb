"""Who may talk to whom: network policies, and rules in them that allow everything."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from auditor.model import (
    Json,
    Resource,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
    review,
)
from auditor.registry import check
from checks.kubernetes._pods import mapping, objects
from checks.kubernetes._scopes import is_system


@check(
    id="k8s-network-policy",
    title="Every namespace has a network policy",
    severity="medium",
    applies_to="kubernetes/Namespace",
    needs=("networkpolicies",),
    settings=("system_namespaces",),
)
def network_policy(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks for a NetworkPolicy in each namespace that is not the platform's.

    Why: Without a policy every pod reaches every other pod, the cloud's metadata service and the
    world: one compromised container sees the whole network.

    Rule: Passes when the namespace has a NetworkPolicy, fails when it has none. Namespaces in
    `[rules] system_namespaces` are not asked, as the benchmark excepts them. Policies of network
    plugins' own kinds do not count. Unknown when network policies could not be listed; manifests
    without a policy are unknown too, for it may be in the cluster already.

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
        yield not_applicable("a system namespace: the rule speaks of the others")
        return
    policies = view.in_namespace("NetworkPolicy", namespace.name)
    if policies:
        yield passed(observed=f"{len(policies)} network policies", stands=True)
    else:
        yield failed("", "no NetworkPolicy", "at least one NetworkPolicy", stands=False)


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
    for field, key, kind in (("ingress", "from", "Ingress"), ("egress", "to", "Egress")):
        if kind not in _types(policy.spec):
            continue
        for index, rule in enumerate(objects(policy.spec.get(field))):
            yield _judge(rule, key, f"spec.{field}[{index}].{key}")
    yield passed()


def _types(spec: Mapping[str, Json]) -> list[str]:
    """The directions a policy speaks of; the API's default is Ingress, and Egress if it has any."""
    given = spec.get("policyTypes")
    if isinstance(given, list) and given:
        return [str(item) for item in given]
    return ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _judge(rule: Mapping[str, Json], key: str, path: str) -> Verdict:
    whom = "source" if key == "from" else "destination"
    ports = _ports(rule)
    expected = "a podSelector, a namespaceSelector or a narrower ipBlock"
    if not rule.get(key):
        said = "missing" if rule.get(key) is None else "empty"
        return failed(path, f"{said}: every {whom}, {ports}", expected)
    blocks = [block for peer in objects(rule.get(key)) if (block := mapping(peer.get("ipBlock")))]
    whole = [str(block.get("cidr")) for block in blocks if not block.get("except")]
    opened = _everything(whole)
    if opened:
        return failed(path, f"{opened}: every {whom}, {ports}", expected)
    excepting = [block for block in blocks if block.get("except") and _everything(_cidr(block))]
    if excepting:
        left_out = ", ".join(str(item) for item in excepting[0].get("except") or ())
        observed = f"{excepting[0].get('cidr')} but for {left_out}: nearly every {whom}, {ports}"
        return review(path, observed, "a person to judge whether the exceptions are enough")
    return passed(path)


def _cidr(block: Mapping[str, Json]) -> list[str]:
    return [str(block.get("cidr"))]


def _everything(cidrs: list[str]) -> str:
    """Which of the given blocks together are all of IPv4 or of IPv6; empty when they are not."""
    for version in (4, 6):
        networks = {cidr: network for cidr in cidrs if (network := _network(cidr, version))}
        collapsed = ipaddress.collapse_addresses(networks.values())  # type: ignore[type-var]
        if any(network.prefixlen == 0 for network in collapsed):
            return " and ".join(networks)
    return ""


def _network(cidr: str, version: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return None
    return network if network.version == version else None


def _ports(rule: Mapping[str, Json]) -> str:
    listed = objects(rule.get("ports"))
    if not listed:
        return "on every port"
    shown = []
    for port in listed:
        number = str(port.get("port", "every port"))
        if port.get("endPort"):
            number += f"-{port['endPort']}"
        shown.append(f"{number}/{port.get('protocol') or 'TCP'}")
    return f"on {', '.join(shown)}"
