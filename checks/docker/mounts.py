"""What of the host a container has in its file system: directories, devices, shared mounts."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from auditor.model import Json, Resource, Severity, Verdict, View, failed, passed, review
from auditor.registry import check
from checks.docker._inspect import host_config, missing, texts
from checks.docker._mounts import host_path, mounts, mounts_told

_TREES = (
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/sys",
    "/usr",
    "/bin",
    "/sbin",
    "/root",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/kubelet",
)
"""The benchmark names the first ten or so; the rest decide over the host just as they do."""

_HARMLESS = (
    "/etc/localtime",
    "/etc/timezone",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/os-release",
    "/etc/machine-id",
    "/etc/ssl/certs",
    "/etc/pki/ca-trust",
    "/etc/ca-certificates",
    "/usr/share",
    "/usr/lib/os-release",
)
"""What everybody on the host may read, and so may a container, if it cannot write."""

_HARMLESS_DEVICES = frozenset(
    f"/dev/{name}" for name in ("full", "log", "null", "random", "tty", "urandom", "zero")
)
_POWERFUL = (
    "/dev/mem",
    "/dev/kmem",
    "/dev/port",
    "/dev/kmsg",
    "/dev/sd",
    "/dev/nvme",
    "/dev/vd",
    "/dev/xvd",
    "/dev/dm-",
    "/dev/mapper",
    "/dev/mmcblk",
    "/dev/loop",
    "/dev/md",
)
"""Memory, the kernel's log and block devices, as Linux names them."""


@check(
    id="docker-sensitive-mount",
    title="Containers mount no system directory of the host",
    severity="high",
    applies_to="docker/container",
    needs=("volumes",),
)
def sensitive_mount(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what each bind mount, and each volume made of a directory, shows of the host.

    Why: with the host's `/etc` a container reads its password hashes and, if it may write, adds
        an account; `/proc`, `/sys` and `/boot` are the kernel's settings and the kernel itself.
    Rule: fails when the source is `/`, or is, lies in, or lies above `/boot`, `/dev`, `/etc`,
        `/lib`, `/proc`, `/sys`, `/usr`, `/bin`, `/sbin`, `/root`, the folder of an engine or of a
        kubelet; at critical severity for `/` when it is writable, at medium when it is read-only.
        Passes for files that everybody may read (time zone, host names, CA certificates,
        `/usr/share`) when they are read-only, for a few devices such as `/dev/null`, and for
        every other source. Where in the container a mount stands does not matter: a volume at
        `/etc` shows nothing of the host's. Unknown when the container uses volumes and their
        options could not be read, or the engine's answer does not say.
    Fix: mount the one file that is needed, read-only:

            docker run -v /srv/shop/settings.json:/etc/shop/settings.json:ro IMAGE
    Source: CIS Docker 5.6 (1.6 to 1.8); NIST SP 800-190, 4.4.4 and 4.5.5.
    """
    if not host_config(container):
        yield missing("Mounts")
        return
    expected = "no system directory of the host"
    failures, volumes = 0, False
    for mount in mounts(container, view):
        volumes = volumes or mount.volume
        what = _sensitive(mount.source, mount.writable)
        if what:
            failures += 1
            severity = None if mount.writable else Severity.MEDIUM
            if mount.writable and host_path(mount.source) == "/":
                severity = Severity.CRITICAL
            yield failed(mount.path, f"{mount.shown}: {what}", expected, severity=severity)
    if not failures and not mounts_told(container):
        yield missing("Mounts")
    elif not failures:
        yield passed("Mounts", expected=expected, stands=not volumes)


def _sensitive(source: str, writable: bool) -> str:
    """Say what of the host's system a path shows; empty when nothing that matters."""
    if not source.startswith("/"):
        return ""
    path = host_path(source)
    if path == "/":
        return "all of the host"
    if path in _HARMLESS_DEVICES:
        return ""
    if not writable and any(_within(path, allowed) for allowed in _HARMLESS):
        return ""
    for tree in _TREES:
        if path == tree:
            return "a system directory"
        if _within(path, tree):
            return f"a part of {tree}"
        if _within(tree, path):
            return f"a directory above {tree}"
    return ""


def _within(path: str, tree: str) -> bool:
    return path == tree or path.startswith(tree + "/")


@check(
    id="docker-mount-propagation",
    title="Containers do not share mount propagation with the host",
    severity="medium",
    applies_to="docker/container",
)
def mount_propagation(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the propagation mode of each mount.

    Why: through a shared mount what a container mounts appears on the host, and so in every
        other container that has it.
    Rule: fails for each mount whose propagation is `shared` or `rshared`; passes for all other
        modes; unknown when the engine's answer does not say.
    Fix: leave the mode out, or let mounts come in only: `-v /srv/media:/media:rslave`.
    Source: CIS Docker 5.20 (1.6 to 1.8).
    """
    expected, failures = "private or slave", 0
    for mount in mounts(container, view):
        if mount.propagation in ("shared", "rshared"):
            failures += 1
            path = mount.path.replace(".Source", ".Propagation")
            yield failed(path, f"{mount.propagation} ({mount.shown})", expected)
    if not failures and not mounts_told(container):
        yield missing("Mounts")
    elif not failures:
        yield passed("Mounts", expected=expected, stands=True)


@check(
    id="docker-host-device",
    title="Containers are given no device of the host",
    severity="high",
    applies_to="docker/container",
)
def host_device(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the devices that a container is given: by path, by rule, by request, or all.

    Why: a block device is the host's file system without its permissions, `/dev/mem` its memory.
    Rule: fails for each device that is given by path (block devices, memory and the kernel's log
        at high severity, others at medium), for each rule of `--device-cgroup-rule`, and for a
        privileged container, which has them all. Review for a request to the runtime's vendor
        (`--gpus`). Passes for `/dev/null`, `zero`, `full`, `random`, `urandom` and `tty`, which
        every container has, and when nothing is given; unknown when the engine's answer does not
        say.
    Fix: leave `--device` out. Where one is needed, give that one and no right to make others:

            docker run --device /dev/ttyUSB0:/dev/ttyUSB0:rw --cap-drop ALL IMAGE
    Source: CIS Docker 5.18 (1.6 to 1.8), which leaves it to a person; NIST SP 800-190, 4.4.3.
    """
    options = host_config(container)
    path, expected = "HostConfig.Devices", "no device of the host"
    if path.partition(".")[2] not in options and not options.get("Privileged"):
        yield missing(path)
        return
    found = list(_given(options, expected))
    yield from found or [passed(path, "none", expected, stands=True)]


def _given(options: Mapping[str, Json], expected: str) -> Iterator[Verdict]:
    if options.get("Privileged"):
        yield failed("HostConfig.Privileged", "true, which gives every device", expected)
    for device in options.get("Devices") or ():
        source = posixpath.normpath(str(device.get("PathOnHost") or ""))
        if source in _HARMLESS_DEVICES:
            continue
        rights = str(device.get("CgroupPermissions") or "rwm")
        powerful = source == "/dev" or source.startswith(_POWERFUL)
        severity = None if powerful else Severity.MEDIUM
        path = f"HostConfig.Devices[{source}]"
        yield failed(path, f"{source} ({rights})", expected, severity=severity)
    for index, rule in enumerate(texts(options.get("DeviceCgroupRules"))):
        severity = None if rule.split()[:2] in (["a", "*:*"], ["b", "*:*"]) else Severity.MEDIUM
        path = f"HostConfig.DeviceCgroupRules[{index}]"
        yield failed(path, rule, expected, severity=severity)
    for index, request in enumerate(options.get("DeviceRequests") or ()):
        driver = str(request.get("Driver") or "")
        kinds = [str(kind) for kinds in request.get("Capabilities") or () for kind in kinds]
        observed = f"{driver or 'any driver'}: {', '.join(kinds) or 'no capability named'}"
        yield review(f"HostConfig.DeviceRequests[{index}]", observed, expected)
