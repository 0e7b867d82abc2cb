"""An image as a check sees it: configuration and history, scrubbed, with its files where read.

The body of a resource of kind `image`:

    {"name", "id", "tags", "digests", "created", "size", "os", "architecture", "platform",
     "config": {"User", "Env": [{"name", "length", "hits"}], "ExposedPorts", "Healthcheck",
                "Entrypoint", "Cmd", "Labels", "OnBuild", "WorkingDir", "Volumes", "StopSignal"},
     "history": [{"created_by", "hits": [{"detector", "length", "placeholder"}], "empty_layer"}],
     "files": {…} (see `files`), or "files_gap": why there is none}

History stands with the base first, as in the image's own configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from auditor.collect.scrub import Scrubber, raw_env
from auditor.model import Json

_CONFIG_KEYS = (
    "User",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Entrypoint",
    "Cmd",
    "Labels",
    "OnBuild",
    "WorkingDir",
    "Volumes",
    "StopSignal",
)
_SHORT_ID = 12


class Identity(NamedTuple):
    """Who an image is: its id (`sha256:…`), names, and where it is for which platform."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...] = ()
    size: int = 0
    platform: str = ""

    @property
    def name(self) -> str:
        """The first name, or the short id of an image without one."""
        names = [tag for tag in self.tags if "<none>" not in tag]
        name = names[0] if names else self.id.removeprefix("sha256:")[:_SHORT_ID]
        return f"{name} ({self.platform})" if self.platform else name


def image_body(
    identity: Identity,
    config: Mapping[str, Json],
    history: Iterable[Mapping[str, Json]],
    about: Mapping[str, Json],
) -> dict[str, Json]:
    """Build a body without its files.

    `config` is the `Config` of the engine's inspect or the `config` of the image's own document,
    `history` has entries with `created_by` and `empty_layer`, `about` has `created`, `os` and
    `architecture` in either's spelling.
    """
    scrubber = Scrubber(raw_env(config))
    kept = scrubber.body({key: config[key] for key in _CONFIG_KEYS if config.get(key) is not None})
    return {
        "name": identity.name,
        "id": identity.id,
        "tags": sorted(tag for tag in identity.tags if "<none>" not in tag),
        "digests": sorted(identity.digests),
        "created": str(about.get("created") or about.get("Created") or ""),
        "size": identity.size,
        "os": str(about.get("os") or about.get("Os") or ""),
        "architecture": str(about.get("architecture") or about.get("Architecture") or ""),
        "platform": identity.platform,
        "config": kept,
        "history": [_history(scrubber, entry) for entry in history],
    }


def _history(scrubber: Scrubber, entry: Mapping[str, Json]) -> dict[str, Json]:
    text, hits = scrubber.text(str(entry.get("created_by") or ""))
    return {
        "created_by": text,
        "hits": [hit._asdict() for hit in hits],
        "empty_layer": bool(entry.get("empty_layer")),
    }
