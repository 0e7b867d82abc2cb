"""How far a container is confined: privilege, escalation, host processes, what it sees of /proc."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Verdict, View, failed, not_applicable
from auditor.registry import check
from checks.kubernetes._accepted import WORKLOAD_SETTINGS, accepted_workload
from checks.kubernetes._pods import (
    ALL,
    PASSED,
    WINDOWS,
    added,
    effective,
    in_own_users,
    is_on,
    is_windows,
    mapping,
    privileged,
    security,
    shown,
    windows_option,
)


@check(
    id="k8s-privileged-container",
    title="Containers run unprivileged",
    severity="critical",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def privileged_container(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `privileged` of every container: ordinary, init, sidecar and ephemeral ones.

    Why: A privileged container has every capability, every device and no confinement: whoever
    controls it controls the node, and with the node's credentials often the cluster.

    Rule: Fails for each container with `securityContext.privileged` set to anything but false.
    Passes when it is false or not set, which is the API's default. A user namespace of the pod's
    own (`hostUsers: false`) makes it less bad, and still fails. Does not apply to Windows pods,
    which have no such field; see k8s-windows-host-process. A component of the platform that
    cannot do without, and what `[rules] accepted_workloads` names, is waived with the reason.
    Unknown when pods or workloads could not be listed.

    Fix: Take the line out, and give the container the one capability or device it needs:

        securityContext:
          privileged: false
          allowPrivilegeEscalation: false
          capabilities:
            drop: [ALL]

    Source: CIS Kubernetes 5.2.2 (5.2.1 up to 1.20); Pod Security Standards, baseline, "Privileged
    Containers".
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    for container in workload.containers():
        own = security(container)
        if not privileged(own):
            yield PASSED
            continue
        path = f"{container.path}.securityContext.privileged"
        yield failed(path, shown(own["privileged"]), "false or not set")


@check(
    id="k8s-allow-privilege-escalation",
    title="Containers cannot gain privileges",
    severity="high",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def allow_privilege_escalation(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `allowPrivilegeEscalation` of every container.

    Why: Without the kernel's no_new_privs flag a process can become more than it was started as,
    through a setuid binary or file capabilities: a foothold as an ordinary user becomes root.

    Rule: Passes when `securityContext.allowPrivilegeEscalation` is false; not set means true.
    Fails otherwise, and whatever is written there for a container that is privileged or adds the
    capability SYS_ADMIN, for which the API takes it as true. Only the container has this field:
    what stands in the pod's securityContext does not count. Does not apply to Windows pods. A
    component of the platform that cannot do without, and what `[rules] accepted_workloads` names,
    is waived with the reason. Unknown when pods or workloads could not be listed.

    Fix: Set it on every container:

        securityContext:
          allowPrivilegeEscalation: false

    Source: CIS Kubernetes 5.2.6 (5.2.5 up to 1.20); Pod Security Standards, restricted,
    "Privilege Escalation"; Kubernetes API reference, SecurityContext; the hardening guide's
    securityContext.
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    for container in workload.containers():
        own = security(container)
        value = own.get("allowPrivilegeEscalation")
        implied = "privileged" if privileged(own) else ""
        if not implied and not {"SYS_ADMIN", ALL}.isdisjoint(added(own)):
            implied = "the capability SYS_ADMIN"
        if value is False and not implied:
            yield PASSED
            continue
        path = f"{container.path}.securityContext.allowPrivilegeEscalation"
        observed = f"{shown(value)}; {implied} implies true" if implied else shown(value)
        yield failed(path, observed, "false")


@check(
    id="k8s-windows-host-process",
    title="No Windows HostProcess containers",
    severity="critical",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def windows_host_process(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `windowsOptions.hostProcess` of every container, by its own value or its pod's.

    Why: A HostProcess container is a process of the Windows node with the node's files, services
    and network: what `privileged` is on Linux. As SYSTEM it owns the node.

    Rule: Fails for each container with `securityContext.windowsOptions.hostProcess` set to
    anything but false, by itself or by its pod; the container's value wins. Passes when it is
    false or not set, as on every Linux pod, which cannot have it. A component of the platform
    that cannot do without, and what `[rules] accepted_workloads` names, is waived with the
    reason. Unknown when pods or workloads could not be listed.

    Fix: Take the option out of the pod and its containers; hostNetwork goes with it:

        securityContext:
          windowsOptions:
            hostProcess: false
            runAsUserName: ContainerUser

    Source: CIS Kubernetes 5.2.10 from 1.12 on (5.2.11 in 1.23 to 1.11); Pod Security Standards,
    baseline, "HostProcess".
    """
    for container in workload.containers():
        value = windows_option(workload, container, "hostProcess")
        if not is_on(value):
            yield PASSED
            continue
        own = mapping(security(container).get("windowsOptions")).get("hostProcess")
        observed = shown(value) + ("" if own is not None else ", set for the whole pod")
        path = f"{container.path}.securityContext.windowsOptions.hostProcess"
        yield failed(path, observed, "false or not set")


@check(
    id="k8s-proc-mount",
    title="Containers see a masked /proc",
    severity="high",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def proc_mount(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `procMount` of every container.

    Why: Runtimes hide or write-protect the parts of /proc that tell of the kernel or steer it.
    `Unmasked` takes that away: it is meant for containers inside of a container, and it is more
    of the kernel than others see.

    Rule: Fails for each container whose `securityContext.procMount` is anything but Default;
    passes when it is Default or not set, which means the same. The API takes Unmasked only
    together with `hostUsers: false` (1.31 and later), so a live pod with it has a user namespace
    of its own, in which root is not the node's root; the evidence says so, and it still fails.
    The standards' baseline level lets such a pod pass from 1.35 on; this check does not. Does not
    apply to Windows pods. No component of the platform is excused by itself; what `[rules]
    accepted_workloads` names is waived with its reason. Unknown when pods or workloads could not
    be listed.

    Fix: Take the line out; to build images, use a builder that needs no nested containers.

    Source: Pod Security Standards, baseline, "/proc Mount Type"; no CIS control asks for it.
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    for container in workload.containers():
        value = security(container).get("procMount")
        if value is None or value == "Default":
            yield PASSED
            continue
        path = f"{container.path}.securityContext.procMount"
        users = "false" if in_own_users(workload) else "not false"
        yield failed(path, f"{shown(value)}; hostUsers: {users}", "Default or not set")


@check(
    id="k8s-seccomp-profile",
    title="Containers have a seccomp profile",
    severity="medium",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def seccomp_profile(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the seccomp profile that each container gets, by its own value or its pod's.

    Why: Seccomp takes away the system calls that programs do not need and break-outs do. Holes of
    the kernel by which containers got out (CVE-2016-0728, CVE-2022-0185) were out of reach from
    under the runtime's default profile.

    Rule: Passes when `seccompProfile.type` is RuntimeDefault or Localhost; the container's value
    wins over the pod's. Fails when it is Unconfined or not set, once for each container, and for
    a privileged container, which runs unconfined whatever is set. Not set means unconfined
    unless the kubelet was started with `seccompDefault`; that is a setting of each node which the
    workload does not show and cannot rely on. What a Localhost profile allows is a file of the
    node and is not read. The annotations of before 1.19 are not read: while they meant anything,
    the API server wrote them into the field of each pod. Does not apply to Windows pods. A
    component of the platform that cannot do without, and what `[rules] accepted_workloads` names,
    is waived with the reason. Unknown when pods or workloads could not be listed.

    Fix: Set it for the whole pod:

        securityContext:
          seccompProfile:
            type: RuntimeDefault

    Source: CIS Kubernetes 5.6.2 (5.7.2 up to 1.10), which still calls the profile docker/default;
    Pod Security Standards, restricted, "Seccomp"; the hardening guide's securityContext.
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    for container in workload.containers():
        profile = mapping(effective(workload, container, "seccompProfile")).get("type")
        mighty = privileged(security(container))
        if profile in ("RuntimeDefault", "Localhost") and not mighty:
            yield PASSED
            continue
        path = f"{container.path}.securityContext.seccompProfile"
        observed = f"{shown(profile)}; privileged runs unconfined" if mighty else shown(profile)
        yield failed(path, observed, "type: RuntimeDefault or Localhost")
