"""What a check may see of one target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from auditor.model.world import Gap, Json, Resource, Target

if TYPE_CHECKING:
    from auditor.model.check import Check

T = TypeVar("T")


class View:
    """What a check may see of one target: its resources by kind, its gaps, and the settings.

    `workloads` and `subjects` are the views that `auditor.workloads` and `auditor.subjects` make
    of pods and of RBAC bindings; `cluster` stands for the target as a whole.
    Built once for each target and evaluation; lookups are dictionary lookups. `index` lets a
    check keep a structure of its own (an RBAC index, say) that is computed once for the view.
    `checks` are those that are run beside it, by id, for the one check that speaks of others.
    """

    def __init__(
        self,
        target: Target,
        resources: Sequence[Resource],
        workloads: Sequence[Resource],
        gaps: Sequence[Gap],
        covered: Mapping[str, int],
        settings: Mapping[str, Json],
        subjects: Sequence[Resource] = (),
    ) -> None:
        self.target = target
        self.workloads = tuple(workloads)
        self.subjects = tuple(subjects)
        self.cluster = Resource(target.source, target.id, "Cluster", None, target.name, {})
        self.gaps = tuple(gaps)
        self.covered = dict(covered)
        self.settings = settings
        self.checks: Mapping[str, Check] = {}
        self._by_kind: dict[str, list[Resource]] = {}
        self._by_place: dict[tuple[str, str | None], list[Resource]] = {}
        self._by_group: dict[str, list[Resource]] | None = None
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

    def of_group(self, group: str) -> Sequence[Resource]:
        """All Kubernetes objects of one API group (`kyverno.io`), in the snapshot's order."""
        if self._by_group is None:
            self._by_group = {}
            for kind in self._by_kind.values():
                for resource in kind:
                    name = str(resource.body.get("apiVersion") or "").rpartition("/")[0]
                    self._by_group.setdefault(name, []).append(resource)
        return self._by_group.get(group, ())

    def workloads_in(self, namespace: str | None) -> Sequence[Resource]:
        """All workloads of one namespace."""
        return self._workloads_in.get(namespace, ())

    def index(self, build: Callable[[View], T]) -> T:
        """Return `build(self)`, computed on the first call and kept for this view."""
        if build not in self._indexes:
            self._indexes[build] = build(self)
        return cast(T, self._indexes[build])

    def forget(self) -> None:
        """Drop the indexes. They refer back to the view: a circle that would hold all it has."""
        self._indexes.clear()
