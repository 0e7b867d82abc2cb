"""Builds archives of images for tests, good and hostile, in memory and byte by byte."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from auditor.collect.base import Harvest
from auditor.collect.image import collect_images
from auditor.config import DockerTable

BLOCK = 512


@dataclass(frozen=True)
class Entry:
    """One entry of a tar archive. `declared` is the size in its header, if that is a lie."""

    name: str
    data: bytes = b""
    mode: int = 0o644
    type: bytes = tarfile.REGTYPE
    link: str = ""
    uid: int = 0
    gid: int = 0
    pax: Mapping[str, str] = field(default_factory=dict)
    declared: int | None = None

    def header(self) -> bytes:
        """The header blocks of the entry."""
        info = tarfile.TarInfo(self.name)
        info.size = len(self.data) if self.declared is None else self.declared
        info.mode, info.type, info.linkname = self.mode, self.type, self.link
        info.uid, info.gid = self.uid, self.gid
        if self.pax:
            info.pax_headers = dict(self.pax)
            return info.tobuf(tarfile.PAX_FORMAT)
        return info.tobuf(tarfile.GNU_FORMAT)


def file(name: str, data: bytes | str = b"", mode: int = 0o644, **more: Any) -> Entry:
    """A regular file."""
    return Entry(name, data.encode() if isinstance(data, str) else data, mode, **more)


def directory(name: str, mode: int = 0o755) -> Entry:
    """A directory."""
    return Entry(name, mode=mode, type=tarfile.DIRTYPE)


def symlink(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, mode=0o777, type=tarfile.SYMTYPE, link=target)


def hardlink(name: str, target: str, mode: int = 0o644) -> Entry:
    """A hard link."""
    return Entry(name, mode=mode, type=tarfile.LNKTYPE, link=target)


def tar(*entries: Entry, end: bool = True) -> bytes:
    """A tar archive, with its end mark unless it is left out."""
    out = io.BytesIO()
    for entry in entries:
        out.write(entry.header())
        out.write(entry.data)
        out.write(b"\0" * (-len(entry.data) % BLOCK))
    if end:
        out.write(b"\0" * (2 * BLOCK))
    return out.getvalue()


def sha256(data: bytes) -> str:
    """The digest of some bytes, as image formats write it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config_of(layers: Sequence[bytes], **settings: Any) -> dict[str, Any]:
    """An image's configuration document for uncompressed layers."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
        "history": [{"created_by": f"COPY layer{n} /"} for n in range(1, len(layers) + 1)],
    }


def saved(
    *layers: bytes, tag: str = "shop/web:1", config: Mapping[str, Any] | None = None
) -> bytes:
    """What an engine up to 24 writes for `docker save`: the layers stand before the manifest."""
    return tar(*saved_entries(*layers, tag=tag, config=config))


def saved_entries(
    *layers: bytes, tag: str = "shop/web:1", config: Mapping[str, Any] | None = None
) -> list[Entry]:
    """The entries of `saved`, for a test to change."""
    document = json.dumps(config or config_of(layers)).encode()
    name = hashlib.sha256(document).hexdigest() + ".json"
    entries, names = [], []
    for number, layer in enumerate(layers):
        folder = hashlib.sha256(b"%d" % number + layer).hexdigest()
        entries += [directory(folder + "/"), file(f"{folder}/VERSION", "1.0")]
        entries += [file(f"{folder}/json", "{}"), file(f"{folder}/layer.tar", layer)]
        names.append(f"{folder}/layer.tar")
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": names}]
    return [*entries, file(name, document), file("manifest.json", json.dumps(manifest))]


def layout_files(
    *layers: bytes,
    tag: str = "shop/web:1",
    compress: str = "gzip",
    config: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """The files of an OCI image layout by their names, layers compressed as wanted."""
    files: dict[str, bytes] = {}

    def put(data: bytes) -> dict[str, Any]:
        digest = sha256(data)
        files["blobs/" + digest.replace(":", "/")] = data
        return {"digest": digest, "size": len(data)}

    document = json.dumps(config or config_of(layers)).encode()
    manifest = {
        "schemaVersion": 2,
        "config": put(document),
        "layers": [put(compressed(layer, compress)) for layer in layers],
    }
    row = put(json.dumps(manifest).encode())
    row["annotations"] = {"org.opencontainers.image.ref.name": tag}
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [row]}).encode()
    return files


def saved_as_layout(*layers: bytes, tag: str = "shop/web:1", compress: str = "none") -> bytes:
    """What an engine from 25 on writes for `docker save`: a layout with a manifest.json as well."""
    files = layout_files(*layers, tag=tag, compress=compress)
    digests = [sha256(compressed(layer, compress)) for layer in layers]
    config = sha256(json.dumps(config_of(layers)).encode())
    manifest = {
        "Config": "blobs/" + config.replace(":", "/"),
        "RepoTags": [tag],
        "Layers": ["blobs/" + digest.replace(":", "/") for digest in digests],
    }
    return layout_tar({**files, "manifest.json": json.dumps([manifest]).encode()})


def layout_tar(files: Mapping[str, bytes]) -> bytes:
    """An OCI image layout as one tar archive."""
    return tar(*(file(name, data) for name, data in sorted(files.items())))


def write_layout(folder: Path, files: Mapping[str, bytes]) -> Path:
    """An OCI image layout as a directory."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def compressed(data: bytes, how: str) -> bytes:
    """Some bytes as `gzip`, `zstd` or as they are (`none`)."""
    if how == "gzip":
        return gzip.compress(data, 1, mtime=0)
    return zstandard.compress(data) if how == "zstd" else data


def pax_record(key: str, value: str) -> bytes:
    """One PAX record, its own length in front."""
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def pax_header(body: bytes, type: bytes = tarfile.XHDTYPE) -> Entry:
    """A PAX header with any body, well-formed or not, for the entry that follows it."""
    return Entry("pax", body, type=type)


def names(entries: Iterable[Entry]) -> list[str]:
    """The names of entries, in order."""
    return [entry.name for entry in entries]


KEY = "-----BEGIN PRIVATE" + " KEY-----\n" + "MIIB" * 30 + "\n-----END PRIVATE" + " KEY-----\n"
"""What a private key looks like; it opens nothing."""

BASE = tar(
    directory("bin"),
    file("bin/su", b"x", 0o4755),
    file("etc/passwd", "root:x:0:0::/:\napp:x:1000:1000::/:\n"),
    file("app/key.pem", KEY),
)
"""A layer with a setuid file, two users and a key."""

TOP = tar(file("app/.wh.key.pem"), directory("tmp", 0o777))
"""A layer above it that deletes the key."""


def collect(path: Path, **config: int) -> Harvest:
    """Collect one archive, with some limits of `[docker]` changed."""
    return collect_images([str(path)], config=DockerTable(**config))


def write(folder: Path, data: bytes, name: str = "image.tar") -> Path:
    """Write an archive into a folder and return its path."""
    path = folder / name
    path.write_bytes(data)
    return path
