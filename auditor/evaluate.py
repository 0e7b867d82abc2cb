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

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

from auditor.findings import SETTLED, Findings, Key, Places, Settled, finding_id
from auditor.garbage import paused_garbage_collection
from auditor.model import (
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
from auditor.scopes import (
    EVERYTHING,
    GROUPS,
    MANIFESTS,
    describe,
    platforms_of,
    subject_scopes,
)
from auditor.subjects import rbac_subjects
from auditor.workloads import group_workloads

log = logging.getLogger(__name__)


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


def evaluate(snapshot: Snapshot, checks: Iterable[Check]) -> Findings:
    """Run every check against every target of its platform and return all findings, sorted.

    A resource that passes a check has one finding without prose; any other judgement has one for
    each place. Nothing is raised for a check that crashes (see the module's text).
    """
    rows: list[Finding] = []
    settled: list[Settled] = []
    declared = list(checks)
    with paused_garbage_collection():
        for view in views(snapshot):
            view.checks = {check.id: check for check in declared}
            platforms = platforms_of(view)
            places = Places()
            for check in declared:
                if check.platform in platforms:
                    run = _Run(check, view, places)
                    rows.extend(run.findings())
                    settled.extend(run.settled.values())
            view.forget()
        return Findings(rows, settled)


class _Run:
    """One check against one target."""

    def __init__(self, check: Check, view: View, places: Places) -> None:
        self.check = check
        self.view = view
        self.scopes = subject_scopes(check)
        # In the order of `needs`: the first gap is the one that the evidence names.
        order = {scope: number for number, scope in enumerate((EVERYTHING, *check.needs))}
        needed = sorted(
            (gap for gap in view.gaps if gap.scope in order), key=lambda gap: order[gap.scope]
        )
        self.wide = [gap for gap in needed if gap.name is None]
        self.narrow = {(gap.namespace, gap.name): gap for gap in needed if gap.name is not None}
        self.gapped = bool(needed)
        self.memo: dict[tuple[int, str], tuple[Verdict, ...]] = {}
        # Equal judgements of one owner (many pods, one template) are one row with a count.
        self.rows: dict[tuple[int, Verdict], int] = {}
        self.calm: dict[tuple[int, Verdict], int] = {}
        self.seen: dict[tuple[int | Key, str], int] = {}
        self.places = places
        self.settled = {
            status: Settled(check, view.target.id, status, places.all) for status in sorted(SETTLED)
        }

    def findings(self) -> list[Finding]:
        """Judge every subject, then say what is missing; what is settled goes to the columns."""
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
        verdicts = self._verdicts(resource)
        if self.gapped:
            gap = self._gap_for(resource)
            verdicts = _kept([self._as_proved(item, gap) for item in verdicts])
        number = self.places.number(resource)
        if verdicts[0].status is not Status.PASS:
            verdicts = _kept(self._excused(verdicts, resource))
        for item in verdicts:
            rows = self.calm if item.status in SETTLED else self.rows
            rows[number, item] = rows.get((number, item), 0) + resource.count

    def _verdicts(self, resource: Resource) -> Sequence[Verdict]:
        """What the check says, reduced to what is kept where no gap could change it."""
        if not self.check.distinct:
            found = self._run(resource)
            return found if self.gapped else _kept(found)
        # Verdicts name places, and an equal spec stands elsewhere in another kind of owner.
        key = (id(resource.spec), resource.spec_path)
        known = self.memo.get(key)
        if known is None:
            found = self._run(resource)
            known = self.memo[key] = tuple(found) if self.gapped else _kept(found)
        return known

    def _run(self, resource: Resource) -> list[Verdict]:
        try:
            verdicts = list(self.check.probe(resource, self.view))
            if verdicts and type(verdicts[0]) is not Verdict:
                raise TypeError("a check yields verdicts")
        except Exception as error:
            # Broad on purpose: a crash is a finding of this resource, never a pass.
            log.exception("check %s crashed on %s", self.check.id, resource.name)
            text = f"the check crashed ({type(error).__name__}); the log has the traceback"
            return [Verdict(Status.ERROR, "", text)]
        return verdicts or [Verdict(Status.ERROR, "", "the check gave no verdict")]

    def _excused(self, verdicts: Sequence[Verdict], resource: Resource) -> Sequence[Verdict]:
        """Turn what the check's own rule accepts into `waived`, with the reason.

        That is a failure, and also a review: the reason is what a person judged. Asked only where
        there is one, and outside of what equal pod specs share: the reason lies in who the
        resource is.
        """
        check = self.check
        if all(item.status not in _EXCUSABLE for item in verdicts):
            return verdicts
        whole = check.excuse(check.id, resource, self.view) if check.excuse else None
        if whole is None and check.excuse_place is None:
            return verdicts
        return [self._waived(item, resource, whole) for item in verdicts]

    def _waived(self, verdict: Verdict, resource: Resource, whole: str | None) -> Verdict:
        """The verdict, set aside when the resource as a whole is excused, or this place of it."""
        if verdict.status not in _EXCUSABLE:
            return verdict
        reason, place = whole, self.check.excuse_place
        if reason is None and place is not None:
            reason = place(self.check.id, resource, self.view, verdict)
        if reason is None:
            return verdict
        return verdict._replace(status=Status.WAIVED, waiver=reason)

    def _gap_for(self, resource: Resource) -> Gap | None:
        """The gap, if any, that touches what the check needs to know about this resource."""
        for gap in self.wide:
            if gap.namespace in (None, resource.namespace):
                return gap
        return self.narrow.get((resource.namespace, resource.name))

    @staticmethod
    def _as_proved(verdict: Verdict, gap: Gap | None) -> Verdict:
        if gap is None or verdict.stands or verdict.status in {Status.ERROR, Status.UNKNOWN}:
            return verdict
        return Verdict(Status.UNKNOWN, verdict.path, describe(gap), verdict.expected)

    def _numbered(self) -> list[Finding]:
        """Give each row its number within its place: two judgements of one are told apart so."""
        found = [
            self._finding(number, verdict, count, self._ordinal((number, verdict.path)))
            for (number, verdict), count in self.rows.items()
        ]
        for (number, verdict), count in self.calm.items():
            ordinal = self._ordinal((number, verdict.path))
            self.settled[verdict.status].add(number, count, ordinal, verdict)
        return found

    def _ordinal(self, place: tuple[int | Key, str]) -> int:
        """1 for the first row of a place, 2 for the second, …"""
        number = self.seen[place] = self.seen.get(place, 0) + 1
        return number

    def _finding(self, number: int, verdict: Verdict, count: int, ordinal: int) -> Finding:
        place = self.places.all[number]
        return Finding(
            id=finding_id(self.check.id, self.view.target.id, place.key, verdict.path, ordinal),
            check=self.check.id,
            status=verdict.status,
            severity=verdict.severity or self.check.severity,
            target=self.view.target.id,
            source=place.source,
            kind=place.kind,
            namespace=place.namespace,
            name=place.name,
            path=verdict.path,
            line=verdict.line if verdict.line is not None else place.line,
            column=verdict.column,
            observed=verdict.observed,
            expected=verdict.expected,
            count=count,
            waiver=verdict.waiver,
            origin=place.origin,
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
        by_nature = {gap.scope: gap for gap in self.view.gaps if gap.by_nature}
        if self.scopes and all(scope in by_nature for scope in self.scopes):
            # Manifests without a namespace, say: it is there, in the cluster they will go to.
            gap = by_nature[self.scopes[0]]
            return self._about_scope(Status.UNKNOWN, None, gap.scope, describe(gap), gap.remedy)
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
            id=finding_id(
                self.check.id, target.id, key, EVERYTHING, self._ordinal((key, EVERYTHING))
            ),
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


_EXCUSABLE = frozenset({Status.FAIL, Status.REVIEW})

PASS = Verdict(Status.PASS)
"""What is kept of a pass: that it is one."""


def _kept(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """All that is not settled; else the passes with a note, or one pass; else the first verdict."""
    kept = tuple(item for item in verdicts if item.status not in SETTLED)
    if not kept:
        kept = tuple(item for item in verdicts if item.noted)
    if kept:
        return kept
    for item in verdicts:
        if item.status is Status.PASS:
            return (PASS,)
    return tuple(verdicts[:1])
