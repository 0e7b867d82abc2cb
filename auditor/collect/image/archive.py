"""Archives of images, as `docker save` and OCI tools write them, read in one pass.

Three shapes are understood: the tar of `docker save` (the old one and the one that is an OCI
layout as well), an OCI image layout as a tar, and an OCI image layout as a directory; the tar
compressed with gzip or zstd or not, and each layer in it again. In a stream layers may stand
before the manifest that names them, so each file that looks like a layer is scanned as it goes
by, each small file that does not is kept as a document, and the images are put together at the
end. Nothing is written anywhere.

Specified in the OCI image specification 1.1 ("Image Layout") and the Docker image specification
1.3 ("Combined Image JSON + Filesystem Changeset Format").
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from auditor.collect.image.layers import Layer, Limits, clean, scan_layer
from auditor.collect.image.streams import (
    BLOCK,
    ArchiveError,
    Budget,
    ForwardStream,
    Readable,
    Window,
    decompressed,
    entries,
    looks_like_layer,
)
from auditor.model import Json, Reason

MAX_DOCUMENT = 4 * 1024 * 1024
"""Largest manifest or configuration; registries refuse manifests above 4 MiB."""
_MAX_DOCUMENTS = 64 * 1024 * 1024
_MAX_HOPS = 8
_DIGEST = re.compile(r"sha(256|512):([0-9a-f]{64}|[0-9a-f]{128})")

Known = Callable[[str], Layer | None]
"""Looks a layer up by its name in the archive, if it was scanned before."""


class Packed(NamedTuple):
    """One image of an archive. `config` is its configuration document, decoded.

    `layers` has, in order, the facts of each layer, or None for one that is not in the archive.
    `platform` is set where the archive has one image for several platforms.
    """

    id: str
    tags: tuple[str, ...]
    platform: str
    config: Mapping[str, Json]
    layers: tuple[Layer | None, ...]
    diff_ids: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(slots=True)
class Archive:
    """What one pass over an archive found, before the images are put together."""

    layers: dict[str, Layer] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[Reason, str]] = field(default_factory=list)
    kept: int = 0

    def layer(self, name: str) -> Layer | None:
        """The layer of that name. Old `docker save` writes a repeated layer as a link."""
        for _ in range(_MAX_HOPS):
            if name in self.layers:
                return self.layers[name]
            if name not in self.links:
                return None
            name = self.links[name]
        return None

    def document(self, name: str) -> Json:
        """Decode a document. Raises `ArchiveError` when it is absent, altered or no JSON."""
        data = self.documents.get(name)
        if data is None:
            raise ArchiveError(Reason.MALFORMED, f"it has no {_short(name)}")
        if name.startswith("blobs/sha256/") and hashlib.sha256(data).hexdigest() != name[13:]:
            raise ArchiveError(Reason.MALFORMED, f"{_short(name)} is not what its digest says")
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise ArchiveError(Reason.MALFORMED, f"{_short(name)} is not JSON") from error


def read_stream(
    source: Readable,
    outer: Budget,
    limits: Limits,
    *,
    digest: bool,
    known: Known = lambda name: None,
) -> Archive:
    """Read a tar archive of images from a stream. `outer` bounds the archive's own bytes.

    With `digest`, each layer's SHA-256 is computed. Where the archive itself is broken, what was
    read so far is returned with its `problems`. Raises `ArchiveError` for a passed deadline.
    """
    archive = Archive()
    try:
        stream = ForwardStream(decompressed(ForwardStream(source)), outer)
        for info in entries(stream):
            outer.member()
            name = clean(info.name)
            if name is None:
                _problem(archive, Reason.REFUSED, "an entry's path leads outside (../)")
            elif info.issym() or info.islnk():
                base = name.rpartition("/")[0] if info.issym() else ""
                target = clean(f"{base}/{info.linkname}")
                if target is None or info.linkname.startswith("/"):
                    _problem(archive, Reason.REFUSED, "a link in it leads outside")
                else:
                    archive.links[name] = target
            elif info.isreg() and not info.issparse():
                _file(archive, name, info.size, stream, limits, digest=digest, known=known)
        stream.finish()
    except ArchiveError as error:
        if error.reason is Reason.TIMED_OUT:
            raise
        _problem(archive, error.reason, error.detail)
    return archive


def read_layout(folder: Path, outer: Budget, limits: Limits) -> Archive:
    """Read an OCI image layout that is a directory. Raises as `read_stream` does."""
    archive = Archive()
    root = folder.resolve()
    for path in sorted([*folder.glob("*"), *folder.glob("blobs/*/*")]):
        name = path.relative_to(folder).as_posix()
        if not path.resolve().is_relative_to(root):
            _problem(archive, Reason.REFUSED, "a link in it leads outside")
        elif path.is_file():
            outer.member()
            try:
                with path.open("rb") as file:
                    stream = ForwardStream(file, outer)
                    _file(archive, name, path.stat().st_size, stream, limits, digest=True)
            except OSError as error:
                _problem(archive, Reason.FAILED, f"{_short(name)}: {error.strerror}")
            except ArchiveError as error:
                if error.reason is Reason.TIMED_OUT:
                    raise
                _problem(archive, error.reason, error.detail)
    return archive


def _file(
    archive: Archive,
    name: str,
    size: int,
    stream: ForwardStream,
    limits: Limits,
    *,
    digest: bool,
    known: Known = lambda name: None,
) -> None:
    if looks_like_layer(stream.peek(min(size, BLOCK))):
        layer = known(name)
        if layer is None:
            content = decompressed(ForwardStream(Window(stream, size)))
            inner = ForwardStream(content, limits.budget, digest=digest)
            layer = scan_layer(inner, limits)
        archive.layers[name] = layer
    elif size <= MAX_DOCUMENT:
        archive.kept += size
        if archive.kept > _MAX_DOCUMENTS:
            raise ArchiveError(Reason.REFUSED, "its manifests are larger than 64 MiB")
        archive.documents[name] = stream.read(size)


def packed_images(archive: Archive) -> list[Packed]:
    """Put the images of an archive together, in the archive's order.

    Raises `ArchiveError` when its manifest is absent, malformed or leads elsewhere.
    """
    try:
        if "manifest.json" in archive.documents:
            return list(_saved(archive))
        if "index.json" in archive.documents:
            found = list(_indexed(archive, archive.document("index.json"), {}, "", _MAX_HOPS))
            return _with_platforms(found)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ArchiveError(
            Reason.MALFORMED, f"its manifest has an unexpected form ({type(error).__name__})"
        ) from error
    if archive.problems:
        raise ArchiveError(*archive.problems[0])
    raise ArchiveError(Reason.MALFORMED, "it has neither manifest.json nor index.json")


def _saved(archive: Archive) -> Iterator[Packed]:
    for entry in archive.document("manifest.json"):
        name = clean(entry["Config"]) or ""
        names = tuple(clean(layer) or "" for layer in entry["Layers"])
        digest = hashlib.sha256(archive.documents.get(name, b"")).hexdigest()
        tags = tuple(str(tag) for tag in entry.get("RepoTags") or ())
        yield _packed(archive, name, names, f"sha256:{digest}", tags, "")


def _indexed(
    archive: Archive, document: Json, above: Mapping[str, Json], platform: str, depth: int
) -> Iterator[Packed]:
    """Walk an index down to its manifests; `above` has the annotations found on the way."""
    if depth == 0:
        raise ArchiveError(Reason.REFUSED, "its indexes are nested too deep")
    if "layers" in document:
        name = _blob(document["config"]["digest"])
        names = tuple(_blob(layer["digest"]) for layer in document["layers"])
        tag = above.get("io.containerd.image.name") or above.get(
            "org.opencontainers.image.ref.name"
        )
        digest = str(document["config"]["digest"])
        yield _packed(archive, name, names, digest, (str(tag),) if tag else (), platform)
        return
    for item in document["manifests"]:
        annotations = item.get("annotations") or {}
        shape = item.get("platform") or {}
        # BuildKit keeps provenance beside the image, as an image that is none.
        if "vnd.docker.reference.type" in annotations or shape.get("os") == "unknown":
            continue
        parts = (shape.get("os"), shape.get("architecture"), shape.get("variant"))
        below = "/".join(str(part) for part in parts if part) or platform
        name = _blob(item["digest"])
        yield from _indexed(
            archive, archive.document(name), {**above, **annotations}, below, depth - 1
        )


def _with_platforms(found: list[Packed]) -> list[Packed]:
    """Name the platform only where one name stands for several images."""
    counts: dict[tuple[str, ...], int] = {}
    for image in found:
        counts[image.tags] = counts.get(image.tags, 0) + 1
    return [image if counts[image.tags] > 1 else image._replace(platform="") for image in found]


def _packed(
    archive: Archive,
    config_name: str,
    names: tuple[str, ...],
    digest: str,
    tags: tuple[str, ...],
    platform: str,
) -> Packed:
    config = archive.document(config_name)
    diff_ids = tuple(str(item) for item in config["rootfs"]["diff_ids"])
    layers = tuple(archive.layer(name) for name in names)
    return Packed(digest, tags, platform, config, layers, diff_ids, names)


def _blob(digest: Json) -> str:
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ArchiveError(Reason.REFUSED, "its manifest names something that is no digest")
    return "blobs/" + digest.replace(":", "/")


def _problem(archive: Archive, reason: Reason, detail: str) -> None:
    if (reason, detail) not in archive.problems:
        archive.problems.append((reason, detail))


def _short(name: str) -> str:
    """A name for a message: hostile ones may be long or hold control characters."""
    return repr(name[:80])[1:-1]
