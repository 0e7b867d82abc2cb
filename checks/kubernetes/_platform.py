"""Components of the platform that cannot do their work without what others must not have.

Each is listed with the checks that it *cannot* pass, not with those that its manifest happens to
fail: kube-apiserver needs the network of its node, but it does not need to be root there. What is
not here fails like anything else. So do CoreDNS, metrics-server, konnectivity-agent and the
autoscalers, which need nothing of the kind. The sets follow the manifests that the projects
publish, where those were at hand, and else what the component's documentation asks for.

A name is no proof: whoever may create objects in kube-system can choose any. They own the cluster
already, which is what the checks of RBAC and admission are about. Elsewhere the name excuses
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from auditor.model import Resource
from checks.kubernetes._pods import objects

NETWORK = frozenset({"k8s-host-network", "k8s-host-port"})
FILES = frozenset({"k8s-host-path-volume"})
ROOT = frozenset({"k8s-run-as-non-root", "k8s-security-context"})
"""Root is needed: files of the node, and capabilities, are for root alone. The second check asks
for the settings of the first and more, so it cannot pass either; what else it asks for has checks
of its own that are not excused."""

CAPABILITIES = ROOT | {"k8s-capabilities-dropped", "k8s-added-capabilities"}
"""Root with a capability or two, and no more than that."""

PACKETS = CAPABILITIES | {"k8s-net-raw"}
"""NET_ADMIN and NET_RAW: iptables opens a raw socket."""

PRIVILEGED = PACKETS | {
    "k8s-privileged-container",
    "k8s-allow-privilege-escalation",
    "k8s-seccomp-profile",
}
"""What follows from `privileged: true`: every capability, escalation, and no seccomp."""

WINDOWS = ROOT | {"k8s-windows-host-process", "k8s-host-network"}
"""Windows knows no privileged containers; its node agents are host processes."""

STATIC = "static Pod"
"""The kind of a Pod that a kubelet runs from a file: it is called `<component>-<node>`."""

_NO_PODS = frozenset({"kube-public", "kube-node-lease"})
"""System namespaces in which nothing of the platform runs."""


class Component(NamedTuple):
    """Components that cannot pass the same checks, by kind and exact name, and why."""

    kind: str
    names: tuple[str, ...]
    cannot: frozenset[str]
    reason: str


PLATFORM: tuple[Component, ...] = (
    Component(
        STATIC,
        (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "cloud-controller-manager",
            "konnectivity-server",
        ),
        NETWORK | FILES,
        "it starts before there is a pod network, and its keys and settings are files of the node",
    ),
    Component(
        STATIC,
        ("etcd",),
        NETWORK | FILES,
        "it starts before there is a pod network, and its data and keys are files of the node",
    ),
    Component(
        STATIC,
        ("kube-vip",),
        NETWORK | FILES | PACKETS,
        "it holds the control plane's address on the node's network, with a key of the node",
    ),
    Component(
        "DaemonSet",
        ("kube-vip-ds",),
        NETWORK | PACKETS,
        "it holds the control plane's address on the node's network",
    ),
    *(
        Component(
            kind,
            ("kube-proxy",),
            NETWORK | FILES | PRIVILEGED,
            "it writes the node's packet filter and kernel settings",
        )
        for kind in ("DaemonSet", STATIC)
    ),
    Component(
        "DaemonSet",
        (
            "anetd",
            "antrea-agent",
            "aws-node",
            "calico-node",
            "cilium",
            "kube-multus-ds",
            "kube-router",
            "weave-net",
        ),
        NETWORK | FILES | PRIVILEGED,
        "it sets up the network of the node's pods, kernel settings and CNI files included",
    ),
    Component(
        "DaemonSet",
        (
            "kindnet",
            "kube-flannel-ds",
            *(
                f"kube-flannel-ds-{machine}"
                for machine in ("amd64", "arm", "arm64", "ppc64le", "s390x")
            ),
        ),
        NETWORK | FILES | PACKETS,
        "it sets up routes and packet filters for the node's pods, and installs CNI files",
    ),
    Component(
        "DaemonSet",
        ("azure-cns",),
        NETWORK | FILES | ROOT,
        "it hands out the addresses of the node's pods and keeps them in files of the node",
    ),
    Component(
        "DaemonSet",
        ("cilium-envoy",),
        NETWORK | FILES | CAPABILITIES | {"k8s-allow-privilege-escalation"},
        "it takes over connections of the node's pods by the kernel's BPF maps (SYS_ADMIN)",
    ),
    Component(
        "Deployment",
        ("antrea-controller", "calico-typha", "cilium-operator"),
        NETWORK,
        "the nodes' network agents depend on it before there is a pod network",
    ),
    Component(
        "DaemonSet",
        ("node-local-dns",),
        NETWORK | FILES | PACKETS,
        "it answers DNS at an address of the node and keeps it out of connection tracking",
    ),
    Component(
        "DaemonSet",
        ("azure-ip-masq-agent", "ip-masq-agent"),
        NETWORK | PACKETS,
        "it writes the node's rules for masquerading",
    ),
    Component(
        "DaemonSet",
        ("eks-pod-identity-agent",),
        NETWORK | PRIVILEGED,
        "it gives the node a link-local address at which pods fetch credentials",
    ),
    *(
        Component(
            kind,
            (
                "aws-cloud-controller-manager",
                "cloud-controller-manager",
                "cloud-node-manager",
                "hcloud-cloud-controller-manager",
                "openstack-cloud-controller-manager",
                "vsphere-cloud-controller-manager",
            ),
            NETWORK,
            "it makes nodes ready, so it runs before they have a pod network",
        )
        for kind in ("DaemonSet", "Deployment")
    ),
    Component(
        "DaemonSet",
        (
            "csi-azuredisk-node",
            "csi-cinder-nodeplugin",
            "csi-do-node",
            "csi-gce-pd-node",
            "csi-smb-node",
            "ebs-csi-node",
            "hcloud-csi-node",
            "openstack-cinder-csi-nodeplugin",
            "pdcsi-node",
        ),
        FILES | PRIVILEGED,
        "it mounts volumes for the kubelet, which takes privilege (bidirectional mounts)",
    ),
    Component(
        "DaemonSet",
        ("csi-azurefile-node", "csi-blob-node", "csi-nfs-node", "efs-csi-node"),
        NETWORK | FILES | PRIVILEGED,
        "it mounts network volumes for the kubelet, and they must outlive its own pod network",
    ),
    Component(
        "DaemonSet",
        ("amdgpu-device-plugin-daemonset", "nvidia-device-plugin-daemonset"),
        FILES | ROOT,
        "it registers devices through a socket of the kubelet, which is root's",
    ),
    Component(
        "DaemonSet",
        ("nvidia-gpu-device-plugin",),
        FILES | PRIVILEGED,
        "it hands the node's graphics devices to the kubelet",
    ),
    Component(
        "DaemonSet",
        ("node-problem-detector",),
        FILES | PRIVILEGED,
        "it reads the kernel's log from a device of the node",
    ),
    Component(
        "DaemonSet",
        ("calico-node-windows", "kube-flannel-ds-windows-amd64", "kube-proxy-windows"),
        WINDOWS,
        "it sets up the network of a Windows node",
    ),
)
"""What is known. Add a line only with what the component cannot do without."""

_KNOWN: Mapping[tuple[str, str], Component] = {
    (component.kind, name): component for component in PLATFORM for name in component.names
}


def platform_reason(check_id: str, workload: Resource) -> str | None:
    """Why a component of the platform cannot pass a check; None when it is none, or could.

    The caller knows that it stands in a system namespace. An object that only pods speak of is
    not excused (an owner is easily claimed), nor is a pod that somebody debugs: what an ephemeral
    container does is not the component's need.
    """
    if workload.namespace in _NO_PODS or workload.spec.get("ephemeralContainers"):
        return None
    if workload.kind == "Pod":
        key = STATIC, _component(workload)
    else:
        key = workload.kind, workload.name if workload.body.get("owner") else ""
    known = _KNOWN.get(key)
    return known.reason if known is not None and check_id in known.cannot else None


def _component(pod: Resource) -> str:
    """The component that a static Pod runs: its name without that of the node that owns it.

    The manifest of one, a file of the node, has the plain name.
    """
    if pod.source == "manifest":
        return pod.name
    for owner in objects(pod.metadata.get("ownerReferences")):
        node = f"-{owner.get('name')}"
        if owner.get("kind") == "Node" and pod.name.endswith(node):
            return pod.name.removesuffix(node)
    return ""
