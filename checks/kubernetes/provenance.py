"""Whether the cluster admits only images whose origin was verified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from auditor.model import Resource, Verdict, View, failed, not_applicable, passed, review, unknown
from auditor.registry import check
from checks.kubernetes._pods import some
from checks.kubernetes._provenance.api_server import api_servers, image_policy_webhook
from checks.kubernetes._provenance.claims import Claim, Grip, Mechanism
from checks.kubernetes._provenance.connaisseur import connaisseur
from checks.kubernetes._provenance.gatekeeper import ratify
from checks.kubernetes._provenance.kyverno import kyverno
from checks.kubernetes._provenance.others import others
from checks.kubernetes._provenance.sigstore import sigstore
from checks.kubernetes._scopes import gap_of, is_system

_MECHANISMS: Sequence[Mechanism] = (
    image_policy_webhook,
    sigstore,
    kyverno,
    ratify,
    connaisseur,
    others,
)
_SCOPES = (
    "pods",
    "namespaces",
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "clusterimagepolicies.policy.sigstore.dev",
    "clusterpolicies.kyverno.io",
    "policies.kyverno.io",
    "policyexceptions.kyverno.io",
    "imagevalidatingpolicies.policies.kyverno.io",
    "namespacedimagevalidatingpolicies.policies.kyverno.io",
    "policyexceptions.policies.kyverno.io",
    "configs.config.gatekeeper.sh",
    "constraints.gatekeeper.sh",
)
_EXPECTED = "in every namespace, pods whose images were not verified are refused"


@check(
    id="k8s-image-provenance",
    title="Only images of verified origin are admitted",
    severity="high",
    applies_to="kubernetes/cluster",
    needs=_SCOPES,
    settings=("system_namespaces",),
)
def image_provenance(cluster: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what verifies signatures of images when a pod is created, namespace by namespace.

    Why: Whoever can write to a registry, or to a tag in it, decides what runs in the cluster. A
    signature that admission verifies ties an image to the build that made it.

    Rule: Asks each mechanism about each namespace outside `[rules] system_namespaces`: Sigstore
    policy-controller (its webhook selects the namespace, and a ClusterImagePolicy in enforce mode
    asks for signatures), Kyverno (`verifyImages` rules with Enforce, ImageValidatingPolicy with
    Deny), Gatekeeper with Ratify (a constraint RatifyVerification with deny), Connaisseur, and
    ImagePolicyWebhook in the arguments of the API server's pods. Passes when in each namespace one
    of them verifies every image. Gives a review when that holds in some namespaces, for some
    images or pods only, with exceptions or with a webhook that admits when it is silent; for
    Connaisseur and ImagePolicyWebhook, whose decisions stand where the API does not show them; and
    for webhooks of Portieris, Kubewarden, Notation, Anchore, Binary Authorization and cosign, known
    by their names, whose policies are not read.
    Fails when nothing does, or only in audit mode. Where nothing does and the API server's
    arguments cannot be seen, as in a managed cluster, the verdict is a review: the cloud may
    verify (Binary Authorization of Google). Amazon EKS has no such plugin, so there it fails. A
    namespace that only holds the controller itself is usually left out by its webhook; put it
    into `[rules] system_namespaces`. Whether the trusted keys are the right ones a person must
    see. Unknown when one of these kinds could not be listed and it matters, and for manifests.

    Fix: Install a controller, sign in the build, and enforce in one namespace after the other.
    With Kyverno:

        apiVersion: kyverno.io/v1
        kind: ClusterPolicy
        metadata:
          name: verify-images
        spec:
          webhookConfiguration: {failurePolicy: Fail}
          rules:
            - name: signed-by-our-build
              match:
                any:
                  - resources: {kinds: [Pod]}
              verifyImages:
                - imageReferences: ["*"]
                  failureAction: Enforce
                  attestors:
                    - entries:
                        - keyless:
                            subject: https://github.com/example/*
                            issuer: https://token.actions.githubusercontent.com

    Source: CIS Kubernetes 5.5.1; NIST SP 800-190, 4.1.5; the documentation of each mechanism; the
    Amazon EKS User Guide, platform versions, which lists the admission plugins.
    """
    gap = gap_of(view, *_SCOPES)
    spaces = [item for item in view.of_kind("Namespace") if not is_system(item.name, view)]
    if not spaces:
        yield (
            not_applicable("no namespace outside the system ones")
            if gap is None
            else unknown("", f"could not read {gap.scope}: {gap.reason}: {gap.detail}", _EXPECTED)
        )
        return
    claims = {space.name: _claims(space, view) for space in spaces}
    best = {name: found[0] if found else None for name, found in claims.items()}
    firm = [name for name, claim in best.items() if claim and claim.grip is Grip.ENFORCES]
    in_part = {n: claim for n, claim in best.items() if claim and claim.grip is Grip.IN_PART}
    if len(firm) == len(spaces):
        yield passed(observed=some(dict.fromkeys(str(claim) for claim in best.values())))
    elif gap is not None:
        yield unknown("", f"could not read {gap.scope}: {gap.reason}: {gap.detail}", _EXPECTED)
    elif firm or in_part:
        open_in = [name for name in best if name not in firm and name not in in_part]
        yield review("", _shown(len(spaces), firm, in_part, open_in), _EXPECTED)
    else:
        yield _nothing_enforces([claim for found in claims.values() for claim in found], view)


def _claims(namespace: Resource, view: View) -> list[Claim]:
    """What every mechanism does in a namespace, the firmest first."""
    claims = [claim for mechanism in _MECHANISMS for claim in mechanism(namespace, view)]
    return sorted(claims, key=lambda claim: claim.grip.value)


def _shown(total: int, firm: list[str], in_part: dict[str, Claim], open_in: list[str]) -> str:
    parts = [f"verified in {len(firm)} of {total} namespaces"]
    by_claim: dict[str, list[str]] = {}
    for name, claim in in_part.items():
        by_claim.setdefault(str(claim), []).append(name)
    parts.extend(f"in part in {some(names)} ({claim})" for claim, names in by_claim.items())
    if open_in:
        parts.append(f"not in {some(open_in, 5)}")
    return "; ".join(parts)


def _nothing_enforces(audited: Sequence[Claim], view: View) -> Verdict:
    observed = "nothing verifies images"
    if audited:
        observed = f"nothing is refused: {some(dict.fromkeys(map(str, audited)), 5)}"
    if api_servers(view) or "-eks-" in view.target.facts.get("version", ""):
        return failed("", observed, _EXPECTED)
    observed += "; the API server's own plugins cannot be seen"
    return review("", observed, "a person to say whether the platform verifies images")
