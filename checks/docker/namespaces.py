"""What of the host's namespaces a container shares: network, processes, IPC, host name, users."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Severity, Verdict, View, failed, not_applicable, passed, unknown
from auditor.registry import check
from checks.docker._inspect import (
    containers_by_id,
    engine_info,
    engine_options,
    host_config,
    inspected,
    missing,
)

_LONGEST_CHAIN = 10
_SHORT_ID = 12


def joined(container: Resource, view: View, key: str) -> tuple[str, Resource | None, str]:
    """Follow a namespace option of the form `container:NAME` to the container that owns it.

    Returns the option as it stands there, the container (None where it could not be found) and
    words for the way; `key` is a field of `HostConfig`.
    """
    current, way = container, ""
    for _ in range(_LONGEST_CHAIN):
        mode = str(host_config(current).get(key) or "")
        kind, mark, name = mode.partition(":")
        if kind != "container" or not mark:
            return mode, current, way
        owner = view.index(containers_by_id).get(name) or _by_prefix(view, name)
        way += f"container {owner.name if owner else name[:_SHORT_ID]}, "
        if owner is None:
            return mode, None, way
        current = owner
    return "container:…", None, way


def _by_prefix(view: View, name: str) -> Resource | None:
    """A container by the start of its id, where that start is not another's too."""
    found = [
        container
        for container in view.of_kind("container")
        if len(name) >= 4 and str(container.body.get("id") or "").startswith(name)
    ]
    return found[0] if len(found) == 1 else None


def _judged(container: Resource, view: View, key: str, what: str) -> Iterator[Verdict]:
    """Judge one namespace option by whether it leads to the host's."""
    path, expected = f"HostConfig.{key}", f"a {what} namespace that is not the host's"
    if key not in host_config(container):
        yield missing(path)
        return
    mode, owner, way = joined(container, view, key)
    if owner is None:
        yield unknown(path, f"that of {way}which was not read", expected)
    elif key not in host_config(owner):
        yield unknown(path, f"that of {way}of which the engine does not say it", expected)
    elif mode == "host":
        yield failed(path, f"{way and 'that of ' + way}host", expected)
    else:
        # Another container's options do not change: what was followed to its end stands.
        yield passed(path, mode or "not set", expected, stands=True)


@check(
    id="docker-host-network",
    title="Containers do not share the host's network",
    severity="high",
    applies_to="docker/container",
)
def host_network(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the network namespace of a container, its own or that of a container it joins.

    Why: a container in the host's network reaches what listens on the host's loopback, may open
        any port there, and no rule between containers applies to it.
    Rule: fails when `HostConfig.NetworkMode` is `host`, and when the container joins the network
        of one that has it (`--network container:NAME`); passes otherwise; unknown when the joined
        container was not read, and when the engine's answer does not say.
    Fix: give it a network of its own and publish the ports that are needed:

            docker run --network shop --publish 127.0.0.1:8080:8080 IMAGE
    Source: CIS Docker 5.10 (1.6 to 1.8); NIST SP 800-190, 4.4.2.
    """
    yield from _judged(container, view, "NetworkMode", "network")


@check(
    id="docker-host-pid",
    title="Containers do not share the host's process namespace",
    severity="high",
    applies_to="docker/container",
)
def host_pid(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the process namespace of a container, its own or that of a container it joins.

    Why: in the host's process namespace a container sees every process with its arguments and
        environment, and as root can end them.
    Rule: fails when `HostConfig.PidMode` is `host`, and when the container joins one that has it;
        passes otherwise; unknown when the joined container was not read, and when the engine's
        answer does not say.
    Fix: leave `--pid host` out. A debugger can join one container: `--pid container:NAME`.
    Source: CIS Docker 5.16 (1.6 to 1.8); NIST SP 800-190, 4.4.3.
    """
    yield from _judged(container, view, "PidMode", "process")


@check(
    id="docker-host-ipc",
    title="Containers do not share the host's IPC namespace",
    severity="high",
    applies_to="docker/container",
)
def host_ipc(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the IPC namespace of a container, its own or that of a container it joins.

    Why: in the host's IPC namespace a container can read and write the shared memory of the
        host's programs.
    Rule: fails when `HostConfig.IpcMode` is `host`, and when the container joins one that has it;
        passes otherwise (`private`, `shareable`, `none`); unknown when the joined container was
        not read, and when the engine's answer does not say.
    Fix: leave `--ipc host` out; give more shared memory with `--shm-size`.
    Source: CIS Docker 5.17 (1.6 to 1.8); NIST SP 800-190, 4.4.3.
    """
    yield from _judged(container, view, "IpcMode", "IPC")


@check(
    id="docker-host-uts",
    title="Containers do not share the host's UTS namespace",
    severity="medium",
    applies_to="docker/container",
)
def host_uts(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the UTS namespace, which holds the host's name, of a container.

    Why: with the host's UTS namespace and the right capability a container can rename the host,
        and the logs of others then name the wrong machine.
    Rule: fails when `HostConfig.UTSMode` is `host`; passes otherwise; unknown when the engine's
        answer does not say. A container in the host's network has the host's name, but a UTS
        namespace of its own: it passes here.
    Fix: leave `--uts host` out; a name of its own is `--hostname`.
    Source: CIS Docker 5.21 (1.6 to 1.8).
    """
    yield from _judged(container, view, "UTSMode", "UTS")


@check(
    id="docker-host-user-namespace",
    title="Containers do not share the host's user namespace",
    severity="medium",
    applies_to="docker/container",
)
def host_user_namespace(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the user namespace of a container: the engine's mapping, and an opt-out of it.

    Why: in the host's user namespace root of a container is root of the host, should it get out.
    Rule: passes when the engine maps users (`userns-remap`) and the container does not opt out, and
        when the engine runs rootless, where no container can be in the host's. Fails when the
        container opts out (`--userns host`), and, at low severity, when it does not but the engine
        maps nothing, so that the container is in the host's all the same: the benchmark's own
        procedure looks at the option alone. Unknown when the engine does not tell its security
        options, does not apply on Windows.
    Fix: leave `--userns host` out, and map users in `/etc/docker/daemon.json`:

            { "userns-remap": "default" }
    Source: CIS Docker 5.31, and 2.9 or 2.10 for the engine (1.6 to 1.8); NIST SP 800-190, 4.4.3.
    """
    path, expected = "HostConfig.UsernsMode", "not set, and an engine that maps users"
    options, mode = host_config(container), engine_options(view)
    if "UsernsMode" not in options:
        yield missing(path)
        return
    own = str(options["UsernsMode"] or "")
    if _on_windows(container, view):
        yield not_applicable("containers of Windows have no user namespace", path)
    elif mode is not None and "rootless" in mode:
        yield passed(path, "the engine runs rootless", expected, stands=True)
    elif own == "host":
        yield failed(path, own, expected)
    elif own not in ("", "private", "auto") and not own.startswith(("keep-id", "nomap")):
        yield unknown(path, f"{own}: a mode that this check does not know", expected)
    elif own:
        # Podman maps users for one container.
        yield passed(path, own, expected, stands=True)
    elif mode is None:
        yield unknown(path, "not set, and the engine does not say whether it maps users", expected)
    elif "userns" in mode:
        yield passed(path, "not set; from the daemon: userns-remap", expected, stands=True)
    else:
        observed = "not set, and the engine maps no users"
        yield failed(path, observed, expected, severity=Severity.LOW)


def _on_windows(container: Resource, view: View) -> bool:
    return "windows" in (inspected(container, "Platform"), engine_info(view).get("OSType"))
