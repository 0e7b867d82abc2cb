"""Fixtures as snapshots: one YAML file holds what a collector would have brought home.

A fixture `tests/fixtures/<check-id>/<status>.<case>.yaml` has one or more of these keys:

- `kubernetes`: Kubernetes objects, as a live cluster would list them (all scopes read).
- `manifests`: text of manifests, read by the real manifest collector.
- `containers`, `images`, `engine`: bodies as the Docker collector makes them (`name` beside them).
- `dockerfile` (text), with `dockerignore` (text): read by the real Dockerfile collector.
- `app_config`: text of a JSON file, read by the real collector.
- `gaps`: `{scope, reason, detail, namespace, name}`; the scope then does not count as read.
- `rules`: settings that differ from the defaults.
- `expect`: findings that must be there, each by any of a finding's fields.

The worst status of the check's findings must be the file's own first word.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from auditor.collect.base import Harvest
from auditor.collect.kubernetes.kinds import CONSTRAINTS, CUSTOM_KINDS, KINDS
from auditor.config import Config
from auditor.model import Reason, Resource, Snapshot, Target
from auditor.scopes import SCOPES
from auditor.snapshot import seal

FIXTURES = Path(__file__).parents[1] / "fixtures"
TAKEN_AT = "2026-01-01T00:00:00Z"


def fixture_files() -> list[Path]:
    """Every fixture, in a stable order."""
    return sorted(FIXTURES.glob("*/*.yaml"))


def load_fixture(path: Path) -> dict[str, Any]:
    """Read a fixture's YAML."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(data, dict), f"{path} is not a mapping"
    return data


def fixture_snapshot(data: Mapping[str, Any], folder: Path) -> Snapshot:
    """Turn a fixture into a sealed snapshot; `folder` is a scratch directory for files."""
    harvest = Harvest()
    if "kubernetes" in data or _gaps_on(data, "kubernetes"):
        _kubernetes(data, harvest)
    if {"containers", "images", "engine"} & set(data) or _gaps_on(data, "docker"):
        _docker(data, harvest)
    if "dockerfile" in data:
        from auditor.collect.dockerfile import collect_dockerfiles

        file = folder / "Dockerfile"
        file.write_text(data["dockerfile"], encoding="utf-8")
        if "dockerignore" in data:
            (folder / ".dockerignore").write_text(data["dockerignore"], encoding="utf-8")
        harvest.merge(collect_dockerfiles([file], base=folder))
    if "manifests" in data:
        from auditor.collect.manifests import collect_manifests

        file = folder / "manifests.yaml"
        file.write_text(data["manifests"], encoding="utf-8")
        harvest.merge(collect_manifests([file], base=folder))
    if "app_config" in data:
        from auditor.collect.appconfig import collect_appconfig

        file = folder / "settings.json"
        file.write_text(data["app_config"], encoding="utf-8")
        harvest.merge(collect_appconfig([file], base=folder))
    return snapshot_of(harvest, data.get("rules", {}))


def snapshot_of(harvest: Harvest, rules: Mapping[str, Any] | None = None) -> Snapshot:
    """Seal a harvest with the default settings and a fixed clock."""
    settings = Config().snapshot_settings()
    settings["rules"] = {**settings["rules"], **(rules or {})}
    targets = {target.id: target for target in harvest.targets}
    return seal(
        Snapshot(
            taken_at=TAKEN_AT,
            tool_version="0.0.0",
            targets=tuple(targets.values()),
            resources=tuple(harvest.resources),
            gaps=tuple(harvest.gaps),
            coverage=tuple(harvest.coverage),
            settings=settings,
        )
    )


def _gaps_on(data: Mapping[str, Any], platform: str) -> bool:
    return any(gap.get("source") == platform for gap in data.get("gaps", ()))


def _add_gaps(data: Mapping[str, Any], target: str, source: str, harvest: Harvest) -> set[str]:
    hidden = set()
    for gap in data.get("gaps", ()):
        if gap.get("source", source) != source:
            continue
        harvest.gap(
            target,
            source,
            gap["scope"],
            Reason(gap.get("reason", "forbidden")),
            gap.get("detail", "403"),
            gap.get("remedy", ""),
            namespace=gap.get("namespace"),
            name=gap.get("name"),
        )
        if gap.get("namespace") is None and gap.get("name") is None:
            hidden.add(gap["scope"])
    return hidden


def _kubernetes(data: Mapping[str, Any], harvest: Harvest) -> None:
    from auditor.collect.objects import SpecPool, resource_from

    target = "kubernetes:fixture"
    harvest.targets.append(Target(target, "kubernetes", "fixture", {"version": "v1.35.0"}))
    hidden = _add_gaps(data, target, "kubernetes", harvest)
    listed = {(kind.group, kind.name): kind.scope for kind in (*KINDS, *CUSTOM_KINDS)}
    counts: dict[str, int] = {}
    specs = SpecPool()  # as the collector does: equal pods of one owner are one workload
    for body in data.get("kubernetes", ()):
        resource = resource_from(body, source="kubernetes", target=target, specs=specs)
        harvest.resources.append(resource)
        group = str(body["apiVersion"]).rpartition("/")[0]
        scope = listed.get((group, str(body["kind"])), resource.kind.lower() + "s")
        scope = CONSTRAINTS if group == CONSTRAINTS else scope
        counts[scope] = counts.get(scope, 0) + 1
    scopes = {scope for key, found in SCOPES.items() if "kubernetes/" in key for scope in found}
    scopes |= {*listed.values(), CONSTRAINTS}
    for scope in sorted((scopes | set(counts)) - hidden):
        harvest.covered(target, "kubernetes", scope, counts.get(scope, 0))


def _docker(data: Mapping[str, Any], harvest: Harvest) -> None:
    target = "docker:fixture"
    harvest.targets.append(Target(target, "docker", "fixture", {"version": "28.0.0"}))
    hidden = _add_gaps(data, target, "docker", harvest)
    for key, source, kind, scope in (
        ("containers", "docker", "container", "containers"),
        ("images", "image", "image", "images"),
        ("engine", "docker", "engine", "engine"),
    ):
        found = data.get(key, ())
        for body in [found] if isinstance(found, Mapping) else found:
            name = str(body["name"])
            harvest.resources.append(Resource(source, target, kind, None, name, body))
        if scope not in hidden:
            harvest.covered(target, "docker", scope, len(found))
