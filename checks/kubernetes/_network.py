"""Network policies as the API defines them: who is selected, in which direction, by which rules.

The semantics are those of `networking.k8s.io/v1`: a policy isolates the pods that it selects in
the directions of `policyTypes`; the rules of all policies that select a pod are added up; what
none of them allows is denied; pods that no policy selects in a direction are not isolated in it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from auditor.model import Json, Resource, View
from checks.kubernetes._pods import mapping, objects
from checks.kubernetes._scopes import namespace_labels, selects

INGRESS, EGRESS = "Ingress", "Egress"
FIELDS: Mapping[str, tuple[str, str]] = {INGRESS: ("ingress", "from"), EGRESS: ("egress", "to")}
"""Where the rules of a direction stand in a policy, and where the peers in a rule."""

PLUGIN_SCOPES = (
    "ciliumnetworkpolicies.cilium.io",
    "ciliumclusterwidenetworkpolicies.cilium.io",
    "networkpolicies.crd.projectcalico.org",
    "globalnetworkpolicies.crd.projectcalico.org",
    "networkpolicies.projectcalico.org",
    "globalnetworkpolicies.projectcalico.org",
    "adminnetworkpolicies.policy.networking.k8s.io",
    "baselineadminnetworkpolicies.policy.networking.k8s.io",
    "clusternetworkpolicies.policy.networking.k8s.io",
)
"""The scopes of policies that are not `NetworkPolicy` and isolate pods all the same."""

_NAMESPACED = {
    "CiliumNetworkPolicy": "CiliumNetworkPolicy",
    "NetworkPolicy.crd.projectcalico.org": "Calico NetworkPolicy",
    "NetworkPolicy.projectcalico.org": "Calico NetworkPolicy",
}
_CLUSTER_WIDE = {
    "CiliumClusterwideNetworkPolicy": "CiliumClusterwideNetworkPolicy",
    "GlobalNetworkPolicy": "Calico GlobalNetworkPolicy",
    "AdminNetworkPolicy": "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy": "BaselineAdminNetworkPolicy",
    "ClusterNetworkPolicy": "ClusterNetworkPolicy",
}
_BY_NAMESPACE_LABELS = ("AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


Labels = frozenset[tuple[str, str]]
"""Labels of a pod, as far as policies look at them."""


class Rule(NamedTuple):
    """One rule of a policy: the path of its list of peers, that list's name, and the rule."""

    path: str
    peers: str
    body: Mapping[str, Json]


class NetworkIndex:
    """The policies of a view by namespace, and the pods that they are asked about.

    Thousands of pods ask for the policies that select them, so that is answered once for all pods
    of a namespace whose labels differ only in what no policy there looks at.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._policies: dict[tuple[str | None, str], list[Resource]] = {}
        self._keys: dict[str | None, set[str]] = {}
        for policy in view.of_kind("NetworkPolicy"):
            self._keys.setdefault(policy.namespace, set()).update(_keys_of(policy))
            for direction in directions(policy.spec):
                self._policies.setdefault((policy.namespace, direction), []).append(policy)
        self._selecting: dict[tuple[str | None, str, Labels], list[Resource]] = {}
        self._others: dict[tuple[str | None, str], list[str]] = {}
        self._pods: dict[tuple[str | None, int, _Owner], list[Resource]] = {}
        owners = _controllers(view)
        for pod in view.of_kind("Pod"):
            key = (pod.namespace, id(pod.spec), _root(pod, owners))
            self._pods.setdefault(key, []).append(pod)

    def policies(self, namespace: str | None, direction: str) -> Sequence[Resource]:
        """The policies of a namespace that speak of a direction."""
        return self._policies.get((namespace, direction), ())

    def of_all_pods(self, namespace: str | None, direction: str) -> list[Resource]:
        """Those of them that select every pod, those to come included."""
        return [
            policy
            for policy in self.policies(namespace, direction)
            if _is_empty(policy.spec.get("podSelector"))
        ]

    def selecting(self, namespace: str | None, direction: str, labels: Labels) -> list[Resource]:
        """Those of them that select a pod with these labels, as `label_sets` gives them."""
        key = (namespace, direction, labels)
        found = self._selecting.get(key)
        if found is None:
            given = dict(labels)
            found = self._selecting[key] = [
                policy
                for policy in self.policies(namespace, direction)
                if selects(policy.spec.get("podSelector"), given)
            ]
        return found

    def label_sets(self, workload: Resource) -> dict[Labels, list[str]]:
        """The different labels of a workload's live pods, with the names of the pods.

        Only labels that some policy of the namespace looks at are given. Operators label live pods
        (the primary of a database, say), and policies select by that. A template that nothing runs
        has its own labels and no names.
        """
        looked_at = self._keys.get(workload.namespace, set())
        if not workload.count:
            return {_labels(workload, looked_at): []}
        key = (workload.namespace, id(workload.spec), (workload.kind, workload.name))
        found: dict[Labels, list[str]] = {}
        for pod in self._pods.get(key, ()):
            found.setdefault(_labels(pod, looked_at), []).append(pod.name)
        return found or {_labels(workload, looked_at): []}

    def others(self, namespace: str | None, direction: str = "") -> list[str]:
        """The policies of other kinds than NetworkPolicy that may speak of a namespace's pods.

        Those of network plugins and the cluster-wide ones of administrators: what they do to a pod
        is not computed here, but nobody should be told that nothing is there. With a direction,
        those that say nothing of it are left out.
        """
        key = (namespace, direction)
        found = self._others.get(key)
        if found is None:
            found = self._others[key] = [*_plugin_policies(namespace, direction, self._view)]
        return found


def network_index(view: View) -> NetworkIndex:
    """The index of a view, built once."""
    return view.index(NetworkIndex)


_Owner = tuple[str, str]
_MAKERS = frozenset(
    {
        "CronJob",
        "DaemonSet",
        "Deployment",
        "Job",
        "PodTemplate",
        "ReplicaSet",
        "ReplicationController",
        "StatefulSet",
    }
)
"""The kinds with a template for pods, under which the engine groups them."""
_MAX_OWNERS = 8


def _controllers(view: View) -> dict[tuple[str | None, _Owner], _Owner]:
    """By whom each object is controlled that makes pods."""
    return {
        (item.namespace, (item.kind, item.name)): owner
        for kind in ("ReplicaSet", "Job")
        for item in view.of_kind(kind)
        if (owner := _controller(item.metadata))
    }


def _root(pod: Resource, owners: Mapping[tuple[str | None, _Owner], _Owner]) -> _Owner:
    """The workload of a pod: pods of one spec may come from several of its ReplicaSets or Jobs."""
    root, above = ("Pod", pod.name), _controller(pod.metadata)
    for _ in range(_MAX_OWNERS):
        if above is None:
            break
        root, above = above, owners.get((pod.namespace, above))
    return root


def _controller(metadata: Mapping[str, Json]) -> _Owner | None:
    for owner in objects(metadata.get("ownerReferences")):
        if owner.get("controller"):
            kind, name = str(owner.get("kind")), str(owner.get("name"))
            # An operator's own kind has no template: what it controls is the root.
            return (kind, name) if kind in _MAKERS else None
    return None


def _labels(resource: Resource, looked_at: set[str]) -> Labels:
    labels = mapping(resource.metadata.get("labels"))
    return frozenset((key, str(labels[key])) for key in looked_at if key in labels)


def _keys_of(policy: Resource) -> Iterator[str]:
    """The keys of the labels that a policy's selector of pods looks at."""
    selector = mapping(policy.spec.get("podSelector"))
    yield from map(str, mapping(selector.get("matchLabels")))
    for expression in objects(selector.get("matchExpressions")):
        yield str(expression.get("key"))


def _is_empty(selector: Json) -> bool:
    found = mapping(selector)
    return not found.get("matchLabels") and not found.get("matchExpressions")


def directions(spec: Mapping[str, Json]) -> list[str]:
    """The directions a policy speaks of; the API's default is Ingress, and Egress if it has any."""
    given = spec.get("policyTypes")
    if isinstance(given, list) and given:
        return [str(item) for item in given]
    return [INGRESS, EGRESS] if spec.get("egress") else [INGRESS]


def rules(policy: Resource, direction: str) -> Iterator[Rule]:
    """The rules of a policy that have an effect in a direction."""
    if direction not in directions(policy.spec):
        return
    field, peers = FIELDS[direction]
    for index, body in enumerate(objects(policy.spec.get(field))):
        yield Rule(f"spec.{field}[{index}].{peers}", peers, body)


def opens_everything(rule: Rule) -> str:
    """In words, how the peers of a rule are every address there is; empty when they are not."""
    listed = rule.body.get(rule.peers)
    if not listed:
        return "missing" if listed is None else "empty"
    blocks = [block for peer in objects(listed) if (block := mapping(peer.get("ipBlock")))]
    return everything([str(block.get("cidr")) for block in blocks if not block.get("except")])


def everything(cidrs: Iterable[str]) -> str:
    """Which of the given blocks together are all of IPv4 or of IPv6; empty when they are not."""
    parsed = [(cidr, network) for cidr in cidrs if (network := _network(cidr))]
    for version in (4, 6):
        networks = {cidr: network for cidr, network in parsed if network.version == version}
        collapsed = ipaddress.collapse_addresses(networks.values())  # type: ignore[type-var]
        if any(network.prefixlen == 0 for network in collapsed):
            return " and ".join(networks)
    return ""


def nearly_everything(rule: Rule) -> str:
    """In words, how the peers of a rule are every address but for exceptions; or nothing."""
    for peer in objects(rule.body.get(rule.peers)):
        block = mapping(peer.get("ipBlock"))
        if block.get("except") and everything([str(block.get("cidr"))]):
            left_out = ", ".join(str(item) for item in block.get("except") or ())
            return f"{block.get('cidr')} but for {left_out}"
    return ""


def everything_together(policies: Iterable[Resource], direction: str) -> list[str]:
    """The policies whose rules only together allow every address, on every port of a protocol."""
    blocks: dict[str, str] = {}
    for policy in policies:
        for rule in rules(policy, direction):
            if not opens_every_port(rule.body):
                continue
            for peer in objects(rule.body.get(rule.peers)):
                block = mapping(peer.get("ipBlock"))
                if block and not block.get("except"):
                    blocks[str(block.get("cidr"))] = policy.name
    found = everything(blocks)
    return [blocks[cidr] for cidr in found.split(" and ")] if found else []


def opens_every_port(rule: Mapping[str, Json]) -> bool:
    """Whether a rule is about every port there is, of one protocol at least."""
    listed = objects(rule.get("ports"))
    return not listed or any(
        port.get("port") is None or (port["port"] in (0, 1) and port.get("endPort") == 65535)
        for port in listed
    )


def ports_of(rule: Mapping[str, Json]) -> str:
    """The ports of a rule, as evidence."""
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


def allows(rule: Rule, address: str, port: int) -> str:
    """In words, how a rule of egress allows TCP to an address outside the cluster; or nothing.

    Peers that select pods or namespaces mean addresses of pods and never this one. A named port is
    looked up in the pod that is the destination, so it opens none of an address.
    """
    if not _has_port(rule.body.get("ports"), port):
        return ""
    listed = rule.body.get(rule.peers)
    if not listed:
        return f"`{rule.peers}` is {'missing' if listed is None else 'empty'}"
    wanted = ipaddress.ip_address(address)
    for peer in objects(listed):
        block = mapping(peer.get("ipBlock"))
        exceptions = block.get("except")
        if _within(wanted, block.get("cidr")) and not any(
            _within(wanted, item) for item in (exceptions if isinstance(exceptions, list) else ())
        ):
            return f"ipBlock {block.get('cidr')}"
    return ""


def _has_port(ports: Json, wanted: int) -> bool:
    listed = objects(ports)
    return not listed or any(
        (port.get("protocol") or "TCP") == "TCP" and _in_range(port, wanted) for port in listed
    )


def _in_range(port: Mapping[str, Json], wanted: int) -> bool:
    first = port.get("port")
    if first is None:
        return True
    last = port.get("endPort") or first
    return isinstance(first, int) and isinstance(last, int) and first <= wanted <= last


def _within(address: _Address, cidr: Json) -> bool:
    network = _network(str(cidr))
    return network is not None and network.version == address.version and address in network


def _network(cidr: str) -> _Network | None:
    try:
        return ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return None


def _plugin_policies(namespace: str | None, direction: str, view: View) -> Iterator[str]:
    for kind, name in _NAMESPACED.items():
        for policy in view.in_namespace(kind, namespace):
            if _speaks_of(policy, direction):
                yield f"{name} {policy.name}"
    for kind, name in _CLUSTER_WIDE.items():
        for policy in view.of_kind(kind):
            concerned = kind not in _BY_NAMESPACE_LABELS or _may_concern(policy, namespace, view)
            if concerned and _speaks_of(policy, direction):
                yield f"{name} {policy.name}"


def _speaks_of(policy: Resource, direction: str) -> bool:
    """Whether a policy of another kind may say anything of pods in a direction.

    Cilium's has lists of rules and of denials for each direction, and switches for its default;
    one with a `nodeSelector` is about nodes. Calico's has `types`, by default those of its rules,
    and Ingress without any. Those of `policy.networking.k8s.io` have lists alone.
    """
    if policy.kind.startswith("Cilium"):
        bodies = [policy.body.get("spec"), *objects(policy.body.get("specs"))]
        return any(_of_cilium(mapping(body), direction) for body in bodies if body)
    spec = policy.spec
    if not direction:
        return True
    field = FIELDS[direction][0]
    if policy.kind in _BY_NAMESPACE_LABELS:
        return bool(spec.get(field))
    types = spec.get("types")
    if isinstance(types, list) and types:
        return direction in types
    return bool(spec.get(field)) or (direction == INGRESS and not spec.get("egress"))


def _of_cilium(spec: Mapping[str, Json], direction: str) -> bool:
    if "nodeSelector" in spec:
        return False
    if not direction:
        return True
    field = FIELDS[direction][0]
    defaults = mapping(spec.get("enableDefaultDeny"))
    # An empty list of rules denies as much as one that allows something.
    return field in spec or f"{field}Deny" in spec or defaults.get(field) is True


def _may_concern(policy: Resource, namespace: str | None, view: View) -> bool:
    """Whether a policy of `policy.networking.k8s.io` speaks of a namespace, by its labels."""
    known = view.index(_namespaces).get(str(namespace))
    if known is None:
        return True
    subject = mapping(policy.spec.get("subject"))
    selector = subject.get("namespaces")
    if selector is None:
        selector = mapping(subject.get("pods")).get("namespaceSelector")
    return selects(selector, namespace_labels(known))


def _namespaces(view: View) -> dict[str, Resource]:
    return {namespace.name: namespace for namespace in view.of_kind("Namespace")}
