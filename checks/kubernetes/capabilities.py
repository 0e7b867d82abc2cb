"""The kernel capabilities of a container: what it gives up, and what it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from auditor.model import Resource, Severity, Verdict, View, failed, not_applicable
from auditor.registry import check
from checks.kubernetes._accepted import WORKLOAD_SETTINGS, accepted_workload
from checks.kubernetes._pods import (
    ALL,
    DEFAULT_CAPABILITIES,
    PASSED,
    WINDOWS,
    added,
    dropped,
    is_windows,
    privileged,
    security,
)

ALLOWED = frozenset({"NET_BIND_SERVICE"})
"""May be added: it lets a program listen on a port below 1024, and nothing else."""

_MIGHTY = "privileged: every capability, whatever is dropped"


@check(
    id="k8s-capabilities-dropped",
    title="Containers drop all capabilities",
    severity="high",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def capabilities_dropped(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the capabilities that every container drops and adds.

    Why: The default set lets a container forge packets (NET_RAW), change owners of files and
    bypass their permissions: what an intruder needs to move on. Hardly any program needs it.

    Rule: Passes when `capabilities.drop` holds ALL and `capabilities.add` nothing but
    NET_BIND_SERVICE. Fails otherwise, once for each container, and for a privileged container,
    which has every capability whatever it drops. The case of names does not matter. Does not
    apply to Windows pods. A component of the platform that cannot do without, and what `[rules]
    accepted_workloads` names, is waived with the reason. Unknown when pods or workloads could not
    be listed.

    Fix: Drop everything, and add back what the program really needs:

        securityContext:
          capabilities:
            drop: [ALL]

    Source: CIS Kubernetes 5.2.9 from 1.12 on (5.2.10 in 1.23 to 1.11, 5.2.9 before); Pod Security
    Standards, restricted, "Capabilities"; the hardening guide's securityContext.
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    for container in workload.containers():
        own = security(container)
        drops, adds = dropped(own), added(own)
        if ALL in drops and adds <= ALLOWED and not privileged(own):
            yield PASSED
            continue
        path = f"{container.path}.securityContext.capabilities"
        observed = _MIGHTY if privileged(own) else _shown(drops, adds)
        yield failed(path, observed, "drop: ALL; add: nothing but NET_BIND_SERVICE")


@check(
    id="k8s-net-raw",
    title="Containers cannot forge packets (NET_RAW)",
    severity="medium",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def net_raw(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at whether every container gives up the capability NET_RAW, and does not take it back.

    Why: Runtimes give NET_RAW to every container unless told otherwise. With it a container
    answers for other addresses of its network (ARP and DNS spoofing) and listens to what is not
    meant for it. Hardly a program but `ping` needs it, and that only where the runtime does not
    allow unprivileged ICMP.

    Rule: Passes when `capabilities.drop` holds NET_RAW or ALL, and `capabilities.add` neither
    NET_RAW nor ALL. Fails otherwise, once for each container. Where both lists name it, runtimes
    differ on which wins, so it fails. So does a privileged container, which has it whatever it
    drops. A dropped name counts without `CAP_` only, in either case of letters, for containerd
    drops nothing for `CAP_NET_RAW`. CRI-O can be told to give NET_RAW to nobody; that is a setting
    of the node and does not count. Does not apply to Windows pods. A component of the platform
    that cannot do without, and what `[rules] accepted_workloads` names, is waived with the
    reason. Unknown when pods or workloads could not be listed.

    Fix: Drop it, better still with all others:

        securityContext:
          capabilities:
            drop: [ALL]

    Source: CIS Kubernetes 5.2.8 (5.2.7 up to 1.20).
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    for container in workload.containers():
        own = security(container)
        drops, adds = dropped(own), added(own)
        keeps = ALL not in drops and "NET_RAW" not in drops
        if not keeps and "NET_RAW" not in adds and ALL not in adds and not privileged(own):
            yield PASSED
            continue
        path = f"{container.path}.securityContext.capabilities"
        observed = _MIGHTY if privileged(own) else _shown(drops, adds)
        if "CAP_NET_RAW" in drops:
            observed += " (not every runtime knows a dropped name with CAP_)"
        yield failed(path, observed, "drop: NET_RAW or ALL, and neither added")


@check(
    id="k8s-added-capabilities",
    title="Containers add no capabilities",
    severity="high",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def added_capabilities(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the capabilities that every container adds to what the runtime gives it.

    Why: Each one is a piece of root: SYS_ADMIN mounts and unmounts, SYS_PTRACE reads other
    processes, NET_ADMIN rewrites routes and packet filters, SYS_MODULE loads code into the
    kernel. Some of them are a way out of the container by themselves.

    Rule: Fails for each container whose `capabilities.add` holds anything but NET_BIND_SERVICE,
    and for each privileged one, which adds them all. What the Pod Security Standards allow at
    their baseline level (CHOWN, SETUID and others of a runtime's default set) fails at severity
    medium: it adds nothing to the default set, but it takes back what was dropped. Names count
    with and without `CAP_`, in either case. Passes otherwise, with nothing dropped too: that is
    k8s-capabilities-dropped. Does not apply to Windows pods. A component of the platform that
    cannot do without, and what `[rules] accepted_workloads` names, is waived with the reason.
    Unknown when pods or workloads could not be listed.

    Fix: Take out what the program does not need; a port below 1024 needs no more than

        securityContext:
          capabilities:
            drop: [ALL]
            add: [NET_BIND_SERVICE]

    Source: CIS Kubernetes 5.2.9 in 1.23 to 1.11 (5.2.8 before, not in 1.12 and later); Pod
    Security Standards, baseline and restricted, "Capabilities".
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    for container in workload.containers():
        own = security(container)
        adds = added(own)
        if adds <= ALLOWED and not privileged(own):
            yield PASSED
            continue
        path = f"{container.path}.securityContext.capabilities.add"
        observed = "privileged: every capability" if privileged(own) else _listed(adds)
        calm = adds <= DEFAULT_CAPABILITIES and not privileged(own)
        yield failed(
            path,
            observed,
            "nothing but NET_BIND_SERVICE",
            severity=Severity.MEDIUM if calm else None,
        )


def _shown(drops: AbstractSet[str], adds: AbstractSet[str]) -> str:
    return f"drop: {_listed(drops)}; add: {_listed(adds)}"


def _listed(names: AbstractSet[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
