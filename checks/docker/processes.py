"""What runs inside a container: SSH servers, and what came in by `docker exec`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from auditor.model import Json, Resource, Verdict, View, failed, not_applicable, passed, unknown
from auditor.registry import check
from checks.docker._inspect import config, inspected, missing, state, texts

_SSH_SERVERS = frozenset(
    {"sshd", "sshd-session", "sshd-auth", "dropbear", "tinysshd", "sshd.exe", "lsh-server"}
)
_NEVER = "0001-01-01"
"""How the engine writes the start of a container that never ran."""


@check(
    id="docker-ssh-server",
    title="No SSH server runs inside containers",
    severity="medium",
    applies_to="docker/container",
    needs=("container-processes",),
)
def ssh_server(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the processes of a running container, and at the command of every other.

    Why: an SSH server in a container is a way in with keys and accounts of its own, past the
        engine's access control and its logs.
    Rule: fails when a process is an SSH server (`sshd`, `dropbear`, …), and when the command of a
        container is one, whether it runs or not; passes when a running container has no such
        process; does not apply to a container that does not run and has another command. Unknown
        when the processes were not read to their end. Processes are the engine's own list (`docker
        top`): nothing is started inside the container, and one without `ps` is seen as well.
    Fix: take the server out of the image, and enter with `docker exec` where you must.
    Source: CIS Docker 5.7 (1.6 to 1.8); NIST SP 800-190, 4.4.3.
    """
    expected = "no SSH server"
    command = posixpath.basename(str(inspected(container, "Path") or ""))
    found = False
    for pid, name in _processes(container):
        if name in _SSH_SERVERS:
            found = True
            yield failed(f"top[{name}]", f"process {pid or '?'}: {name}", expected)
    if found:
        return
    process = state(container)
    top = container.body.get("top")
    if command in _SSH_SERVERS:
        yield failed("Path", str(inspected(container, "Path")), expected)
    elif "Running" not in process:
        yield missing("State.Running")
    elif not process["Running"]:
        yield not_applicable(f"the container is {process.get('Status') or 'not running'}", "Path")
    elif not isinstance(top, Mapping):
        yield unknown("top", "its processes were not read", expected)
    elif int(top.get("count") or 0) > len(top.get("processes") or ()):
        kept = len(top.get("processes") or ())
        yield unknown("top", f"only {kept} of {top['count']} processes were kept", expected)
    else:
        yield passed("top", f"{top.get('count')} processes", expected)


def _processes(container: Resource) -> Iterator[tuple[str, str]]:
    """Yield the id and the program of each process, whichever columns the host's `ps` has."""
    top = container.body.get("top")
    if not isinstance(top, Mapping):
        return
    titles = texts(top.get("titles"))
    for row in top.get("processes") or ():
        process = dict(zip(titles, texts(row), strict=False))
        words = (process.get("COMMAND") or process.get("CMD") or "").split()
        # A server names its sessions `sshd: user@pts/0`.
        name = posixpath.basename(words[0].rstrip(":")) if words else ""
        yield process.get("PID", ""), name


@check(
    id="docker-exec-privileged",
    title="Nobody uses docker exec with --privileged",
    severity="high",
    applies_to="docker/container",
    needs=("container-sessions", "container-sessions-past"),
)
def exec_privileged(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the `docker exec` sessions of a container that are open.

    Why: a privileged session has every capability and no seccomp filter inside a container that
        was started without them.
    Rule: fails for each open session that is privileged; passes for a container that never ran,
        which nobody can have entered. Every other one is unknown: the engine forgets a session
        when it ends, and only the audit log of the host may hold it.
    Fix: leave `--privileged` out of `docker exec`, and forbid it with an authorization plugin.
        Past uses: `ausearch -x docker | grep exec | grep privileged` on an audited host.
    Source: CIS Docker 5.23 (1.6 to 1.8); NIST SP 800-190, 4.4.3.
    """
    expected = "no privileged session"
    sessions = container.body.get("execs")
    found = False
    for index, session in enumerate(sessions if isinstance(sessions, list) else ()):
        if session.get("privileged"):
            found = True
            yield failed(f"execs[{index}]", f"{_shown(session)}: privileged", expected)
    if not found:
        yield _rest(container, expected)


@check(
    id="docker-exec-root",
    title="Nobody uses docker exec with --user root",
    severity="medium",
    applies_to="docker/container",
    needs=("container-sessions", "container-sessions-past"),
)
def exec_root(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the user of the `docker exec` sessions of a container that are open.

    Why: root in a session can do what the container's own user was kept from.
    Rule: fails for each open session that was given root (`root` or the id 0) in a container that
        runs as somebody else; where the container itself is root the option changes nothing, and
        `docker-non-root-user` fails. Passes for a container that never ran. Every other one is
        unknown: the engine forgets a session when it ends.
    Fix: leave `--user root` out of `docker exec`. Past uses: `ausearch -x docker | grep exec` on an
        audited host.
    Source: CIS Docker 5.24 (1.6 to 1.8).
    """
    expected = "no session as root"
    sessions = container.body.get("execs")
    own_root = _root(str(config(container).get("User") or "root"))
    found = False
    for index, session in enumerate(sessions if isinstance(sessions, list) else ()):
        if _root(str(session.get("user") or "")) and not own_root:
            found = True
            yield failed(f"execs[{index}]", f"{_shown(session)}: user {session['user']}", expected)
    if not found:
        yield _rest(container, expected)


def _root(user: str) -> bool:
    name = user.partition(":")[0]
    return name == "root" or (name.isdecimal() and int(name) == 0)


def _shown(session: Mapping[str, Json]) -> str:
    program = str(session.get("program") or "a session")
    return program if session.get("running") else f"{program} (made, not started)"


def _rest(container: Resource, expected: str) -> Verdict:
    """The verdict where no open session is wrong: what ended cannot be seen."""
    started = str(state(container).get("StartedAt") or "")
    sessions = container.body.get("execs")
    if started.startswith(_NEVER) and not sessions:
        return passed("execs", "it never ran", expected, stands=True)
    if not isinstance(sessions, list):
        return unknown("execs", "its open sessions were not read", expected)
    observed = f"{len(sessions)} open, none of them wrong; the engine forgets those that ended"
    return unknown("execs", observed, expected)
