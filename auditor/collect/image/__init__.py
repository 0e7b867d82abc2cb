"""Images: their configuration, their history and their files, wherever they are.

From an engine, layers come as `docker save` streams them; from archives and OCI layouts as they
stand (see `archive`). Nothing is unpacked to disk, nothing of an image is run, and a layer
that several images share is read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

from auditor.collect.base import Deadline, Harvest, Progress, Silent
from auditor.collect.engine import Engine, EngineError, connect, listed
from auditor.collect.image.archive import (
    Archive,
    Packed,
    packed_images,
    read_layout,
    read_stream,
)
from auditor.collect.image.body import Identity, image_body
from auditor.collect.image.files import file_facts
from auditor.collect.image.layers import Layer, Limits
from auditor.collect.image.streams import ArchiveError, Budget, Chunks
from auditor.config import DockerTable
from auditor.errors import CollectError
from auditor.model import Json, Reason, Resource, Target

SOURCE = "image"
FILES = "image-files"
"""The scope of gaps over an image's files; its configuration may well have been read."""

_SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.zst", ".oci")
Problem = tuple[Reason, str]


def collect_images(
    refs: Sequence[str],
    *,
    host: str | None = None,
    config: DockerTable,
    progress: Progress | None = None,
) -> Harvest:
    """Read images by reference from the engine, or from archives and OCI layouts by path.

    Each reference becomes a target of its own. What cannot be read is a gap with the reference as
    its name; nothing is raised for it. `host` is the engine, as for `collect_docker`.
    """
    progress = progress or Silent()
    deadline = Deadline.after(config.deadline)
    harvest = Harvest()
    wanted = dict.fromkeys(refs)
    paths = [ref for ref in wanted if _is_path(ref)]
    for ref in paths:
        progress.step(SOURCE, ref)
        _from_path(ref, harvest, config, deadline)
    names = [ref for ref in wanted if ref not in paths]
    if names:
        _from_engine(names, host, harvest, config, deadline, progress)
    return harvest


def _is_path(ref: str) -> bool:
    if ref.startswith(("/", "./", "../", "~")) or ref.endswith(_SUFFIXES):
        return True
    # A folder that happens to be called like an image is no OCI layout.
    return Path(ref).is_file() or (Path(ref) / "index.json").is_file()


def _from_path(ref: str, harvest: Harvest, config: DockerTable, deadline: Deadline) -> None:
    target = f"{SOURCE}:{ref}"
    harvest.targets.append(Target(target, SOURCE, ref))
    try:
        archive = _read_path(Path(ref).expanduser(), config, deadline)
        images = packed_images(archive)
        if not images:
            raise ArchiveError(Reason.MALFORMED, "it holds no image")
    except ArchiveError as error:
        remedy = "save the image again with `docker save`, or name another archive"
        harvest.gap(target, SOURCE, "images", error.reason, error.detail, remedy, name=ref)
        return
    for image in images:
        add_packed(harvest, target, image, archive.problems, fallback=ref)
    harvest.covered(target, SOURCE, "images", len(images))


def _read_path(path: Path, config: DockerTable, deadline: Deadline) -> Archive:
    try:
        kind = path.stat().st_mode
        if S_ISDIR(kind):
            return read_layout(path, _budget(config, deadline), limits_of(config, deadline))
        if not S_ISREG(kind):
            raise ArchiveError(Reason.REFUSED, "it is neither a file nor a directory")
        with path.open("rb") as file:
            outer, limits = _budget(config, deadline), limits_of(config, deadline)
            return read_stream(file, outer, limits, digest=True)
    except OSError as error:
        reason = {
            FileNotFoundError: Reason.ABSENT,
            PermissionError: Reason.FORBIDDEN,
        }.get(type(error), Reason.FAILED)
        raise ArchiveError(reason, error.strerror or "it cannot be read") from error


def add_packed(
    harvest: Harvest,
    target: str,
    image: Packed,
    problems: Sequence[Problem],
    *,
    fallback: str,
) -> None:
    """Add one image of an archive to a harvest, with a gap for each thing not read of it."""
    about = image.config
    settings = about.get("config")
    settings = settings if isinstance(settings, Mapping) else {}
    layers = [layer for layer in image.layers if layer is not None]
    size = sum(layer.size for layer in layers)
    identity = Identity(image.id, image.tags, (), size, image.platform)
    if not image.tags:
        identity = identity._replace(tags=(Path(fallback).name,))
    body = image_body(identity, settings, _mappings(about.get("history")), about)
    found = [*problems, *layer_problems(image)]
    if layers or not image.layers:
        body["files"] = file_facts(layers)
    else:
        body["files_gap"] = found[0][1] if found else "its layers are not there"
    _add(harvest, target, body, found)


def _add(
    harvest: Harvest, target: str, body: Mapping[str, Json], problems: Sequence[Problem]
) -> None:
    name = str(body["name"])
    harvest.resources.append(Resource(SOURCE, target, "image", None, name, body))
    for reason, detail in dict.fromkeys(problems):
        harvest.gap(target, SOURCE, FILES, reason, detail, _REMEDIES.get(reason, ""), name=name)


_REMEDIES = {
    Reason.TIMED_OUT: "raise [docker] deadline, or name fewer images with --image",
    Reason.NOT_REQUESTED: "set [docker] image_files = true",
    Reason.REFUSED: "look at the archive by hand; raise the limits in [docker] if it is yours",
    Reason.MALFORMED: "build or save the image again",
}


def layer_problems(image: Packed) -> list[Problem]:
    """What was not read of an image's layers, and what is not what its configuration names."""
    problems: list[Problem] = []
    if len(image.layers) != len(image.diff_ids):
        problems.append((Reason.MALFORMED, "its manifest and its configuration differ in layers"))
    for number, layer in enumerate(image.layers, start=1):
        if layer is None:
            problems.append((Reason.ABSENT, f"layer {number} is not in the archive"))
            continue
        problems += [(reason, f"layer {number}: {detail}") for reason, detail in layer.problems]
        expected = image.diff_ids[number - 1 : number]
        if layer.digest and not layer.problems and expected not in ((layer.digest,), ()):
            problems.append((Reason.MALFORMED, f"layer {number} is not what its digest says"))
    return problems


def _mappings(value: Json) -> list[Mapping[str, Json]]:
    return [item for item in listed(value) if isinstance(item, Mapping)]


def _budget(config: DockerTable, deadline: Deadline) -> Budget:
    return Budget(config.image_max_bytes, config.archive_max_members, deadline)


def limits_of(config: DockerTable, deadline: Deadline) -> Limits:
    """The bounds for the layers of one image or archive."""
    return Limits(_budget(config, deadline), config.secret_scan_max_bytes)


@dataclass(slots=True)
class EngineImages:
    """Reads images of one engine; a layer that was read for one is not read for the next."""

    engine: Engine
    config: DockerTable
    by_diff_id: dict[str, Layer] = field(default_factory=dict)
    by_name: dict[str, Layer] = field(default_factory=dict)

    def describe(self, image: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return an image's inspect and its history, the base first. Raises `EngineError`."""
        inspect = self.engine.mapping(lambda client: client.inspect_image(image))
        if not inspect.get("Id"):
            raise EngineError(Reason.MALFORMED, "the answer has no Id")
        rows = self.engine.rows(lambda client: client.history(str(inspect["Id"])))
        history = [
            {"created_by": row.get("CreatedBy"), "empty_layer": not row.get("Size")}
            for row in reversed(rows)
        ]
        return inspect, history

    def add(
        self,
        harvest: Harvest,
        target: str,
        inspect: Mapping[str, Json],
        history: Sequence[Mapping[str, Json]],
        *,
        called: str | None = None,
    ) -> None:
        """Read an image's files and add it to a harvest; what is not read becomes a gap.

        Of several names the image goes by `called`, else by the first in the alphabet.
        """
        tags = sorted(str(tag) for tag in listed(inspect.get("RepoTags")))
        identity = Identity(
            str(inspect["Id"]),
            tuple(sorted(tags, key=lambda tag: tag != called)),
            tuple(str(item) for item in listed(inspect.get("RepoDigests"))),
            int(inspect.get("Size") or 0),
        )
        settings = inspect.get("Config")
        body = image_body(
            identity, settings if isinstance(settings, Mapping) else {}, history, inspect
        )
        if not self.config.image_files:
            body["files_gap"] = "[docker] image_files is off"
            _add(harvest, target, body, [(Reason.NOT_REQUESTED, body["files_gap"])])
            return
        rootfs = inspect.get("RootFS")
        diff_ids = [str(item) for item in listed((rootfs or {}).get("Layers"))]
        try:
            image, problems = self._files(identity.id, diff_ids)
        except ArchiveError as error:
            image, problems = None, [(error.reason, error.detail)]
        except EngineError as error:
            image, problems = None, [(error.reason, f"docker save: {error.detail}")]
        if image is None:
            body["files_gap"] = problems[0][1]
        else:
            body["files"] = file_facts([layer for layer in image.layers if layer is not None])
            problems = [*problems, *layer_problems(image)]
        _add(harvest, target, body, problems)

    def _files(self, image: str, diff_ids: Sequence[str]) -> tuple[Packed, list[Problem]]:
        known = [self.by_diff_id.get(diff_id) for diff_id in diff_ids]
        if all(layer is not None for layer in known):
            ids = tuple(diff_ids)
            return Packed(image, (), "", {}, tuple(known), ids, ids), []
        deadline = self.engine.deadline
        archive = read_stream(
            Chunks(self.engine.export(image)),
            _budget(self.config, deadline),
            limits_of(self.config, deadline),
            # The engine checked its layers when it unpacked them; hashing them again is time.
            digest=False,
            known=self.by_name.get,
        )
        packed = packed_images(archive)[0]
        for name, diff_id, layer in zip(packed.names, packed.diff_ids, packed.layers, strict=False):
            if layer is not None and not layer.problems:
                layer.digest = diff_id
                self.by_diff_id[diff_id] = layer
                self.by_name[name] = layer
        return packed, archive.problems


def _from_engine(
    refs: Sequence[str],
    host: str | None,
    harvest: Harvest,
    config: DockerTable,
    deadline: Deadline,
    progress: Progress,
) -> None:
    try:
        engine = connect(host, deadline, config.call_timeout)
    except CollectError as error:
        for ref in refs:
            target = f"{SOURCE}:{ref}"
            harvest.targets.append(Target(target, SOURCE, ref))
            harvest.gap(
                target,
                SOURCE,
                "images",
                Reason.UNREACHABLE,
                error.what,
                error.remedy or "",
                name=ref,
            )
        return
    with engine:
        images = EngineImages(engine, config)
        seen: set[str] = set()
        for ref in refs:
            progress.step(SOURCE, ref)
            try:
                inspect, history = images.describe(ref)
            except EngineError as error:
                target = f"{SOURCE}:{ref}"
                harvest.targets.append(Target(target, SOURCE, ref))
                remedy = "pull or build it first, or name an archive of it"
                harvest.gap(target, SOURCE, "images", error.reason, error.detail, remedy, name=ref)
                continue
            target = f"{SOURCE}:{inspect['Id']}"
            if target in seen:
                continue
            seen.add(target)
            harvest.targets.append(Target(target, SOURCE, ref, {"id": str(inspect["Id"])}))
            images.add(harvest, target, inspect, history, called=ref)
            harvest.covered(target, SOURCE, "images", 1)
