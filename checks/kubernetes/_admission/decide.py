"""Whether a namespace refuses the pods that break a rule: all mechanisms together, and the probe.

A rule is enforced when every variant of a pod that breaks it is refused by something. What the
API server itself said to a dry run (`--probe-admission`) wins over what the objects say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

from auditor.model import (
    Resource,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
    review,
)
from checks.kubernetes._admission import (
    gatekeeper,
    kyverno,
    pod_security,
    unread,
    validating_policy,
    webhooks,
)
from checks.kubernetes._admission.answers import Answer, Mechanism, Outcome, Pod
from checks.kubernetes._admission.dressed import Dress, Wardrobe, dresses
from checks.kubernetes._admission.pod_security import (
    BASELINE,
    ENFORCE,
    RESTRICTED,
    broken,
    enforced,
)
from checks.kubernetes._admission.probed import (
    ALSO_COMPLIANT,
    ANYBODY,
    Probed,
    Said,
    disagreement,
    probed,
)
from checks.kubernetes._admission.violations import BY_ID, COMPLIANT, VIOLATIONS, Violation
from checks.kubernetes._pods import mapping, some
from checks.kubernetes._scopes import gap_of, is_system, labels_of

NEEDS: Sequence[str] = (
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    "clusterpolicies.kyverno.io",
    "policies.kyverno.io",
    "policyexceptions.kyverno.io",
    "validatingpolicies.policies.kyverno.io",
    "namespacedvalidatingpolicies.policies.kyverno.io",
    "policyexceptions.policies.kyverno.io",
    "constrainttemplates.templates.gatekeeper.sh",
    "constraints.gatekeeper.sh",
    "configs.config.gatekeeper.sh",
)
"""What must have been read before one can say that nothing refuses a pod."""

PATH = f"metadata.labels[{ENFORCE}]"


class Asked(NamedTuple):
    """A mechanism, and the scopes of what could take its refusals back: exceptions to its rules."""

    mechanism: Mechanism
    taken_back_by: tuple[str, ...] = ()

    def final(self, view: View) -> bool:
        """Whether a refusal stands, whatever could not be read."""
        return not self.taken_back_by or gap_of(view, *self.taken_back_by) is None


MECHANISMS: Sequence[Asked] = (
    Asked(pod_security.answers),
    Asked(validating_policy.answers),
    Asked(kyverno.answers, ("policyexceptions.kyverno.io", "policyexceptions.policies.kyverno.io")),
    Asked(gatekeeper.answers, ("configs.config.gatekeeper.sh",)),
    Asked(webhooks.answers),
    Asked(unread.answers),
)
"""In the order of asking: the first refusal ends it."""


class Ruling(NamedTuple):
    """What a namespace does with the pods of a rule, with its evidence in words.

    `asked` says that the API server's own answer is among the evidence.
    """

    outcome: Outcome
    observed: str
    stands: bool
    asked: bool = False


# --- reading ----------------------------------------------------------------------------------


class _Blind:
    """Who refuses even the pod that is in order, and so shows nothing of a rule."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.found: dict[tuple[Mechanism, str, Dress | None], frozenset[str]] = {}

    def names(
        self, mechanism: Mechanism, namespace: Resource, dress: Dress | None = None
    ) -> frozenset[str]:
        """Those of one mechanism in one namespace, as their answers name them."""
        key = (mechanism, namespace.name, dress)
        if key not in self.found:
            pod = self.view.index(Wardrobe).wear(COMPLIANT, dress)
            self.found[key] = frozenset(
                answer.by
                for answer in mechanism(pod, namespace, self.view)
                if answer.outcome is Outcome.REFUSED
            )
        return self.found[key]


_MOST_PROVED = 3


class _Dressing:
    """What the pods must wear in each namespace, so that the one that is in order comes in."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.chosen: dict[str, Dress | None] = {}
        self.proved: list[Dress] = []

    def of(self, namespace: Resource) -> Dress | None:
        """None where the bare pod is refused by nobody, and where nothing that is there helps."""
        if namespace.name not in self.chosen:
            dress = None
            if not self._comes_in(namespace, None):
                # What serves in another namespace comes first: its pods are made already.
                found = chain(self.proved[:_MOST_PROVED], dresses(namespace, self.view))
                dress = next((item for item in found if self._comes_in(namespace, item)), None)
                if dress is not None and dress not in self.proved:
                    self.proved.append(dress)
            self.chosen[namespace.name] = dress
        return self.chosen[namespace.name]

    def _comes_in(self, namespace: Resource, dress: Dress | None) -> bool:
        blind = self.view.index(_Blind)
        return not any(blind.names(asked.mechanism, namespace, dress) for asked in MECHANISMS)


def read(variant: str, bare: Pod, namespace: Resource, view: View) -> Said:
    """Ask every mechanism about a pod, up to the first refusal that is one of this pod."""
    dress = view.index(_Dressing).of(namespace)
    pod = view.index(Wardrobe).wear(bare, dress)
    answers: list[Answer] = []
    for asked in MECHANISMS:
        for answer in asked.mechanism(pod, namespace, view):
            if answer.outcome is not Outcome.REFUSED:
                answers.append(answer)
            elif answer.by in view.index(_Blind).names(asked.mechanism, namespace, dress):
                why = f"{ALSO_COMPLIANT}: {answer.why}"
                answers.append(Answer(Outcome.UNDECIDED, answer.by, why))
            else:
                return Said(variant, Outcome.REFUSED, (answer,), asked.final(view))
    undecided = tuple(item for item in answers if item.outcome is Outcome.UNDECIDED)
    if undecided:
        return Said(variant, Outcome.UNDECIDED, undecided, True)
    return Said(variant, Outcome.ADMITTED, tuple(answers), False)


# --- together ---------------------------------------------------------------------------------


class _Settled(NamedTuple):
    """The answers that count, by variant; whether the API server gave one of them, and what kept
    it from giving the others.
    """

    said: Mapping[str, Said]
    asked: bool
    silence: str


def decide(violation: Violation, namespace: Resource, view: View) -> Ruling:
    """Say what a namespace does with the pods that break a rule."""
    reading, probe = _reading(violation, namespace, view), probed(violation, namespace, view)
    settled = _settle(reading, probe, namespace, view)
    final = list(settled.said.values())
    differs = disagreement(
        (said, probe.said[variant])
        for variant, said in reading.items()
        if variant in probe.said and not _contradicts(said, probe.said[variant])
    )
    where = _how(settled.asked, settled.silence, namespace, view)
    admitted = [said for said in final if said.outcome is Outcome.ADMITTED]
    undecided = [said for said in final if said.outcome is Outcome.UNDECIDED]
    if admitted:
        observed = f"{where}; admitted: {some(said.variant for said in admitted)}{_let(admitted)}"
        return Ruling(Outcome.ADMITTED, observed + differs, any(said.stands for said in admitted))
    if undecided:
        observed = f"{where}; {_words(undecided)}{differs}"
        return Ruling(Outcome.UNDECIDED, observed, True)
    stands = all(said.stands for said in final)
    observed = f"{where}; refused by {_words(final)}{differs}"
    return Ruling(Outcome.REFUSED, observed, stands, settled.asked)


def _reading(violation: Violation, namespace: Resource, view: View) -> Mapping[str, Said]:
    return {
        variant: read(variant, pod, namespace, view) for variant, pod in violation.variants.items()
    }


def _settle(
    reading: Mapping[str, Said], probe: Probed, namespace: Resource, view: View
) -> _Settled:
    """Take the API server's own answer where it tells something of a variant, else the reading.

    A dry run sends bare pods. Where they are refused whatever they ask for, the reading tells more
    if it refuses them for what they ask, or knows what to dress them in.
    """
    dress = view.index(_Dressing).of(namespace)
    final: dict[str, Said] = {}
    asked, silence = False, probe.silence
    for variant, by_reading in reading.items():
        by_asking = probe.said.get(variant)
        if by_asking is None:
            final[variant] = by_reading
        elif _contradicts(by_reading, by_asking):
            final[variant] = _contradicted(by_reading)
            asked = True
        elif by_asking.outcome is Outcome.UNDECIDED and (
            dress is not None or by_reading.outcome is Outcome.REFUSED
        ):
            final[variant] = by_reading
            silence = silence or _words([by_asking])
        else:
            final[variant] = by_asking
            asked = True
    return _Settled(final, asked, silence)


def _contradicts(by_reading: Said, by_asking: Said) -> bool:
    """Whether the API server admitted a pod that a policy, by what it says, refuses.

    Labels are another matter: what they lose to stands outside of the API, and the server knows.
    """
    refused = by_reading.outcome is Outcome.REFUSED and by_asking.outcome is Outcome.ADMITTED
    return refused and by_reading.answers[0].by != pod_security.BY


def _contradicted(by_reading: Said) -> Said:
    said = by_reading.answers[0]
    why = (
        f"{said.why}; and yet a dry run was admitted: the policy may spare the user who asked,"
        " another one may mend the pod, or it is not in force"
    )
    return Said(
        by_reading.variant,
        Outcome.UNDECIDED,
        (Answer(Outcome.UNDECIDED, said.by, why),),
        stands=True,
    )


def _how(asked: bool, silence: str, namespace: Resource, view: View) -> str:
    """The namespace's level in words, and how the answers were come by."""
    where = label_words(namespace, view)
    if asked:
        where += "; asked with a dry run"
    if silence:
        where += f"; a dry run could not tell: {silence}"
    dress = view.index(_Dressing).of(namespace)
    if dress is not None and (silence or not asked):
        where += f"; read for pods with {dress.words}"
    return where


def _words(said: Sequence[Said]) -> str:
    """The answers in words, each once: many variants get the same one."""
    found = dict.fromkeys(
        f"{answer.by}: {answer.why}" if answer.why else answer.by
        for item in said
        for answer in item.answers
    )
    return some(found)


_THROUGH = "lets it through"
"""How a mechanism says that it has nothing to add to the pod's being admitted."""


def _let(admitted: Sequence[Said]) -> str:
    """Who was asked and let the pods through, the labels aside, which stand before."""
    found = dict.fromkeys(
        answer.by if answer.why in ("", _THROUGH) else f"{answer.by}: {answer.why}"
        for said in admitted
        for answer in said.answers
        if answer.by not in (pod_security.BY, *ANYBODY)
    )
    return f" (also by {some(found)})" if found else ""


def label_words(namespace: Resource, view: View) -> str:
    """The level that the namespace's labels enforce, and whether the server can enforce it."""
    words = enforced(labels_of(namespace)).words
    missing = pod_security.missing(view) if words != "not set" else ""
    return f"{words}, {missing}" if missing else words


# --- verdicts ---------------------------------------------------------------------------------


@cache
def remedy(violation_id: str) -> str:
    """The least that Pod Security Admission must enforce to refuse every variant of a rule."""
    latest = max(since for rule in pod_security.STANDARDS for since, _ in rule.forms)
    pods = list(BY_ID[violation_id].variants.values())
    for level in (BASELINE, RESTRICTED):
        refusing = [
            minor for minor in range(latest + 1) if all(broken(pod, level, minor) for pod in pods)
        ]
        if refusing:
            least = "baseline or restricted" if level == BASELINE else level
            since = f", version v1.{refusing[0]} or later" if refusing[0] else ""
            return f"{least}{since}, or a policy that refuses such pods"
    return "a policy that refuses such pods"


def aside(namespace: Resource, view: View) -> Verdict | None:
    """Why a namespace is not asked, if it is not."""
    if is_system(namespace.name, view):
        return not_applicable("a system namespace: the rule speaks of the others")
    if mapping(namespace.body.get("status")).get("phase") == "Terminating":
        return not_applicable("the namespace is being deleted: it takes no new pods")
    return None


def judged(violation_id: str, namespace: Resource, view: View) -> Iterator[Verdict]:
    """The verdict on a namespace of the check that asks whether admission enforces a rule."""
    excluded = aside(namespace, view)
    if excluded is not None:
        yield excluded
        return
    ruling = decide(BY_ID[violation_id], namespace, view)
    yield _verdict(ruling, remedy(violation_id))


def _verdict(ruling: Ruling, expected: str) -> Verdict:
    if ruling.outcome is Outcome.REFUSED:
        return passed(PATH, ruling.observed, expected, stands=ruling.stands, noted=ruling.asked)
    if ruling.outcome is Outcome.UNDECIDED:
        return review(PATH, ruling.observed, expected)
    return failed(PATH, ruling.observed, expected, stands=ruling.stands)


def mechanism(namespace: Resource, view: View) -> Iterator[Verdict]:
    """The verdict on whether anything at all enforces pod security in a namespace."""
    excluded = aside(namespace, view)
    if excluded is not None:
        yield excluded
        return
    yield _verdict(_any_refusal(namespace, view), "baseline or restricted, or a policy for pods")


def _any_refusal(namespace: Resource, view: View) -> Ruling:
    asked, silence = False, ""
    undecided: list[Said] = []
    pairs: list[tuple[Said, Said]] = []
    for violation in VIOLATIONS:
        reading, probe = _reading(violation, namespace, view), probed(violation, namespace, view)
        settled = _settle(reading, probe, namespace, view)
        asked, silence = asked or settled.asked, silence or settled.silence
        for said in settled.said.values():
            if said.outcome is Outcome.REFUSED:
                where = _how(asked, silence, namespace, view)
                observed = f"{where}; {said.variant}: refused by {_words([said])}"
                return Ruling(Outcome.REFUSED, observed, said.stands, asked)
            if said.outcome is Outcome.UNDECIDED:
                undecided.append(said)
        pairs += [(said, probe.said[name]) for name, said in reading.items() if name in probe.said]
    where = _how(asked, silence, namespace, view)
    if undecided:
        return Ruling(Outcome.UNDECIDED, f"{where}; {_words(undecided)}", True)
    nothing = "nothing refuses a pod that breaks a rule of pod security"
    observed = f"{where}; {nothing}{disagreement(pairs)}"
    return Ruling(Outcome.ADMITTED, observed, asked)
