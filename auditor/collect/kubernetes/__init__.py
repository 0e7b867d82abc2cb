"""Reads a live cluster: every kind side by side, each with its own gap when it cannot be read.

Nothing is written: the one POST is a SelfSubjectReview, which tells who the auditor is and
stores nothing. Secrets are not requested at all. `deploy/rbac.yaml` is the least an auditor
needs.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from auditor.collect.base import Harvest, Progress, Silent
from auditor.collect.kubernetes.connection import Connection, connect
from auditor.collect.kubernetes.http import Api, ApiError
from auditor.collect.kubernetes.kinds import KINDS, rbac_rule
from auditor.collect.kubernetes.listing import Listing, list_kind
from auditor.config import KubernetesTable
from auditor.errors import CollectError
from auditor.model import Json, Reason, Resource, Target

SOURCE = "kubernetes"
_IDENTITY_SCOPE = "selfsubjectreviews"
_GROUPS_SCOPE = "apigroups"
_AUTHENTICATION = "authentication.k8s.io"


def collect_kubernetes(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    config: KubernetesTable,
    progress: Progress | None = None,
) -> Harvest:
    """Read one cluster: through a kubeconfig's context, or the account of the pod we run in.

    What cannot be read is a gap of its kind and nothing else; what was read before a list broke
    off is kept. `context` None means the current one.

    Raises `AbsentTargetError` where no cluster is configured, and `CollectError` where the
    configuration cannot be used or the API server does not answer at all.
    """
    progress = progress or Silent()
    with TemporaryDirectory(prefix="auditor-") as folder:
        connection = connect(
            kubeconfig,
            context,
            folder=Path(folder),
            parallel=config.parallel,
            seconds=config.deadline,
        )
        try:
            with _no_garbage_collection():
                return _Cluster(connection, config, progress).read()
        finally:
            connection.close()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Pause the search for cyclic garbage: decoded pages have no cycles, and hold so many objects
    that the search takes longer than the decoding. Pages are freed all the same, by their count.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Cluster:
    """One cluster being read into one harvest, by one thread that gathers what others list."""

    def __init__(self, connection: Connection, config: KubernetesTable, progress: Progress) -> None:
        self.connection = connection
        self.config = config
        self.progress = progress
        self.api = Api(connection, config)
        self.harvest = Harvest()
        self.facts: dict[str, str] = {"context": connection.context}
        self.target = f"{SOURCE}:{connection.context}"

    def read(self) -> Harvest:
        self._first_contact()
        listings: list[Listing] = []
        with ThreadPoolExecutor(self.config.parallel, "auditor-kube") as pool:
            lists = [pool.submit(list_kind, self.api, kind, self.target) for kind in KINDS]
            version = pool.submit(_tried, lambda: self.api.get("/version"))
            groups = pool.submit(_tried, lambda: self.api.get("/apis"))
            identity = pool.submit(self._identity)
            for future in as_completed(lists):
                listing = future.result()
                listings.append(listing)
                self.progress.step(SOURCE, listing.kind.scope, len(listing.resources))
        served = self._take_groups(groups.result())
        for listing in listings:
            self._take(listing, served)
        self._take_version(version.result())
        self._take_identity(identity.result())
        self._count(listings)
        self.harvest.targets.append(
            Target(self.target, SOURCE, self.connection.context, dict(sorted(self.facts.items())))
        )
        return self.harvest

    def _first_contact(self) -> None:
        """Find out whether anybody answers, and which cluster it is.

        The UID of the namespace kube-system is what names a cluster: no API names it otherwise,
        and that namespace lives as long as the cluster does.
        """
        self.progress.step(SOURCE, "kube-system")
        try:
            found = self._namespace()
        except ApiError as error:
            if error.status == 403 or (error.status == 404 and error.from_api):
                self.facts["cluster UID"] = "not readable; the context's name stands for it"
                return
            raise self._unreachable(error) from error
        metadata = found.get("metadata") if isinstance(found, Mapping) else None
        uid = metadata.get("uid") if isinstance(metadata, Mapping) else None
        if not uid:
            raise self._unreachable(
                ApiError(Reason.MALFORMED, "what answers is not a Kubernetes API server")
            )
        self.target = f"{SOURCE}:{uid}"
        self.facts["cluster UID"] = str(uid)

    def _namespace(self) -> Json:
        path = "/api/v1/namespaces/kube-system"
        try:
            # One try: a server that is not there should be said to be so at once.
            return self.api.get(path, attempts=1)
        except ApiError as error:
            if error.status is None or not error.transient:
                raise
            return self.api.get(path)

    def _unreachable(self, error: ApiError) -> CollectError:
        where = f"context {self.connection.context!r} ({self.connection.host})"
        if error.status == 401:
            expired = self.connection.expired_certificate()
            if expired:
                return CollectError(
                    f"the client certificate expired on {expired} (HTTP 401)",
                    where=where,
                    remedy="renew it and write it into the kubeconfig",
                    reason=Reason.UNAUTHENTICATED,
                )
            return CollectError(
                "the API server does not accept the credentials (HTTP 401)",
                where=where,
                remedy="log in again: the token or certificate may have expired",
                reason=Reason.UNAUTHENTICATED,
            )
        if "certificate" in error.message:
            remedy = "renew the server's certificate, or correct certificate-authority"
        elif error.reason is Reason.UNREACHABLE or error.reason is Reason.TIMED_OUT:
            remedy = "see whether the server in the kubeconfig is the right one and is up"
        else:
            remedy = "see whether the server in the kubeconfig is a Kubernetes API server"
        what = f"the API server cannot be reached: {error.message}"
        if error.status is not None:
            what = f"the API server cannot be read: {error.message}"
        return CollectError(what, where=where, remedy=remedy, reason=error.reason)

    def _identity(self) -> Json | ApiError:
        """Ask who we are: authentication.k8s.io/v1 from Kubernetes 1.28 on, v1beta1 from 1.27."""
        answer: Json | ApiError = ApiError(Reason.ABSENT, "not asked")
        for version in ("v1", "v1beta1"):
            body = {"apiVersion": f"{_AUTHENTICATION}/{version}", "kind": "SelfSubjectReview"}
            path = f"/apis/{_AUTHENTICATION}/{version}/{_IDENTITY_SCOPE}"
            answer = _tried(partial(self.api.post, path, body))
            if not isinstance(answer, ApiError) or answer.status != 404:
                break
        return answer

    def _take(self, listing: Listing, served: Mapping[str, list[str]]) -> None:
        """Turn a listing into resources, coverage and gaps."""
        kind, failure = listing.kind, listing.failure
        self.harvest.resources.extend(listing.resources)
        for namespace, name, what in listing.malformed:
            self.harvest.gap(
                self.target,
                SOURCE,
                kind.scope,
                Reason.MALFORMED,
                what,
                namespace=namespace,
                name=name,
            )
        if failure is None:
            self._covered(kind.scope, len(listing.resources))
            return
        if listing.absent and failure.from_api:
            versions = served.get(kind.group, [])
            if not versions or set(versions) & set(kind.versions):
                # An API that is not served holds nothing: no object of it can take effect.
                self._covered(kind.scope, 0)
                return
            detail = f"served only as {', '.join(versions)}, which this version does not read"
            self._gap(kind.scope, Reason.ABSENT, detail, "use a newer version of auditor")
            return
        part = f"; {len(listing.resources)} were read before" if listing.resources else ""
        self._gap(
            kind.scope, failure.reason, failure.message + part, remedy_for(failure, kind.rule)
        )

    def _take_groups(self, answer: Json | ApiError) -> dict[str, list[str]]:
        """Keep what the server serves; return the versions of each API group."""
        if isinstance(answer, ApiError):
            rule = '{nonResourceURLs: ["/apis"], verbs: ["get"]}'
            remedy = remedy_for(answer, f"add to the auditor's ClusterRole: - {rule}")
            self._gap(_GROUPS_SCOPE, answer.reason, answer.message, remedy)
            return {}
        served: dict[str, list[str]] = {}
        groups = answer.get("groups") if isinstance(answer, Mapping) else None
        for group in groups if isinstance(groups, list) else ():
            name = str(group.get("name"))
            served[name] = [str(item.get("version")) for item in group.get("versions") or ()]
            body = {"versions": served[name]}
            self.harvest.resources.append(
                Resource(SOURCE, self.target, "APIGroup", None, name, body)
            )
        self._covered(_GROUPS_SCOPE, len(served))
        return served

    def _take_version(self, answer: Json | ApiError) -> None:
        if isinstance(answer, ApiError):
            rule = '{nonResourceURLs: ["/version"], verbs: ["get"]}'
            remedy = remedy_for(answer, f"add to the auditor's ClusterRole: - {rule}")
            self._gap("version", answer.reason, answer.message, remedy)
        elif isinstance(answer, Mapping):
            for fact, field in (("version", "gitVersion"), ("platform", "platform")):
                if answer.get(field):
                    self.facts[fact] = str(answer[field])

    def _take_identity(self, answer: Json | ApiError) -> None:
        """Keep who the auditor is. The token's own identifiers, in `extra`, are not kept."""
        if isinstance(answer, ApiError):
            rule = rbac_rule(_AUTHENTICATION, _IDENTITY_SCOPE, '"create"')
            self._gap(_IDENTITY_SCOPE, answer.reason, answer.message, remedy_for(answer, rule))
            return
        status = answer.get("status") if isinstance(answer, Mapping) else None
        user = status.get("userInfo") if isinstance(status, Mapping) else None
        user = user if isinstance(user, Mapping) else {}
        name = str(user.get("username") or "unknown")
        groups = sorted(str(group) for group in user.get("groups") or ())
        self.facts["auditor"] = name
        self.facts["auditor groups"] = ", ".join(groups) or "none"
        body = {"username": name, "groups": groups}
        self.harvest.resources.append(
            Resource(SOURCE, self.target, "SelfSubjectReview", None, name, body)
        )
        self._covered(_IDENTITY_SCOPE, 1)

    def _count(self, listings: list[Listing]) -> None:
        for listing in listings:
            if listing.kind.scope in _COUNTED and listing.failure is None:
                self.facts[listing.kind.scope] = str(len(listing.resources))
        self.facts["server"] = self.connection.host
        self.facts["secrets"] = "not requested"
        if not self.connection.verified:
            self.facts["TLS"] = "the server's certificate was not verified, by the kubeconfig"

    def _covered(self, scope: str, count: int) -> None:
        self.harvest.covered(self.target, SOURCE, scope, count)

    def _gap(self, scope: str, reason: Reason, detail: str, remedy: str) -> None:
        self.harvest.gap(self.target, SOURCE, scope, reason, detail, remedy)


_COUNTED = frozenset({"nodes", "namespaces", "pods"})


def remedy_for(failure: ApiError, rule: str) -> str:
    """What mends a failed call; `rule` is what to grant where it was forbidden."""
    if failure.reason is Reason.FORBIDDEN:
        return rule
    if failure.reason is Reason.UNAUTHENTICATED:
        return "log in again: the token or certificate may have expired"
    if failure.status == 429 or failure.retry_after:
        return "audit at a quieter time, or raise max_retry_after in [kubernetes]"
    if failure.reason is Reason.TIMED_OUT:
        return "raise call_timeout or deadline in [kubernetes]"
    if failure.reason is Reason.ABSENT:
        return "see whether the server in the kubeconfig is a Kubernetes API server"
    return "audit again; if it stays, see the API server's log"


def _tried(call: Callable[[], Json]) -> Json | ApiError:
    try:
        return call()
    except ApiError as error:
        return error
