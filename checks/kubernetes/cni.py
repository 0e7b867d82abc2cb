"""Whether anything on the nodes puts network policies into effect."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from auditor.model import Resource, Verdict, View, failed, passed, review, unknown
from auditor.registry import check
from checks.kubernetes._cni import CRD_GROUPS, Agent, Enforces, agents
from checks.kubernetes._pods import mapping, objects, some
from checks.kubernetes._scopes import gap_of, is_system, labels_of

_EXPECTED = "an agent on every node that enforces network policies"


@check(
    id="k8s-cni-network-policy",
    title="The network plugin enforces network policies",
    severity="high",
    applies_to="kubernetes/cluster",
    needs=("pods", "daemonsets", "nodes", "customresourcedefinitions"),
    settings=("system_namespaces",),
)
def cni_network_policy(cluster: Resource, view: View) -> Iterator[Verdict]:
    """Looks for the agents of known network plugins, and on which nodes they run.

    Why: The API server takes every NetworkPolicy and does nothing with it. Where the plugin does
    not enforce them, all the policies of a cluster are decoration, and nothing says so.

    Rule: Plugins are recognised by the image or the container name of DaemonSets. Passes when one
    that enforces runs on every node that is ready: Calico (Canal too), Cilium, Antrea, Weave Net
    with weave-npc, kube-router, OVN-Kubernetes, Kube-OVN, kindnet (from kind 0.24.0 or kindnet
    1.3.0 on), the Amazon VPC CNI with `--enable-network-policy=true` and its controller switched
    on in the ConfigMap amazon-vpc-cni, Azure Network Policy Manager, kube-network-policies,
    Romana; on k3s its built-in controller, by the arguments that k3s notes on its nodes. Fails
    when what was recognised does not enforce (Flannel, the Amazon VPC CNI or Azure CNI without a
    policy agent, an enforcing plugin with enforcement switched off), or when a ready node runs no
    agent. Gives a review when nothing was recognised, with the DaemonSets that were seen; when
    only custom resource definitions of a plugin are left; when the mode cannot be seen (OpenShift
    SDN, Terway); when an agent runs on every node but is not ready on some; and when it is missing
    only on nodes of Fargate, of a virtual kubelet or of Windows, where its pods may not run. Of
    values in ConfigMaps only the length is known, which is enough to tell Cilium's `never`, and
    `true` from `false`. Unknown when pods, DaemonSets or nodes could not be listed (for Cilium and
    Amazon: ConfigMaps), when no pod runs at all, and for manifests.

    Fix: Install a plugin that enforces, or a policy agent beside the one that is there; for the
    Amazon VPC CNI:

        aws eks update-addon --cluster-name NAME --addon-name vpc-cni \\
          --configuration-values '{"enableNetworkPolicy": "true"}'

    Source: CIS Kubernetes 5.3.1; Kubernetes documentation, "Network Policies", prerequisites; the
    documentation of each plugin.
    """
    found = [*agents(view)]
    enforcing = [agent for agent in found if agent.enforces is Enforces.YES]
    if enforcing:
        yield _coverage(enforcing, view)
        return
    gap = gap_of(view, "pods", "daemonsets", "nodes")
    if gap is not None and not found:
        yield unknown("", f"could not read {gap.scope}: {gap.reason}: {gap.detail}", _EXPECTED)
        return
    unread = [agent for agent in found if agent.enforces is Enforces.UNREAD]
    unclear = [agent for agent in found if agent.enforces is Enforces.UNCLEAR]
    k3s = _k3s(view)
    if k3s is not None:
        yield k3s
    elif unread:
        yield unknown(_path(unread[0]), _shown(unread), _EXPECTED)
    elif unclear:
        yield review(_path(unclear[0]), _shown(unclear), _EXPECTED)
    elif found:
        observed = f"{_shown(found)}: nothing enforces network policies"
        yield failed(_path(found[0]), observed, _EXPECTED, stands=False)
    else:
        yield _nothing_known(view)


def _path(agent: Agent) -> str:
    return f"DaemonSet/{agent.workload.namespace}/{agent.workload.name}"


def _shown(found: Sequence[Agent]) -> str:
    return some(dict.fromkeys(str(agent) for agent in found))


def _coverage(found: Sequence[Agent], view: View) -> Verdict:
    """Compare the nodes that run an enforcing agent with the nodes that there are."""
    running, unready = _nodes_with(found, view)
    ready = [node for node in view.of_kind("Node") if _is_ready(node)]
    missing = [node for node in ready if node.name not in running]
    path, shown = _path(found[0]), _shown(found)
    complete = gap_of(view, "pods", "daemonsets", "nodes") is None
    if complete and not running and not ready:
        return unknown(path, f"{shown}, but there is no node on which it could run", _EXPECTED)
    late = [node.name for node in ready if node.name in unready]
    if not missing and late:
        observed = f"{shown}, on every node; not ready on {some(late)}"
        return review(path, observed, "an agent that is ready on every node")
    if not missing:
        return passed(path, shown, stands=complete)
    names = some(node.name for node in missing)
    observed = f"{shown}, on {len(ready) - len(missing)} of {len(ready)} nodes; not on {names}"
    if all(_is_special(node) for node in missing):
        return review(path, f"{observed}, where its pods may not run", _EXPECTED)
    return failed(path, observed, _EXPECTED, stands=False)


def _nodes_with(found: Sequence[Agent], view: View) -> tuple[set[str], set[str]]:
    """The nodes on which a pod of one of the agents' DaemonSets runs, and those of them on which
    no such pod's agent is ready, for it does not start, say.
    """
    agents_of: dict[tuple[str | None, str], set[str]] = {}
    for agent in found:
        key = (agent.workload.namespace, agent.workload.name)
        agents_of.setdefault(key, set()).add(agent.container)
    running: set[str] = set()
    ready: set[str] = set()
    for pod in view.of_kind("Pod"):
        status = mapping(pod.body.get("status"))
        if status.get("phase") not in (None, "Running"):
            continue
        for owner in objects(pod.metadata.get("ownerReferences")):
            names = agents_of.get((pod.namespace, str(owner.get("name"))))
            if owner.get("kind") == "DaemonSet" and names:
                node = str(pod.body.get("nodeName"))
                running.add(node)
                if not any(
                    item.get("ready") is False and item.get("name") in names
                    for item in objects(status.get("containerStatuses"))
                ):
                    ready.add(node)
    return running, running - ready


def _is_ready(node: Resource) -> bool:
    """Whether a node takes pods; one of which nothing is reported counts as ready."""
    conditions = objects(mapping(node.body.get("status")).get("conditions"))
    ready = [item.get("status") for item in conditions if item.get("type") == "Ready"]
    return ready in ([], ["True"])


def _is_special(node: Resource) -> bool:
    labels = labels_of(node)
    return (
        labels.get("eks.amazonaws.com/compute-type") == "fargate"
        or labels.get("type") == "virtual-kubelet"
        or labels.get("kubernetes.io/os") == "windows"
    )


_ARGUMENTS = "k3s.io/node-args"


def _k3s(view: View) -> Verdict | None:
    """What k3s says of the policy controller inside its own process, which no pod shows.

    k3s writes its arguments on each node (k3s-io/k3s issue 7244 shows one): those of the servers
    say whether `--disable-network-policy` is given.
    """
    nodes = [node for node in view.of_kind("Node") if "+k3s" in _version(node)]
    if not nodes:
        return None
    servers = {
        node.name: given for node in nodes if (given := _k3s_arguments(node))[:1] == ["server"]
    }
    off = [name for name, given in servers.items() if _is_switched_off(given)]
    path = f"Node/{(off or [*servers] or [nodes[0].name])[0]}: {_ARGUMENTS}"
    if off:
        return failed(path, "k3s runs with --disable-network-policy", _EXPECTED)
    if servers:
        observed = "k3s runs without --disable-network-policy: its own controller enforces"
        return passed(path, observed, stands=gap_of(view, "nodes") is None)
    observed = "k3s enforces by a controller of its own unless switched off; its arguments "
    return review(path, f"{observed}could not be read from its nodes", _EXPECTED)


def _version(node: Resource) -> str:
    info = mapping(mapping(node.body.get("status")).get("nodeInfo"))
    return str(info.get("kubeletVersion") or "")


def _k3s_arguments(node: Resource) -> list[str]:
    try:
        given = json.loads(str(mapping(node.metadata.get("annotations")).get(_ARGUMENTS)))
    except ValueError:
        return []
    return [str(word) for word in given] if isinstance(given, list) else []


def _is_switched_off(words: Sequence[str]) -> bool:
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--disable-network-policy":
            following = words[index + 1] if index + 1 < len(words) else ""
            return (value if equals else following).lower() != "false"
    return False


def _nothing_known(view: View) -> Verdict:
    if not view.workloads:
        return unknown("", "no pod runs here: there is no agent to be seen", _EXPECTED)
    definitions = sorted(
        {
            plugin
            for definition in view.of_kind("CustomResourceDefinition")
            if (plugin := CRD_GROUPS.get(definition.name.partition(".")[2]))
        }
    )
    daemons = sorted(
        {
            f"{workload.namespace}/{workload.name}"
            for workload in view.workloads
            if workload.kind == "DaemonSet" and is_system(workload.namespace, view)
        }
    )
    seen = f"DaemonSets of the system: {some(daemons, 8)}" if daemons else "no system DaemonSet"
    observed = f"no agent of a known network plugin; {seen}"
    if definitions:
        observed = f"custom resource definitions of {some(definitions)}, but {observed}"
    expected = "a person to say which plugin the nodes run, and whether it enforces"
    return review("", observed, expected)
