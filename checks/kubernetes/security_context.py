"""Who a container runs as and what it may write: the settings of its securityContext."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from auditor.model import (
    Container,
    Json,
    Resource,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
)
from auditor.registry import check
from checks.kubernetes._pods import WINDOWS, effective, is_windows, mapping, security, shown


@check(
    id="k8s-read-only-root-filesystem",
    title="Containers have a read-only root filesystem",
    severity="medium",
    applies_to="kubernetes/workload",
    distinct=True,
)
def read_only_root_filesystem(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `readOnlyRootFilesystem` of every container.

    Why: An intruder who can write to the root filesystem can replace the program, plant tools and
    cover tracks. With a read-only one, what runs is what was scanned and signed.

    Rule: Fails unless `securityContext.readOnlyRootFilesystem` is true; not set means false. Only
    the container has this field. Does not apply to Windows pods. Unknown when pods or workloads
    could not be listed.

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
        path = f"{container.path}.securityContext.readOnlyRootFilesystem"
        if value is True:
            yield passed(path, "true")
        else:
            yield failed(path, shown(value), "true")


@check(
    id="k8s-run-as-non-root",
    title="Containers run as a user that is not root",
    severity="high",
    applies_to="kubernetes/workload",
    distinct=True,
)
def run_as_non_root(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the user each container runs as, by its own or its pod's securityContext.

    Why: Root in a container is root to the kernel. One hole in the runtime, or one mounted path
    of the host, and it is root on the node.

    Rule: Passes when `runAsNonRoot` is true, or when `runAsUser` is a user other than 0; the
    container's setting wins over the pod's. Fails otherwise: with neither, the image decides, and
    nothing keeps the next image from deciding for root. Windows pods pass with `runAsNonRoot`
    or a `runAsUserName` that is not ContainerAdministrator. Unknown when pods or workloads could
    not be listed.

    Fix: Say it for the whole pod, with a user that the image has:

        securityContext:
          runAsNonRoot: true
          runAsUser: 10001
          runAsGroup: 10001

    Source: CIS Kubernetes 5.2.7; Pod Security Standards, restricted, "Running as Non-root"; the
    hardening guide, which labels it CIS 5.1.1 and 5.1.4.
    """
    windows = is_windows(workload)
    for container in workload.containers():
        path = f"{container.path}.securityContext"
        non_root = effective(workload, container, "runAsNonRoot")
        if windows:
            name = mapping(effective(workload, container, "windowsOptions")).get("runAsUserName")
            user, is_user = name, bool(name) and "administrator" not in str(name).lower()
            field, expected = "runAsUserName", "runAsNonRoot: true"
        else:
            user = effective(workload, container, "runAsUser")
            is_user = _is_user(user)
            field, expected = "runAsUser", "runAsNonRoot: true, or a runAsUser other than 0"
        observed = f"runAsNonRoot: {shown(non_root)}, {field}: {shown(user)}"
        if non_root is True or is_user:
            yield passed(path, observed)
        else:
            yield failed(path, observed, expected)


def _is_user(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value != 0


_Setting = tuple[str, Callable[[Resource, Container], str | None]]
"""A setting's name, and what is wrong with it: None when it is as the guide has it."""


def _boolean(field: str, wanted: bool, *, of_pod: bool = False) -> _Setting:
    def wrong(workload: Resource, container: Container) -> str | None:
        own = security(container).get(field)
        value = effective(workload, container, field) if of_pod else own
        return None if value is wanted else shown(value)

    return field, wrong


def _identity(field: str) -> _Setting:
    def wrong(workload: Resource, container: Container) -> str | None:
        value = effective(workload, container, field)
        return None if _is_user(value) else shown(value)

    return field, wrong


def _drops_all(_: Resource, container: Container) -> str | None:
    dropped = mapping(security(container).get("capabilities")).get("drop")
    names = [str(name).upper() for name in dropped] if isinstance(dropped, list) else []
    return None if "ALL" in names else ", ".join(names) or "not set"


def _seccomp(workload: Resource, container: Container) -> str | None:
    profile = mapping(effective(workload, container, "seccompProfile")).get("type")
    return None if profile in ("RuntimeDefault", "Localhost") else shown(profile)


SETTINGS: tuple[_Setting, ...] = (
    _boolean("runAsNonRoot", True, of_pod=True),
    _identity("runAsUser"),
    _identity("runAsGroup"),
    _boolean("readOnlyRootFilesystem", True),
    _boolean("allowPrivilegeEscalation", False),
    ("capabilities.drop", _drops_all),
    ("seccompProfile.type", _seccomp),
)
"""The seven settings of the hardening guide's securityContext, in its order."""

_ON_WINDOWS = SETTINGS[:1]


@check(
    id="k8s-security-context",
    title="Containers have the seven settings of the securityContext",
    severity="medium",
    applies_to="kubernetes/workload",
    distinct=True,
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
    asked, for the rest is for Linux. Unknown when pods or workloads could not be listed.

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
    settings = _ON_WINDOWS if is_windows(workload) else SETTINGS
    expected = "runAsNonRoot: true" if len(settings) == 1 else "all seven settings of the guide"
    for container in workload.containers():
        path = f"{container.path}.securityContext"
        wrong = [(name, judge(workload, container)) for name, judge in settings]
        missing = [name for name, value in wrong if value == "not set"]
        bad = [f"{name}: {value}" for name, value in wrong if value not in (None, "not set")]
        if not missing and not bad:
            yield passed(path)
            continue
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        yield failed(path, "; ".join(parts + bad), expected)
