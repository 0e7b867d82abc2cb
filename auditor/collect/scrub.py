"""What the engine says, without what must not be kept.

Environment values are dropped, all of them; every other text is searched and redacted; paths of
the engine's own files, logs of health checks and counters that change by the second are left out.
The values of variables that hold a secret are masked wherever else they stand in the same body: a
password that came in by `-e` is often repeated in a command or a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from auditor.collect.secrets import Hit, detect, redact, redact_args, scrub_env
from auditor.model import Json

_SHORTEST = 6
"""Shorter values are not looked for elsewhere: `root` or `12345` stand in any text by chance."""
_LONGEST_TEXT = 20_000
_DEEPEST = 32
"""The engine nests six deep; an archive from a stranger may nest until the reader falls over."""
_MAX_VALUES = 200
_LEFT_OUT = frozenset(
    {
        # Files of the engine on its own host.
        "GraphDriver",
        "HostnamePath",
        "HostsPath",
        "LogPath",
        "ResolvConfPath",
        "SandboxKey",
        # What a health check or a process printed may hold anything.
        "Log",
        # Counters and clocks of the moment.
        "NEventsListener",
        "NFd",
        "NGoroutines",
        "SystemTime",
        # Ids of running `docker exec` sessions.
        "ExecIDs",
    }
)
_ARGUMENTS = frozenset({"Args", "Cmd", "Entrypoint", "Test", "Shell", "OnBuild"})


class Scrubber:
    """Redacts the texts of one container or image, knowing the values of its environment."""

    def __init__(self, env: Iterable[str] = ()) -> None:
        self._values: dict[str, str] = {}
        for pair in env:
            name, _, value = pair.partition("=")
            hits = detect(value, name)
            if len(self._values) >= _MAX_VALUES:
                break
            if hits and not hits[0].placeholder and len(value.strip()) >= _SHORTEST:
                unit = f"«redacted: {hits[0].detector}, {len(value)} characters»"
                self._values[value.strip()] = unit

    def text(self, text: str, key: str | None = None) -> tuple[str, tuple[Hit, ...]]:
        """Redact a text; `key` is the name under which it stands. Long texts are cut."""
        clean, hits = redact(text, key)
        return self._mask(clean), hits

    def args(self, args: Iterable[Json]) -> tuple[list[str], tuple[Hit, ...]]:
        """Redact the words of a command."""
        words, hits = redact_args([str(arg) for arg in args])
        return [self._mask(word) for word in words], hits

    def body(self, value: Json, key: str | None = None, depth: int = 0) -> Json:
        """Redact everything inside a decoded JSON value (see the module's text)."""
        if depth > _DEEPEST:
            return "… (too deep)"
        if isinstance(value, str):
            return self.text(value, key)[0]
        if isinstance(value, Mapping):
            return {
                str(name): self._field(str(name), item, depth)
                for name, item in value.items()
                if name not in _LEFT_OUT
            }
        if isinstance(value, list):
            return [self.body(item, key, depth + 1) for item in value]
        return value

    def _field(self, name: str, value: Json, depth: int) -> Json:
        if name == "Env" and isinstance(value, list):
            return env_of(value)
        if name in _ARGUMENTS and isinstance(value, list):
            return self.args(value)[0]
        return self.body(value, name, depth + 1)

    def _mask(self, text: str) -> str:
        for value, marker in self._values.items():
            if value in text:
                text = text.replace(value, marker)
        return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "… (cut)"


def env_of(env: Iterable[Json]) -> list[dict[str, Any]]:
    """Scrub an environment: `NAME=value` texts, or a plugin's `{"Name", "Value"}` objects."""
    pairs = [
        f"{item.get('Name')}={item.get('Value') or ''}" if isinstance(item, Mapping) else str(item)
        for item in env
    ]
    return scrub_env(pairs)


def raw_env(config: Json) -> list[str]:
    """The `Env` of a container's or an image's configuration, as it stands."""
    env = config.get("Env") if isinstance(config, Mapping) else None
    return [str(pair) for pair in env] if isinstance(env, list) else []
