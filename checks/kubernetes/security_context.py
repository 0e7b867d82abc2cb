"""Who a container runs as and what it may write: the settings of its securityContext."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from auditor.model import (
    ContainerKind,
    Json,
    Resource,
    Verdict,
    View,
    failed,
    not_applicable,
)
from auditor.registry import check
from checks.kubernetes._accepted import WORKLOAD_SETTINGS, accepted_workload
from checks.kubernetes._pods import (
    ALL,
    PASSED,
    WINDOWS,
    dropped,
    effective,
    in_own_users,
    is_windows,
    mapping,
    pod_security,
    security,
    shown,
    windows_option,
)


@check(
    id="k8s-read-only-root-filesystem",
    title="Containers have a read-only root filesystem",
    severity="medium",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def read_only_root_filesystem(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `readOnlyRootFilesystem` of every container.

    Why: An intruder who can write to the root filesystem can replace the program, plant tools and
    cover tracks. With a read-only one, what runs is what was scanned and signed.

    Rule: Fails unless `securityContext.readOnlyRootFilesystem` is true; not set means false. Only
    the container has this field. Does not apply to Windows pods. What `[rules]
    accepted_workloads` names is waived with its reason. Unknown when pods or workloads could not
    be listed.

    Fix: Set it, and mount an emptyDir where the program writes:

        securityContext:
          readOnlyRootFilesystem: true
        volumeMounts:
          - name: tmp
            mountPath: /tmp

    Source: the hardening guide's feature "Read-only Filesystem", which it labels CIS 5.1.3 (no
    CIS Kubernetes control asks for it; CIS Docker 5.13 does); NIST SP 800-190, 4.4.4.
    """
    if is_windows(workload):
        yield not_applicable(WINDOWS)
        return
    for container in workload.containers():
        value = security(container).get("readOnlyRootFilesystem")
        if value is True:
            yield PASSED
        else:
            path = f"{container.path}.securityContext.readOnlyRootFilesystem"
            yield failed(path, shown(value), "true")


@check(
    id="k8s-run-as-non-root",
    title="Containers run as a user that is not root",
    severity="high",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def run_as_non_root(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the user each container runs as, by its own or its pod's securityContext.

    Why: Root in a container is root to the kernel. One hole in the runtime, or one mounted path
    of the host, and it is root on the node.

    Rule: Passes when `runAsNonRoot` is true, or when `runAsUser` is a user other than 0; the
    container's setting wins over the pod's. Fails otherwise, once for each container. With
    neither, the image decides, and it may well name a user; but nothing keeps its next version,
    or another image under the same tag, from being root again, and the image is not here to be
    asked. `runAsNonRoot: true` passes together with `runAsUser: 0` or an image of root's: the
    kubelet does not start such a container at all. A pod with a user namespace of its own
    (`hostUsers: false`) fails too, for root in it still is root over all that the pod mounts and
    has; the evidence says that it is not root on the node. Of an ephemeral container the
    evidence says that it is one: it was put in to debug, and goes with its pod. Windows pods
    pass with `runAsNonRoot` or a `runAsUserName` that is no administrator's or system account's;
    a container overrides each option by itself. A component of the platform that cannot do
    without, and what `[rules] accepted_workloads` names, is waived with the reason. Unknown when
    pods or workloads could not be listed.

    Fix: Say it for the whole pod, with a user that the image has:

        securityContext:
          runAsNonRoot: true
          runAsUser: 10001
          runAsGroup: 10001

    Source: CIS Kubernetes 5.2.7 (5.2.6 up to 1.20); Pod Security Standards, restricted, "Running
    as Non-root"; the hardening guide, which labels it CIS 5.1.1 and 5.1.4.
    """
    windows = is_windows(workload)
    for container in workload.containers():
        non_root = effective(workload, container, "runAsNonRoot")
        if windows:
            field, expected = "runAsUserName", "runAsNonRoot: true, or an ordinary user's name"
            user = windows_option(workload, container, field)
            is_user = _is_ordinary(user)
        else:
            field, expected = "runAsUser", "runAsNonRoot: true, or a runAsUser other than 0"
            user = effective(workload, container, field)
            is_user = _is_user(user)
        if non_root is True or is_user:
            yield PASSED
            continue
        observed = f"runAsNonRoot: {shown(non_root)}, {field}: {shown(user)}"
        if user is None:
            observed += ", so the image decides"
        if in_own_users(workload):
            observed += "; hostUsers: false, so root in it is not root on the node"
        if container.kind is ContainerKind.EPHEMERAL:
            observed += "; an ephemeral container, put in to debug"
        yield failed(f"{container.path}.securityContext", observed, expected)


def _is_user(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value != 0


_MIGHTY_ON_WINDOWS = frozenset({"system", "localsystem"})


def _is_ordinary(name: Json) -> bool:
    """Whether a Windows account is named that is neither an administrator nor the system.

    `NT AUTHORITY\\SYSTEM` is what HostProcess containers often run as.
    """
    account = str(name or "").lower().rpartition("\\")[2]
    return bool(account) and "administrator" not in account and account not in _MIGHTY_ON_WINDOWS


@check(
    id="k8s-security-context",
    title="Containers have the seven settings of the securityContext",
    severity="medium",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def security_context(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at seven settings of every container, each by its own value or its pod's.

    Why: Each setting closes one way out of a container, and each default leaves it open. A
    workload that states all seven has been thought about, and stays safe when its image changes.

    Rule: Passes when every container has, itself or from its pod where the API allows that:
    `runAsNonRoot: true`, a `runAsUser` and a `runAsGroup` other than 0,
    `readOnlyRootFilesystem: true`, `allowPrivilegeEscalation: false`, ALL among
    `capabilities.drop`, and a `seccompProfile` of RuntimeDefault or Localhost. Fails otherwise,
    once for each container, naming what is missing. Of a Windows pod only `runAsNonRoot` is
    asked, for the rest is for Linux. A component of the platform that must be root, and what
    `[rules] accepted_workloads` names, is waived with the reason; the settings have checks of
    their own that are excused one by one. Unknown when pods or workloads could not be listed.

    Fix: Write all seven:

        securityContext:
          runAsNonRoot: true
          runAsUser: 10001
          runAsGroup: 10001
          readOnlyRootFilesystem: true
          allowPrivilegeEscalation: false
          capabilities:
            drop: [ALL]
          seccompProfile:
            type: RuntimeDefault

    Source: CIS Kubernetes 5.6.3 (5.7.3 up to 1.10); the hardening guide's securityContext.
    """
    windows = is_windows(workload)
    of_pod = pod_security(workload)
    for container in workload.containers():
        own = security(container)
        wrong = list(_wrong(own, of_pod, windows))
        if not wrong:
            yield PASSED
            continue
        missing = [name for name, value in wrong if value is None]
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"{name}: {shown(value)}" for name, value in wrong if value is not None]
        expected = "runAsNonRoot: true" if windows else "all seven settings of the guide"
        yield failed(f"{container.path}.securityContext", "; ".join(parts), expected)


def _wrong(
    own: Mapping[str, Json], of_pod: Mapping[str, Json], windows: bool
) -> Iterator[tuple[str, Json]]:
    """Which of the guide's settings are not as it has them, in its order, and what they are."""
    value = own.get("runAsNonRoot")
    value = of_pod.get("runAsNonRoot") if value is None else value
    if value is not True:
        yield "runAsNonRoot", value
    if windows:
        return
    for field in ("runAsUser", "runAsGroup"):
        value = own.get(field)
        value = of_pod.get(field) if value is None else value
        if not _is_user(value):
            yield field, value
    value = own.get("readOnlyRootFilesystem")
    if value is not True:
        yield "readOnlyRootFilesystem", value
    value = own.get("allowPrivilegeEscalation")
    if value is not False:
        yield "allowPrivilegeEscalation", value
    drops = dropped(own)
    if ALL not in drops:
        yield "capabilities.drop", ", ".join(sorted(drops)) or None
    profile = own.get("seccompProfile")
    profile = mapping(of_pod.get("seccompProfile") if profile is None else profile).get("type")
    if profile not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile.type", profile
