"""What bounds a container in the kernel's books: processes, ulimits, the control group above it."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Verdict, View, failed, not_applicable, passed, review
from auditor.registry import check
from checks.docker._inspect import engine_info, host_config, missing

_USUAL_PARENTS = frozenset({"", "docker", "/docker", "system.slice", "machine.slice"})
"""Where engines put containers by themselves, with either cgroup driver."""


@check(
    id="docker-pids-limit",
    title="Containers have a limit on their processes",
    severity="medium",
    applies_to="docker/container",
)
def pids_limit(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the most processes that a container may have at a time.

    Why: a container without a limit that forks on and on (a fork bomb) takes every process id of
        the host, and nothing can be started there any more, not even a shell to end it.
    Rule: fails when `HostConfig.PidsLimit` is not set, 0 or negative, which all mean none, and when
        the engine says that its kernel cannot limit processes; passes for any other; unknown when
        the engine's answer does not say.
    Fix: set a limit that fits the program:

            docker run --pids-limit 100 IMAGE
    Source: CIS Docker 5.29 (1.6 to 1.8).
    """
    options = host_config(container)
    path, expected = "HostConfig.PidsLimit", "a limit above 0"
    if "PidsLimit" not in options:
        yield missing(path)
        return
    limit = options["PidsLimit"]
    if not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0:
        yield failed(path, "not set" if limit is None else f"{limit}, which is none", expected)
    elif engine_info(view).get("PidsLimit") is False:
        observed = f"{limit}, which this engine's kernel cannot enforce"
        yield failed(path, observed, "a limit that is enforced")
    else:
        yield passed(path, str(limit), expected, stands=True)


@check(
    id="docker-ulimits",
    title="Containers change the default ulimits only where they need to",
    severity="low",
    applies_to="docker/container",
)
def ulimits(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the resource limits (ulimits) that a container is given.

    Why: the daemon's defaults hold for all; a container that lifts one can open every file handle
        of the host, or fill its disk with core dumps.
    Rule: passes when the container has no ulimit of its own, and so the daemon's; fails for each
        one that is lifted altogether (a soft or hard limit of -1); review for each other, because
        whether the program needs it the engine cannot know. The daemon writes its own defaults
        (`default-ulimits`) into each container that it makes, so what is listed may come from
        there. Unknown when the engine's answer does not say.
    Fix: leave `--ulimit` out, or give the value that the program needs:

            docker run --ulimit nofile=1024:2048 IMAGE
    Source: CIS Docker 5.19 (1.6 to 1.8), which leaves it to a person.
    """
    options = host_config(container)
    path, expected = "HostConfig.Ulimits", "the daemon's defaults"
    if "Ulimits" not in options:
        yield missing(path)
        return
    rows = options["Ulimits"] or ()
    for row in rows:
        name, soft, hard = str(row.get("Name")), row.get("Soft"), row.get("Hard")
        observed = f"{name} {soft}:{hard}"
        if -1 in (soft, hard):
            yield failed(f"{path}[{name}]", f"{observed}: no limit", expected)
        else:
            yield review(f"{path}[{name}]", f"{observed}, its own or the daemon's", expected)
    if not rows:
        yield passed(path, "not set; from the daemon", expected, stands=True)


@check(
    id="docker-cgroup-parent",
    title="Containers are in the control group that is meant for them",
    severity="medium",
    applies_to="docker/container",
)
def cgroup_parent(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the control group under which a container is put, and whether it sees the host's.

    Why: limits are shared out along the tree of control groups; a container under another parent
        gets that one's share, and one at the root is bound by none.
    Rule: passes when `HostConfig.CgroupParent` is not set, so that the daemon's counts, or names
        the place where engines put containers anyway (`docker`, `system.slice`, `machine.slice`);
        fails for the root of the tree (`/`) and for a path that leads out (`..`); review for any
        other parent, because whether it is the one that is meant a person must say, and for the
        host's cgroup namespace on version 2, where containers have their own by default. Does not
        apply on Windows; unknown when the engine's answer does not say.
    Fix: leave `--cgroup-parent` out, or name a slice with limits of its own.
    Source: CIS Docker 5.25 (1.6 to 1.8).
    """
    options, info = host_config(container), engine_info(view)
    path, expected = "HostConfig.CgroupParent", "not set"
    if info.get("OSType") == "windows":
        yield not_applicable("Windows has no control groups", path)
        return
    if "CgroupParent" not in options:
        yield missing(path)
        return
    parent = str(options["CgroupParent"] or "")
    if parent == "/" or ".." in parent.split("/"):
        yield failed(path, f"{parent}: out of reach of the daemon's limits", expected)
    elif parent not in _USUAL_PARENTS:
        yield review(path, parent, expected)
    elif options.get("CgroupnsMode") == "host" and str(info.get("CgroupVersion")) == "2":
        yield review("HostConfig.CgroupnsMode", "host: it sees the host's tree", "private")
    else:
        yield passed(path, parent or "not set; from the daemon", expected, stands=True)
