"""Network plugins, recognised by the agents that they run on the nodes.

A plugin is known by the image or the name of a container of a DaemonSet. Names count too because
images are often mirrored under names of an organisation's own. What it takes for a plugin to
enforce network policies stands with each, from its own documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import NamedTuple

from auditor.model import Container, Json, Resource, View
from checks.kubernetes._pods import LONG_RUNNING, mapping
from checks.kubernetes._scopes import gap_of


class Enforces(Enum):
    """Whether what was recognised puts network policies into effect."""

    YES = auto()
    UNCLEAR = auto()
    """It depends on what the API does not show."""
    UNREAD = auto()
    """It depends on what the API would have shown, but could not be read."""
    NO = auto()


class Agent(NamedTuple):
    """A plugin's agent: which plugin, the DaemonSet that runs it, and whether it enforces.

    `note` says on what the answer rests where the image alone does not give it.
    """

    plugin: str
    workload: Resource
    image: str
    enforces: Enforces
    note: str = ""
    container: str = ""

    def __str__(self) -> str:
        where = f"DaemonSet {self.workload.namespace}/{self.workload.name}"
        note = f"; {self.note}" if self.note else ""
        return f"{self.plugin} ({where}, image {self.image}{note})"


Answer = tuple[Enforces, str]
_Decide = Callable[[Container, Resource, View], Answer]


def _yes(container: Container, workload: Resource, view: View) -> Answer:
    return Enforces.YES, ""


def _no(container: Container, workload: Resource, view: View) -> Answer:
    return Enforces.NO, "it has no part that enforces policies"


def _cilium(container: Container, workload: Resource, view: View) -> Answer:
    """Cilium enforces unless its policy enforcement mode is `never` (`default`, `always`), or it
    is told to leave the NetworkPolicies of Kubernetes alone (`enable-k8s-networkpolicy=false`).

    Both are arguments, or keys of the ConfigMap cilium-config. Values of ConfigMaps are not kept,
    but their lengths are: of the modes only `never` has five letters, of the switch only `false`.
    """
    unread = gap_of(view, "configmaps", name="cilium-config") is not None
    notes, asked_map = [], False
    for key, off in (("enable-policy", "never"), ("enable-k8s-networkpolicy", "false")):
        given = _flag(container, f"--{key}")
        if given:
            notes.append(f"--{key}={given}")
            if given.lower() == off:
                return Enforces.NO, notes[-1]
            continue
        asked_map = True
        if _length(view, workload.namespace, "cilium-config", key) == len(off):
            return Enforces.NO, f"{key} in cilium-config has five letters, as only `{off}` has"
    if asked_map and unread:
        return Enforces.UNREAD, "its mode stands in the ConfigMap cilium-config, not readable"
    return Enforces.YES, ", ".join(notes)


def _length(view: View, namespace: str | None, name: str, key: str) -> Json:
    """The number of characters of a value of a ConfigMap; None where it is not there."""
    for config in view.in_namespace("ConfigMap", namespace):
        if config.name == name:
            return mapping(mapping(config.body.get("data")).get(key)).get("length")
    return None


def _kube_router(container: Container, workload: Resource, view: View) -> Answer:
    if _flag(container, "--run-firewall") == "false":
        return Enforces.NO, "--run-firewall=false"
    return Enforces.YES, ""


def _aws(container: Container, workload: Resource, view: View) -> Answer:
    """The agent of the Amazon VPC CNI (1.14 on) is there by default and switched off by default.

    It does what the network policy controller in the control plane computes, and that one starts
    only where the ConfigMap amazon-vpc-cni has `enable-network-policy-controller: "true"` (Amazon
    EKS User Guide, "Configure your cluster for Kubernetes network policies").
    """
    given = _flag(container, "--enable-network-policy")
    if given != "true":
        return Enforces.NO, f"--enable-network-policy={given or 'not set'}"
    key = "enable-network-policy-controller"
    if gap_of(view, "configmaps", name="amazon-vpc-cni") is not None:
        return Enforces.UNREAD, f"{key} stands in the ConfigMap amazon-vpc-cni, not readable"
    length = _length(view, workload.namespace, "amazon-vpc-cni", key)
    if length == len("true"):
        return Enforces.YES, f"--enable-network-policy=true, and {key} has four letters, as `true`"
    if length is None:
        return Enforces.UNCLEAR, f"no {key} in the ConfigMap amazon-vpc-cni starts its controller"
    return Enforces.NO, f"{key} in amazon-vpc-cni is not `true`, so its controller is off"


def _kube_ovn(container: Container, workload: Resource, view: View) -> Answer:
    for other in view.workloads_in(workload.namespace):
        if other.name == "kube-ovn-controller":
            for part in other.containers():
                if _flag(part, "--enable-np") == "false":
                    return Enforces.NO, "kube-ovn-controller has --enable-np=false"
    return Enforces.YES, ""


KINDNETD_SINCE, KINDNETD_UNTIL = 20240730, 20240513
"""kind's own builds of kindnetd, by the date in their tag: the first that is known to enforce
(kind 0.24.0, kubernetes-sigs/kind pull requests 3612 and 3698), and the last known not to (kind
0.23.0, kubernetes-sigs/kind issue 3705)."""
_KINDNET_SINCE = (1, 3)  # aojea/kindnet, which minikube uses: kubernetes/minikube issue 19871


def _kindnet(container: Container, workload: Resource, view: View) -> Answer:
    tag = _tag(str(container.body.get("image")))
    dated = re.match(r"v(\d{8})\b", tag)
    if dated:
        day = int(dated.group(1))
        if day >= KINDNETD_SINCE:
            return Enforces.YES, "kindnetd enforces since kind 0.24.0"
        if day <= KINDNETD_UNTIL:
            return Enforces.NO, "kindnetd enforces only since kind 0.24.0"
    numbered = re.match(r"v(\d+)\.(\d+)", tag)
    if numbered:
        enough = (int(numbered.group(1)), int(numbered.group(2))) >= _KINDNET_SINCE
        return Enforces.YES if enough else Enforces.NO, "kindnet enforces since 1.3.0"
    return Enforces.UNCLEAR, "kindnetd enforces since kind 0.24.0; the tag does not tell"


def _openshift_sdn(container: Container, workload: Resource, view: View) -> Answer:
    return Enforces.UNCLEAR, "its mode `networkpolicy` enforces, `subnet` and `multitenant` do not"


def _terway(container: Container, workload: Resource, view: View) -> Answer:
    return Enforces.UNCLEAR, "whether it enforces is set in a ConfigMap, whose values are not kept"


class Plugin(NamedTuple):
    """How a plugin's agent is recognised: by its image's repository or its container's name."""

    name: str
    image: re.Pattern[str]
    containers: frozenset[str]
    decide: _Decide


def _plugin(name: str, image: str, containers: str = "", decide: _Decide = _yes) -> Plugin:
    return Plugin(name, re.compile(image), frozenset(containers.split()), decide)


PLUGINS = (
    _plugin(
        "Calico",
        r"(^|[/-])calico[-/](node|node-windows|windows)$|(^|/)(hardened-calico|cnx-node)$",
        "calico-node",
    ),
    _plugin("Cilium", r"(^|[/-])cilium[-/]cilium$|(^|/)hardened-cilium$", "cilium-agent", _cilium),
    _plugin(
        "Antrea", r"(^|[/-])antrea-(agent-)?(ubuntu|ubi|debian|photon|windows)$", "antrea-agent"
    ),
    _plugin("Weave Net", r"(^|[/-])weave-npc$", "weave-npc"),
    _plugin("kube-router", r"(^|[/-])kube-router$", "kube-router", _kube_router),
    _plugin("OVN-Kubernetes", r"(^|/)ovn-kube(-[a-z]+)?$", "ovnkube-node ovnkube-controller"),
    _plugin("OpenShift SDN", r"(^|/)openshift-sdn$", "sdn", _openshift_sdn),
    _plugin("Kube-OVN", r"(^|/)kube-ovn$", "", _kube_ovn),
    _plugin("kindnet", r"(^|/)kindnetd$", "kindnet-cni", _kindnet),
    _plugin(
        "Amazon VPC CNI's policy agent",
        r"(^|/)aws-network-policy-agent$",
        "aws-eks-nodeagent",
        _aws,
    ),
    _plugin("Azure Network Policy Manager", r"(^|/)azure-npm$", "azure-npm azure-npm-win"),
    _plugin("kube-network-policies", r"(^|/)kube-network-policies$", "kube-network-policies"),
    _plugin("Romana", r"(^|/)romana[-/]agent$", "romana-agent"),
    _plugin("Terway", r"(^|/)terway$", "terway", _terway),
    # These make networks and leave policies to others.
    _plugin("Flannel", r"(^|[/-])flannel$", "kube-flannel", _no),
    _plugin("Amazon VPC CNI", r"(^|/)amazon-k8s-cni$", "aws-node", _no),
    _plugin("Azure CNI", r"(^|/)azure-cns$", "cns-container", _no),
    _plugin("Weave Net", r"(^|[/-])weave-kube$", "", _no),
)

CRD_GROUPS = {
    "crd.projectcalico.org": "Calico",
    "projectcalico.org": "Calico",
    "cilium.io": "Cilium",
    "crd.antrea.io": "Antrea",
    "k8s.ovn.org": "OVN-Kubernetes",
    "kubeovn.io": "Kube-OVN",
    "networking.k8s.aws": "Amazon VPC CNI",
}
"""Groups of custom resource definitions that plugins bring, and leave behind."""


def agents(view: View) -> Iterator[Agent]:
    """Every agent of a known plugin, in the order of the workloads."""
    for workload in view.workloads:
        if workload.kind != "DaemonSet":
            continue
        for container in workload.containers():
            # Init containers often share the agent's image, but run without its arguments.
            if container.kind not in LONG_RUNNING:
                continue
            image = str(container.body.get("image"))
            plugin = _recognised(container.name, _repository(image))
            if plugin is not None:
                enforces, note = plugin.decide(container, workload, view)
                yield Agent(plugin.name, workload, image, enforces, note, container.name)


def _recognised(name: str, repository: str) -> Plugin | None:
    for plugin in PLUGINS:
        if plugin.image.search(repository):
            return plugin
    return next((plugin for plugin in PLUGINS if name in plugin.containers), None)


def _repository(image: str) -> str:
    """An image without its tag and digest."""
    plain = image.partition("@")[0]
    folder, slash, last = plain.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def _tag(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def _flag(container: Container, flag: str) -> str:
    """The value of a flag of a container; empty when it is not given."""
    words = [
        str(word)
        for key in ("command", "args")
        for word in (container.body.get(key) or ())
        if isinstance(container.body.get(key), list)
    ]
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == flag:
            following = words[index + 1] if index + 1 < len(words) else ""
            return value if equals else ("true" if following.startswith("-") else following)
    return ""
