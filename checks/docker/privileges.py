"""What a container's process may do: its privileges, capabilities and user."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Json, Resource, Severity, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.docker._inspect import (
    config,
    engine_info,
    host_config,
    image_of,
    missing,
    security_options,
    state,
    texts,
)

_ALLOWED = frozenset({"NET_BIND_SERVICE"})
_SWITCH = "no-new-privileges"
_LAST_SILENT = 20


@check(
    id="docker-privileged-container",
    title="Containers do not run privileged",
    severity="critical",
    applies_to="docker/container",
)
def privileged_container(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the option `--privileged` of every container, running or not.

    Why: a privileged container has every capability, sees every device of the host and runs
        without seccomp and AppArmor profiles; whoever gets into it owns the host.
    Rule: fails when `HostConfig.Privileged` is true; passes when it is false; unknown when the
        engine's answer does not say.
    Fix: leave `--privileged` out, and give the one device or capability that is needed:

            docker run --device /dev/fuse --cap-drop ALL --cap-add SYS_ADMIN IMAGE
    Source: CIS Docker 5.5 (1.6 to 1.8); NIST SP 800-190, 4.4.3.
    """
    privileged = host_config(container).get("Privileged")
    if privileged is None:
        yield missing("HostConfig.Privileged")
    elif privileged:
        yield failed("HostConfig.Privileged", "true", "false")
    else:
        yield passed("HostConfig.Privileged")


@check(
    id="docker-capabilities-dropped",
    title="Containers drop all Linux capabilities",
    severity="high",
    applies_to="docker/container",
)
def capabilities_dropped(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the capabilities that a container keeps of the engine's default set, and adds.

    Why: the default set lets a process in the container bypass file permissions, forge packets
        and make device files; each of them has been a step out of a container.
    Rule: fails when `ALL` is not dropped, when anything but NET_BIND_SERVICE is added, and when
        the container is privileged (which gives all of them back); passes otherwise; unknown when
        the engine's answer does not say.
    Fix: drop all, and add back only what the program needs:

            docker run --cap-drop ALL --cap-add NET_BIND_SERVICE IMAGE
    Source: CIS Docker 5.4 (1.6 to 1.8); hardening guide, `--cap-drop=ALL`; NIST SP 800-190, 4.4.3.
    """
    options = host_config(container)
    if not options:
        yield missing("HostConfig.CapDrop")
        return
    if options.get("Privileged"):
        yield failed("HostConfig.Privileged", "true, which gives every capability", "false")
        return
    dropped, added = _capabilities(options, "CapDrop"), _capabilities(options, "CapAdd")
    if "ALL" not in dropped:
        observed = ", ".join(sorted(dropped)) or "not set"
        yield failed("HostConfig.CapDrop", observed, "ALL")
    extra = sorted(added - _ALLOWED)
    if extra:
        yield failed("HostConfig.CapAdd", ", ".join(extra), "nothing but NET_BIND_SERVICE")
    if "ALL" in dropped and not extra:
        yield passed("HostConfig.CapDrop")


def _capabilities(options: Json, key: str) -> set[str]:
    return {name.upper().removeprefix("CAP_") for name in texts(options.get(key))}


@check(
    id="docker-no-new-privileges",
    title="Containers cannot gain new privileges",
    severity="medium",
    applies_to="docker/container",
)
def no_new_privileges(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the security option `no-new-privileges` of the container and of the engine.

    Why: without it a program in the container can gain rights through setuid files, so a service
        that runs as an ordinary user can become root inside the container.
    Rule: fails when the container sets the option to false, or sets nothing and the engine does
        not report it as its default; passes when either of them sets it. Engines up to 20.10
        never report their default (moby pull request 45320 made them): there the container has
        to set it. Unknown when the engine's answer does not say.
    Fix: set it for the container, or once for all of them in `/etc/docker/daemon.json`:

            docker run --security-opt no-new-privileges:true IMAGE
            { "no-new-privileges": true }
    Source: CIS Docker 5.26 (1.6 to 1.8); hardening guide, `--security-opt=no-new-privileges:true`.
    """
    options = host_config(container)
    if not options:
        yield missing("HostConfig.SecurityOpt")
        return
    path, expected = "HostConfig.SecurityOpt", f"{_SWITCH}:true"
    for option in texts(options.get("SecurityOpt")):
        name, _, value = option.replace("=", ":", 1).partition(":")
        if name == _SWITCH:
            if value.lower() in ("", "true", "1", "t"):
                yield passed(path, option, expected)
            else:
                yield failed(path, option, expected)
            return
    if _SWITCH in security_options(view):
        yield passed(path, "not set; the daemon's default is true", expected)
        return
    version = str(engine_info(view).get("ServerVersion") or "")
    major = version.split(".")[0]
    daemon = "and the daemon does not report it as its default"
    if major.isdecimal() and int(major) <= _LAST_SILENT:
        daemon = f"and a daemon of version {version} does not report its default"
    yield failed(path, f"not set, {daemon}", expected)


@check(
    id="docker-non-root-user",
    title="Containers run as a user other than root",
    severity="high",
    applies_to="docker/container",
)
def non_root_user(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the user that a container starts as: the option's, else the image's.

    Why: root in a container is root for the kernel; a way out of the container then ends as root
        on the host, and until then every file of the container can be changed.
    Rule: fails when no user is set, when it is `root` or the id 0, and when its name has the id 0;
        passes for any other id. A name is looked up in the image's `/etc/passwd`, unless the
        container changed that file or mounts another over it; else the id of the running process
        decides, as the engine shows it; else it is unknown. User namespaces make root somebody
        else on the host: it still fails, at medium severity.
    Fix: name a user by its id, in the image or for the container:

            docker run --user 10001:10001 IMAGE
    Source: CIS Docker 4.1 (1.6 to 1.8), which reads the user of running containers; hardening
        guide, `--user 10001:10001`; NIST SP 800-190, 4.1.2.
    """
    settings = config(container)
    if not settings:
        yield missing("Config.User")
        return
    user = str(settings.get("User") or "").split(":")[0]
    path, expected = "Config.User", "the id of a user other than 0"
    mapped = bool(security_options(view) & {"userns", "rootless"}) and (
        host_config(container).get("UsernsMode") != "host"
    )
    severity = Severity.MEDIUM if mapped else None
    note = "; a user namespace maps it to another user of the host" if mapped else ""
    if user in ("", "root"):
        observed = "not set, which is root" if not user else "root"
        yield _root(path, observed + note, expected, severity)
    elif user.lstrip("+").isdecimal():
        if int(user) == 0:
            yield _root(path, f"{user}, which is root" + note, expected, severity)
        else:
            yield passed(path, user, expected)
    else:
        yield _named(container, view, user, note, severity)


def _root(path: str, observed: str, expected: str, severity: Severity | None) -> Verdict:
    return failed(path, observed, expected, severity=severity)


def _named(
    container: Resource, view: View, user: str, note: str, severity: Severity | None
) -> Verdict:
    path, expected = "Config.User", "the id of a user other than 0"
    users = _users(container, view)
    if users is not None and user in users:
        if users[user] == 0:
            observed = f"{user}, which the image's /etc/passwd gives the id 0" + note
            return _root(path, observed, expected, severity)
        return passed(path, f"{user}, id {users[user]}", expected)
    process = _process_user(container) if not note else None
    if process is not None:
        if process == 0:
            return _root(path, f"{user}; its process runs as id 0", expected, severity)
        return passed(path, f"{user}; its process runs as id {process}", expected)
    reason = "the image has no such user" if users is not None else "its id could not be looked up"
    return unknown(path, f"{user}: {reason}", expected)


def _users(container: Resource, view: View) -> dict[str, int] | None:
    """The users of the container's image; None where they were not read or may be others here."""
    image = image_of(container, view)
    if image is None:
        return None
    if any(gap.scope == "image-files" and gap.name in (None, image.name) for gap in view.gaps):
        return None
    diff = container.body.get("diff")
    changes = diff.get("changes") if isinstance(diff, dict) else None
    changed = {str(change.get("path")) for change in changes or ()}
    mounts = container.body.get("inspect", {}).get("Mounts")
    mounted = {str(mount.get("Destination")) for mount in mounts or ()}
    if "/etc/passwd" in changed or mounted & {"/etc/passwd", "/etc"}:
        return None
    files = image.body.get("files")
    users = files.get("users") if isinstance(files, dict) else None
    return users if isinstance(users, dict) else None


def _process_user(container: Resource) -> int | None:
    """The numeric user of the container's first process, where the engine showed it."""
    top = container.body.get("top")
    if not isinstance(top, dict):
        return None
    titles, first = texts(top.get("titles")), str(state(container).get("Pid") or "")
    for row in top.get("processes") or ():
        process = dict(zip(titles, texts(row), strict=False))
        uid = process.get("UID", "")
        if process.get("PID") == first and uid.isdecimal():
            return int(uid)
    return None
