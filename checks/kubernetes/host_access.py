"""What of its node a pod is let into: its namespaces, its ports and its files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from auditor.model import Json, Resource, Verdict, View, failed, not_applicable
from auditor.registry import check
from checks.kubernetes._accepted import WORKLOAD_SETTINGS, accepted_workload
from checks.kubernetes._pods import (
    PASSED,
    WINDOWS,
    is_on,
    is_windows,
    mapping,
    named,
    objects,
    shown,
    some,
)


@check(
    id="k8s-host-pid",
    title="No pod shares the node's process namespace",
    severity="high",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def host_pid(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `hostPID` of the pod.

    Why: In the node's process namespace a container sees every process of every pod, with their
    arguments and, as root, their environment and files (`/proc/<pid>/root`), and may stop them.

    Rule: Fails when `hostPID` is set to anything but false; passes when it is false or not set.
    `shareProcessNamespace` joins the containers of one pod alone and passes. Does not apply to
    Windows pods: their nodes have no such namespace to share. No component of the platform is
    excused by itself; what `[rules] accepted_workloads` names is waived with its reason.
    Unknown when pods or workloads could not be listed.

    Fix: Take the line out. An agent that reads metrics of processes gets them from the kubelet or
    from cgroups; one that must have it goes to a namespace of its own and is accepted by name.

    Source: CIS Kubernetes 5.2.3 (5.2.2 up to 1.20); Pod Security Standards, baseline, "Host
    Namespaces".
    """
    yield not_applicable(WINDOWS) if is_windows(workload) else _switch(workload, "hostPID")


@check(
    id="k8s-host-ipc",
    title="No pod shares the node's IPC namespace",
    severity="high",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def host_ipc(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `hostIPC` of the pod.

    Why: In the node's IPC namespace a container reaches the shared memory, semaphores and message
    queues of the node and of all pods that share it too: it reads and alters what they exchange.

    Rule: Fails when `hostIPC` is set to anything but false; passes when it is false or not set.
    Does not apply to Windows pods: their nodes have no such namespace to share. No component of
    the platform is excused by itself; what `[rules] accepted_workloads` names is waived with
    its reason. Unknown when pods or workloads could not be listed.

    Fix: Take the line out. Containers of one pod share an IPC namespace without it; larger shared
    memory is a volume:

        volumes:
          - name: shared-memory
            emptyDir:
              medium: Memory
              sizeLimit: 256Mi

    Source: CIS Kubernetes 5.2.4 (5.2.3 up to 1.20); Pod Security Standards, baseline, "Host
    Namespaces".
    """
    yield not_applicable(WINDOWS) if is_windows(workload) else _switch(workload, "hostIPC")


@check(
    id="k8s-host-network",
    title="No pod shares the node's network",
    severity="high",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def host_network(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `hostNetwork` of the pod.

    Why: On the node's network no NetworkPolicy holds: the pod reaches what listens on the node's
    loopback address and, as the node, the cloud's metadata service with the node's credentials;
    with NET_RAW it reads the traffic of all other pods.

    Rule: Fails when `hostNetwork` is set to anything but false; passes when it is false or not
    set. Windows pods are asked too, for a HostProcess pod must have it. A component of the
    platform that cannot do without, and what `[rules] accepted_workloads` names, is waived with
    the reason. Unknown when pods or workloads could not be listed.

    Fix: Take the line out, and give the pod a Service; an ingress controller is reached by a
    Service of type LoadBalancer or NodePort.

    Source: CIS Kubernetes 5.2.5 (5.2.4 up to 1.20); Pod Security Standards, baseline, "Host
    Namespaces".
    """
    yield _switch(workload, "hostNetwork")


def _switch(workload: Resource, field: str) -> Verdict:
    value = workload.spec.get(field)
    if not is_on(value):
        return PASSED
    return failed(f"{workload.spec_path}.{field}", shown(value), "false or not set")


@check(
    id="k8s-host-port",
    title="No container takes a port of its node",
    severity="medium",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def host_port(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the ports of every container for one that is a port of the node as well.

    Why: A port of the node is reached from wherever the node is, past Services and what stands
    in front of them, and with `hostNetwork` past NetworkPolicies. It also ties the pod to nodes
    where the port is free.

    Rule: Fails for each port with a `hostPort` other than 0, and in a pod with `hostNetwork` for
    each `containerPort`: it is a port of the node, and the API server writes it into `hostPort`
    of the live pod, so that template and pod are judged alike. Passes otherwise, also with
    `hostNetwork` and no port declared: what else such a pod listens on shows nowhere, which is
    what k8s-host-network is about. Windows pods are asked too. A component of the platform that
    cannot do without, and what `[rules] accepted_workloads` names, is waived with the reason.
    Unknown when pods or workloads could not be listed.

    Fix: Take `hostPort` out and let a Service lead to the container:

        ports:
          - name: http
            containerPort: 8080

    Source: CIS Kubernetes 5.2.12 from 1.12 on (5.2.13 in 1.23 to 1.11); Pod Security Standards,
    baseline, "Host Ports".
    """
    on_host = is_on(workload.spec.get("hostNetwork"))
    for container in workload.containers():
        found = False
        ports = container.body.get("ports")
        for index, port in enumerate(objects(ports) if ports else ()):
            number = port.get("hostPort") or (port.get("containerPort") if on_host else None)
            if number:
                found = True
                path = f"{container.path}.ports[{index}].hostPort"
                yield failed(path, _port(port, number, on_host), "0 or not set")
        if not found:
            yield PASSED


def _port(port: Mapping[str, Json], number: Json, on_host: bool) -> str:
    address = f"{port['hostIP']}:" if port.get("hostIP") else ""
    observed = f"{address}{number}/{port.get('protocol') or 'TCP'}"
    return f"{observed}, as hostNetwork makes every containerPort" if on_host else observed


@check(
    id="k8s-host-path-volume",
    title="No pod mounts paths of its node",
    severity="high",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def host_path_volume(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks for volumes of type hostPath, and which containers mount them where.

    Why: What a pod writes to its node outlives it and may become code that the node runs: a
    static Pod, a cron job, a key for SSH. What it reads may be the secrets of every other pod of
    the node, or the kubelet's own credentials.

    Rule: Fails for each hostPath volume, mounted or not, read-only or not: a read-only mount
    still shows what is there, and the next change of the workload may mount it otherwise. The
    evidence has the path, who mounts it and where, and which mounts are read-only. Passes when
    there is none. A claim that is bound to a hostPath PersistentVolume is not followed. Windows
    pods are asked too. A component of the platform that cannot do without, and what `[rules]
    accepted_workloads` names, is waived with the reason. Unknown when pods or workloads could not
    be listed.

    Fix: Use a volume that is the pod's own:

        volumes:
          - name: work
            emptyDir:
              sizeLimit: 1Gi

    Source: CIS Kubernetes 5.2.11 from 1.12 on (5.2.12 in 1.23 to 1.11); Pod Security Standards,
    baseline, "HostPath Volumes".
    """
    found = False
    for place, name, path in _host_paths(workload):
        found = True
        mounts = list(_mounts(workload, name))
        by = some(mounts, 5) if mounts else "no container"
        yield failed(place, f"{path}, mounted by {by}", "no hostPath volume")
    if not found:
        yield PASSED


def _host_paths(workload: Resource) -> Iterator[tuple[str, Json, str]]:
    """Each hostPath volume: where its path stands, its name, and the path."""
    volumes = workload.spec.get("volumes")
    for index, volume in enumerate(volumes if isinstance(volumes, list) else ()):
        source = volume.get("hostPath") if isinstance(volume, dict) else None
        if source is not None:
            place = f"{workload.spec_path}.volumes[{index}].hostPath.path"
            yield place, volume.get("name"), str(mapping(source).get("path") or "")


def _mounts(workload: Resource, name: Json) -> Iterator[str]:
    """Who mounts a volume, where, and whether read-only."""
    for container in workload.containers():
        for mount in objects(container.body.get("volumeMounts")):
            if mount.get("name") == name:
                only = ", read-only" if mount.get("readOnly") else ""
                yield f"{named(container)} (at {mount.get('mountPath')}{only})"


SOCKETS = (
    "/run/docker.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/dockershim.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/podman/podman.sock",
    "/run/k0s/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
)
"""Where container engines listen; `/var/run` is `/run` on every distribution of today."""

_PIPES = ("//./pipe/docker_engine", "//./pipe/containerd-containerd")


@check(
    id="k8s-engine-socket-mounted",
    title="No container reaches the container engine",
    severity="critical",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def engine_socket_mounted(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks for hostPath volumes that lead to the socket of a container engine.

    Why: The engine's socket is root on the node: with it anybody starts a privileged container,
    reads every other container's secrets and leaves no trace in the Kubernetes audit log. A
    read-only mount changes nothing, for a socket is written to by connecting.

    Rule: Fails for each hostPath volume through which a container reaches the socket of Docker,
    containerd, CRI-O, cri-dockerd or Podman where they and their distributions (k3s, k0s,
    MicroK8s) put it, or a folder above one (`/`, `/var`, `/run`, `/var/run`, …); a mount's
    `subPath` counts. Whether the file's mode keeps the container's user out is not seen, and
    does not count. Passes when no mounted hostPath does, also when the engine was told to
    listen elsewhere. A claim that is bound to a hostPath volume is not followed. No component
    of the platform is excused by itself; what `[rules] accepted_workloads` names is waived with
    its reason. Unknown when pods or workloads could not be listed.

    Fix: Remove the volume. To build images use a builder that needs no engine; to read logs or
    metrics, mount the folder that holds them alone:

        volumes:
          - name: logs
            hostPath:
              path: /var/log/pods
              type: Directory

    Source: CIS Kubernetes 5.2.11 from 1.12 on; CIS Docker 5.32 (1.6 to 1.8); NIST SP 800-190,
    4.4.1.
    """
    found = False
    for place, name, path in _host_paths(workload):
        reached = [
            f"{container.name} (at {mount.get('mountPath')})"
            for container in workload.containers()
            for mount in objects(container.body.get("volumeMounts"))
            if mount.get("name") == name and _reaches_socket(path, str(mount.get("subPath") or ""))
        ]
        if reached:
            observed = f"{path}, mounted by {', '.join(reached)}"
            found = True
            yield failed(place, observed, "no path to an engine's socket")
    if not found:
        yield PASSED


def _reaches_socket(path: str, below: str) -> bool:
    """Whether a path of the host is an engine's socket or a folder that holds one."""
    pipe = path.replace("\\", "/").lower()
    if pipe.startswith("//./"):
        return pipe in _PIPES
    # A leading "//" survives normpath, so one slash is forced first.
    plain = posixpath.normpath("/" + posixpath.join(path, below).lstrip("/"))
    if plain == "/var/run" or plain.startswith("/var/run/"):
        plain = plain.removeprefix("/var")
    above = plain.rstrip("/") + "/"
    return any(socket == plain or socket.startswith(above) for socket in SOCKETS)
