"""Who is in `system:masters`, the group that the API server asks no questions."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import (
    Resource,
    Severity,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
    unknown,
)
from auditor.registry import check
from checks.kubernetes._pods import mapping, objects, shown, some
from checks.kubernetes._rbac import CLUSTER_ADMIN, is_shipped, role_key

MASTERS = "system:masters"


@check(
    id="k8s-masters-binding",
    title="No binding but the built-in one names system:masters",
    severity="medium",
    applies_to="kubernetes/binding",
)
def masters_binding(binding: Resource, view: View) -> Iterator[Verdict]:
    """Looks for the group `system:masters` among the subjects of every binding.

    Why: The API server lets this group do everything before it asks RBAC or any webhook, and no
    role or binding can take that away. A binding that names it changes nothing and shows that
    somebody counts on the group: identities in it are in use where named ones should be.

    Rule: Fails for each subject `system:masters` of kind Group. Not asked is the one in the binding
    that Kubernetes ships: the ClusterRoleBinding `cluster-admin`, to the ClusterRole of that
    name, with the label `kubernetes.io/bootstrapping: rbac-defaults`. Passes for all other
    bindings. Unknown when bindings could not be read.

    Fix: Bind a group of your own, whose members your identity provider can withdraw:

        subjects:
          - kind: Group
            apiGroup: rbac.authorization.k8s.io
            name: platform-operators

    Source: CIS Kubernetes 5.1.7; Kubernetes documentation, "RBAC good practices".
    """
    shipped = (
        binding.kind == "ClusterRoleBinding"
        and binding.name == CLUSTER_ADMIN[2]
        and role_key(binding) == CLUSTER_ADMIN
        and is_shipped(binding)
    )
    named = [
        index
        for index, subject in enumerate(objects(binding.body.get("subjects")))
        if subject.get("kind") == "Group" and subject.get("name") == MASTERS
    ]
    if shipped and named:
        yield not_applicable("the binding that Kubernetes ships")
        return
    for index in named:
        kind, _, name = role_key(binding)
        observed = f"Group:{MASTERS} is bound to {kind} {name}"
        yield failed(f"subjects[{index}]", observed, "a group that can be withdrawn")
    yield passed("subjects", f"{MASTERS} is not among them", stands=True)


@check(
    id="k8s-masters-certificate",
    title="No certificate is requested for system:masters",
    severity="critical",
    applies_to="kubernetes/CertificateSigningRequest",
)
def masters_certificate(request: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the organisations in the subject of every certificate signing request.

    Why: A client certificate puts its holder into the groups that its subject names as
    organisations. One of `system:masters` is above RBAC, names nobody in the audit log, and
    cannot be revoked: it ends the day it expires or the authority is replaced.

    Rule: Fails when the request names the organisation `system:masters`: critical where it is
    approved or a certificate was issued, high while it is pending. Does not apply where it was
    denied or the signer refused it. Passes when the request asks for other groups or none.
    Unknown when the request cannot be read as a certificate request, or requests could not be
    listed. The API server removes requests after hours or a day, so this shows recent ones
    alone; certificates that were signed elsewhere with the authority's key leave no trace here.

    Fix: Deny the request, and ask for a group that RBAC limits:

        kubectl certificate deny <name>

    Where one was issued, replace the client authority: nothing else takes the certificate back.

    Source: CIS Kubernetes 5.1.7; Kubernetes documentation, "Certificates and Certificate Signing
    Requests".
    """
    subject = mapping(request.body.get("subject"))
    groups = subject.get("organizations")
    path = "spec.request"
    if not isinstance(groups, list):
        why = subject.get("error") or "its subject was not read"
        yield unknown(path, str(why), "a request that can be read")
        return
    if MASTERS not in groups:
        listed = some(map(str, groups)) or "none"
        yield passed(path, f"organisations: {listed}", stands=True)
        return
    status = mapping(request.body.get("status"))
    conditions = {str(item.get("type")) for item in objects(status.get("conditions"))}
    spec = request.spec
    asked = (
        f"{shown(spec.get('username'))} asks {shown(spec.get('signerName'))} for a certificate of "
        f"{subject.get('commonName') or 'nobody'} in {MASTERS}"
    )
    expected = "another organisation, or a request that was denied"
    if status.get("certificate"):
        yield failed(path, f"{asked}: issued", expected)
    elif conditions & {"Denied", "Failed"}:
        ended = "denied" if "Denied" in conditions else "refused by the signer"
        yield not_applicable(f"{asked}: {ended}, nothing was issued", path)
    elif "Approved" in conditions:
        yield failed(path, f"{asked}: approved", expected)
    else:
        yield failed(path, f"{asked}: pending", expected, severity=Severity.HIGH)


@check(
    id="k8s-masters-auditor",
    title="The audit does not run as system:masters",
    severity="high",
    applies_to="kubernetes/SelfSubjectReview",
)
def masters_auditor(review: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the groups of the identity by which the cluster was read.

    Why: The credential that an audit uses lies in a kubeconfig on somebody's machine or in a
    pipeline. One of `system:masters` may do everything there, cannot be limited and cannot be
    revoked, and an audit needs none of it.

    Rule: Fails when the API server says, in a SelfSubjectReview, that the auditor is in the group
    `system:masters`; passes when it is not. Unknown when the API server did not say who the
    auditor is (it does from Kubernetes 1.27 on). Other holders of such credentials cannot be seen
    from inside the cluster.

    Fix: Audit as an account that may read and nothing else:

        kubectl apply -f deploy/rbac.yaml
        kubectl create token auditor --namespace auditor --duration 1h

    and lock the administrator's kubeconfig away for emergencies.

    Source: CIS Kubernetes 5.1.7; Kubernetes documentation, "RBAC good practices".
    """
    groups = review.body.get("groups")
    if not isinstance(groups, list):
        yield unknown("status.userInfo.groups", "the groups were not told", "the groups")
    elif MASTERS in groups:
        observed = f"the audit ran as {review.name}, in {MASTERS}"
        yield failed("status.userInfo.groups", observed, "an account that may only read")
    else:
        yield passed("status.userInfo.groups", f"{review.name}: {some(groups)}", stands=True)
