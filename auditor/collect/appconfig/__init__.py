"""Reads application configuration: which settings a file has, never what their text values are.

Every file becomes a resource of kind `file` or a gap, never an exception. The body is
`{"format": "json" | "yaml", "settings": [...]}`; each setting has `path` (`general.verify_ssl`),
`key` (its last name), `parent` (the path without it), `kind` (`text`, `boolean`, `number`, `null`,
`empty`), `line`, `column`, and

- for a boolean, `value`;
- for text, `length`, `shape` (`empty`, `path`, `reference`, `https`, `http`, `url`, `text`) and,
  where the shape is `path` and nothing in it is a secret, the path as `value`;
- `secrets`: the hits in it, as `auditor.collect.secrets` finds them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.collect.appconfig.parse import Setting, parse_json, parse_yaml
from auditor.collect.base import Harvest
from auditor.collect.reading import FILES, Found, Refused, decode, find, read_bytes
from auditor.collect.secrets import detect, is_credential_name
from auditor.model import Reason, Resource

MAX_BYTES = 4 * 1024 * 1024
"""Largest file that is read: configuration that people write is far smaller."""

_SCOPE = "app-config"
_SUFFIXES = (".json", ".yaml", ".yml")
_MAX_KEY = 100
_PATH = re.compile(r"(?:~|\.{1,2})?/[\w.@\-/ ]+|[A-Za-z]:\\[\w.@\-\\ ]+|[\w.\-/]+\.[a-z0-9]{2,5}")
_REFERENCE = re.compile(r"\$\{?\w+[^}]*\}?|\$\([^()]*\)|\{\{[^{}]*\}\}|%\w+%")


def collect_appconfig(paths: Sequence[Path], *, base: Path | None = None) -> Harvest:
    """Read the JSON and YAML files among `paths`; a folder stands for all that lie below it.

    Below a folder, Kubernetes manifests are left to the manifest collector; a file that is named
    is read whatever it holds. Names are relative to `base` (the working directory by default).
    Nothing is raised for a file: what cannot be read is a gap of the scope `app-config`.
    """
    harvest = Harvest(targets=[FILES])
    named = {path for path in paths if not path.is_dir()}
    for file in find(paths, base, lambda name: name.lower().endswith(_SUFFIXES)):
        try:
            body = _body(file)
        except Refused as refused:
            harvest.gap(
                FILES.id,
                "app-config",
                _SCOPE,
                refused.reason,
                refused.detail,
                refused.remedy,
                name=file.name,
            )
            continue
        if file.path not in named and _is_manifest(body):
            continue
        harvest.resources.append(
            Resource(
                source="app-config",
                target=FILES.id,
                kind="file",
                namespace=None,
                name=file.name,
                body=body,
                origin=file.name,
            )
        )
    harvest.covered(FILES.id, "app-config", _SCOPE, len(harvest.resources))
    return harvest


def _body(file: Found) -> dict[str, Any]:
    if file.refused is not None:
        raise file.refused
    text = decode(read_bytes(file.path, MAX_BYTES))
    is_yaml = file.path.suffix.lower() in {".yaml", ".yml"}
    settings = parse_yaml(text) if is_yaml else parse_json(text)
    if any(not setting.path and setting.kind not in {"empty", "null"} for setting in settings):
        remedy = "name a JSON or YAML file"
        raise Refused(Reason.MALFORMED, "no configuration: it holds no settings", remedy)
    facts = [_facts(setting) for setting in settings if setting.path]
    return {"format": "yaml" if is_yaml else "json", "settings": facts}


def _is_manifest(body: dict[str, Any]) -> bool:
    tops = {setting["path"] for setting in body["settings"]}
    return {"apiVersion", "kind"} <= tops


def _facts(setting: Setting) -> dict[str, Any]:
    """What may be kept of a setting."""
    keys = [part if isinstance(part, int) else _key(part) for part in setting.path]
    named = next((part for part in reversed(setting.path) if isinstance(part, str)), "")
    facts: dict[str, Any] = {
        "path": _dotted(keys),
        "key": _key(named),
        "parent": _dotted(keys[:-1]),
        "kind": setting.kind,
        "line": setting.line,
        "column": setting.column,
        "secrets": [],
    }
    if setting.kind == "boolean":
        facts["value"] = setting.text == "true"
    elif setting.kind == "text":
        hits = detect(setting.text, named, assignments=True)
        facts["secrets"] = [hit._asdict() for hit in hits]
        facts["length"] = len(setting.text)
        facts["shape"] = _shape(setting.text)
        if facts["shape"] == "path" and not hits and len(setting.text) <= _MAX_KEY:
            facts["value"] = setting.text
    elif setting.kind == "number" and is_credential_name(named) and not named.lower().endswith("s"):
        # A password of digits is one without its quotes; a number of tokens is not.
        facts["secrets"] = [hit._asdict() for hit in detect(setting.text, named)]
    return facts


def _shape(text: str) -> str:
    stripped = text.strip()
    if not stripped:
        return "empty"
    lowered = stripped.lower()
    for scheme in ("https", "http"):
        if lowered.startswith(f"{scheme}://"):
            return scheme
    if re.match(r"[a-z][a-z0-9+.-]*://", lowered):
        return "url"
    if _REFERENCE.fullmatch(stripped):
        return "reference"
    return "path" if _PATH.fullmatch(stripped) else "text"


def _key(key: str) -> str:
    """A key as it may be told: a key can be a secret, too, and as long as it likes."""
    if detect(key):
        return "«redacted»"
    return key if len(key) <= _MAX_KEY else f"{key[:_MAX_KEY]}…"


def _dotted(keys: Sequence[str | int]) -> str:
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
