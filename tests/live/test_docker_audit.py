"""A real engine, audited: containers side by side, images file by file, in every form."""

import gzip
import io
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard

from auditor.collect.base import Harvest
from auditor.collect.docker import collect_docker
from auditor.collect.image import collect_images
from auditor.config import DockerTable
from auditor.evaluate import evaluate
from auditor.model import Finding, Reason, Snapshot, Status
from auditor.registry import discover
from auditor.snapshot import dump_snapshot
from tests.support.archives import sha256
from tests.support.engine import Engine
from tests.support.fixtures import snapshot_of

pytestmark = pytest.mark.live

CONFIG = DockerTable()
REGISTRY = discover()
# Built from parts, so that nobody takes them for real ones.
TOKEN = "ghp_" + "a1B2" * 9
PASSWORD = "hunter2-" + "hunter2-hunter2"
BUILD_ARGUMENT = "build-" + "argument-0815"
KEY_BODY = "MIIB" + "fake" * 29
KEY = f"-----BEGIN PRIVATE {'KEY'}-----\n{KEY_BODY}\n-----END PRIVATE {'KEY'}-----\n"
VALUES = (TOKEN, PASSWORD, BUILD_ARGUMENT, KEY_BODY)

PLAIN = 'FROM scratch\nCOPY busybox /bin/busybox\nCMD ["/bin/busybox", "sleep", "600"]\n'
SECRETS = f"""
FROM scratch
ARG TOKEN
COPY busybox /bin/busybox
COPY key.pem /app/key.pem
COPY env /app/.env
COPY passwd /etc/passwd
RUN ["/bin/busybox", "rm", "/app/key.pem"]
RUN ["/bin/busybox", "chmod", "4755", "/bin/busybox"]
ENV GRAFANA_TOKEN={TOKEN}
ENV MODE=production
USER app
"""
GOOD = """
FROM scratch
COPY busybox /bin/busybox
COPY passwd /etc/passwd
HEALTHCHECK CMD ["/bin/busybox", "true"]
USER app
CMD ["/bin/busybox", "sleep", "600"]
"""


class World(NamedTuple):
    """What the tests made on the engine, and what one audit found."""

    harvest: Harvest
    snapshot: Snapshot
    findings: list[Finding]
    names: dict[str, str]

    def verdict(self, check: str, word: str) -> Status:
        """The worst status that a check gave a resource of the tests."""
        name = self.names[word]
        found = [row for row in self.findings if row.check == check and row.name == name]
        assert found, f"{check} did not judge {word}"
        return min((row.status for row in found), key=lambda status: status.rank)

    def rows(self, check: str, word: str) -> list[Finding]:
        """What a check found in a resource of the tests."""
        name = self.names[word]
        return [row for row in self.findings if row.check == check and row.name == name]

    def body(self, kind: str, word: str) -> Any:
        """The body of a resource of the tests."""
        name = self.names[word]
        return next(i.body for i in self.harvest.resources if i.kind == kind and i.name == name)


@pytest.fixture(scope="module")
def world(engine: Engine) -> Iterator[World]:
    passwd = b"root:x:0:0::/:\napp:x:10001:10001::/:\n"
    names = {
        "image-plain": engine.build("plain", PLAIN),
        "image-good": engine.build("good", GOOD, {"passwd": passwd}),
        "image-secrets": engine.build(
            "secrets",
            SECRETS,
            {
                "key.pem": KEY.encode(),
                "env": f"PORT=80\nDB_PASSWORD={PASSWORD}\n".encode(),
                "passwd": b"root:x:0:0::/:\napp:x:0:0::/:\n",
            },
        ),
    }
    plain, good = names["image-plain"], names["image-good"]
    names["plain"] = engine.container("plain", plain, environment={"DB_PASSWORD": PASSWORD})
    names["hardened"] = engine.container(
        "hardened",
        good,
        user="10001:10001",
        read_only=True,
        tmpfs={"/tmp": "rw,size=100M"},
        security_opt=["no-new-privileges:true"],
        cap_drop=["ALL"],
        mem_limit=64 * 1024**2,
        nano_cpus=500_000_000,
        healthcheck={
            "test": ["CMD", "/bin/busybox", "true"],
            "interval": 1_000_000_000,
            "timeout": 5_000_000_000,
        },
    )
    names["privileged"] = engine.container(
        "privileged", plain, start=False, privileged=True, cap_drop=["ALL"]
    )
    socket = ["/var/run/docker.sock:/var/run/docker.sock:ro"]
    names["socket"] = engine.container("socket", plain, start=False, binds=socket)
    volume = engine.volume("run", type="none", o="bind", device="/var/run")
    names["volume"] = engine.container(
        "volume", plain, start=False, binds=[f"{volume}:/host"], cpu_shares=512
    )
    names["named"] = engine.container("named", good, start=False)
    _await_health(engine, names["hardened"])
    harvest = collect_docker(host=engine.host, config=CONFIG)
    snapshot = snapshot_of(harvest)
    yield World(harvest, snapshot, evaluate(snapshot, REGISTRY), names)


def _await_health(engine: Engine, name: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if engine.api.inspect_container(name)["State"]["Health"]["Status"] == "healthy":
            return
        time.sleep(0.1)
    raise AssertionError("the container did not become healthy")


CHECKS = {
    # check: (plain, hardened, privileged)
    "docker-privileged-container": ("pass", "pass", "fail"),
    "docker-capabilities-dropped": ("fail", "pass", "fail"),
    "docker-no-new-privileges": ("fail", "pass", "fail"),
    "docker-read-only-root-filesystem": ("fail", "pass", "fail"),
    "docker-non-root-user": ("fail", "pass", "fail"),
    "docker-memory-limit": ("fail", "pass", "fail"),
    "docker-cpu-limit": ("fail", "pass", "fail"),
    "docker-engine-socket-mounted": ("pass", "pass", "pass"),
    "docker-container-env-secrets": ("fail", "pass", "pass"),
    "docker-container-health": ("fail", "pass", "fail"),
}


@pytest.mark.parametrize("check", CHECKS)
def test_three_containers_side_by_side(world: World, check: str) -> None:
    words = ("plain", "hardened", "privileged")
    assert tuple(str(world.verdict(check, word)) for word in words) == CHECKS[check]


def test_every_check_of_containers_is_asserted_here(world: World) -> None:
    from tests.live.test_docker_runtime import FAILING

    subjects = {check.id for check in REGISTRY if check.applies_to == "docker/container"}
    assert set(CHECKS) | set(FAILING) == subjects


def test_nothing_was_left_unread_but_what_other_runs_removed(world: World) -> None:
    # Other tests may use the same engine: what they remove in between is no gap of ours.
    gaps = [
        gap for gap in world.harvest.gaps if gap.reason is not Reason.ABSENT and not gap.by_nature
    ]
    assert gaps == []
    facts = world.harvest.targets[0].facts
    assert facts["version"]
    assert facts["rootless"] in {"yes", "no"}
    assert {item.scope for item in world.harvest.coverage} >= {"engine", "containers", "images"}


def test_a_mounted_socket_is_seen_as_a_bind_and_as_a_volume(world: World) -> None:
    check = "docker-engine-socket-mounted"
    (row,) = world.rows(check, "socket")
    assert row.status is Status.FAIL
    assert row.path == "Mounts[0].Source"
    assert "read-only" in row.observed
    (row,) = world.rows(check, "volume")
    assert row.status is Status.FAIL
    assert "of /var/run at /host" in row.observed


def test_a_weight_is_no_limit(world: World) -> None:
    assert world.verdict("docker-cpu-limit", "volume") is Status.REVIEW


def test_a_named_user_is_looked_up_in_the_image(world: World) -> None:
    assert world.verdict("docker-non-root-user", "named") is Status.PASS
    assert world.verdict("image-non-root-user", "image-good") is Status.PASS
    (row,) = world.rows("image-non-root-user", "image-secrets")
    assert row.status is Status.FAIL
    assert "the id 0" in row.observed


def test_a_running_container_shows_its_processes_by_number(world: World) -> None:
    body = world.body("container", "hardened")
    (process,) = [row for row in body["top"]["processes"] if "busybox" in row[-1]]
    assert dict(zip(body["top"]["titles"], process, strict=True))["UID"] == "10001"
    assert body["state"] == "running"


def test_images_are_judged_both_ways(world: World) -> None:
    expected = {
        "image-non-root-user": ("fail", "pass", "fail"),
        "image-healthcheck": ("fail", "pass", "fail"),
        "image-setuid-files": ("pass", "pass", "fail"),
        "image-env-secrets": ("pass", "pass", "fail"),
        "image-layer-secrets": ("pass", "pass", "fail"),
        "image-history-secrets": ("pass", "pass", "fail"),
    }
    words = ("image-plain", "image-good", "image-secrets")
    found = {check: tuple(str(world.verdict(check, word)) for word in words) for check in expected}
    assert found == expected


def test_a_deleted_secret_and_a_setuid_file_are_found_where_they_lie(world: World) -> None:
    rows = {row.path: row for row in world.rows("image-layer-secrets", "image-secrets")}
    assert set(rows) == {"/app/key.pem", "/app/.env"}
    assert "in layer 2, deleted by layer 5 and still in the image" in rows["/app/key.pem"].observed
    assert "line 2, in layer 3" in rows["/app/.env"].observed
    (row,) = world.rows("image-setuid-files", "image-secrets")
    assert (row.path, row.observed) == ("/bin/busybox", "mode 4755, owner 0:0, layer 6")
    (row,) = world.rows("image-env-secrets", "image-secrets")
    assert row.path == "config.Env[GRAFANA_TOKEN]"


def test_a_build_argument_shows_in_the_history(engine: Engine, tmp_path: Path) -> None:
    tag = engine.name("argument") + ":1"
    dockerfile = PLAIN.replace("CMD", 'ARG TOKEN\nRUN ["/bin/busybox", "true"]\nCMD')
    built = engine.build("argument", dockerfile, build_args={"TOKEN": BUILD_ARGUMENT})
    assert built == tag
    harvest = collect_images([tag], host=engine.host, config=CONFIG)
    findings = evaluate(snapshot_of(harvest), REGISTRY.select(["image-history-secrets"]))
    assert [row.status for row in findings] == [Status.FAIL]
    assert BUILD_ARGUMENT.encode() not in dump_snapshot(snapshot_of(harvest))
    assert BUILD_ARGUMENT not in json.dumps(harvest.resources[0].body)


def test_no_value_is_in_the_snapshot(world: World) -> None:
    data = gzip.decompress(dump_snapshot(world.snapshot))
    for value in VALUES:
        assert value.encode() not in data
    shown = json.dumps([[row.path, row.observed, row.expected] for row in world.findings])
    for value in VALUES:
        assert value not in shown
    assert b"GRAFANA_TOKEN" in data


def test_the_engine_is_left_as_it_was(engine: Engine, world: World) -> None:
    def state() -> list[Any]:
        # Only what the tests made: other runs may use the same engine.
        names = sorted(name for word, name in world.names.items() if "image" not in word)
        rows = [engine.api.inspect_container(name) for name in names]
        kept = [(row["Id"], row["State"]["Status"], row["State"]["StartedAt"]) for row in rows]
        return [kept, engine.api.diff(world.names["plain"])]

    before = state()
    collect_docker(host=engine.host, config=CONFIG)
    assert state() == before


@pytest.mark.parametrize("compress", ["none", "gzip", "zstd"])
def test_archive_and_layout_of_one_image_say_the_same(
    engine: Engine, world: World, tmp_path: Path, compress: str
) -> None:
    image = world.names["image-secrets"]
    saved = engine.save(image, tmp_path / "image.tar")
    layout = _layout_of(saved, tmp_path / "layout", compress)
    expected = world.body("image", "image-secrets")["files"]
    for path in (saved, layout):
        harvest = collect_images([str(path)], config=CONFIG)
        assert harvest.gaps == []
        body = harvest.resources[0].body
        assert body["files"] == expected
        assert body["config"] == world.body("image", "image-secrets")["config"]


def _layout_of(saved: Path, folder: Path, compress: str) -> Path:
    """Write what `docker save` gave as an OCI image layout."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> dict[str, Any]:
        digest = sha256(data)
        (blobs / digest.removeprefix("sha256:")).write_bytes(data)
        return {"digest": digest, "size": len(data)}

    def packed(data: bytes) -> bytes:
        if compress == "gzip":
            return gzip.compress(data)
        return zstandard.compress(data) if compress == "zstd" else data

    with tarfile.open(saved) as archive:

        def content(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        (image,) = json.load(io.BytesIO(content("manifest.json")))
        manifest = {
            "schemaVersion": 2,
            "config": put(content(image["Config"])),
            "layers": [put(packed(content(name))) for name in image["Layers"]],
        }
    row = put(json.dumps(manifest).encode())
    row["annotations"] = {"org.opencontainers.image.ref.name": image["RepoTags"][0]}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [row]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def test_a_daemon_wide_default_counts_where_the_engine_tells_it(engine: Engine) -> None:
    with Engine.start("--no-new-privileges") as other:
        image = other.build("plain", PLAIN)
        name = other.container("default", image, start=False)
        harvest = collect_docker(host=other.host, config=CONFIG, images=False)
        rows = evaluate(snapshot_of(harvest), REGISTRY.select(["docker-no-new-privileges"]))
        options = other.api.info()["SecurityOptions"]
    (row,) = [row for row in rows if row.name == name]
    told = "name=no-new-privileges" in options
    assert row.status is (Status.PASS if told else Status.FAIL)
    assert told or "does not report its default" in row.observed
