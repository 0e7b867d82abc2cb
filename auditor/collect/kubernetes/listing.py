"""The kinds an audit lists, and how one of them is listed: page by page, pruned at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from auditor.collect.kubernetes.http import Api, ApiError
from auditor.collect.objects import SpecPool, resource_from
from auditor.model import Json, Reason, Resource

MAX_RESTARTS = 3
"""How often a list that expired in the middle (410) is begun again."""

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""The form of a list that holds names and labels alone (Kubernetes API concepts)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind to list: its plural (which is also the scope's name), group and known versions.

    `versions` are tried in order where a server does not serve the first. `page` bounds the
    objects of one page for kinds whose objects can be a megabyte each.
    """

    plural: str
    name: str
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    accept: str = "application/json"
    page: int = 5000

    def path(self, version: str) -> str:
        """The collection over all namespaces."""
        base = f"/apis/{self.group}" if self.group else "/api"
        return f"{base}/{version}/{self.plural}"

    def api_version(self, version: str) -> str:
        """The `apiVersion` of its objects, which items of a list leave out."""
        return f"{self.group}/{version}" if self.group else version

    @property
    def rule(self) -> str:
        """The RBAC rule that lets an auditor list it, as one line of YAML."""
        return rbac_rule(self.group, self.plural, '"get", "list"')


def rbac_rule(group: str, resource: str, verbs: str) -> str:
    """What mends a 403: a rule as it would stand in a ClusterRole."""
    rule = f'{{apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{verbs}]}}'
    return f"add to the auditor's ClusterRole: - {rule}"


_ADMISSION = "admissionregistration.k8s.io"
_RBAC = "rbac.authorization.k8s.io"

# Pods first: they take longest, and everything else is listed beside them.
KINDS: Sequence[Kind] = (
    Kind("pods", "Pod"),
    Kind("replicasets", "ReplicaSet", "apps"),
    Kind("deployments", "Deployment", "apps"),
    Kind("configmaps", "ConfigMap", page=100),
    Kind("statefulsets", "StatefulSet", "apps"),
    Kind("daemonsets", "DaemonSet", "apps"),
    Kind("jobs", "Job", "batch"),
    Kind("cronjobs", "CronJob", "batch", ("v1", "v1beta1")),
    Kind("replicationcontrollers", "ReplicationController"),
    Kind("namespaces", "Namespace"),
    Kind("nodes", "Node"),
    Kind("serviceaccounts", "ServiceAccount"),
    Kind("roles", "Role", _RBAC),
    Kind("clusterroles", "ClusterRole", _RBAC),
    Kind("rolebindings", "RoleBinding", _RBAC),
    Kind("clusterrolebindings", "ClusterRoleBinding", _RBAC),
    Kind("networkpolicies", "NetworkPolicy", "networking.k8s.io"),
    Kind("ingresses", "Ingress", "networking.k8s.io", ("v1", "v1beta1")),
    Kind("services", "Service"),
    Kind("resourcequotas", "ResourceQuota"),
    Kind("limitranges", "LimitRange"),
    Kind("poddisruptionbudgets", "PodDisruptionBudget", "policy", ("v1", "v1beta1")),
    Kind("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", _ADMISSION),
    Kind("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", _ADMISSION),
    Kind(
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        _ADMISSION,
        ("v1", "v1beta1", "v1alpha1"),
    ),
    Kind(
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        _ADMISSION,
        ("v1", "v1beta1", "v1alpha1"),
    ),
    Kind(
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "apiextensions.k8s.io",
        accept=METADATA_ONLY,
    ),
    Kind("certificatesigningrequests", "CertificateSigningRequest", "certificates.k8s.io"),
    Kind("storageclasses", "StorageClass", "storage.k8s.io"),
    Kind("persistentvolumes", "PersistentVolume"),
)


@dataclass(slots=True)
class Listing:
    """What listing one kind gave. `failure` says why it did not come to its end, if so.

    `absent` says that the server does not serve the kind at all. `malformed` holds namespace,
    name and what is wrong of each object that could not be understood.
    """

    kind: Kind
    resources: list[Resource] = field(default_factory=list)
    malformed: list[tuple[str | None, str, str]] = field(default_factory=list)
    failure: ApiError | None = None
    absent: bool = False


def list_kind(api: Api, kind: Kind, target: str) -> Listing:
    """List a kind over all namespaces. Never raises for what a server answers."""
    listing = Listing(kind)
    for version in kind.versions:
        listing = _list_version(api, kind, version, target)
        if listing.failure is None or listing.failure.status != 404:
            return listing
    listing.absent = bool(kind.group) and listing.failure is not None
    return listing


def _list_version(api: Api, kind: Kind, version: str, target: str) -> Listing:
    listing = Listing(kind)
    for _ in range(MAX_RESTARTS + 1):
        listing = Listing(kind)
        try:
            _read_pages(api, kind, version, target, listing)
        except ApiError as error:
            listing.failure = error
            if error.status == 410:
                continue
        return listing
    return listing


def _read_pages(api: Api, kind: Kind, version: str, target: str, listing: Listing) -> None:
    specs = SpecPool() if kind.plural == "pods" else None
    query = {"limit": str(min(api.page_size, kind.page))}
    while True:
        page = api.get(kind.path(version), query, accept=kind.accept)
        token = _take_page(page, kind, version, target, specs, listing)
        if not token:
            return
        if token == query.get("continue"):
            raise ApiError(Reason.MALFORMED, "the server gives the same page again and again")
        query["continue"] = token


def _take_page(
    page: Json,
    kind: Kind,
    version: str,
    target: str,
    specs: SpecPool | None,
    listing: Listing,
) -> str:
    """Prune the objects of one page into the listing; return the token of the next one."""
    items = page.get("items") if isinstance(page, Mapping) else None
    metadata = page.get("metadata") if isinstance(page, Mapping) else None
    if not isinstance(items, list | None) or not isinstance(metadata, Mapping):
        raise ApiError(Reason.MALFORMED, "the answer is not a list")
    for number, item in enumerate(items or ()):
        try:
            body = {**item, "kind": kind.name, "apiVersion": kind.api_version(version)}
            listing.resources.append(
                resource_from(body, source="kubernetes", target=target, specs=specs)
            )
        except (ValueError, TypeError, AttributeError) as error:
            listing.malformed.append(_malformed(item, number, error))
    return str(metadata.get("continue") or "")


def _malformed(item: Json, number: int, error: Exception) -> tuple[str | None, str, str]:
    metadata = item.get("metadata") if isinstance(item, Mapping) else None
    metadata = metadata if isinstance(metadata, Mapping) else {}
    what = str(error) if isinstance(error, ValueError) else "its shape is not understood"
    namespace = metadata.get("namespace")
    return (
        str(namespace) if namespace else None,
        str(metadata.get("name") or f"item {number}"),
        what,
    )
