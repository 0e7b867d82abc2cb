"""What was read, what could not be, and how much of it there was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

Json = Any
"""A decoded JSON value; `Any` because the shapes belong to Kubernetes and Docker, not to us.

An object is a plain `dict`: asking whether a value is one is most of what checks do, and asking
an abstract class instead takes five times as long.
"""


class Reason(StrEnum):
    """Why something could not be read."""

    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    ABSENT = "absent"
    MALFORMED = "malformed"
    REFUSED = "refused"
    """Read and rejected as hostile or too large."""
    FAILED = "failed"
    """The far side answered with an error of its own."""
    PARTIAL = "partial"
    """The source shows only a part by nature: manifests do not show who else is bound."""
    NOT_REQUESTED = "not requested"


@dataclass(frozen=True, slots=True)
class Target:
    """One thing an audit was pointed at: a cluster, an engine, an archive, a set of files.

    `id` is stable from audit to audit (`kubernetes:<UID of kube-system>`, `docker:<engine ID>`,
    `files:<label>`); `facts` holds what the cover page prints (versions, counts, identity).
    """

    id: str
    source: str
    name: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that could not be read, and what would mend it.

    `scope` is the plural name of what is hidden (`rolebindings`, `containers`, `image-files`).
    `namespace` and `name` narrow it to one namespace or one object; None means all of the scope.
    """

    target: str
    source: str
    scope: str
    reason: Reason
    detail: str
    remedy: str = ""
    namespace: str | None = None
    name: str | None = None

    @property
    def by_nature(self) -> bool:
        """Whether the source could never show this: no failure, and nothing that would mend it."""
        return self.reason is Reason.PARTIAL


@dataclass(frozen=True, slots=True)
class Coverage:
    """A scope that *was* read to its end, and how many objects it held.

    Without one of these for its scope a check can never conclude that "nothing is there".
    """

    target: str
    source: str
    scope: str
    count: int


class ContainerKind(StrEnum):
    """Which list of a pod spec a container stands in."""

    CONTAINER = "container"
    INIT = "init container"
    SIDECAR = "sidecar"
    EPHEMERAL = "ephemeral container"


class Container(NamedTuple):
    """One container of a pod spec, with the path at which it stands inside its resource."""

    kind: ContainerKind
    name: str
    path: str
    body: Mapping[str, Json]


_CONTAINER_LISTS = (
    ("initContainers", ContainerKind.INIT),
    ("containers", ContainerKind.CONTAINER),
    ("ephemeralContainers", ContainerKind.EPHEMERAL),
)


class _Listed:
    """A place for the containers of a resource, outside of what makes the resource up."""

    __slots__ = ("_containers",)
    _containers: tuple[Container, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Resource(_Listed):
    """One thing that was read, as its source describes it, secret values already taken out.

    `source` is `kubernetes`, `manifest`, `docker`, `image`, `dockerfile` or `app-config`. For a
    workload (see `auditor.workloads`) `kind` and `name` are the root owner's, `spec_path` is where
    the pod spec stands inside that owner, and `count` is the number of live pods that share it.
    `origin` and `line` say which file it came from, where there is one.
    """

    source: str
    target: str
    kind: str
    namespace: str | None
    name: str
    body: Mapping[str, Json]
    spec_path: str = "spec"
    count: int = 1
    origin: str | None = None
    line: int | None = None

    @property
    def spec(self) -> Mapping[str, Json]:
        """The `spec` of the body; empty when there is none."""
        value = self.body.get("spec")
        return value if isinstance(value, dict) else {}

    @property
    def metadata(self) -> Mapping[str, Json]:
        """The `metadata` of the body; empty when there is none."""
        value = self.body.get("metadata")
        return value if isinstance(value, dict) else {}

    def containers(self) -> tuple[Container, ...]:
        """Every container of the pod spec: init, sidecar, ordinary and ephemeral ones.

        A sidecar is an init container whose `restartPolicy` is `Always` (Kubernetes 1.28 on).
        Listed once and kept, for two dozen checks ask for them.
        """
        try:
            return self._containers
        except AttributeError:
            listed = tuple(self._containers_of_spec())
            object.__setattr__(self, "_containers", listed)
            return listed

    def _containers_of_spec(self) -> Iterator[Container]:
        spec = self.spec
        for key, kind in _CONTAINER_LISTS:
            listed = spec.get(key)
            if not isinstance(listed, list):
                continue
            for index, body in enumerate(listed):
                if not isinstance(body, dict):
                    continue
                is_sidecar = kind is ContainerKind.INIT and body.get("restartPolicy") == "Always"
                yield Container(
                    ContainerKind.SIDECAR if is_sidecar else kind,
                    str(body.get("name", index)),
                    f"{self.spec_path}.{key}[{index}]",
                    body,
                )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one audit read, at one moment, with what it could not read.

    `taken_at` is RFC 3339 in UTC and is the only clock that later stages know. `settings` holds
    the configuration that decides verdicts and the look of the report, so that a saved snapshot
    gives the same report a year later. `sha256` covers all of it (see `auditor.snapshot`).
    """

    taken_at: str
    tool_version: str
    targets: tuple[Target, ...]
    resources: tuple[Resource, ...]
    gaps: tuple[Gap, ...]
    coverage: tuple[Coverage, ...]
    settings: Mapping[str, Json]
    sha256: str = ""
