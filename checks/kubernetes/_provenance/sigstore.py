"""Sigstore's policy-controller: ClusterImagePolicies, and the namespaces that opted in.

An image must satisfy every policy whose globs match it, through any one of that policy's
authorities; one that no policy matches is refused unless `no-match-policy` in the ConfigMap
config-policy-controller says otherwise (policy-controller documentation).
"""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, View
from checks.kubernetes._pods import mapping, objects, some
from checks.kubernetes._provenance.claims import (
    Claim,
    Grip,
    narrowed,
    pod_hooks,
)
from checks.kubernetes._scopes import gap_of

_HOOK = "policy.sigstore.dev"
_CONFIG = "config-policy-controller"
_EVERY_IMAGE = frozenset({"**", "**/**", "**/*"})
"""Globs that match every image: here `*` stops at a slash, and images have their registry's name
in front (policy-controller, pkg/webhook/glob.go)."""


def sigstore(namespace: Resource, view: View) -> Iterator[Claim]:
    """policy-controller, where its webhook is asked about the namespace."""
    by = "Sigstore policy-controller"
    # The mutating webhook of the same name only puts digests in the place of tags.
    hooks = [
        hook
        for hook in pod_hooks(view)
        if hook.name == _HOOK and hook.validates and hook.asked_in(namespace)
    ]
    if not hooks:
        return
    policies = view.of_kind("ClusterImagePolicy")
    enforcing = [policy for policy in policies if policy.spec.get("mode") != "warn"]
    verifying = [policy for policy in enforcing if _verifies(policy)]
    if not verifying:
        warned = "its policies only warn" if policies and not enforcing else ""
        yield Claim(Grip.AUDITS, by, warned or "it has no ClusterImagePolicy that verifies")
        return
    passing = [policy.name for policy in enforcing if not _verifies(policy)]
    limits = [
        narrowed(hooks),
        f"ClusterImagePolicy {some(passing)} lets images pass unseen" if passing else "",
        _of_unmatched(verifying, view),
        "" if any(not policy.spec.get("match") for policy in verifying) else "only some kinds",
    ]
    why = "; ".join(filter(None, limits))
    names = some(f"ClusterImagePolicy {policy.name}" for policy in verifying)
    yield Claim(Grip.IN_PART if why else Grip.ENFORCES, f"{by}, {names}", why)


def _verifies(policy: Resource) -> bool:
    """Whether a policy asks for a signature: one authority that passes everything undoes it."""
    authorities = objects(policy.spec.get("authorities"))
    return bool(authorities) and all(
        mapping(authority.get("static")).get("action") != "pass" for authority in authorities
    )


def _of_unmatched(policies: list[Resource], view: View) -> str:
    """What becomes of images that no policy matches, where they may be admitted.

    Values of ConfigMaps are not kept; their lengths tell `allow` from `deny` and `warn`.
    """
    globs = [
        str(image.get("glob"))
        for policy in policies
        for image in objects(policy.spec.get("images"))
    ]
    if not _EVERY_IMAGE.isdisjoint(globs):
        return ""
    if gap_of(view, "configmaps", name=_CONFIG) is not None:
        return f"only images like {some(globs)}; the ConfigMap {_CONFIG} could not be read"
    for config in view.of_kind("ConfigMap"):
        length = mapping(mapping(config.body.get("data")).get("no-match-policy")).get("length")
        if config.name == _CONFIG and length == len("allow"):
            return f"only images like {some(globs)}: no-match-policy has five letters, as `allow`"
        if config.name == _CONFIG and length:
            return f"images other than {some(globs)}: no-match-policy may be `deny` or `warn`"
    return ""
