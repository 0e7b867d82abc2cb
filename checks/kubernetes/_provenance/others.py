"""Products that are known to verify images and whose policies are not read here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from auditor.model import Resource, View
from checks.kubernetes._pods import mapping
from checks.kubernetes._provenance.claims import Claim, Grip, Hook, pod_hooks

_PRODUCTS: Mapping[str, str] = {
    "portieris": "Portieris",
    "policy-server": "Kubewarden",
    "kubewarden": "Kubewarden",
    "notation": "Notation",
    "anchore": "Anchore",
    "binary-authorization": "Binary Authorization",
    "binauthz": "Binary Authorization",
    "cosign": "a webhook for cosign",
}
"""Parts of the names of webhook configurations and of the Services behind them."""


def others(namespace: Resource, view: View) -> Iterator[Claim]:
    """Webhooks of such products that are asked about a namespace: they may verify its images."""
    found = {
        product: hook.configuration
        for hook in pod_hooks(view)
        if hook.asked_in(namespace) and (product := _product(hook))
    }
    for product, configuration in found.items():
        why = "what it verifies is not read here"
        yield Claim(Grip.IN_PART, f"{product}, webhook configuration {configuration}", why)


def _product(hook: Hook) -> str:
    service = str(mapping(mapping(hook.body.get("clientConfig")).get("service")).get("name"))
    for part, product in _PRODUCTS.items():
        if part in hook.configuration or part in service:
            return product
    return ""
