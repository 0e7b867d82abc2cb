"""What a container is given that it should not have: the engine's socket, secrets in variables."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from auditor.model import Resource, Severity, Verdict, View, failed, passed
from auditor.registry import check
from checks.docker._inspect import config, env_hits, host_config, missing, seen
from checks.docker._mounts import host_path, mounts, mounts_told

_SOCKET_NAME = re.compile(
    r"(?:^|[/\\])(?:(?:docker|containerd|podman|crio|cri-dockerd|dockershim|buildkitd)\.sock"
    r"|docker_engine)$"
)
_SOCKETS = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/buildkit/buildkitd.sock",
    "/run/user/*/docker.sock",
    "/run/user/*/podman/podman.sock",
)
"""Where engines listen by default. `/var/run` is a link to `/run` wherever both exist."""


@check(
    id="docker-engine-socket-mounted",
    title="The engine's socket is not mounted into containers",
    severity="critical",
    applies_to="docker/container",
    needs=("volumes",),
)
def engine_socket_mounted(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at every mount for the socket of a container engine, or a directory that holds one.

    Why: whoever can talk to the engine can start a privileged container and is root on the host;
        mounting the socket read-only changes nothing, because one writes to a socket by
        connecting.
    Rule: fails when a bind mount's source is the socket of Docker, containerd, Podman, CRI-O or
        BuildKit, or a directory above the usual place of one (`/`, `/var/run`, `/run/containerd`,
        …), and when a volume is made of such a directory; passes when no mount is; unknown when
        the container uses volumes and their options could not be read, or the engine's answer does
        not say.
    Fix: take the mount away. Where a program must watch containers, put a proxy before the socket
        that lets only the calls through that it needs.
    Source: CIS Docker 5.32 (1.6 to 1.8); NIST SP 800-190, 4.4.3.
    """
    options = host_config(container)
    if not options:
        yield missing("Mounts")
        return
    expected = "no engine socket, and no directory that holds one"
    failures, volumes = 0, False
    for mount in mounts(container, view):
        what = _exposes(mount.source)
        if what:
            failures += 1
            yield failed(mount.path, f"{mount.shown}: {what}", expected)
        volumes = volumes or mount.volume
    if not failures and not mounts_told(container):
        yield missing("Mounts")
    elif not failures:
        # Only what a volume is made of depends on the list of volumes.
        yield passed("Mounts", expected=expected, stands=not volumes)


def _exposes(source: str) -> str:
    """Say what of an engine a path of the host shows; empty when nothing."""
    if not source:
        return ""
    if _SOCKET_NAME.search(source):
        return "the socket of a container engine"
    path = host_path(source)
    for socket in (*_SOCKETS, "/var/run"):
        parent = posixpath.dirname(socket)
        while True:
            if fnmatchcase(path, parent) and path.count("/") == parent.count("/"):
                return f"a directory above {socket}"
            if parent == "/":
                break
            parent = posixpath.dirname(parent)
    return ""


@check(
    id="docker-container-env-secrets",
    title="Containers carry no secrets in environment variables",
    severity="high",
    applies_to="docker/container",
)
def container_env_secrets(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the names and values of a container's environment. Values are never kept.

    Why: an environment variable shows in `docker inspect`, in `/proc`, in crash reports and in
        the logs of programs that print their environment; every child process inherits it.
    Rule: fails for each variable whose name means a credential and whose value is one, and for
        each value that shows by its own shape (a private key, an issuer's token, a password in a
        URL); a placeholder such as `changeme` fails at low severity. References, file paths and
        names such as `TOKEN_FILE` or `TOKEN_TTL` pass. Unknown when the engine's answer does not
        say.
    Fix: give the secret as a file and its path as the variable:

            docker run -v ./db_password:/run/secrets/db_password:ro \\
              -e DB_PASSWORD_FILE=/run/secrets/db_password IMAGE
    Source: hardening guide, "Secrets Management" and checklist "Secrets externalized";
        NIST SP 800-190, 4.1.4. No CIS Docker control asks for it at run time.
    """
    settings = config(container)
    if not settings:
        yield missing("Config.Env")
        return
    found = list(env_hits(settings.get("Env")))
    for name, hit in found:
        severity = Severity.LOW if hit.get("placeholder") else None
        yield failed(f"Config.Env[{name}]", seen(hit), "no secret", severity=severity)
    if not found:
        yield passed("Config.Env")
