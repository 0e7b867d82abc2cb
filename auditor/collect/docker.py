"""A live Docker engine: itself, its containers, networks, volumes, plugins and images.

Only calls that read are made: no container is started, entered or changed, no image is pulled.
Whatever fails becomes a gap over the object that it hides, and the rest is read.

Bodies: `engine` has `info` and `version`; `container` has `id`, `image`, `image_id`, `state`,
`inspect`, `top`, `diff`, `execs`, `compose` and `restarts`; `network`, `volume` and `plugin` are
what the engine lists; `image` is described in `image.body`. All are scrubbed (see `scrub`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from docker.errors import APIError

from auditor.collect.base import Deadline, Harvest, Progress, Silent
from auditor.collect.engine import (
    PARALLEL,
    Engine,
    EngineError,
    connect,
    listed,
)
from auditor.collect.image import SOURCE as IMAGE
from auditor.collect.image import EngineImages
from auditor.collect.scrub import Scrubber, raw_env
from auditor.collect.secrets import redact_args
from auditor.config import DockerTable
from auditor.model import Json, Reason, Resource, Target

SOURCE = "docker"
PROCESSES = "container-processes"
CHANGES = "container-changes"
SESSIONS = "container-sessions"
"""Scopes of their own: a container whose processes are hidden is still judged on its options."""
PAST_SESSIONS = "container-sessions-past"
"""A scope that no engine shows: it forgets a `docker exec` session as soon as that ends."""

# Numeric ids and the program's name: arguments are where passwords stand.
_PS = "-eo pid,ppid,uid,comm"
_MAX_PROCESSES = 1000
_MAX_CHANGES = 1000
_MAX_SESSIONS = 50
_KINDS = {0: "changed", 1: "added", 2: "deleted"}
_COMPOSE = "com.docker.compose."
_FORGOTTEN = (
    "the engine forgets a docker exec session when it ends; the host's audit log may hold it "
    "(ausearch -x docker)"
)
_REMEDY = "let the account read the engine's API, or raise [docker] call_timeout"
_NO_REMEDY = frozenset({Reason.ABSENT, Reason.NOT_REQUESTED, Reason.PARTIAL})


def collect_docker(
    *,
    host: str | None = None,
    config: DockerTable,
    images: bool = True,
    progress: Progress | None = None,
) -> Harvest:
    """Read an engine: the one at `host`, else the one that `docker` itself would use.

    `images` says whether its images are read too. Raises `AbsentTargetError` when none was named
    and none is there, and `CollectError` when it cannot be reached or refuses.
    """
    deadline = Deadline.after(config.deadline)
    with connect(host, deadline, config.call_timeout) as engine:
        reading = _Reading(engine, config, progress or Silent())
        reading.read(images=images)
        return reading.harvest


class _Seen(NamedTuple):
    """What was read of one container, and by scope what was not."""

    name: str
    project: str | None
    body: dict[str, Json] | None
    gaps: list[tuple[str, EngineError]]


class _Reading:
    """One audit of one engine."""

    def __init__(self, engine: Engine, config: DockerTable, progress: Progress) -> None:
        self.engine = engine
        self.config = config
        self.progress = progress
        self.harvest = Harvest()
        self.target = f"{SOURCE}:{engine.host}"
        self.scrubber = Scrubber()

    def read(self, *, images: bool) -> None:
        """Read everything, one kind after the other."""
        info, version = self._engine()
        containers = self._containers()
        self._listing("networks", "network", lambda client: client.networks())
        self._listing("volumes", "volume", lambda client: client.volumes().get("Volumes"))
        self._listing("plugins", "plugin", lambda client: client.plugins())
        if images:
            self._images(containers)
        else:
            self._gap("images", EngineError(Reason.NOT_REQUESTED, "images were left out"))
        facts = _facts(info, version)
        name = str(info.get("Name") or self.engine.host)
        self.harvest.targets.insert(0, Target(self.target, SOURCE, name, facts))

    def _engine(self) -> tuple[Mapping[str, Json], Mapping[str, Json]]:
        self.progress.step(SOURCE, "engine")
        version: Mapping[str, Json] = {}
        try:
            version = self.engine.mapping(lambda client: client.version())
            info = self.engine.mapping(lambda client: client.info())
        except EngineError as error:
            self._gap("engine", error)
            return {}, version
        if info.get("ID"):
            self.target = f"{SOURCE}:{info['ID']}"
        name = str(info.get("Name") or self.engine.host)
        body = {
            "name": name,
            "info": self.scrubber.body(info),
            "version": self.scrubber.body(version),
        }
        self._add("engine", None, name, body)
        self.harvest.covered(self.target, SOURCE, "engine", 1)
        return info, version

    def _containers(self) -> Sequence[Mapping[str, Json]]:
        try:
            rows = self.engine.rows(lambda client: client.containers(all=True), "Id")
        except EngineError as error:
            self._gap("containers", error)
            return []
        self.progress.step(SOURCE, "containers", len(rows))
        with ThreadPoolExecutor(PARALLEL) as pool:
            found = list(pool.map(self._container, rows))
        read = 0
        for seen in found:
            for scope, failure in seen.gaps:
                self._gap(scope, failure, seen.name, seen.project)
            if seen.body is not None:
                read += 1
                self._add("container", seen.project, seen.name, seen.body)
        if rows:
            self._gap(PAST_SESSIONS, EngineError(Reason.PARTIAL, _FORGOTTEN))
        self.harvest.covered(self.target, SOURCE, "containers", read)
        return rows

    def _container(self, row: Mapping[str, Json]) -> _Seen:
        """Read one container; runs in a thread and touches nothing shared."""
        identity = str(row["Id"])
        names = listed(row.get("Names"))
        name = str(names[0]).lstrip("/") if names else identity[:12]
        gaps: list[tuple[str, EngineError]] = []
        try:
            inspect = self.engine.mapping(lambda client: client.inspect_container(identity))
        except EngineError as error:
            gone = EngineError(Reason.ABSENT, "it was removed while the engine was read")
            found = gone if error.reason is Reason.ABSENT else error
            return _Seen(name, None, None, [("containers", found)])
        name = str(inspect.get("Name") or name).lstrip("/")
        body = _container_body(name, inspect)
        if _state(inspect).get("Running"):
            body["top"] = self._optional(PROCESSES, gaps, lambda client: _top(client, identity))
        body["diff"] = self._optional(CHANGES, gaps, lambda client: _diff(client, identity))
        body["execs"] = self._sessions(inspect, gaps)
        return _Seen(name, (body["compose"] or {}).get("project"), body, gaps)

    def _sessions(
        self, inspect: Mapping[str, Json], gaps: list[tuple[str, EngineError]]
    ) -> list[Json] | None:
        """Read the container's open `docker exec` sessions; None where they are hidden."""
        if "ExecIDs" not in inspect:
            return None
        found: list[Json] = []
        names = listed(inspect["ExecIDs"])
        for name in names[:_MAX_SESSIONS]:
            try:
                found.append(_session(self._exec(str(name))))
            except EngineError as error:
                if error.reason is not Reason.ABSENT:  # It ended while the engine was read.
                    gaps.append((SESSIONS, error))
                    return None
        if len(names) > _MAX_SESSIONS:
            detail = f"{len(names)} are open, of which {_MAX_SESSIONS} were looked at"
            gaps.append((SESSIONS, EngineError(Reason.FAILED, detail)))
        return found

    def _exec(self, session: str) -> dict[str, Json]:
        return self.engine.mapping(lambda client: client.exec_inspect(session))

    def _optional(
        self,
        scope: str,
        gaps: list[tuple[str, EngineError]],
        ask: Callable[[Any], Json],
    ) -> Json:
        try:
            return self.engine.call(ask)
        except EngineError as error:
            gaps.append((scope, error))
            return None

    def _listing(self, scope: str, kind: str, ask: Callable[[Any], Any]) -> None:
        try:
            rows = self.engine.rows(ask, "Name")
        except EngineError as error:
            self._gap(scope, error)
            return
        self.progress.step(SOURCE, scope, len(rows))
        for row in rows:
            self._add(kind, None, str(row["Name"]), self.scrubber.body(row))
        self.harvest.covered(self.target, SOURCE, scope, len(rows))

    def _images(self, containers: Sequence[Mapping[str, Json]]) -> None:
        try:
            rows = self.engine.rows(lambda client: client.images(), "Id")
        except EngineError as error:
            self._gap("images", error)
            return
        used = {row.get("ImageID") for row in containers}
        # Images that are in use come first: they are what a deadline must not cut off.
        rows.sort(key=lambda row: (row["Id"] not in used, row["Id"]))
        reader = EngineImages(self.engine, self.config)
        with ThreadPoolExecutor(PARALLEL) as pool:
            described = list(pool.map(lambda row: _described(reader, row), rows))
        read = 0
        for number, (name, found) in enumerate(described, start=1):
            self.progress.step(IMAGE, f"{name} ({number} of {len(rows)})")
            if isinstance(found, EngineError):
                self._gap("images", found, name)
                continue
            reader.add(self.harvest, self.target, *found)
            read += 1
        self.harvest.covered(self.target, IMAGE, "images", read)

    def _add(self, kind: str, namespace: str | None, name: str, body: Mapping[str, Json]) -> None:
        self.harvest.resources.append(Resource(SOURCE, self.target, kind, namespace, name, body))

    def _gap(
        self, scope: str, error: EngineError, name: str | None = None, project: str | None = None
    ) -> None:
        source = IMAGE if scope == "images" else SOURCE
        self.harvest.gap(
            self.target,
            source,
            scope,
            error.reason,
            error.detail,
            "" if error.reason in _NO_REMEDY else _REMEDY,
            namespace=project,
            name=name,
        )


def _described(
    reader: EngineImages, row: Mapping[str, Json]
) -> tuple[str, tuple[dict[str, Any], list[dict[str, Any]]] | EngineError]:
    identity = str(row["Id"])
    tags = sorted(str(tag) for tag in listed(row.get("RepoTags")) if "<none>" not in str(tag))
    name = tags[0] if tags else identity.removeprefix("sha256:")[:12]
    try:
        return name, reader.describe(identity)
    except EngineError as error:
        return name, error


def _container_body(name: str, inspect: Mapping[str, Json]) -> dict[str, Json]:
    config = inspect.get("Config")
    config = config if isinstance(config, Mapping) else {}
    labels = config.get("Labels")
    labels = labels if isinstance(labels, Mapping) else {}
    project = labels.get(_COMPOSE + "project")
    compose = None
    if project:
        compose = {
            "project": str(project),
            "service": str(labels.get(_COMPOSE + "service") or ""),
            "number": str(labels.get(_COMPOSE + "container-number") or ""),
        }
    scrubber = Scrubber(raw_env(config))
    kept = scrubber.body(inspect)
    if inspect.get("Path"):
        # The command that runs is Path and Args together: an option's value may stand in either.
        words = scrubber.args([inspect["Path"], *listed(inspect.get("Args"))])[0]
        kept["Path"], kept["Args"] = words[0], words[1:]
    return {
        "name": name,
        "id": str(inspect.get("Id")),
        "image": str(config.get("Image") or ""),
        "image_id": str(inspect.get("Image") or ""),
        "state": str(_state(inspect).get("Status") or ""),
        "inspect": kept,
        "top": None,
        "diff": None,
        "execs": None,
        "compose": compose,
        "restarts": int(inspect.get("RestartCount") or 0),
    }


def _state(inspect: Mapping[str, Json]) -> Mapping[str, Json]:
    state = inspect.get("State")
    return state if isinstance(state, Mapping) else {}


def _top(client: Any, container: str) -> dict[str, Json]:
    try:
        answer = client.top(container, ps_args=_PS)
    except APIError as error:
        if not error.is_server_error():
            raise
        # The engine runs the `ps` of its own host, and a small one does not know these columns.
        answer = client.top(container)
    rows = [listed(row) for row in listed(answer.get("Processes"))]
    return {
        "titles": [str(title) for title in listed(answer.get("Titles"))],
        "processes": [
            redact_args([str(field) for field in row])[0] for row in rows[:_MAX_PROCESSES]
        ],
        "count": len(rows),
    }


def _session(answer: Mapping[str, Json]) -> dict[str, Json]:
    """What a `docker exec` session may do, without its arguments. Raises `EngineError`."""
    process = answer.get("ProcessConfig")
    if not isinstance(process, Mapping):
        raise EngineError(Reason.MALFORMED, "the answer does not say what the session runs")
    return {
        "program": redact_args([str(process.get("entrypoint") or "")])[0][0],
        "privileged": process.get("privileged"),
        "user": str(process.get("user") or ""),
        "running": bool(answer.get("Running")),
    }


def _diff(client: Any, container: str) -> dict[str, Json]:
    rows = [row for row in listed(client.diff(container)) if isinstance(row, dict)]
    changes = [
        {"path": str(row.get("Path")), "kind": _KINDS.get(row.get("Kind", 0), "changed")}
        for row in rows[:_MAX_CHANGES]
    ]
    return {"count": len(rows), "changes": changes}


def _facts(info: Mapping[str, Json], version: Mapping[str, Json]) -> dict[str, str]:
    """What the cover page prints of an engine."""
    options = [str(option) for option in listed(info.get("SecurityOptions"))]
    facts = {
        "version": version.get("Version") or info.get("ServerVersion"),
        "api_version": version.get("ApiVersion"),
        "os": info.get("OperatingSystem"),
        "kernel": info.get("KernelVersion"),
        "architecture": info.get("Architecture"),
        "storage_driver": info.get("Driver"),
        "cgroup_version": info.get("CgroupVersion"),
        "security_options": "; ".join(options),
        "rootless": ("yes" if "name=rootless" in options else "no") if info else None,
        "running": info.get("ContainersRunning"),
    }
    return {key: str(value) for key, value in facts.items() if value is not None}
