"""Snapshot and checks to findings: pure, so that the same snapshot gives the same findings.

The rules of honesty live here, in one place:

- A check that crashes gives an `error` finding for that resource, and the traceback to the log.
- A check that yields nothing for a resource has not judged it: that is an `error` too.
- Where something that a check needs was not read, verdicts that do not stand become `unknown`.
- Where not all subjects could be listed, an `unknown` finding names what is hidden.
- A failure that the check's own rule accepts is `waived` with its reason, never a pass.
- No subject at all is `not-applicable` only if every scope was read to its end.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from auditor.model import (
    JUDGED,
    Check,
    Finding,
    Gap,
    Json,
    Resource,
    Snapshot,
    Status,
    Verdict,
    View,
)
from auditor.subjects import rbac_subjects
from auditor.workloads import group_workloads

log = logging.getLogger(__name__)

SCOPES: Mapping[str, tuple[str, ...]] = {
    "kubernetes/workload": (
        "pods",
        "deployments",
        "replicasets",
        "statefulsets",
        "daemonsets",
        "jobs",
        "cronjobs",
        "replicationcontrollers",
    ),
    # Who is bound to a role, and the cluster as a whole, which is always there to be judged.
    "kubernetes/subject": ("rolebindings", "clusterrolebindings"),
    "kubernetes/cluster": (),
    "kubernetes/Pod": ("pods",),
    "kubernetes/Namespace": ("namespaces",),
    "kubernetes/ServiceAccount": ("serviceaccounts",),
    "kubernetes/Role": ("roles",),
    "kubernetes/ClusterRole": ("clusterroles",),
    "kubernetes/RoleBinding": ("rolebindings",),
    "kubernetes/ClusterRoleBinding": ("clusterrolebindings",),
    "kubernetes/ConfigMap": ("configmaps",),
    "kubernetes/NetworkPolicy": ("networkpolicies",),
    "kubernetes/Service": ("services",),
    "kubernetes/Ingress": ("ingresses",),
    "kubernetes/CertificateSigningRequest": ("certificatesigningrequests",),
    "kubernetes/SelfSubjectReview": ("selfsubjectreviews",),
    "docker/container": ("containers",),
    "docker/engine": ("engine",),
    "image/image": ("images",),
    "dockerfile/Dockerfile": ("dockerfiles",),
    "app-config/file": ("app-config",),
}
"""The scopes that must have been read for the subjects of a check to be all of them."""

ROLE_KINDS = ("Role", "ClusterRole")
BINDING_KINDS = ("RoleBinding", "ClusterRoleBinding")
GROUPS: Mapping[str, tuple[str, ...]] = {"role": ROLE_KINDS, "binding": BINDING_KINDS}
"""`kubernetes/role` and `kubernetes/binding` stand for both kinds: their rules are the same."""

TARGET_PLATFORMS: Mapping[str, frozenset[str]] = {
    "kubernetes": frozenset({"kubernetes"}),
    "docker": frozenset({"docker", "image"}),
    "image": frozenset({"image"}),
}
"""The platforms that a target of each source has something to say about; files tell by scope."""

EVERYTHING = "*"
"""The scope of a gap that hides a whole target: it could not be reached at all."""

MANIFESTS = "manifests"
"""The scope of a gap that hides a manifest file: it may have held any kind of object."""

_Key = tuple[str, str | None, str, str | None]


def subject_scopes(check: Check) -> tuple[str, ...]:
    """The scopes that hold the subjects of a check."""
    kinds = GROUPS.get(check.subject, (check.subject,))
    return tuple(
        scope
        for kind in kinds
        for scope in SCOPES.get(f"{check.platform}/{kind}", (kind.lower() + "s",))
    )


def platforms_of(view: View) -> frozenset[str]:
    """The platforms whose checks have something to say about a target, read or not."""
    known = TARGET_PLATFORMS.get(view.target.source)
    if known is not None:
        return known
    scopes = set(view.covered) | {gap.scope for gap in view.gaps}
    return frozenset(
        subject.partition("/")[0] for subject, needs in SCOPES.items() if scopes & set(needs)
    )


def views(snapshot: Snapshot) -> list[View]:
    """One view for each target of the snapshot, in the snapshot's order."""
    by_target: dict[str, list[Resource]] = {target.id: [] for target in snapshot.targets}
    for resource in snapshot.resources:
        by_target[resource.target].append(resource)
    covered: dict[str, dict[str, int]] = {target.id: {} for target in snapshot.targets}
    for item in snapshot.coverage:
        covered[item.target][item.scope] = item.count
    rules: Mapping[str, Json] = snapshot.settings.get("rules", {})
    return [
        View(
            target,
            by_target[target.id],
            group_workloads(by_target[target.id]),
            [gap for gap in snapshot.gaps if gap.target == target.id],
            covered[target.id],
            rules,
            rbac_subjects(by_target[target.id]),
        )
        for target in snapshot.targets
    ]


def evaluate(snapshot: Snapshot, checks: Iterable[Check]) -> list[Finding]:
    """Run every check against every target of its platform and return all findings, sorted.

    A resource that passes a check has one finding without prose; any other judgement has one for
    each place. Nothing is raised for a check that crashes (see the module's text).
    """
    rows: list[Finding] = []
    declared = list(checks)
    for view in views(snapshot):
        platforms = platforms_of(view)
        for check in declared:
            if check.platform in platforms:
                rows.extend(_Run(check, view).findings())
    rows.sort(key=_finding_key)
    return rows


def _finding_key(row: Finding) -> tuple[Json, ...]:
    return (
        row.status.rank,
        row.severity.rank,
        row.check,
        row.target,
        row.namespace or "",
        row.kind,
        row.name,
        row.origin or "",
        row.line or 0,
        row.path,
        row.id,
    )


class _Run:
    """One check against one target."""

    def __init__(self, check: Check, view: View) -> None:
        self.check = check
        self.view = view
        self.scopes = subject_scopes(check)
        needed = [gap for gap in view.gaps if gap.scope in (*check.needs, EVERYTHING)]
        self.wide = [gap for gap in needed if gap.name is None]
        self.narrow = {(gap.namespace, gap.name): gap for gap in needed if gap.name is not None}
        self.memo: dict[int, list[Verdict]] = {}
        # Equal judgements of one owner (many pods, one template) are one row with a count.
        self.rows: dict[tuple[_Key, Verdict], int] = {}
        self.where: dict[_Key, Resource] = {}
        self.seen: Counter[Hashable] = Counter()

    def findings(self) -> list[Finding]:
        """Judge every subject, then say what is missing."""
        subjects = self._subjects()
        for resource in subjects:
            self._judge(resource)
        found = self._numbered()
        files = (MANIFESTS,) if self.check.platform == "kubernetes" else ()
        hidden = [
            gap
            for gap in self.view.gaps
            if gap.scope in (*self.scopes, *files, EVERYTHING) and not gap.by_nature
        ]
        found.extend(self._hidden(hidden))
        if not subjects and not hidden:
            found.append(self._nothing())
        return found

    def _subjects(self) -> Sequence[Resource]:
        subject = self.check.subject
        made = {"workload": self.view.workloads, "subject": self.view.subjects}
        if subject in made:
            return made[subject]
        if subject == "cluster":
            return (self.view.cluster,)
        kinds = GROUPS.get(subject, (subject,))
        return [item for kind in kinds for item in self.view.of_kind(kind)]

    def _judge(self, resource: Resource) -> None:
        gap = self._gap_for(resource)
        verdicts = [self._as_proved(item, gap) for item in self._verdicts(resource)]
        verdicts = self._excused(verdicts, resource)
        kept = [
            item for item in verdicts if item.status not in {Status.PASS, Status.NOT_APPLICABLE}
        ]
        if not kept and any(item.status is Status.PASS for item in verdicts):
            kept = [Verdict(Status.PASS)]
        for item in kept or verdicts[:1]:
            key = (resource.kind, resource.namespace, resource.name, resource.origin)
            self.where.setdefault(key, resource)
            self.rows[(key, item)] = self.rows.get((key, item), 0) + resource.count

    def _verdicts(self, resource: Resource) -> list[Verdict]:
        if not self.check.distinct:
            return self._run(resource)
        key = id(resource.spec)
        if key not in self.memo:
            self.memo[key] = self._run(resource)
        return self.memo[key]

    def _run(self, resource: Resource) -> list[Verdict]:
        try:
            verdicts = list(self.check.probe(resource, self.view))
        except Exception as error:
            # Broad on purpose: a crash is a finding of this resource, never a pass.
            log.exception("check %s crashed on %s", self.check.id, resource.name)
            text = f"the check crashed ({type(error).__name__}); the log has the traceback"
            return [Verdict(Status.ERROR, "", text)]
        return verdicts or [Verdict(Status.ERROR, "", "the check gave no verdict")]

    def _excused(self, verdicts: list[Verdict], resource: Resource) -> list[Verdict]:
        """Turn failures that the check's own rule accepts into `waived`, each with the reason.

        Asked only where something failed, and outside of what equal pod specs share: the reason
        lies in who the resource is.
        """
        excuse = self.check.excuse
        if excuse is None or all(item.status is not Status.FAIL for item in verdicts):
            return verdicts
        reason = excuse(self.check.id, resource, self.view)
        if reason is None:
            return verdicts
        return [
            replace(item, status=Status.WAIVED, waiver=reason)
            if item.status is Status.FAIL
            else item
            for item in verdicts
        ]

    def _gap_for(self, resource: Resource) -> Gap | None:
        """The gap, if any, that touches what the check needs to know about this resource."""
        for gap in self.wide:
            if gap.namespace in (None, resource.namespace):
                return gap
        return self.narrow.get((resource.namespace, resource.name))

    @staticmethod
    def _as_proved(verdict: Verdict, gap: Gap | None) -> Verdict:
        if gap is None or verdict.stands or verdict.status not in JUDGED:
            return verdict
        return Verdict(Status.UNKNOWN, verdict.path, describe(gap), verdict.expected)

    def _numbered(self) -> list[Finding]:
        """Give each row its id; two judgements of one place are told apart by their order."""
        return [
            self._finding(key, verdict, count, self._ordinal((key, verdict.path)))
            for (key, verdict), count in self.rows.items()
        ]

    def _ordinal(self, place: Hashable) -> int:
        """1 for the first row of a place, 2 for the second, …"""
        self.seen[place] += 1
        return self.seen[place]

    def _finding(self, key: _Key, verdict: Verdict, count: int, ordinal: int) -> Finding:
        resource = self.where[key]
        return Finding(
            id=finding_id(self.check.id, self.view.target.id, key, verdict.path, ordinal),
            check=self.check.id,
            status=verdict.status,
            severity=verdict.severity or self.check.severity,
            target=self.view.target.id,
            source=resource.source,
            kind=resource.kind,
            namespace=resource.namespace,
            name=resource.name,
            path=verdict.path,
            line=verdict.line if verdict.line is not None else resource.line,
            column=verdict.column,
            observed=verdict.observed,
            expected=verdict.expected,
            count=count,
            waiver=verdict.waiver,
            origin=resource.origin,
        )

    def _hidden(self, gaps: Sequence[Gap]) -> Iterator[Finding]:
        """One finding for whole scopes that are hidden together, one for each single object."""
        whole = [gap for gap in gaps if gap.namespace is None and gap.name is None]
        if len(whole) > 1:
            scopes = ", ".join(sorted({gap.scope for gap in whole}))
            reasons = ", ".join(sorted({str(gap.reason) for gap in whole}))
            text = f"could not read {scopes}: {reasons}"
            yield self._about_scope(Status.UNKNOWN, None, scopes, text, whole[0].remedy)
        for gap in gaps:
            if len(whole) > 1 and gap.namespace is None and gap.name is None:
                continue
            name = gap.name or gap.scope
            yield self._about_scope(Status.UNKNOWN, gap.namespace, name, describe(gap), gap.remedy)

    def _nothing(self) -> Finding:
        missing = [scope for scope in self.scopes if scope not in self.view.covered]
        if missing:
            text = f"not looked at: {', '.join(missing)}"
            return self._about_scope(Status.UNKNOWN, None, missing[0], text, "")
        text = "read to the end: nothing of this kind is there"
        return self._about_scope(Status.NOT_APPLICABLE, None, self.scopes[0], text, "")

    def _about_scope(
        self,
        status: Status,
        namespace: str | None,
        name: str,
        observed: str,
        expected: str,
    ) -> Finding:
        kind = self.check.subject
        key = (kind, namespace, name, None)
        target = self.view.target
        return Finding(
            # Not by what was seen: a message of the far side changes from audit to audit.
            id=finding_id(self.check.id, target.id, key, EVERYTHING, self._ordinal(key)),
            check=self.check.id,
            status=status,
            severity=self.check.severity,
            target=target.id,
            source=target.source,
            kind=kind,
            namespace=namespace,
            name=name,
            path="",
            line=None,
            column=None,
            observed=observed,
            expected=expected,
            count=0,
            waiver=None,
            origin=None,
        )


def describe(gap: Gap) -> str:
    """One line for what a gap hides and why."""
    where = f"{gap.scope}/{gap.name}" if gap.name else gap.scope
    where += f" in namespace {gap.namespace}" if gap.namespace else ""
    where = "the target" if gap.scope == EVERYTHING else where
    return f"could not read {where}: {gap.reason}: {gap.detail}"


def finding_id(check: str, target: str, key: _Key, path: str, ordinal: int) -> str:
    """A short id that is the same in every audit for the same check, target, owner and place.

    Lines are left out on purpose: they move when a file is edited above them.
    """
    parts = (
        check,
        target,
        key[0],
        key[1] or "",
        key[2],
        key[3] or "",
        path,
        str(ordinal),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
