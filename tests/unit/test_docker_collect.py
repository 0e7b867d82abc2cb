"""The engine's collector against engines that refuse, break, hang and change under it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from auditor.collect.docker import collect_docker
from auditor.collect.image import collect_images
from auditor.config import DockerTable
from auditor.errors import AbsentTargetError, CollectError
from auditor.evaluate import evaluate
from auditor.model import Reason, Status
from auditor.registry import discover
from tests.support.archives import config_of, file, saved, sha256, tar
from tests.support.fake_engine import fake_engine
from tests.support.fixtures import snapshot_of

CONFIG = DockerTable(call_timeout=1.0, deadline=20.0)
LAYER = tar(file("bin/su", b"x", 0o4755))
SECRET = "hunter2-" + "hunter2"


def container(name: str, *, running: bool = False, **config: Any) -> dict[str, Any]:
    return {
        "Id": name * 8,
        "Name": f"/{name}",
        "Image": "sha256:" + "a" * 64,
        "RestartCount": 3,
        "State": {"Status": "running" if running else "exited", "Running": running, "Pid": 7},
        "HostConfig": {"Privileged": False},
        "Mounts": [],
        "Config": {"Image": "shop/web:1", **config},
    }


def failures(harvest: Any) -> list[Any]:
    """The gaps that something could mend: not what no engine ever shows."""
    return [gap for gap in harvest.gaps if not gap.by_nature]


def routes_for(*rows: dict[str, Any]) -> dict[str, Any]:
    routes: dict[str, Any] = {
        "/containers/json": [{"Id": row["Id"], "Names": [row["Name"]]} for row in rows]
    }
    for row in rows:
        routes[f"/containers/{row['Id']}/json"] = row
        routes[f"/containers/{row['Id']}/changes"] = [{"Path": "/tmp", "Kind": 1}]
        routes[f"/containers/{row['Id']}/top"] = {
            "Titles": ["PID", "PPID", "UID", "COMMAND"],
            "Processes": [["7", "1", "1000", "web"]],
        }
    return routes


IMAGE_ID = "sha256:" + "b" * 64


def image_routes(layer: bytes = LAYER) -> dict[str, Any]:
    return {
        "/images/json": [{"Id": IMAGE_ID, "RepoTags": ["shop/web:1"]}],
        f"/images/{IMAGE_ID}/json": {
            "Id": IMAGE_ID,
            "RepoTags": ["shop/web:1"],
            "RepoDigests": None,
            "Size": 1,
            "Config": {"User": "app"},
            "RootFS": {"Layers": [sha256(layer)]},
        },
        f"/images/{IMAGE_ID}/history": [
            {"CreatedBy": "CMD last", "Size": 0},
            {"CreatedBy": f"RUN |1 TOKEN={SECRET} make", "Size": 5},
        ],
        f"/images/{IMAGE_ID}/get": saved(layer, config=config_of([layer])),
    }


def statuses(harvest: Any, check: str) -> dict[str, Status]:
    registry = discover().select([check])
    return {row.name: row.status for row in evaluate(snapshot_of(harvest), registry)}


def test_an_engine_is_read_with_get_alone(tmp_path: Path) -> None:
    routes = {**routes_for(container("a", running=True)), **image_routes()}
    with fake_engine(tmp_path, routes) as (host, seen):
        harvest = collect_docker(host=host, config=CONFIG)
    assert {request.split()[0] for request in seen} == {"GET"}
    assert failures(harvest) == []
    target = harvest.targets[0]
    assert (target.id, target.name) == ("docker:ENGINE", "host")
    assert target.facts["version"] == "24.0.7"
    scopes = {item.scope: item.count for item in harvest.coverage}
    assert scopes == {
        "engine": 1,
        "containers": 1,
        "networks": 0,
        "volumes": 0,
        "plugins": 0,
        "images": 1,
    }
    body = next(item.body for item in harvest.resources if item.kind == "container")
    assert (body["state"], body["restarts"], body["image"]) == ("running", 3, "shop/web:1")
    assert body["diff"] == {"count": 1, "changes": [{"path": "/tmp", "kind": "added"}]}
    assert body["top"]["processes"] == [["7", "1", "1000", "web"]]
    image = next(item.body for item in harvest.resources if item.kind == "image")
    assert [row["created_by"][:3] for row in image["history"]] == ["RUN", "CMD"]
    assert image["files"]["setuid_count"] == 1
    assert SECRET not in json.dumps(image)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (403, Reason.FORBIDDEN),
        (401, Reason.UNAUTHENTICATED),
        (500, Reason.FAILED),
        (b"not json", Reason.MALFORMED),
        ({"message": "no list"}, Reason.MALFORMED),
        (["no object"], Reason.MALFORMED),
        ([{"no": "id"}], Reason.MALFORMED),
        (5.0, Reason.TIMED_OUT),
    ],
)
@pytest.mark.parametrize(
    ("path", "scope"), [("/containers/json", "containers"), ("/images/json", "images")]
)
def test_a_list_that_fails_is_a_gap_of_that_kind_and_nothing_else(
    tmp_path: Path, path: str, scope: str, answer: Any, reason: Reason
) -> None:
    routes = {**routes_for(container("a")), **image_routes(), path: answer}
    with fake_engine(tmp_path, routes) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG)
    gaps = [(gap.scope, gap.reason, gap.name) for gap in failures(harvest)]
    assert gaps == [(scope, reason, None)]
    assert scope not in {item.scope for item in harvest.coverage}
    assert {item.kind for item in harvest.resources} >= {"engine"}


def test_a_container_that_vanishes_is_noted_and_the_others_are_judged(tmp_path: Path) -> None:
    routes = routes_for(container("a"), container("b"))
    routes["/containers/bbbbbbbb/json"] = 404
    with fake_engine(tmp_path, routes) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    gap = next(gap for gap in harvest.gaps if gap.scope == "containers")
    assert (gap.reason, gap.name) == (Reason.ABSENT, "b")
    found = statuses(harvest, "docker-privileged-container")
    assert found == {"a": Status.PASS, "b": Status.UNKNOWN}


def test_processes_that_are_refused_hide_only_what_needs_them(tmp_path: Path) -> None:
    routes = routes_for(container("a", running=True, User="app"))
    routes["/containers/aaaaaaaa/top"] = 403
    routes["/containers/aaaaaaaa/changes"] = 5.0
    with fake_engine(tmp_path, routes) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    scopes = {(gap.scope, gap.name, gap.reason) for gap in harvest.gaps if gap.name}
    assert scopes == {
        ("container-processes", "a", Reason.FORBIDDEN),
        ("container-changes", "a", Reason.TIMED_OUT),
    }
    assert statuses(harvest, "docker-privileged-container") == {"a": Status.PASS}
    assert statuses(harvest, "docker-non-root-user") == {"a": Status.UNKNOWN}


def test_a_host_with_a_small_ps_shows_its_processes_without_secrets(tmp_path: Path) -> None:
    routes = routes_for(container("a", running=True, User="app"))
    asked: list[int] = []

    def top() -> Any:
        asked.append(1)
        if len(asked) == 1:
            return 500
        row = ["app", "7", "0:00", f"web --db-password {SECRET}"]
        return {"Titles": ["USER", "PID", "TIME", "COMMAND"], "Processes": [row]}

    routes["/containers/aaaaaaaa/top"] = top
    with fake_engine(tmp_path, routes) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    assert [gap.scope for gap in failures(harvest)] == ["images"]
    body = next(item.body for item in harvest.resources if item.kind == "container")
    assert body["top"]["processes"][0][:2] == ["app", "7"]
    assert SECRET not in json.dumps(body)


def test_a_gap_of_a_compose_container_names_its_project(tmp_path: Path) -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    routes = routes_for(container("a", running=True, Labels=labels))
    routes["/containers/aaaaaaaa/top"] = 500
    with fake_engine(tmp_path, routes) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    resource = next(item for item in harvest.resources if item.kind == "container")
    assert resource.namespace == "shop"
    assert resource.body["compose"] == {"project": "shop", "service": "web", "number": ""}
    gap = next(gap for gap in harvest.gaps if gap.name == "a")
    assert gap.namespace == "shop"


def test_images_that_were_left_out_are_unknown_not_passed(tmp_path: Path) -> None:
    with fake_engine(tmp_path, {}) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    assert statuses(harvest, "image-healthcheck") == {"images": Status.UNKNOWN}


def test_without_info_the_rest_is_read(tmp_path: Path) -> None:
    with fake_engine(tmp_path, {**routes_for(container("a")), "/info": 403}) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    assert harvest.targets[0].id == f"docker:{host}"
    assert {gap.scope for gap in failures(harvest)} == {"engine", "images"}
    assert statuses(harvest, "docker-privileged-container") == {"a": Status.PASS}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (500, Reason.FAILED),
        (b"junk" * 1000, Reason.MALFORMED),
        (saved(LAYER)[:2000], Reason.MALFORMED),
    ],
)
def test_files_that_cannot_be_read_leave_configuration_and_history_judged(
    tmp_path: Path, answer: Any, reason: Reason
) -> None:
    routes = {**image_routes(), f"/images/{IMAGE_ID}/get": answer}
    with fake_engine(tmp_path, routes) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG)
    assert [(gap.scope, gap.name, gap.reason) for gap in harvest.gaps] == [
        ("image-files", "shop/web:1", reason)
    ]
    assert statuses(harvest, "image-healthcheck") == {"shop/web:1": Status.FAIL}
    assert statuses(harvest, "image-history-secrets") == {"shop/web:1": Status.FAIL}
    assert statuses(harvest, "image-setuid-files") == {"shop/web:1": Status.UNKNOWN}


def test_image_files_can_be_switched_off(tmp_path: Path) -> None:
    config = DockerTable(call_timeout=1.0, image_files=False)
    with fake_engine(tmp_path, image_routes()) as (host, seen):
        harvest = collect_docker(host=host, config=config)
    assert not [request for request in seen if request.endswith("/get")]
    assert harvest.gaps[0].reason is Reason.NOT_REQUESTED
    assert statuses(harvest, "image-layer-secrets") == {"shop/web:1": Status.UNKNOWN}


def test_a_layer_that_two_images_share_is_fetched_once(tmp_path: Path) -> None:
    routes = image_routes()
    other = "sha256:" + "c" * 64
    routes["/images/json"] = [
        {"Id": IMAGE_ID, "RepoTags": ["shop/web:1"]},
        {"Id": other, "RepoTags": None},
    ]
    for part in ("json", "history", "get"):
        routes[f"/images/{other}/{part}"] = routes[f"/images/{IMAGE_ID}/{part}"]
    routes[f"/images/{other}/json"] = {
        **routes[f"/images/{other}/json"],
        "Id": other,
        "RepoTags": [],
    }
    with fake_engine(tmp_path, routes) as (host, seen):
        harvest = collect_docker(host=host, config=CONFIG)
    assert len([request for request in seen if request.endswith("/get")]) == 1
    bodies = {item.name: item.body for item in harvest.resources if item.kind == "image"}
    assert sorted(bodies) == ["c" * 12, "shop/web:1"]
    assert bodies["c" * 12]["files"] == bodies["shop/web:1"]["files"]


def test_a_deadline_that_passes_is_a_gap_of_what_is_left(tmp_path: Path) -> None:
    config = DockerTable(call_timeout=1.0, deadline=0.3)

    def slow() -> list[Any]:
        time.sleep(0.5)
        return []

    routes = {**image_routes(), "/networks": slow}
    with fake_engine(tmp_path, routes) as (host, _):
        harvest = collect_docker(host=host, config=config)
    reasons = {gap.scope: gap.reason for gap in harvest.gaps}
    assert reasons["images"] is Reason.TIMED_OUT
    assert statuses(harvest, "image-healthcheck")["images"] is Status.UNKNOWN


def test_an_engine_that_is_not_there_is_told_apart_from_one_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = f"unix://{tmp_path}/none.sock"
    with pytest.raises(CollectError, match=r"none\.sock: the Docker engine cannot be reached") as e:
        collect_docker(host=host, config=CONFIG)
    assert not isinstance(e.value, AbsentTargetError)
    monkeypatch.setattr("auditor.collect.engine.DEFAULT_HOST", host)
    monkeypatch.setattr("auditor.collect.engine._address", lambda _: (host, False))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with pytest.raises(AbsentTargetError, match="no Docker engine: there is no such socket"):
        collect_docker(config=CONFIG)


def test_a_socket_that_nobody_serves_is_refused(tmp_path: Path) -> None:
    with fake_engine(tmp_path, {}) as (host, _):
        pass
    with pytest.raises(CollectError, match="the connection was refused"):
        collect_docker(host=host, config=CONFIG)


@pytest.mark.parametrize("status", [403, 500])
def test_an_engine_that_refuses_everything_is_one_clear_line(tmp_path: Path, status: int) -> None:
    routes = {"/_ping": status, "/version": status}
    with fake_engine(tmp_path, routes) as (host, _), pytest.raises(CollectError) as error:
        collect_docker(host=host, config=CONFIG)
    line = str(error.value)
    assert "\n" not in line
    assert ("permission denied" in line) is (status == 403)


def test_an_image_is_found_by_its_reference(tmp_path: Path) -> None:
    routes = image_routes()
    for part in ("json", "history", "get"):
        routes[f"/images/shop/web:1/{part}"] = routes[f"/images/{IMAGE_ID}/{part}"]
    with fake_engine(tmp_path, routes) as (host, seen):
        refs = ["shop/web:1", IMAGE_ID, "shop/none:1"]
        harvest = collect_images(refs, host=host, config=CONFIG)
    assert [target.id for target in harvest.targets] == [f"image:{IMAGE_ID}", "image:shop/none:1"]
    assert [item.name for item in harvest.resources] == ["shop/web:1"]
    gap = harvest.gaps[0]
    assert (gap.scope, gap.name, gap.reason) == ("images", "shop/none:1", Reason.ABSENT)
    assert len([request for request in seen if request.endswith("/get")]) == 1


def test_references_without_an_engine_are_gaps(tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/none.sock"
    harvest = collect_images(["shop/web:1"], host=host, config=CONFIG)
    assert harvest.resources == []
    assert harvest.coverage == []
    assert harvest.gaps[0].name == "shop/web:1"


def test_no_secret_of_a_container_is_kept(tmp_path: Path) -> None:
    row = container(
        "a",
        running=True,
        Env=["PATH=/bin", f"DB_PASSWORD={SECRET}", f"URL=https://app:{SECRET}@db.example.com"],
        Cmd=["web", "--db-password", SECRET, f"--token={SECRET}"],
        Entrypoint=["sh", "-c", f"echo {SECRET} | login"],
        Labels={"backup": f"every hour with {SECRET}", "api_key": "another-" + SECRET[::-1]},
        Healthcheck={"Test": ["CMD-SHELL", f"curl -u app:{SECRET} localhost"]},
    )
    row["Path"], row["Args"] = "web", ["--db-password", SECRET]
    row["HostConfig"]["LogConfig"] = {"Type": "splunk", "Config": {"splunk-token": SECRET}}
    row["State"]["Health"] = {"Status": "healthy", "Log": [{"Output": f"as {SECRET}"}]}
    routes = routes_for(row)
    routes["/info"] = {"ID": "E", "Name": "h", "HttpProxy": f"http://p:{SECRET}@proxy:3128"}
    volume = {"Name": "v", "Options": {"o": f"username=a,password={SECRET}", "type": "cifs"}}
    routes["/volumes"] = {"Volumes": [volume]}
    plugin = {"Name": "p", "Settings": {"Env": [f"TOKEN={SECRET}"], "Args": [f"--token={SECRET}"]}}
    plugin["Config"] = {"Env": [{"Name": "TOKEN", "Value": SECRET, "Description": "d"}]}
    routes["/plugins"] = [plugin]
    with fake_engine(tmp_path, routes) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    text = json.dumps([dict(item.body) for item in harvest.resources])
    assert SECRET not in text
    assert SECRET[::-1] not in text
    assert "DB_PASSWORD" in text
    body = next(item.body for item in harvest.resources if item.kind == "container")
    env = {row["name"]: row["hits"] for row in body["inspect"]["Config"]["Env"]}
    assert env["PATH"] == []
    assert env["DB_PASSWORD"] == [
        {"detector": "credential name", "length": len(SECRET), "placeholder": False}
    ]


def session(**process: Any) -> dict[str, Any]:
    words = {"entrypoint": "sh", "arguments": ["-c", f"login {SECRET}"], **process}
    return {"ID": "s", "Running": True, "ProcessConfig": words, "ContainerID": "aaaaaaaa"}


def with_sessions(*names: str, **answers: Any) -> dict[str, Any]:
    row = container("a", running=True, User="10001")
    row["ExecIDs"] = list(names)
    row["State"]["StartedAt"] = "2026-01-01T00:00:00Z"
    return {
        **routes_for(row),
        **{f"/exec/{name}/json": answer for name, answer in answers.items()},
    }


def test_open_exec_sessions_are_read_without_their_arguments(tmp_path: Path) -> None:
    routes = with_sessions("s", "t", s=session(privileged=True), t=session(user="root"))
    with fake_engine(tmp_path, routes) as (host, seen):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    assert {request.split()[0] for request in seen} == {"GET"}
    body = next(item.body for item in harvest.resources if item.kind == "container")
    assert body["execs"] == [
        {"program": "sh", "privileged": True, "user": "", "running": True},
        {"program": "sh", "privileged": None, "user": "root", "running": True},
    ]
    assert SECRET not in json.dumps(body)
    assert statuses(harvest, "docker-exec-privileged") == {"a": Status.FAIL}
    assert statuses(harvest, "docker-exec-root") == {"a": Status.FAIL}


def test_sessions_that_ended_are_a_gap_by_nature(tmp_path: Path) -> None:
    with fake_engine(tmp_path, with_sessions("gone", gone=404)) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    (gap,) = [gap for gap in harvest.gaps if gap.by_nature]
    assert (gap.scope, gap.name, gap.remedy) == ("container-sessions-past", None, "")
    assert [gap.scope for gap in failures(harvest)] == ["images"]
    assert statuses(harvest, "docker-exec-privileged") == {"a": Status.UNKNOWN}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (403, Reason.FORBIDDEN),
        (b"no json", Reason.MALFORMED),
        ({"Running": True}, Reason.MALFORMED),
        ({"ProcessConfig": "sh"}, Reason.MALFORMED),
    ],
)
def test_a_session_that_is_hidden_hides_no_more_than_sessions(
    tmp_path: Path, answer: Any, reason: Reason
) -> None:
    with fake_engine(tmp_path, with_sessions("s", s=answer)) as (host, _):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    gap = next(gap for gap in failures(harvest) if gap.scope == "container-sessions")
    assert (gap.name, gap.reason) == ("a", reason)
    assert statuses(harvest, "docker-exec-privileged") == {"a": Status.UNKNOWN}
    assert statuses(harvest, "docker-privileged-container") == {"a": Status.PASS}


def test_a_flood_of_sessions_is_bounded_and_said(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(60)]
    routes = with_sessions(*names, **{name: session() for name in names})
    with fake_engine(tmp_path, routes) as (host, seen):
        harvest = collect_docker(host=host, config=CONFIG, images=False)
    assert sum("/exec/" in request for request in seen) == 50
    gap = next(gap for gap in failures(harvest) if gap.scope == "container-sessions")
    assert "60 are open" in gap.detail
    assert statuses(harvest, "docker-exec-privileged") == {"a": Status.UNKNOWN}
