"""Whether namespaces separate what does not belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from auditor.model import Resource, Verdict, View, failed, not_applicable, passed, review, unknown
from auditor.registry import check
from checks.kubernetes._pods import some
from checks.kubernetes._scopes import gap_of, is_system, labels_of

_WORKLOADS = (
    "pods",
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "jobs",
    "cronjobs",
    "replicationcontrollers",
)
DEFAULT = "default"
_APART = "each application in a namespace of its own, and none in `default`"


@check(
    id="k8s-namespace-boundaries",
    title="Workloads are spread over namespaces of their own",
    severity="medium",
    applies_to="kubernetes/cluster",
    needs=_WORKLOADS,
    settings=("system_namespaces",),
)
def namespace_boundaries(cluster: Resource, view: View) -> Iterator[Verdict]:
    """Looks at how the workloads that are not the platform's are spread over namespaces.

    Why: Roles, quotas, network policies, pod security and secrets are all bounded by namespaces.
    Workloads that share one share all of it: who may read a Secret there reads everybody's.

    Rule: Looks at workloads outside `[rules] system_namespaces`; applications are told apart by
    the label `app.kubernetes.io/part-of` of pods. Fails when all of them stand in `default`, and
    when all stand in one other namespace and carry more than one application's label. Passes when
    none stands in `default`, no namespace holds more than one application by its labels, and no
    namespace holds more than two thirds of all workloads, unless that is one workload or all of
    them carry the same label. Gives a review in all other cases, with the numbers: some workloads
    in `default`, several applications in one namespace, most workloads in one namespace without
    labels that tell.
    Does not apply to a cluster without such workloads. That labels are honest, and whether what
    shares a namespace belongs together, only its owner knows. Unknown when pods or workloads could
    not be listed, and for manifests, which show only the workloads that they hold.

    Fix: Give each application, and each stage of it, a namespace, and deploy it there:

        apiVersion: v1
        kind: Namespace
        metadata:
          name: ledger-production

    Source: CIS Kubernetes 5.6.1; Kubernetes documentation, "Recommended Labels".
    """
    spaces: dict[str, list[Resource]] = {}
    for workload in view.workloads:
        if not is_system(workload.namespace, view):
            spaces.setdefault(str(workload.namespace), []).append(workload)
    gap = gap_of(view, *_WORKLOADS)
    if gap is not None:
        yield unknown("", f"could not read {gap.scope}: {gap.reason}: {gap.detail}", _APART)
        return
    if not spaces:
        yield not_applicable("no workload stands outside the system namespaces")
        return
    shared = {
        name: found for name, items in sorted(spaces.items()) if len(found := _parts(items)) > 1
    }
    total = sum(len(_owners(items)) for items in spaces.values())
    counted = f"{total} workloads in {len(spaces)} namespaces"
    if set(spaces) == {DEFAULT}:
        observed = f"all {total} workloads stand in `{DEFAULT}`"
        yield failed(f"Namespace/{DEFAULT}", observed, _APART)
    elif len(spaces) == 1 and shared:
        (name,) = spaces
        observed = f"all {total} workloads stand in {name}, those of {some(shared[name])} together"
        yield failed(f"Namespace/{name}", observed, _APART)
    elif DEFAULT in spaces:
        names = some(_owners(spaces[DEFAULT]))
        yield review(f"Namespace/{DEFAULT}", f"{counted}; in `{DEFAULT}`: {names}", _APART)
    elif shared:
        for name, parts in shared.items():
            observed = f"{counted}; {name} holds those of {some(parts, 5)}"
            yield review(f"Namespace/{name}", observed, _APART)
    else:
        yield _spread(spaces, total, counted)


def _spread(spaces: Mapping[str, Sequence[Resource]], total: int, counted: str) -> Verdict:
    """Whether one namespace holds most of what there is, and no label says that it is one thing."""
    name = max(spaces, key=lambda space: len(_owners(spaces[space])))
    held = _owners(spaces[name])
    if 3 * len(held) <= 2 * total or _is_one_application(spaces[name]):
        return passed(observed=counted)
    share = "all" if len(spaces) == 1 else f"{len(held)} of"
    observed = f"{share} {total} workloads stand in {name}: {some(held, 5)}"
    return review(f"Namespace/{name}", observed, "a person to say whether they are one thing")


def _owners(workloads: Sequence[Resource]) -> list[str]:
    """Each workload once, however many specs its pods have."""
    return [*dict.fromkeys(f"{workload.kind}/{workload.name}" for workload in workloads)]


def _part(workload: Resource) -> str:
    return labels_of(workload).get("app.kubernetes.io/part-of", "")


def _parts(workloads: Sequence[Resource]) -> list[str]:
    """The applications that the labels of some workloads name."""
    return sorted({part for workload in workloads if (part := _part(workload))})


def _is_one_application(workloads: Sequence[Resource]) -> bool:
    parts = {_part(workload) for workload in workloads}
    return len(_owners(workloads)) == 1 or (len(parts) == 1 and "" not in parts)


_OBJECTS = (
    "Service",
    "Ingress",
    "ConfigMap",
    "ServiceAccount",
    "PodDisruptionBudget",
    "ExternalSecret",
    "SecretStore",
    "SecretProviderClass",
    "SealedSecret",
    "VaultStaticSecret",
    "VaultDynamicSecret",
)
_ACCESS = ("Role", "RoleBinding")
_BUILT_IN = {
    ("Service", "kubernetes"),
    ("ConfigMap", "kube-root-ca.crt"),
    ("ServiceAccount", "default"),
}
"""What Kubernetes itself puts into the namespace `default`."""


@check(
    id="k8s-default-namespace",
    title="The namespace default is empty",
    severity="medium",
    applies_to="kubernetes/Namespace",
    needs=(
        *_WORKLOADS,
        "services",
        "ingresses",
        "configmaps",
        "serviceaccounts",
        "roles",
        "rolebindings",
        "poddisruptionbudgets",
        "externalsecrets.external-secrets.io",
        "secretstores.external-secrets.io",
        "secretproviderclasses.secrets-store.csi.x-k8s.io",
        "sealedsecrets.bitnami.com",
        "vaultstaticsecrets.secrets.hashicorp.com",
        "vaultdynamicsecrets.secrets.hashicorp.com",
    ),
)
def default_namespace(namespace: Resource, view: View) -> Iterator[Verdict]:
    """Looks for anything in the namespace `default` that Kubernetes did not put there.

    Why: What lands in `default` landed there because nobody said where. It is the namespace that
    nobody owns, with the policies and quotas that nobody wrote.

    Rule: Fails when `default` holds a workload, or a Service, Ingress, ConfigMap, ServiceAccount,
    PodDisruptionBudget or a secret of a known operator, once for each kind, with names. Gives a
    review for a Role or RoleBinding: it may be about the built-in Service, as that of a monitoring
    system is, or about what should not be there. The Service `kubernetes`, the ConfigMap
    `kube-root-ca.crt` and the account `default` belong there, and so does what stands under the
    same kind and name in every other namespace too, for a controller put it there (certificates of
    a service mesh, say). Policies, quotas and limits may stand there: they guard the place.
    Secrets are not read and not counted.
    Does not apply to other namespaces, so in manifests only where they hold this one: what names
    no namespace there is given one when it is applied. Unknown when one of these kinds could not
    be listed and none that was read is there.

    Fix: Create a namespace for what was found and move it there; that no more comes, a quota
    helps:

        apiVersion: v1
        kind: ResourceQuota
        metadata:
          name: nothing
          namespace: default
        spec:
          hard:
            pods: "0"

    Source: CIS Kubernetes 5.6.4.
    """
    if namespace.name != DEFAULT:
        yield not_applicable("not the namespace `default`")
        return
    expected = "nothing but what Kubernetes puts there"
    workloads = view.workloads_in(DEFAULT)
    if workloads:
        names = some(_owners(workloads), 5)
        yield failed("workloads", f"{len(_owners(workloads))}: {names}", expected)
    others = [item.name for item in view.of_kind("Namespace") if item.name != DEFAULT]
    for kind in (*_OBJECTS, *_ACCESS):
        found = [
            item.name
            for item in view.in_namespace(kind, DEFAULT)
            if (kind, item.name) not in _BUILT_IN and not _is_everywhere(item, others, view)
        ]
        if not found:
            continue
        observed = f"{len(found)}: {some(found, 5)}"
        if kind in _ACCESS:
            yield review(kind, observed, "a person to judge to what in `default` it gives access")
        else:
            yield failed(kind, observed, expected)
    yield passed()


def _is_everywhere(item: Resource, others: Sequence[str], view: View) -> bool:
    """Whether an object of that kind and name stands in every other namespace as well."""
    return bool(others) and all(
        any(twin.name == item.name for twin in view.in_namespace(item.kind, name))
        for name in others
    )
