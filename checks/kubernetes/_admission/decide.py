"""Whether a namespace refuses the pods that break a rule: all mechanisms together, and the probe.

A rule is enforced when every variant of a pod that breaks it is refused by something. What the
API server itself said to a dry run (`--probe-admission`) wins over what the objects say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from auditor.model import (
    Json,
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
    validating_policy,
    webhooks,
)
from checks.kubernetes._admission.answers import Answer, Mechanism, Outcome, Pod
from checks.kubernetes._admission.pod_security import (
    BASELINE,
    ENFORCE,
    ON_BY_DEFAULT,
    RESTRICTED,
    broken,
    enforced,
)
from checks.kubernetes._admission.violations import BY_ID, COMPLIANT, VIOLATIONS, Violation
from checks.kubernetes._pods import mapping, objects, some
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
)
"""In the order of asking: the first refusal ends it."""


class Said(NamedTuple):
    """What became of one variant, and by whose word."""

    variant: str
    outcome: Outcome
    answers: tuple[Answer, ...]
    stands: bool


class Ruling(NamedTuple):
    """What a namespace does with the pods of a rule, with its evidence in words.

    `asked` says that the API server's own answer is among the evidence.
    """

    outcome: Outcome
    observed: str
    stands: bool
    asked: bool = False


_ALSO_COMPLIANT = "refuses a pod that breaks no rule as well"

# --- reading ----------------------------------------------------------------------------------


class _Blind:
    """Who refuses even the pod that is in order, and so shows nothing of a rule."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.found: dict[tuple[Mechanism, str], frozenset[str]] = {}

    def names(self, mechanism: Mechanism, namespace: Resource) -> frozenset[str]:
        """Those of one mechanism in one namespace, as their answers name them."""
        key = (mechanism, namespace.name)
        if key not in self.found:
            self.found[key] = frozenset(
                answer.by
                for answer in mechanism(COMPLIANT, namespace, self.view)
                if answer.outcome is Outcome.REFUSED
            )
        return self.found[key]


def read(variant: str, pod: Pod, namespace: Resource, view: View) -> Said:
    """Ask every mechanism about a pod, up to the first refusal that is one of this pod."""
    answers: list[Answer] = []
    for asked in MECHANISMS:
        for answer in asked.mechanism(pod, namespace, view):
            if answer.outcome is not Outcome.REFUSED:
                answers.append(answer)
            elif answer.by in view.index(_Blind).names(asked.mechanism, namespace):
                why = f"{_ALSO_COMPLIANT}: {answer.why}"
                answers.append(Answer(Outcome.UNDECIDED, answer.by, why))
            else:
                return Said(variant, Outcome.REFUSED, (answer,), asked.final(view))
    undecided = tuple(item for item in answers if item.outcome is Outcome.UNDECIDED)
    if undecided:
        return Said(variant, Outcome.UNDECIDED, undecided, True)
    return Said(variant, Outcome.ADMITTED, tuple(answers), False)


# --- probing ----------------------------------------------------------------------------------

PROBE = "AdmissionProbe"
_ANYBODY = ("", "admission")
"""How a dry run names a refuser that the API server's words do not tell."""


class Probed(NamedTuple):
    """What a dry run said of the variants that it could tell something of, and what kept it from
    telling more, if anything.
    """

    said: Mapping[str, Said]
    silence: str = ""


def probed(violation: Violation, namespace: Resource, view: View) -> Probed:
    """What the API server said of the pods of a rule, where it was asked (`--probe-admission`)."""
    for resource in view.in_namespace(PROBE, namespace.name):
        if resource.name == violation.id:
            return _results(resource.body)
    return Probed({})


def _results(body: Mapping[str, Json]) -> Probed:
    compliant = mapping(body.get("compliant"))
    blind = _refuser(compliant) if compliant.get("outcome") == Outcome.REFUSED else None
    found: dict[str, Said] = {}
    silence = ""
    for result in objects(body.get("results")):
        variant, message = str(result.get("variant")), str(result.get("message") or "")
        by = str(result.get("by") or "")
        if result.get("outcome") == Outcome.ADMITTED:
            answer = Answer(Outcome.ADMITTED, by, message)
        elif result.get("outcome") != Outcome.REFUSED:
            silence = silence or message
            continue
        elif blind is not None and _refuser(result) == blind:
            answer = Answer(Outcome.UNDECIDED, by, f"{_ALSO_COMPLIANT}: {message}")
        else:
            answer = Answer(Outcome.REFUSED, by, message)
        found[variant] = Said(variant, answer.outcome, (answer,), True)
    return Probed(found, silence)


def _refuser(result: Mapping[str, Json]) -> str:
    """Who refused, as far as the API server's words tell; else those words."""
    by = str(result.get("by") or "")
    return str(result.get("message")) if by in _ANYBODY else by


# --- together ---------------------------------------------------------------------------------


def decide(violation: Violation, namespace: Resource, view: View) -> Ruling:
    """Say what a namespace does with the pods that break a rule."""
    reading = {
        variant: read(variant, pod, namespace, view) for variant, pod in violation.variants.items()
    }
    probe = probed(violation, namespace, view)
    final = [_final(said, probe) for said in reading.values()]
    pairs = [
        (said, probe.said[variant]) for variant, said in reading.items() if variant in probe.said
    ]
    where, differs = _how(namespace, view, probe), _disagreement(pairs)
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
    return Ruling(Outcome.REFUSED, observed, stands, bool(probe.said))


def _final(reading: Said, probe: Probed) -> Said:
    """The answer that counts: the API server's own, where it tells something of the variant."""
    asked = probe.said.get(reading.variant)
    if asked is None:
        return reading
    hidden = asked.outcome is Outcome.UNDECIDED and reading.outcome is Outcome.REFUSED
    return reading if hidden else asked


def _how(namespace: Resource, view: View, probe: Probed) -> str:
    """The namespace's level in words, and whether the API server was asked itself."""
    where = label_words(namespace, view)
    if probe.said:
        where += "; asked with a dry run"
    if probe.silence:
        where += f"; a dry run could not tell: {probe.silence}"
    return where


def _words(said: Sequence[Said]) -> str:
    """The answers in words, each once: many variants get the same one."""
    found = dict.fromkeys(
        f"{answer.by}: {answer.why}" if answer.why else answer.by
        for item in said
        for answer in item.answers
    )
    return some(found)


def _let(admitted: Sequence[Said]) -> str:
    """Who was asked and let the pods through, the labels aside, which stand before."""
    found = dict.fromkeys(
        answer.by for said in admitted for answer in said.answers if answer.by != pod_security.BY
    )
    named = [by for by in found if by not in _ANYBODY]
    return f" (also by {some(named)})" if named else ""


def _disagreement(pairs: Sequence[tuple[Said, Said]]) -> str:
    """A sentence where the objects say otherwise than the API server, and why that may be."""
    differing = {
        (by_reading.outcome, by_asking.outcome)
        for by_reading, by_asking in pairs
        if {by_reading.outcome, by_asking.outcome} == {Outcome.ADMITTED, Outcome.REFUSED}
    }
    if (Outcome.REFUSED, Outcome.ADMITTED) in differing:
        return (
            "; the objects say that it would be refused: an exemption in the API server's"
            " AdmissionConfiguration, a plugin that is switched off, or a mutation that mends"
            " the pod may be why"
        )
    if differing:
        return (
            "; the objects say that it would be admitted: a default in the API server's"
            " AdmissionConfiguration, or a webhook, may be why"
        )
    return ""


def label_words(namespace: Resource, view: View) -> str:
    """The level that the namespace's labels enforce, and whether the server can enforce it."""
    words = enforced(labels_of(namespace)).words
    if words != "not set" and not pod_security.is_there(view):
        version = view.target.facts.get("version")
        return f"{words}, which a server before 1.{ON_BY_DEFAULT} ({version}) does not enforce"
    return words


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
    probes = [probed(violation, namespace, view) for violation in VIOLATIONS]
    asked = {variant: said for probe in probes for variant, said in probe.said.items()}
    where = _how(
        namespace, view, Probed(asked, next((item.silence for item in probes if item.silence), ""))
    )
    undecided: list[Said] = []
    for violation in VIOLATIONS:
        for variant, pod in violation.variants.items():
            said = _final(read(variant, pod, namespace, view), Probed(asked))
            if said.outcome is Outcome.REFUSED:
                observed = f"{where}; {variant}: refused by {_words([said])}"
                return Ruling(Outcome.REFUSED, observed, said.stands, bool(asked))
            if said.outcome is Outcome.UNDECIDED:
                undecided.append(said)
    if undecided:
        return Ruling(Outcome.UNDECIDED, f"{where}; {_words(undecided)}", True)
    observed = f"{where}; nothing refuses a pod that breaks a rule of pod security"
    return Ruling(Outcome.ADMITTED, observed, bool(asked))
