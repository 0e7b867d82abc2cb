"""Connaisseur, as its webhook shows it."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, View
from checks.kubernetes._pods import mapping
from checks.kubernetes._provenance.claims import Claim, Grip, Hook, pod_hooks


def connaisseur(namespace: Resource, view: View) -> Iterator[Claim]:
    """Connaisseur, where its webhook is asked about a namespace.

    Which images it verifies, and whether it only warns, stands in its ConfigMap, whose values are
    not kept.
    """
    if any(_is_its(hook) and hook.asked_in(namespace) for hook in pod_hooks(view)):
        why = "its image policy and its detection mode stand in its ConfigMap, and are not kept"
        yield Claim(Grip.IN_PART, "Connaisseur", why)


def _is_its(hook: Hook) -> bool:
    service = mapping(mapping(hook.body.get("clientConfig")).get("service"))
    return "connaisseur" in hook.configuration or "connaisseur" in str(service.get("name"))
