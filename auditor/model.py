"""The nouns of an audit: plain, immutable data that every other module speaks in.

Nothing here reads a clock, a file or a network, and nothing here knows a benchmark or a check.
The field's words are used in the field's sense: a *resource* is a thing that was read, a *check*
judges one resource, a *finding* is one judgement with its evidence, a *control* is a line of a
benchmark and names the checks that decide it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")

Json = Any
"""A decoded JSON value; `Any` because the shapes belong to Kubernetes and Docker, not to us.

An object is a plain `dict`: asking whether a value is one is most of what checks do, and asking
an abstract class instead takes five times as long.
"""


class Status(StrEnum):
    """What an audit says of a resource or a control. Declared worst first (see `worst`)."""

    FAIL = "fail"
    ERROR = "error"
    UNKNOWN = "unknown"
    REVIEW = "review"
    WAIVED = "waived"
    PASS = "pass"
    NOT_APPLICABLE = "not-applicable"

    @property
    def rank(self) -> int:
        """Position in the order of badness; 0 is the worst."""
        return _STATUS_RANK[self]


_STATUS_RANK = {status: rank for rank, status in enumerate(Status)}

JUDGED = frozenset({Status.PASS, Status.FAIL})
"""The statuses that count in a score; all others are printed as "not judged"."""


def worst(statuses: Iterable[Status]) -> Status | None:
    """Return the worst status, or None when there is none to choose from."""
    return min(statuses, key=lambda status: status.rank, default=None)


class Severity(StrEnum):
    """How much harm a failure can do. Declared worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Position in the order of harm; 0 is the worst."""
        return _SEVERITY_RANK[self]

    def at_least(self, threshold: Severity) -> bool:
        """Whether this severity is as bad as `threshold` or worse."""
        return self.rank <= threshold.rank


_SEVERITY_RANK = {severity: rank for rank, severity in enumerate(Severity)}


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


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
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

    def containers(self) -> Iterator[Container]:
        """Yield every container of the pod spec: init, sidecar, ordinary and ephemeral ones.

        A sidecar is an init container whose `restartPolicy` is `Always` (Kubernetes 1.28 on).
        """
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check says of one place in one resource.

    `path` is the place (empty: the resource as a whole), `observed` what was seen there and
    `expected` what would pass. `stands` says whether the verdict holds even if other things that
    the check needs could not be read: a container seen to be privileged is, whatever else is
    hidden (True); "no binding names this account" is not proved by half of the bindings (False).
    The engine turns a verdict that does not stand into `unknown` when a gap touches the check.
    """

    status: Status
    path: str = ""
    observed: str = ""
    expected: str = ""
    stands: bool = True
    line: int | None = None
    column: int | None = None
    severity: Severity | None = None


def passed(
    path: str = "", observed: str = "", expected: str = "", *, stands: bool = False
) -> Verdict:
    """Build a pass. By default it does not stand if something the check needs was not read."""
    return Verdict(Status.PASS, path, observed, expected, stands)


def failed(
    path: str = "",
    observed: str = "",
    expected: str = "",
    *,
    stands: bool = True,
    line: int | None = None,
    column: int | None = None,
    severity: Severity | None = None,
) -> Verdict:
    """Build a failure. Give `stands=False` when it rests on something *not* being found.

    `severity` overrides the check's own for this one place (an unbound role is less bad).
    """
    return Verdict(Status.FAIL, path, observed, expected, stands, line, column, severity)


def unknown(path: str = "", observed: str = "", expected: str = "") -> Verdict:
    """Build an `unknown`: the resource is here, but what decides it could not be seen."""
    return Verdict(Status.UNKNOWN, path, observed, expected)


def review(
    path: str = "", observed: str = "", expected: str = "", line: int | None = None
) -> Verdict:
    """Build a `review`: the evidence is complete, and a person must judge it."""
    return Verdict(Status.REVIEW, path, observed, expected, line=line)


def not_applicable(observed: str = "", path: str = "") -> Verdict:
    """Build a `not-applicable`: the rule does not speak of this resource; `observed` says why."""
    return Verdict(Status.NOT_APPLICABLE, path, observed)


class View:
    """What a check may see of one target: its resources by kind, its gaps, and the settings.

    Built once for each target and evaluation; lookups are dictionary lookups. `index` lets a
    check keep a structure of its own (an RBAC index, say) that is computed once for the view.
    """

    def __init__(
        self,
        target: Target,
        resources: Sequence[Resource],
        workloads: Sequence[Resource],
        gaps: Sequence[Gap],
        covered: Mapping[str, int],
        settings: Mapping[str, Json],
    ) -> None:
        self.target = target
        self.workloads = tuple(workloads)
        self.gaps = tuple(gaps)
        self.covered = dict(covered)
        self.settings = settings
        self._by_kind: dict[str, list[Resource]] = {}
        self._by_place: dict[tuple[str, str | None], list[Resource]] = {}
        for resource in resources:
            self._by_kind.setdefault(resource.kind, []).append(resource)
            self._by_place.setdefault((resource.kind, resource.namespace), []).append(resource)
        self._workloads_in: dict[str | None, list[Resource]] = {}
        for workload in self.workloads:
            self._workloads_in.setdefault(workload.namespace, []).append(workload)
        self._indexes: dict[Callable[[View], object], object] = {}

    def of_kind(self, kind: str) -> Sequence[Resource]:
        """All resources of a kind, in the snapshot's order."""
        return self._by_kind.get(kind, ())

    def in_namespace(self, kind: str, namespace: str | None) -> Sequence[Resource]:
        """All resources of a kind in one namespace."""
        return self._by_place.get((kind, namespace), ())

    def workloads_in(self, namespace: str | None) -> Sequence[Resource]:
        """All workloads of one namespace."""
        return self._workloads_in.get(namespace, ())

    def index(self, build: Callable[[View], T]) -> T:
        """Return `build(self)`, computed on the first call and kept for this view."""
        if build not in self._indexes:
            self._indexes[build] = build(self)
        return cast(T, self._indexes[build])


Probe = Callable[[Resource, View], Iterable[Verdict]]


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, decided for one kind of resource, with the words a reader needs.

    `applies_to` is `platform/kind` (`kubernetes/workload`, `docker/container`, …). `needs` names
    the scopes beyond the subject's own that must have been read for a pass to stand. `distinct`
    says that only the pod spec decides, so that equal specs share one evaluation. The prose
    comes from the probe's docstring, which is also the check's page in the documentation.
    """

    id: str
    title: str
    severity: Severity
    applies_to: str
    needs: tuple[str, ...]
    settings: tuple[str, ...]
    distinct: bool
    summary: str
    why: str
    rule: str
    fix: str
    source: str
    probe: Probe
    module: str

    @property
    def platform(self) -> str:
        """The part of `applies_to` before the slash."""
        return self.applies_to.partition("/")[0]

    @property
    def subject(self) -> str:
        """The part of `applies_to` after the slash: a kind, or `workload`."""
        return self.applies_to.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Finding:
    """One judgement: which check, of what, with what evidence. Passes carry no prose.

    `id` is the same in every audit for the same check, target, owner and path. `count` is the
    number of live objects that show it. `line` and `column` are 1-based, for files.
    """

    id: str
    check: str
    status: Status
    severity: Severity
    target: str
    source: str
    kind: str
    namespace: str | None
    name: str
    path: str
    line: int | None
    column: int | None
    observed: str
    expected: str
    count: int
    waiver: str | None
    origin: str | None


@dataclass(frozen=True, slots=True)
class Control:
    """A line of a benchmark in one version, and the checks that decide it.

    `mode` is the benchmark's own word for how it is assessed (`manual`, `automated`), `level` its
    profile level where it has levels. `labels` are other numbers the control goes by. `note` is
    a sentence the report prints beside it.
    """

    id: str
    title: str
    section: str
    level: int | None
    mode: str
    checks: tuple[str, ...]
    note: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of a benchmark: an id, a title, and the chapter above it, if any."""

    id: str
    title: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One version of a benchmark: its sections and controls, in the benchmark's order.

    `platforms` are the platforms whose checks it speaks of; it is decided only for targets of
    those platforms. `kind` is `benchmark`, `framework`, `guide` or `checklist` and steers which
    part of the report shows it.
    """

    id: str
    version: str
    title: str
    kind: str
    platforms: tuple[str, ...]
    sections: tuple[Section, ...]
    controls: tuple[Control, ...]
    note: str = ""

    @property
    def ref(self) -> str:
        """`id@version`, as `--benchmark` takes it."""
        return f"{self.id}@{self.version}"
