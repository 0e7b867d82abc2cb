"""From the answers to an admission probe to resources, coverage and gaps."""

from __future__ import annotations

from auditor.collect.base import Harvest
from auditor.collect.kubernetes.probe import FAILED, REMEDY, Answers
from auditor.collect.probes import KIND, SCOPE, Probes
from auditor.model import Gap, Json, Reason, Resource

SOURCE = "kubernetes"


def take_answers(
    answers: Answers, probes: Probes, target: str, harvest: Harvest, hidden: Gap | None
) -> int:
    """Add one resource for each namespace and rule that was asked about to its end; return how
    many answers there were.

    Its body has `results` (`variant`, `outcome`, `by`, `message`), `compliant` (the same of the
    pod that breaks no rule) and a `note`, which is empty where there is nothing to say. `hidden`
    is the gap, if any, that keeps the names of namespaces from us.
    """
    count = 0
    made = 0
    for namespace, compliant in answers.compliant.items():
        count += 1
        for rule, variants in probes.violations.items():
            found = answers.results.get(namespace, {}).get(rule, {})
            if compliant.outcome == FAILED:
                note = "no pod at all can be created here now, so no other was asked about"
                results = [{"variant": name, **compliant.row()} for name in variants]
            elif set(found) == set(variants):
                note = ""
                results = [{"variant": name, **found[name].row()} for name in variants]
                count += len(found)
            else:
                continue
            made += 1
            body: dict[str, Json] = {
                "results": results,
                "compliant": compliant.row(),
                "note": note,
            }
            harvest.resources.append(Resource(SOURCE, target, KIND, namespace, rule, body))
    if not _gaps(answers, target, harvest, hidden):
        harvest.covered(target, SOURCE, SCOPE, made)
    return count


def _gaps(answers: Answers, target: str, harvest: Harvest, hidden: Gap | None) -> bool:
    """Say what was not asked; return whether there is such a thing."""
    before = len(harvest.gaps)
    stopped, forbidden = answers.stopped, answers.forbidden
    if hidden is not None:
        detail = f"namespaces were not all read: {hidden.detail}"
        harvest.gap(target, SOURCE, SCOPE, hidden.reason, detail, hidden.remedy)
    if stopped is not None:
        harvest.gap(target, SOURCE, SCOPE, stopped.reason, stopped.message, stopped.remedy)
    if forbidden and not answers.compliant:
        first = next(iter(forbidden.values()))
        harvest.gap(target, SOURCE, SCOPE, Reason.FORBIDDEN, first, REMEDY)
    else:
        for namespace, message in sorted(forbidden.items()):
            harvest.gap(
                target, SOURCE, SCOPE, Reason.FORBIDDEN, message, REMEDY, namespace=namespace
            )
    if stopped is None:
        for namespace in sorted(answers.unasked):
            harvest.gap(
                target,
                SOURCE,
                SCOPE,
                Reason.TIMED_OUT,
                "the time for the whole cluster had passed before all pods were asked about",
                "raise deadline in [kubernetes]",
                namespace=namespace,
            )
    return len(harvest.gaps) > before
