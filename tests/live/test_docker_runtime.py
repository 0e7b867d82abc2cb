"""CIS Docker section 5 on a real engine: a container for each setting, judged both ways.

Most are made and not started: the engine answers for those as for running ones, and what they ask
for (the host's namespaces, its devices) is not to be given to a test.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from auditor.collect.docker import collect_docker
from auditor.config import DockerTable
from auditor.evaluate import evaluate
from auditor.model import Finding, Status
from auditor.registry import discover
from auditor.snapshot import dump_snapshot, parse_snapshot
from tests.support.engine import Engine
from tests.support.fixtures import snapshot_of

pytestmark = pytest.mark.live

REGISTRY = discover()
PLAIN = "FROM scratch\nCOPY busybox /bin/busybox\nUSER 10001\n"
# The classic builder takes modes from the context, where this script is not executable.
SSH = """
FROM scratch
COPY busybox /bin/busybox
COPY sshd /bin/sshd
RUN ["/bin/busybox", "chmod", "755", "/bin/sshd"]
"""
SCRIPT = b"#!/bin/busybox sh\nwhile true; do /bin/busybox sleep 600; done\n"
ALLOW_ALL = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []})
REFUSE = json.dumps(
    {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["read", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"}],
    }
)
SECRET_ARGUMENT = "hunter2-" + "hunter2-exec"

CONTAINERS: dict[str, dict[str, Any]] = {
    "quiet": {},
    "bounded": {
        "pids_limit": 100,
        "restart_policy": {"Name": "on-failure", "MaximumRetryCount": 5},
    },
    "host-network": {"network_mode": "host"},
    "host-pid": {"pid_mode": "host"},
    "host-ipc": {"ipc_mode": "host"},
    "host-uts": {"uts_mode": "host"},
    "host-users": {"userns_mode": "host"},
    "privileged": {"privileged": True},
    "socket": {"binds": ["/var/run/docker.sock:/var/run/docker.sock:ro"]},
    "etc": {"binds": ["/etc:/host/etc:ro"]},
    "root": {"binds": ["/:/host"]},
    "clock": {"binds": ["/etc/localtime:/etc/localtime:ro"]},
    "shared": {"binds": ["/tmp:/host:rshared"]},
    "slave": {"binds": ["/tmp:/host:rslave"]},
    "device": {"devices": ["/dev/kmsg:/dev/kmsg:r"]},
    "null-device": {"devices": ["/dev/null:/dev/null:rwm"]},
    "device-rule": {"device_cgroup_rules": ["a *:* rwm"]},
    "unconfined": {"security_opt": ["seccomp=unconfined"]},
    "own-seccomp": {"security_opt": [f"seccomp={REFUSE}"]},
    "open-seccomp": {"security_opt": [f"seccomp={ALLOW_ALL}"]},
    "ulimit": {"ulimits": [{"name": "nofile", "soft": 1024, "hard": 2048}]},
    "no-ulimit": {"ulimits": [{"name": "core", "soft": -1, "hard": -1}]},
    "always": {"restart_policy": {"Name": "always"}},
    "for-ever": {"restart_policy": {"Name": "on-failure"}},
    "three-tries": {"restart_policy": {"Name": "on-failure", "MaximumRetryCount": 3}},
    "no-pids": {"pids_limit": -1},
    "bridge": {"network_mode": "bridge"},
    "everywhere": {"network_mode": "bridge", "port_bindings": {"80/tcp": ("0.0.0.0", 8080)}},
    "unnamed": {"network_mode": "bridge", "port_bindings": {"80/tcp": 8080}},
    "loopback": {"network_mode": "bridge", "port_bindings": {"80/tcp": ("127.0.0.1", 8080)}},
    "low-port": {"network_mode": "bridge", "port_bindings": {"22/tcp": ("127.0.0.1", 22)}},
    "all-ports": {"network_mode": "bridge", "publish_all_ports": True},
    "cgroup": {"cgroup_parent": "/auditor-test"},
    "cgroup-root": {"cgroup_parent": "/"},
}

# Each check: what must fail, and what must pass beside it.
FAILING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "docker-host-network": (("host-network", "joins-network"), ("quiet", "bridge", "joins-quiet")),
    "docker-host-pid": (("host-pid", "joins-pid"), ("quiet", "host-ipc")),
    "docker-host-ipc": (("host-ipc",), ("quiet", "host-pid")),
    "docker-host-uts": (("host-uts",), ("quiet", "host-network")),
    "docker-sensitive-mount": (("etc", "root"), ("quiet", "clock", "slave", "at-etc")),
    "docker-mount-propagation": (("shared",), ("quiet", "slave", "etc", "at-etc")),
    "docker-host-device": (("device", "device-rule", "privileged"), ("quiet", "null-device")),
    "docker-seccomp-profile": (
        ("unconfined", "open-seccomp", "privileged"),
        ("quiet", "own-seccomp"),
    ),
    "docker-ulimits": (("no-ulimit",), ("quiet",)),
    "docker-restart-policy": (("always", "for-ever"), ("quiet", "bounded", "three-tries")),
    "docker-pids-limit": (("quiet", "no-pids"), ("bounded",)),
    "docker-privileged-port": (("low-port",), ("quiet", "loopback", "everywhere")),
    "docker-port-on-all-addresses": (("everywhere", "unnamed"), ("quiet", "loopback")),
    "docker-published-ports": (("all-ports",), ("quiet",)),
    "docker-default-bridge": (("bridge", "loopback"), ("quiet", "host-network")),
    "docker-cgroup-parent": (("cgroup-root",), ("quiet",)),
    "docker-ssh-server": (("sshd", "sshd-stopped"), ("entered",)),
    "docker-exec-privileged": (("entered",), ("quiet",)),
    "docker-exec-root": (("entered",), ("quiet",)),
    "docker-image-newest": (("outdated",), ("quiet",)),
    # What follows depends on the host: see the tests below.
    "docker-host-user-namespace": ((), ()),
    "docker-apparmor-profile": ((), ()),
    "docker-selinux-label": ((), ()),
}

OTHERS = {
    # (check, container): neither a pass nor a failure
    ("docker-ulimits", "ulimit"): "review",
    ("docker-published-ports", "loopback"): "review",
    ("docker-cgroup-parent", "cgroup"): "review",
    ("docker-privileged-port", "host-network"): "unknown",
    ("docker-published-ports", "host-network"): "unknown",
    ("docker-port-on-all-addresses", "joins-quiet"): "not-applicable",
    ("docker-default-bridge", "joins-quiet"): "not-applicable",
    ("docker-ssh-server", "quiet"): "not-applicable",
    ("docker-exec-privileged", "sshd"): "unknown",
    ("docker-exec-root", "sshd"): "unknown",
}


class World(NamedTuple):
    """What one audit found in the containers that were made for it, by their words."""

    options: dict[str, Any]
    rows: dict[tuple[str, str], list[Finding]]
    text: bytes

    def verdict(self, check: str, word: str) -> str:
        """The worst status that a check gave a container."""
        found = self.rows.get((check, word))
        assert found, f"{check} did not judge {word}"
        return str(min((row.status for row in found), key=lambda status: status.rank))


@pytest.fixture(scope="module")
def world(engine: Engine) -> Iterator[World]:
    names: dict[str, str] = {}
    plain = engine.build("runtime", PLAIN)

    def make(word: str, image: str = plain, **options: Any) -> None:
        options.setdefault("start", False)
        names[word] = engine.container(f"rt-{word}", image, **options)

    for word, options in CONTAINERS.items():
        if word != "all-ports":
            make(word, **options)
    exposing = engine.build("exposing", PLAIN + "EXPOSE 80 9000/udp\n")
    make("all-ports", exposing, **CONTAINERS["all-ports"])
    make("joins-network", network_mode=f"container:{names['host-network']}")
    make("joins-quiet", network_mode=f"container:{names['quiet']}")
    make("joins-pid", pid_mode=f"container:{names['host-pid']}")
    make("at-etc", binds=[f"{engine.volume('conf')}:/etc"])

    ssh = engine.build("ssh", SSH, {"sshd": SCRIPT})
    make("sshd", ssh, command=("/bin/sshd",), start=True)
    make("sshd-stopped", ssh, command=("/bin/sshd",))

    make("entered", start=True, user="10001")
    sleep = ["/bin/busybox", "sleep", "600", SECRET_ARGUMENT]
    # Made and not started: a privileged process is not to be had in every place that runs tests.
    engine.api.exec_create(names["entered"], sleep, privileged=True)
    session = engine.api.exec_create(names["entered"], sleep[:3], user="0:0")
    engine.api.exec_start(session, detach=True)

    old = engine.build("moving", PLAIN)
    make("outdated", old)
    engine.build("moving", PLAIN + "LABEL build=2\n")

    _await_process(engine, names["sshd"], "sshd")
    harvest = collect_docker(host=engine.host, config=DockerTable())
    data = dump_snapshot(snapshot_of(harvest))
    words = {name: word for word, name in names.items()}
    rows: dict[tuple[str, str], list[Finding]] = {}
    for row in evaluate(parse_snapshot(data), REGISTRY):
        if row.kind == "container" and row.name in words:
            rows.setdefault((row.check, words[row.name]), []).append(row)
    text = json.dumps([dict(item.body) for item in harvest.resources]).encode()
    yield World(engine.api.info(), rows, text)


def _await_process(engine: Engine, name: str, program: str) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        rows = engine.api.top(name, ps_args="-eo pid,comm")["Processes"]
        if any(row[-1] == program for row in rows):
            return
        time.sleep(0.05)
    raise AssertionError(f"{program} does not run: {rows}")


@pytest.mark.parametrize("check", FAILING)
def test_each_setting_fails_where_it_is_set_and_passes_where_it_is_not(
    world: World, check: str
) -> None:
    failing, passing = FAILING[check]
    assert {word: world.verdict(check, word) for word in failing} == dict.fromkeys(failing, "fail")
    assert {word: world.verdict(check, word) for word in passing} == dict.fromkeys(passing, "pass")


@pytest.mark.parametrize(("check", "word"), OTHERS)
def test_what_only_people_know_or_nobody_shows_is_neither(
    world: World, check: str, word: str
) -> None:
    assert world.verdict(check, word) == OTHERS[check, word]


def test_there_are_as_many_containers_as_it_takes(world: World) -> None:
    assert len({word for _, word in world.rows}) >= 35


def test_the_socket_is_found_and_no_other_mount_is_taken_for_it(world: World) -> None:
    check = "docker-engine-socket-mounted"
    assert {word: world.verdict(check, word) for word in ("socket", "root", "clock", "etc")} == {
        "socket": "fail",
        "root": "fail",
        "clock": "pass",
        "etc": "pass",
    }


def test_severities_follow_what_is_given(world: World) -> None:
    def severity(check: str, word: str) -> str:
        (row,) = [row for row in world.rows[check, word] if row.status is Status.FAIL]
        return str(row.severity)

    assert severity("docker-sensitive-mount", "root") == "critical"
    assert severity("docker-sensitive-mount", "etc") == "medium"
    assert severity("docker-host-device", "device") == "high"


def test_user_namespaces_are_judged_by_what_the_engine_does(world: World) -> None:
    check = "docker-host-user-namespace"
    options = world.options["SecurityOptions"]
    mapped = "name=userns" in options or "name=rootless" in options
    assert world.verdict(check, "quiet") == ("pass" if mapped else "fail")
    opted_out = "pass" if "name=rootless" in options else "fail"
    assert world.verdict(check, "host-users") == opted_out


@pytest.mark.parametrize(
    ("check", "option"),
    [("docker-apparmor-profile", "name=apparmor"), ("docker-selinux-label", "name=selinux")],
)
def test_a_module_that_the_engine_does_not_have_does_not_apply(
    world: World, check: str, option: str
) -> None:
    found = {world.verdict(check, "quiet"), world.verdict(check, "sshd")}
    if option in world.options["SecurityOptions"]:
        assert found == {"pass"}
        assert world.verdict(check, "privileged") == "fail"
    else:
        assert found in ({"not-applicable"}, {"unknown"})


def test_what_was_read_says_where_it_stands(world: World) -> None:
    (row,) = world.rows["docker-host-network", "joins-network"]
    assert "host-network, host" in row.observed
    (row,) = world.rows["docker-ssh-server", "sshd"]
    assert row.path == "top[sshd]"
    (row,) = world.rows["docker-exec-root", "entered"]
    assert row.observed == "/bin/busybox: user 0:0"
    (row,) = world.rows["docker-exec-privileged", "entered"]
    assert "made, not started" in row.observed
    (row,) = world.rows["docker-image-newest", "outdated"]
    assert "is another image here by now" in row.observed


def test_arguments_of_sessions_are_not_kept(world: World) -> None:
    assert SECRET_ARGUMENT.encode() not in world.text


def test_swarm_mode_is_off_here(engine: Engine) -> None:
    harvest = collect_docker(host=engine.host, config=DockerTable(), images=False)
    rows = evaluate(snapshot_of(harvest), REGISTRY.select(["docker-swarm-mode"]))
    state = engine.api.info()["Swarm"]["LocalNodeState"]
    assert [row.status for row in rows] == [Status.PASS] or state != "inactive"


def test_a_daemons_defaults_count_for_its_containers(tmp_path: Path) -> None:
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}))
    flags = ("--default-ulimit", "nofile=512:1024", "--seccomp-profile", str(profile))
    checks = ["docker-ulimits", "docker-seccomp-profile"]
    with Engine.start(*flags) as other:
        image = other.build("plain", PLAIN)
        ran, made = other.container("ran", image), other.container("made", image, start=False)
        harvest = collect_docker(host=other.host, config=DockerTable(), images=False)
        rows = evaluate(snapshot_of(harvest), REGISTRY.select(checks))
    found = {(row.check, row.name): row for row in rows}
    # An engine writes its default ulimits into each container that it makes.
    for name in (ran, made):
        row = found["docker-ulimits", name]
        assert (row.status, row.path) == (Status.REVIEW, "HostConfig.Ulimits[nofile]")
        assert "its own or the daemon's" in row.observed
    assert found["docker-seccomp-profile", ran].status is Status.PASS
