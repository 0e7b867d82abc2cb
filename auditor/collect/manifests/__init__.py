"""Reads Kubernetes manifests: files, directories and standard input, as they would be applied.

A manifest shows only what it holds. That nothing else is bound, selected or refused in the
cluster it will go to cannot be seen here, so those scopes are gaps by nature (`Reason.PARTIAL`):
a check that needs them gives no pass.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auditor.collect.base import Harvest
from auditor.collect.kubernetes.kinds import CONSTRAINTS, CUSTOM_KINDS, KINDS
from auditor.collect.manifests.documents import Item, documents
from auditor.collect.objects import SpecPool, resource_from
from auditor.collect.probes import KIND as PROBE
from auditor.model import Json, Reason, Target
from auditor.scopes import MANIFESTS, SCOPES

TARGET = "files"
MAX_BYTES = 64 * 1024**2
"""Largest file that is read, in bytes."""

STDIN = "<stdin>"
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_DETAIL = "manifests show only what they hold"
_RENDER = "render it first: helm template … | auditor check manifest -"

_KINDS = {(kind.group, kind.name): kind for kind in (*KINDS, *CUSTOM_KINDS)}
_NAMESPACED = frozenset(kind.name for kind in KINDS if not kind.cluster_wide)
_MADE_HERE = frozenset({"APIGroup", PROBE, "SelfSubjectReview"})
"""Kinds that only a collector of live clusters makes: a file that holds one proves nothing."""

_NOT_OBJECTS = frozenset({"kustomize.config.k8s.io", "skaffold"})
"""API groups of files that steer tools and are never applied."""

# All that decides about another object: what a manifest does not show may still be there.
_RELATIONS = (
    "apigroups",
    "clusterrolebindings",
    "clusterroles",
    CONSTRAINTS,
    "csidrivers",
    "customresourcedefinitions",
    "limitranges",
    "mutatingwebhookconfigurations",
    "namespaces",
    "networkpolicies",
    "nodes",
    "pods",
    "resourcequotas",
    "rolebindings",
    "roles",
    "serviceaccounts",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    *(kind.scope for kind in CUSTOM_KINDS),
)


def collect_manifests(
    paths: Sequence[Path], *, base: Path | None = None, stdin: bytes | None = None
) -> Harvest:
    """Read manifests from files, from directories with all below them, and from `-`.

    In a directory every `*.yaml`, `*.yml` and `*.json` outside hidden folders is looked at;
    documents without `apiVersion` and `kind` are no manifests and are only counted. In a file that
    was named they are gaps. `stdin` is what `-` stands for; None reads standard input. Origins
    are relative to `base`, else to the current directory.

    Never raises for what a file holds: a broken document is a gap of its file, with its line.
    """
    reader = _Reader(base or Path.cwd())
    for path in paths:
        if str(path) == "-":
            reader.read(STDIN, sys.stdin.buffer.read() if stdin is None else stdin, named=True)
        elif path.is_dir():
            for file in _files_below(path):
                reader.read_file(file, reader.origin(file, path), named=False)
        else:
            reader.read_file(path, reader.origin(path, path.parent), named=True)
    return reader.finish()


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file that may be a manifest, in a stable order; links to folders are not followed."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(where, name)
            if file.suffix.lower() in _SUFFIXES and file.is_file():
                yield file


@dataclass(slots=True)
class _Reader:
    base: Path
    harvest: Harvest = field(default_factory=Harvest)
    specs: SpecPool = field(default_factory=SpecPool)
    counts: Counter[str] = field(default_factory=Counter)
    files: int = 0
    passed_over: int = 0

    def origin(self, file: Path, root: Path) -> str:
        """How a report names a file: never by where it lies on this machine."""
        for anchor in (self.base, Path.cwd()):
            try:
                return file.resolve().relative_to(anchor.resolve()).as_posix()
            except ValueError:
                continue
        return (Path(root.resolve().name) / file.relative_to(root)).as_posix()

    def read_file(self, path: Path, origin: str, *, named: bool) -> None:
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except OSError as error:
            self._gap(origin, Reason.FAILED, f"cannot be read: {error.strerror}")
            return
        self.read(origin, data, named=named)

    def read(self, origin: str, data: bytes, *, named: bool) -> None:
        """Take every object of one file, or say why there is none."""
        self.files += 1
        if len(data) > MAX_BYTES:
            self._gap(origin, Reason.REFUSED, f"the file is larger than {MAX_BYTES} bytes")
            return
        found = 0
        for item in documents(data):
            if item.problem:
                found += 1
                remedy = _RENDER if "template" in item.problem else "correct the file"
                self._gap(origin, Reason.MALFORMED, f"line {item.line}: {item.problem}", remedy)
            elif _is_object(item.value):
                found += 1
                self._take(item, origin)
            else:
                self.passed_over += 1
                if named:
                    found += 1
                    detail = f"line {item.line}: no Kubernetes object (no apiVersion and kind)"
                    self._gap(origin, Reason.MALFORMED, detail, "name only manifests")
        if named and not found:
            self._gap(origin, Reason.MALFORMED, "it holds no object", "name only manifests")

    def _take(self, item: Item, origin: str) -> None:
        body = _with_namespace(item.value)
        try:
            resource = resource_from(
                body,
                source="manifest",
                target=TARGET,
                specs=self.specs,
                origin=origin,
                line=item.line,
            )
        except ValueError as error:
            detail = f"line {item.line}: {body['kind']}: {error}"
            self._gap(origin, Reason.MALFORMED, detail, "correct the object")
            return
        self.harvest.resources.append(resource)
        self.counts[_scope_of(body, resource.kind)] += 1

    def finish(self) -> Harvest:
        """Say what was read to its end, and what no manifest can show."""
        scopes = {
            scope
            for subject, found in SCOPES.items()
            if subject.startswith("kubernetes/")
            for scope in found
        }
        for scope in sorted(scopes | set(self.counts)):
            self.harvest.covered(TARGET, TARGET, scope, self.counts[scope])
        for scope in _RELATIONS:
            self.harvest.gap(TARGET, TARGET, scope, Reason.PARTIAL, _DETAIL)
        total = sum(self.counts.values())
        facts = {"manifests": f"{total} objects in {self.files} files"}
        if self.passed_over:
            facts["not manifests"] = f"{self.passed_over} documents"
        self.harvest.targets.append(Target(TARGET, TARGET, TARGET, facts))
        return self.harvest

    def _gap(self, origin: str, reason: Reason, detail: str, remedy: str = "") -> None:
        self.harvest.gap(TARGET, TARGET, MANIFESTS, reason, detail, remedy, name=origin)


def _is_object(value: Json) -> bool:
    if not isinstance(value, dict):
        return False
    version, kind = value.get("apiVersion"), value.get("kind")
    if not (isinstance(version, str) and version and isinstance(kind, str) and kind):
        return False
    return version.partition("/")[0] not in _NOT_OBJECTS and kind not in _MADE_HERE


def _group_of(body: Json) -> str:
    return str(body["apiVersion"]).rpartition("/")[0]


def _scope_of(body: Json, name: str) -> str:
    """The scope that an object fills; `name` is what its kind is called here."""
    group = _group_of(body)
    if group == CONSTRAINTS:
        return CONSTRAINTS
    kind = _KINDS.get((group, body["kind"]))
    return kind.scope if kind is not None else name.lower() + "s"


def _with_namespace(body: Json) -> dict[str, Json]:
    """An object as `kubectl apply` would place it: in `default` where it names no namespace.

    Of a kind that is not known here nobody can say whether it stands in a namespace at all; old
    groups of known ones (`extensions`) had the same kinds.
    """
    kind, metadata = body["kind"], body.get("metadata")
    known = _KINDS.get((_group_of(body), kind))
    in_namespace = kind in _NAMESPACED if known is None else not known.cluster_wide
    if not in_namespace or not isinstance(metadata, dict) or metadata.get("namespace"):
        return dict(body)
    return {**body, "metadata": {**metadata, "namespace": "default"}}
