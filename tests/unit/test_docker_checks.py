"""The checks of containers against answers with holes in them, and in number."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest

from auditor.collect.base import Harvest
from auditor.evaluate import evaluate
from auditor.model import Resource, Snapshot, Status, Target
from auditor.registry import discover
from tests.support.fixtures import snapshot_of

CHECKS = [check for check in discover() if check.applies_to == "docker/container"]
TARGET = "docker:test"

# What Docker 20.10 answers of a container that was made and never started, in short.
INSPECT: dict[str, Any] = {
    "Id": "a" * 64,
    "Path": "/bin/web",
    "Args": [],
    "State": {
        "Status": "running",
        "Running": True,
        "Pid": 7,
        "StartedAt": "2026-01-01T00:00:00Z",
        "Health": {"Status": "healthy"},
    },
    "Image": "sha256:aa",
    "AppArmorProfile": "docker-default",
    "ProcessLabel": "",
    "ExecIDs": [],
    "HostConfig": {
        "Binds": ["/srv:/srv:ro"],
        "NetworkMode": "shop",
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "CapAdd": [],
        "CapDrop": ["ALL"],
        "CgroupnsMode": "private",
        "IpcMode": "private",
        "PidMode": "",
        "Privileged": False,
        "PublishAllPorts": False,
        "ReadonlyRootfs": True,
        "SecurityOpt": ["no-new-privileges"],
        "UTSMode": "",
        "UsernsMode": "",
        "CgroupParent": "",
        "Devices": [],
        "DeviceCgroupRules": [],
        "DeviceRequests": [],
        "Memory": 1,
        "NanoCpus": 1,
        "PidsLimit": 100,
        "Ulimits": [],
    },
    "Mounts": [{"Type": "bind", "Source": "/srv", "Destination": "/srv", "RW": False}],
    "Config": {
        "User": "10001",
        "ExposedPorts": {"80/tcp": {}},
        "Env": [],
        "Image": "web:1",
        "Healthcheck": {"Test": ["CMD", "true"]},
        "Labels": {},
    },
    "NetworkSettings": {"Ports": {"80/tcp": None}, "Networks": {"shop": {}}},
}
INFO = {"SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=userns"]}


def snapshot(*inspects: dict[str, Any]) -> Snapshot:
    harvest = Harvest()
    harvest.targets.append(Target(TARGET, "docker", "test", {}))
    engine = {"name": "host", "info": INFO, "version": {}}
    harvest.resources.append(Resource("docker", TARGET, "engine", None, "host", engine))
    for number, inspect in enumerate(inspects):
        body = {
            "name": f"web-{number}",
            "id": f"{number:064x}",
            "image_id": "sha256:aa",
            "inspect": inspect,
            "top": {"titles": ["PID", "COMMAND"], "processes": [["7", "web"]], "count": 1},
            "diff": None,
            "execs": [],
        }
        harvest.resources.append(Resource("docker", TARGET, "container", None, body["name"], body))
    for scope in ("engine", "containers", "images", "networks", "volumes"):
        harvest.covered(TARGET, "docker", scope, len(inspects))
    return snapshot_of(harvest)


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of every object in an inspect."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from places(item, (*path, key))


def changed(path: tuple[str, ...], *, leave_out: bool) -> dict[str, Any]:
    whole = copy.deepcopy(INSPECT)
    part = whole
    for key in path[:-1]:
        part = part[key]
    if leave_out:
        del part[path[-1]]
    else:
        part[path[-1]] = None
    return whole


@pytest.mark.parametrize("leave_out", [True, False], ids=["left-out", "null"])
@pytest.mark.parametrize("path", list(places(INSPECT)), ids=".".join)
def test_a_hole_in_the_answer_is_no_crash(path: tuple[str, ...], *, leave_out: bool) -> None:
    """Engines write `null` for what is empty, and other engines leave fields out."""
    found = evaluate(snapshot(changed(path, leave_out=leave_out)), CHECKS)
    assert [(row.check, row.observed) for row in found if row.status is Status.ERROR] == []


@pytest.mark.parametrize(
    ("check", "field"),
    [
        ("docker-host-network", "NetworkMode"),
        ("docker-host-pid", "PidMode"),
        ("docker-host-ipc", "IpcMode"),
        ("docker-host-uts", "UTSMode"),
        ("docker-host-user-namespace", "UsernsMode"),
        ("docker-pids-limit", "PidsLimit"),
        ("docker-ulimits", "Ulimits"),
        ("docker-cgroup-parent", "CgroupParent"),
        ("docker-restart-policy", "RestartPolicy"),
        ("docker-host-device", "Devices"),
        ("docker-privileged-container", "Privileged"),
        ("docker-read-only-root-filesystem", "ReadonlyRootfs"),
    ],
)
def test_a_field_that_was_left_out_is_unknown_and_never_a_pass(check: str, field: str) -> None:
    data = snapshot(changed(("HostConfig", field), leave_out=True))
    found = evaluate(data, [item for item in CHECKS if item.id == check])
    assert [row.status for row in found] == [Status.UNKNOWN]


@pytest.mark.parametrize(
    "check",
    ["docker-sensitive-mount", "docker-mount-propagation", "docker-engine-socket-mounted"],
)
def test_mounts_that_were_left_out_are_unknown_and_never_a_pass(check: str) -> None:
    data = snapshot(changed(("Mounts",), leave_out=True))
    found = evaluate(data, [item for item in CHECKS if item.id == check])
    assert [row.status for row in found] == [Status.UNKNOWN]


def test_five_hundred_containers_are_judged_in_a_second_or_two() -> None:
    data = snapshot(*[INSPECT] * 500)
    start = time.perf_counter()
    found = evaluate(data, CHECKS)
    assert time.perf_counter() - start < 5.0
    assert len({row.name for row in found}) >= 500
