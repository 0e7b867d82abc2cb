"""Reads a live cluster: every kind side by side, each with its own gap when it cannot be read.

Nothing is written: what is sent is a SelfSubjectReview, which tells who the auditor is, and where
it is asked for (`--probe-admission`) dry runs of pods, and neither is stored. Secrets are not
requested at all. `deploy/rbac.yaml` is the least an auditor needs, `deploy/probe-rbac.yaml` what
probing needs beside it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from auditor.collect.base import Harvest, Progress, Silent
from auditor.collect.kubernetes.connection import Connection, connect
from auditor.collect.kubernetes.contact import cluster_uid
from auditor.collect.kubernetes.discovery import (
    Discovery,
    constraint_kinds,
    constraints_alone,
    discover,
    plan,
)
from auditor.collect.kubernetes.http import Api, ApiError
from auditor.collect.kubernetes.kinds import CONSTRAINTS, KINDS, Kind, rbac_rule
from auditor.collect.kubernetes.listing import Listing, list_kind
from auditor.collect.kubernetes.probe import probe
from auditor.collect.kubernetes.probed import take_answers
from auditor.collect.probes import Probes
from auditor.config import KubernetesTable
from auditor.garbage import paused_garbage_collection
from auditor.model import Json, Reason, Resource, Target

T = TypeVar("T")

log = logging.getLogger(__name__)

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
    probes: Probes | None = None,
    kinds: Sequence[Kind] | None = None,
) -> Harvest:
    """Read one cluster: through a kubeconfig's context, or the account of the pod we run in.

    What cannot be read is a gap of its kind and nothing else; what was read before a list broke
    off is kept. `context` None means the current one. `probes` are the pods about which the
    cluster's admission is asked; without them it is not. `kinds` are all that is listed; left
    out, everything that an audit needs is.

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
            with paused_garbage_collection():
                return _Cluster(connection, config, progress, kinds).read(probes)
        finally:
            connection.close()


class _Cluster:
    """One cluster being read into one harvest, by one thread that gathers what others list."""

    def __init__(
        self,
        connection: Connection,
        config: KubernetesTable,
        progress: Progress,
        kinds: Sequence[Kind] | None = None,
    ) -> None:
        self.kinds, self.custom = kinds or KINDS, kinds is None
        self.connection = connection
        self.config = config
        self.progress = progress
        self.api = Api(connection, config)
        self.harvest = Harvest()
        self.listings: list[Listing] = []
        self.facts: dict[str, str] = {"context": connection.context}
        self.target = f"{SOURCE}:{connection.context}"

    def read(self, probes: Probes | None) -> Harvest:
        self._first_contact()
        start = time.perf_counter()
        with ThreadPoolExecutor(self.config.parallel, "auditor-kube") as pool:
            # What is served is asked first and waited for by nobody: Kubernetes' own kinds are
            # listed meanwhile, and custom ones when it is known which there are.
            groups = pool.submit(_tried, partial(discover, self.api))
            lists = {pool.submit(list_kind, self.api, kind, self.target) for kind in self.kinds}
            version = pool.submit(_tried, lambda: self.api.get("/version"))
            identity = pool.submit(self._identity)
            served = self._gathered(pool, groups, lists)
        # bench/ reads it, and holds it against a client that only lists.
        log.info("phase list took %.3f s", time.perf_counter() - start)
        self._take_listings(served)
        self._take_version(version.result())
        self._take_identity(identity.result())
        if probes is not None:
            self._probe(probes)
        self._count()
        self.harvest.targets.append(
            Target(self.target, SOURCE, self.connection.context, dict(sorted(self.facts.items())))
        )
        return self.harvest

    def _gathered(
        self,
        pool: ThreadPoolExecutor,
        groups: Future[Discovery | ApiError],
        lists: set[Future[Listing]],
    ) -> Mapping[str, Sequence[str]]:
        """Take listings as they come, begin those of custom kinds when it is known what is
        served, and return the versions of each API group.
        """
        waiting: set[Future[Any]] = {groups, *lists}
        found: Discovery | ApiError | None = None
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                if isinstance(result, Listing):
                    self.listings.append(result)
                    self.progress.step(SOURCE, result.kind.scope, len(result.resources))
                    continue
                found = result
                taken = self._take_groups(result)
                kinds = self._custom_kinds(taken) if self.custom else []
                waiting |= {pool.submit(list_kind, self.api, kind, self.target) for kind in kinds}
        return found.groups if isinstance(found, Discovery) else {}

    def _first_contact(self) -> None:
        """Find out whether anybody answers, and which cluster it is."""
        self.progress.step(SOURCE, "kube-system")
        uid = cluster_uid(self.api, self.connection)
        if uid is None:
            self.facts["cluster UID"] = "not readable; the context's name stands for it"
            return
        self.target = f"{SOURCE}:{uid}"
        self.facts["cluster UID"] = uid

    def _custom_kinds(self, found: Discovery | None) -> list[Kind]:
        """The custom kinds to list. Those that are not served hold nothing: no object of them can
        take effect.
        """
        planned = plan(found)
        for kind in planned.not_served:
            self._covered(kind.scope, 0)
        for kind, versions in planned.too_new:
            self._too_new(kind, versions)
        constraints = constraints_alone(self.api) if found is None else found
        kinds = list(constraint_kinds(constraints))
        failure = constraints.unread.get(CONSTRAINTS)
        if failure is not None:
            remedy = remedy_for(failure, _rule_for(f"/apis/{CONSTRAINTS}/*"))
            self._gap(CONSTRAINTS, failure.reason, failure.message, remedy)
        elif not kinds:
            self._covered(CONSTRAINTS, 0)
        return [*planned.listed, *kinds]

    def _identity(self) -> Json | ApiError:
        """Ask who we are: authentication.k8s.io/v1 from Kubernetes 1.28 on, v1beta1 from 1.27."""
        answer: Json | ApiError = ApiError(Reason.ABSENT, "not asked")
        for version in ("v1", "v1beta1"):
            body = {"apiVersion": f"{_AUTHENTICATION}/{version}", "kind": "SelfSubjectReview"}
            path = f"/apis/{_AUTHENTICATION}/{version}/{_IDENTITY_SCOPE}"
            answer = _tried(partial(self.api.review_self, path, body))
            if not isinstance(answer, ApiError) or answer.status != 404:
                break
        return answer

    def _take_listings(self, served: Mapping[str, Sequence[str]]) -> None:
        """Turn listings into resources, coverage and gaps. Several kinds may fill one scope: it
        was read to its end only when all of them were.
        """
        counts: dict[str, int] = {}
        hidden = {gap.scope for gap in self.harvest.gaps}
        for listing in self.listings:
            self._take(listing)
            scope = listing.kind.scope
            counts[scope] = counts.get(scope, 0) + len(listing.resources)
            if listing.failure is not None and self._take_failure(listing, listing.failure, served):
                hidden.add(scope)
        for scope, count in counts.items():
            if scope not in hidden:
                self._covered(scope, count)

    def _take(self, listing: Listing) -> None:
        kind = listing.kind
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

    def _take_failure(
        self, listing: Listing, failure: ApiError, served: Mapping[str, Sequence[str]]
    ) -> bool:
        """Note why a list did not come to its end; return whether that hides anything."""
        kind = listing.kind
        if listing.absent and failure.from_api:
            versions = served.get(kind.group, ())
            if kind.custom or not versions or set(versions) & set(kind.versions):
                # An API that is not served holds nothing: no object of it can take effect.
                return False
            self._too_new(kind, versions)
            return True
        part = f"; {len(listing.resources)} were read before" if listing.resources else ""
        which = f"{kind.name}: " if kind.group == CONSTRAINTS else ""
        self._gap(
            kind.scope,
            failure.reason,
            which + failure.message + part,
            remedy_for(failure, kind.rule),
        )
        return True

    def _too_new(self, kind: Kind, versions: Sequence[str]) -> None:
        detail = f"served only as {', '.join(versions)}, which this version does not read"
        self._gap(kind.scope, Reason.ABSENT, detail, "use a newer version of auditor")

    def _take_groups(self, answer: Discovery | ApiError) -> Discovery | None:
        """Keep what the server serves; None where it did not say."""
        if isinstance(answer, ApiError):
            remedy = remedy_for(answer, _rule_for("/apis"))
            self._gap(_GROUPS_SCOPE, answer.reason, answer.message, remedy)
            return None
        for name, versions in answer.groups.items():
            body = {"versions": list(versions)}
            self.harvest.resources.append(
                Resource(SOURCE, self.target, "APIGroup", None, name, body)
            )
        self._covered(_GROUPS_SCOPE, len(answer.groups))
        return answer

    def _take_version(self, answer: Json | ApiError) -> None:
        if isinstance(answer, ApiError):
            remedy = remedy_for(answer, _rule_for("/version"))
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

    def _probe(self, probes: Probes) -> None:
        """Ask admission about pods, in every namespace that was read."""
        self.progress.step(SOURCE, "admission probes")
        answers = probe(
            self.api,
            probes,
            [item.name for item in self.harvest.resources if item.kind == "Namespace"],
            version=self.facts.get("version", ""),
            parallel=self.config.parallel,
        )
        hidden = next((gap for gap in self.harvest.gaps if gap.scope == "namespaces"), None)
        count = take_answers(answers, probes, self.target, self.harvest, hidden)
        self.facts["admission probes"] = f"{count} answers to dry runs of pods, none stored"
        self.progress.step(SOURCE, "admission probes", count)

    def _count(self) -> None:
        for listing in self.listings:
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


def _rule_for(path: str) -> str:
    """The RBAC rule for a path that is no resource; every authenticated user has it by default."""
    rule = f'{{nonResourceURLs: ["{path}"], verbs: ["get"]}}'
    return f"add to the auditor's ClusterRole: - {rule}"


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


def _tried(call: Callable[[], T]) -> T | ApiError:
    try:
        return call()
    except ApiError as error:
        return error
