"""What a container may do to its node: privilege, escalation, capabilities, the engine's socket."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from auditor.model import Json, Resource, Verdict, View, failed, not_applicable, passed
from auditor.registry import check
from checks.kubernetes._pods import (
    WINDOWS,
    is_windows,
    mapping,
    objects,
    security,
    shown,
)


@check(
    id="k8s-privileged-container",
    title="Containers run unprivileged",
    severity="critical",
    applies_to="kubernetes/workload",
    distinct=True,
)
def privileged_container(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `privileged` of every container: ordinary, init, sidecar and ephemeral ones.

    Why: A privileged container has every capability, every device and no confinement: whoever
    controls it controls the node, and with the node's credentials often the cluster.

    Rule: Fails for each container with `securityContext.privileged` set to anything but false.
    Passes when it is false or not set, which is the API's default. Does not apply to Windows
    pods, which have no such field. Unknown when pods or workloads could not be listed.

    Fix: Take the line out, and give the container the one capability or device it needs:

        securityContext:
          privileged: false
          allowPrivilegeEscalation: false
          capabilities:
            drop: [ALL]

    Source: CIS Kubernetes 5.2.2; Pod Security Standards, baseline, "Privileged Containers".
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    for container in workload.containers():
        value = security(container).get("privileged")
        path = f"{container.path}.securityContext.privileged"
        if value in (None, False):
            yield passed(path, shown(value))
        else:
            yield failed(path, shown(value), "false or not set")


@check(
    id="k8s-allow-privilege-escalation",
    title="Containers cannot gain privileges",
    severity="high",
    applies_to="kubernetes/workload",
    distinct=True,
)
def allow_privilege_escalation(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `allowPrivilegeEscalation` of every container.

    Why: Without the kernel's no_new_privs flag a process can become more than it was started as,
    through a setuid binary or file capabilities: a foothold as an ordinary user becomes root.

    Rule: Fails unless `securityContext.allowPrivilegeEscalation` is false; not set means true.
    Only the container has this field. Does not apply to Windows pods. Unknown when pods or
    workloads could not be listed.

    Fix: Set it on every container:

        securityContext:
          allowPrivilegeEscalation: false

    Source: CIS Kubernetes 5.2.6; Pod Security Standards, restricted, "Privilege Escalation"; the
    hardening guide's securityContext.
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    for container in workload.containers():
        value = security(container).get("allowPrivilegeEscalation")
        path = f"{container.path}.securityContext.allowPrivilegeEscalation"
        if value is False:
            yield passed(path, "false")
        else:
            yield failed(path, shown(value), "false")


@check(
    id="k8s-capabilities-dropped",
    title="Containers drop all capabilities",
    severity="high",
    applies_to="kubernetes/workload",
    distinct=True,
)
def capabilities_dropped(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the capabilities that every container drops and adds.

    Why: The default set lets a container forge packets (NET_RAW), change owners of files and
    bypass their permissions: what an intruder needs to move on. Hardly any program needs it.

    Rule: Passes when `capabilities.drop` holds ALL and `capabilities.add` nothing but
    NET_BIND_SERVICE. Fails otherwise, and for a privileged container, which has every capability
    whatever it drops. Names count with and without `CAP_`, in either case. Does not apply to
    Windows pods. Unknown when pods or workloads could not be listed.

    Fix: Drop everything, and add back what the program really needs:

        securityContext:
          capabilities:
            drop: [ALL]

    Source: CIS Kubernetes 5.2.8 and 5.2.9; Pod Security Standards, restricted, "Capabilities";
    the hardening guide's securityContext.
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    expected = "drop: ALL; add: nothing but NET_BIND_SERVICE"
    for container in workload.containers():
        own = security(container)
        path = f"{container.path}.securityContext.capabilities"
        if own.get("privileged") not in (None, False):
            yield failed(path, "privileged: every capability, whatever is dropped", expected)
            continue
        capabilities = mapping(own.get("capabilities"))
        dropped, added = _names(capabilities, "drop"), _names(capabilities, "add")
        if "ALL" in dropped and set(added) <= {"NET_BIND_SERVICE"}:
            yield passed(path)
            continue
        observed = f"drop: {', '.join(dropped) or 'nothing'}; add: {', '.join(added) or 'nothing'}"
        yield failed(path, observed, expected)


def _names(capabilities: Mapping[str, Json], key: str) -> list[str]:
    listed = capabilities.get(key)
    names = listed if isinstance(listed, list) else ()
    return sorted(str(name).upper().removeprefix("CAP_") for name in names)


SOCKETS = (
    "/run/docker.sock",
    "/run/dockershim.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/podman/podman.sock",
    "/run/k0s/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
)
"""Where container engines listen; `/var/run` is `/run` on every distribution of today."""

_PIPES = ("//./pipe/docker_engine", "//./pipe/containerd-containerd")


@check(
    id="k8s-engine-socket-mounted",
    title="No container reaches the container engine",
    severity="critical",
    applies_to="kubernetes/workload",
    distinct=True,
)
def engine_socket_mounted(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks for hostPath volumes that lead to the socket of a container engine.

    Why: The engine's socket is root on the node: with it anybody starts a privileged container,
    reads every other container's secrets and leaves no trace in the Kubernetes audit log. A
    read-only mount changes nothing, for a socket is written to by connecting.

    Rule: Fails for each hostPath volume through which a container reaches the socket of Docker,
    containerd, CRI-O, cri-dockerd or Podman, or a folder above one (`/`, `/var`, `/run`,
    `/var/run`, …); a mount's `subPath` counts. Passes when no mounted hostPath does. A claim that
    is bound to a hostPath volume is not followed. Unknown when pods or workloads could not be
    listed.

    Fix: Remove the volume. To build images use a builder that needs no engine; to read logs or
    metrics, mount the folder that holds them alone:

        volumes:
          - name: logs
            hostPath:
              path: /var/log/pods
              type: Directory

    Source: CIS Kubernetes 5.2.11; CIS Docker 5.32 (1.6 to 1.8); NIST SP 800-190, 4.4.1.
    """
    for index, volume in enumerate(objects(workload.spec.get("volumes"))):
        path = mapping(volume.get("hostPath")).get("path")
        if not path:
            continue
        place = f"{workload.spec_path}.volumes[{index}].hostPath.path"
        reached = [
            f"{container.name} (at {mount.get('mountPath')})"
            for container in workload.containers()
            for mount in objects(container.body.get("volumeMounts"))
            if mount.get("name") == volume.get("name")
            and _reaches_socket(str(path), str(mount.get("subPath") or ""))
        ]
        if reached:
            observed = f"{path}, mounted by {', '.join(reached)}"
            yield failed(place, observed, "no path to an engine's socket")
    yield passed()


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
    return plain == "/var" or any(socket == plain or socket.startswith(above) for socket in SOCKETS)
