"""Asks the API server itself what it would refuse: dry-run creates of pods that break a rule.

A dry run goes through all of admission and is not stored (Kubernetes API concepts, dry-run). That
is made sure of three times: `http.Api` sends a pod only with `dryRun=All`; a server of a version
that may not know dry runs is not asked; and an answer that shows a stored pod ends the asking at
once. Until one answer has shown that nothing is stored, one pod is asked about at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from auditor.collect.kubernetes.http import Api, ApiError
from auditor.collect.probes import Pod, Probes
from auditor.model import Json, Reason

NAME = "auditor-probe-"
"""What the names of all probing pods begin with; the server adds five characters."""

OLDEST = (1, 18)
"""The first version in which dry runs are stable, and cannot be switched off."""

REMEDY = "grant it with deploy/probe-rbac.yaml, or leave out --probe-admission"
ATTEMPTS = 2
"""How often one pod is sent: a second time only where the first was not answered or answered with
a failure of the server's own."""

ADMITTED: Final = "admitted"
REFUSED: Final = "refused"
FAILED: Final = "failed"

_GIVEN_NAME = re.compile(rf"{NAME}[a-z0-9]{{5}}")
_VERSION = re.compile(r"v?(\d+)\.(\d+)")
_NO_RIGHT = re.compile(r'cannot create resource "pods"')
_NO_DRY_RUN = re.compile(r"the dryRun \S+ feature is disabled|dryRun feature is disabled")

# Refusals of any pod, for reasons that have nothing to do with what it asks for.
_FAILED = (
    re.compile(r"(?:exceeded|failed) quota:|insufficient quota to match"),
    re.compile(r"(?:minimum|maximum) \S+ usage per |limit to request ratio per "),
    re.compile(r"error looking up service account|service account \S+ was not found"),
    re.compile(r"because it is being terminated"),
)
# What each mechanism's refusal looks like, in the words of the API server around its own.
_BY: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r'violates PodSecurity "([^"]+)"'), "PodSecurity {}"),
    (
        re.compile(r"ValidatingAdmissionPolicy '([^']+)' with binding '([^']+)' denied"),
        "ValidatingAdmissionPolicy {}, binding {}",
    ),
    (re.compile(r'admission webhook "([^"]+)" denied'), "webhook {}"),
    (re.compile(r"PodSecurityPolicy: unable to admit"), "PodSecurityPolicy"),
    (
        re.compile(r"unable to validate against any security context constraint"),
        "SecurityContextConstraints",
    ),
)


class Asked(NamedTuple):
    """What became of one pod: `outcome` is `refused`, `admitted` or `failed`; `by` names who
    refused it, and `message` is the server's own words.
    """

    outcome: str
    by: str
    message: str

    def row(self) -> dict[str, Json]:
        """As it stands in a resource's body."""
        return self._asdict()


class Stop(Exception):  # noqa: N818 - it ends the asking
    """Nothing more may be asked: the server would store pods, or does not know dry runs."""

    def __init__(self, reason: Reason, message: str, remedy: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.remedy = remedy


@dataclass(slots=True)
class Answers:
    """All that was answered, by namespace: about the compliant pod, and about each variant of
    each rule's violation.

    `forbidden` holds the namespaces in which the auditor may not ask, with the server's words,
    `unasked` those that the deadline left out, in part or whole, and `stopped` why the asking
    ended before its end.
    """

    compliant: dict[str, Asked] = field(default_factory=dict)
    results: dict[str, dict[str, dict[str, Asked]]] = field(default_factory=dict)
    forbidden: dict[str, str] = field(default_factory=dict)
    unasked: set[str] = field(default_factory=set)
    stopped: Stop | None = None


def probe(
    api: Api,
    probes: Probes,
    namespaces: Iterable[str],
    *,
    version: str,
    parallel: int,
) -> Answers:
    """Ask about every pod in every namespace that is to be asked. Never raises for an answer.

    `version` is the server's own (`v1.35.4`). Where a namespace takes no pod at all (it is being
    deleted, its quota is used up), no more than the compliant one is asked about there.
    """
    run = _Run(api, probes, parallel)
    wanted = sorted(name for name in namespaces if probes.asks(name))
    try:
        if wanted:
            _require_dry_run(version)
        run.ask([(name, "", "", probes.compliant) for name in wanted])
        run.ask(
            [
                (name, rule, variant, pod)
                for name in wanted
                if name in run.answers.compliant and run.answers.compliant[name].outcome != FAILED
                for rule, variants in probes.violations.items()
                for variant, pod in variants.items()
            ]
        )
    except Stop as stop:
        run.answers.stopped = stop
    return run.answers


_Question = tuple[str, str, str, Pod]
"""Namespace, rule, variant (both empty for the compliant pod) and the pod."""


class _Run:
    """One round of questions. The answers are taken by one thread."""

    def __init__(self, api: Api, probes: Probes, parallel: int) -> None:
        self.api = api
        self.probes = probes
        self.parallel = parallel
        self.answers = Answers()
        self._proved = False
        self._stopped = False

    def ask(self, questions: list[_Question]) -> None:
        """Ask all questions: one by one until one answer proves that nothing is stored, then side
        by side. Raises `Stop`.
        """
        first = 0
        while first < len(questions) and not self._proved:
            self._take(questions[first], self._answer(questions[first]))
            first += 1
        with ThreadPoolExecutor(self.parallel, "auditor-probe") as pool:
            rest = questions[first:]
            for question, answer in zip(rest, pool.map(self._answer, rest), strict=True):
                self._take(question, answer)

    def _answer(self, question: _Question) -> Asked | ApiError | None:
        """What the server says; None where there was no time, or the asking has ended."""
        namespace, _, _, pod = question
        if self._stopped or self.api.deadline.passed:
            return None
        try:
            answer = self.api.dry_run_pod(namespace, _named(pod, namespace), ATTEMPTS)
        except ApiError as error:
            return None if error.status is None and self.api.deadline.passed else error
        metadata = answer.get("metadata") if isinstance(answer, Mapping) else None
        if not isinstance(metadata, Mapping):
            return ApiError(Reason.MALFORMED, "the answer is not a pod")
        if metadata.get("resourceVersion"):
            self._stopped = True
            name = f"{namespace}/{metadata.get('name')}"
            raise Stop(
                Reason.FAILED,
                f"the server ignored dryRun and stored the pod {name}; nothing more was asked",
                f"delete the pod {name}, and leave out --probe-admission",
            )
        return Asked(ADMITTED, "", "")

    def _take(self, question: _Question, answer: Asked | ApiError | None) -> None:
        namespace, rule, variant, _ = question
        if answer is None:
            self.answers.unasked.add(namespace)
            return
        if isinstance(answer, ApiError):
            if answer.status == 403 and _NO_RIGHT.search(answer.message):
                self.answers.forbidden.setdefault(namespace, answer.message)
                return
            if answer.status == 400 and _NO_DRY_RUN.search(answer.message):
                self._stopped = True
                raise Stop(Reason.FAILED, answer.message, "leave out --probe-admission")
            answer = _refusal(answer)
        self._proved = self._proved or answer.outcome == ADMITTED
        if rule:
            rows = self.answers.results.setdefault(namespace, {}).setdefault(rule, {})
            rows[variant] = answer
        else:
            self.answers.compliant[namespace] = answer


def _named(pod: Pod, namespace: str) -> dict[str, Json]:
    """The pod under a name that says whose it is, should anybody ever see it in a log."""
    given = pod.get("metadata")
    metadata = {
        key: value
        for key, value in (given.items() if isinstance(given, Mapping) else ())
        if key != "name"
    }
    metadata |= {"generateName": NAME, "namespace": namespace}
    return {**pod, "apiVersion": "v1", "kind": "Pod", "metadata": metadata}


def _refusal(error: ApiError) -> Asked:
    """Tell a refusal by admission apart from an answer that says nothing about the pod."""
    # The server's own five characters would make every audit's words differ.
    message = _GIVEN_NAME.sub(f"{NAME}*", error.message)
    for pattern, form in _BY:
        found = pattern.search(message)
        if found:
            return Asked(REFUSED, form.format(*found.groups()), message)
    refused = error.status == 403 and error.from_api
    if not refused or any(pattern.search(message) for pattern in _FAILED):
        return Asked(FAILED, "", message)
    return Asked(REFUSED, "admission", message)


def _require_dry_run(version: str) -> None:
    found = _VERSION.match(version)
    if found and (int(found[1]), int(found[2])) >= OLDEST:
        return
    said = f"it is {version}" if found else "its version could not be read"
    oldest = ".".join(str(part) for part in OLDEST)
    raise Stop(
        Reason.NOT_REQUESTED,
        f"the server may not know dry runs ({said}; {oldest} does): no pod was sent",
        "leave out --probe-admission",
    )
