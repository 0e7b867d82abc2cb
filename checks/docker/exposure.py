"""What a container is given that it should not have: the engine's socket, secrets in variables."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from auditor.model import Json, Resource, Severity, Verdict, View, failed, passed
from auditor.registry import check
from checks.docker._inspect import config, env_hits, host_config, missing, seen, texts

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
    for path, source, shown in _sources(container, view):
        what = _exposes(source)
        if what:
            failures += 1
            yield failed(path, f"{shown}: {what}", expected)
        volumes = volumes or shown.startswith("volume ")
    if not failures:
        # Only what a volume is made of depends on the list of volumes.
        yield passed("Mounts", expected=expected, stands=not volumes)


def _sources(container: Resource, view: View) -> Iterator[tuple[str, str, str]]:
    """Yield each mount: its path in the inspect, what it shows of the host, and words for it."""
    inspect = container.body.get("inspect")
    mounts = inspect.get("Mounts") if isinstance(inspect, Mapping) else None
    bound = set()
    for index, mount in enumerate(mounts if isinstance(mounts, list) else ()):
        source, target = str(mount.get("Source") or ""), str(mount.get("Destination") or "")
        path, read_only = f"Mounts[{index}].Source", "" if mount.get("RW", True) else ", read-only"
        if mount.get("Type") == "volume":
            name = str(mount.get("Name") or "")
            device = view.index(_devices).get(name, "")
            yield path, device, f"volume {name} of {device or 'the engine'} at {target}{read_only}"
        else:
            bound.add(target)
            yield path, source, f"{source} at {target}{read_only}"
    for index, bind in enumerate(texts(host_config(container).get("Binds"))):
        source, _, rest = bind.partition(":")
        target = rest.partition(":")[0]
        if source.startswith("/") and target not in bound:
            yield f"HostConfig.Binds[{index}]", source, f"{source} at {target}"


def _devices(view: View) -> dict[str, str]:
    """The directory that each volume of the local driver binds, by the volume's name."""
    found = {}
    for volume in view.of_kind("volume"):
        options: Json = volume.body.get("Options")
        if isinstance(options, Mapping) and "bind" in str(options.get("o") or "").split(","):
            found[volume.name] = str(options.get("device") or "")
    return found


def _exposes(source: str) -> str:
    """Say what of an engine a path of the host shows; empty when nothing."""
    if not source:
        return ""
    if _SOCKET_NAME.search(source):
        return "the socket of a container engine"
    path = posixpath.normpath("/" + source.lstrip("/"))
    if path == "/var/run" or path.startswith("/var/run/"):
        path = path.removeprefix("/var")
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
