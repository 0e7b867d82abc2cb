"""What a grant lets a subject become: the steps that lead from one subject to another.

Each power is a technique that works by RBAC alone, on a cluster as Kubernetes ships it:

- **Grant itself more.** Writing roles or bindings is not enough: the API server refuses to give
  what the writer does not hold. It does not refuse with `bind` on the role and `create` on the
  bindings, or with `escalate` and `update` or `patch` on a role that the subject itself has. In
  one namespace that gives the namespace: every account in it.
- **Be somebody else.** `impersonate` on users, groups (together with a user or an account, which
  the API asks for) or service accounts; `create` on `serviceaccounts/token`; approving a client
  certificate that one requested, for any name and group but `system:masters`, which the API
  server refuses.
- **Run as an account.** Creating pods, or what makes pods, with any account of the namespace;
  changing what makes pods there; or code in a running pod that has a token: `pods/exec`,
  `pods/attach`, `pods/ephemeralcontainers`, another image by `update` or `patch`.
- **Read an account's token.** `create` on secrets and a verb that returns them (`READS`): a Secret
  of type `kubernetes.io/service-account-token` gets a token of the account that it names. Reading
  alone counts where an account lists token secrets of its own, as before Kubernetes 1.24.
- **Take the nodes.** `nodes/proxy` (every container of every node), approving node certificates,
  and persistent volumes of type `hostPath` with a pod that mounts one. Whoever has the nodes has
  the tokens of all pods on them.
- **Change what others write.** Mutating webhooks and mutating admission policies alter every
  object that passes, bindings and pods of the platform among them.

What does not count, so that a path is never a guess: a pod that takes its node by being privileged
(admission decides that, and its own checks judge it), reading Secrets whose type is not known,
aggregated API servers, custom kinds that make pods, ConfigMaps that a cloud maps to rights, and
deleting what protects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from auditor.model import View
from checks.kubernetes._rbac_index import (
    Grant,
    RbacIndex,
    SubjectKey,
    is_builtin_subject,
    natural_groups,
    rbac_index,
)

RBAC = "rbac.authorization.k8s.io"
CERTIFICATES = "certificates.k8s.io"
ADMISSION_GROUP = "admissionregistration.k8s.io"

ADMIN: SubjectKey = ("ClusterRole", None, "cluster-admin")
NODES: SubjectKey = ("Node", None, "every node")
WRITES: SubjectKey = ("Admission", None, "what others write")

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
KUBELET_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"

POD_MAKERS = (
    ("", "pods", "Pod"),
    ("apps", "deployments", "Deployment"),
    ("apps", "daemonsets", "DaemonSet"),
    ("apps", "statefulsets", "StatefulSet"),
    ("apps", "replicasets", "ReplicaSet"),
    ("batch", "jobs", "Job"),
    ("batch", "cronjobs", "CronJob"),
    ("", "replicationcontrollers", "ReplicationController"),
)
"""API group, plural and kind of what Kubernetes makes pods from."""

READS = ("get", "list", "watch", "patch", "deletecollection")
"""Verbs on secrets that are answered with the values; the last two even as a dry run."""

EXEC_NEEDS_CREATE = 35
"""Minor version from which `get` on pods/exec and pods/attach is no longer enough (KEP-5303)."""


class Reach(Enum):
    """Whom a power reaches."""

    ONE = "one"
    """Just `Power.target`."""
    ACCOUNTS = "accounts"
    """Service accounts that exist, or that the subject may create."""
    NAMED = "named"
    """Service accounts that bindings name, there or not: who is impersonated need not exist."""
    RUNNING = "running"
    """Service accounts whose token a running pod holds."""
    TOKEN_SECRETS = "token secrets"
    """Service accounts that list token secrets of their own."""
    USERS = "users"
    GROUPS = "groups"
    CERTIFICATE = "certificate"
    """Users, and groups but `system:masters`."""


class Power(NamedTuple):
    """One thing that a grant lets its holder do to become somebody else.

    `namespace` None means every namespace; `names` empty means every name.
    """

    reach: Reach
    text: str
    grant: Grant
    namespace: str | None = None
    names: frozenset[str] = frozenset()
    target: SubjectKey = ADMIN


Powers = Mapping[SubjectKey, list[Power]]


def powers(view: View, *, added: bool = False) -> Powers:
    """For each subject that a binding names, what its own grants let it become.

    With `added`, what Kubernetes itself gives is left out, for subjects that are parts of it.
    """
    return view.index(_added_powers if added else _all_powers)


def _all_powers(view: View) -> Powers:
    return _Finder(view, lambda key, grant: True).powers


def _added_powers(view: View) -> Powers:
    index = rbac_index(view)
    return _Finder(
        view,
        lambda key, grant: is_builtin_subject(key) and not index.is_shipped_grant(key, grant),
    ).powers


class _Finder:
    """Asks the index about each technique once, and notes who can use it."""

    def __init__(self, view: View, counts: Callable[[SubjectKey, Grant], bool]) -> None:
        self.view = view
        # Which kinds of workload there are, in each namespace and (None) at all.
        self.running = {
            (workload.kind, where)
            for workload in view.workloads
            for where in (None, workload.namespace)
        }
        self.index: RbacIndex = rbac_index(view)
        self.counts = counts
        self.powers: dict[SubjectKey, list[Power]] = {}
        self.known: set[tuple[object, ...]] = set()
        self._more_rights()
        self._somebody_else()
        self._pods()
        self._secrets()
        self._nodes()
        self._admission()

    def _add(self, key: SubjectKey, power: Power) -> None:
        """Note a power, unless the subject has one that reaches the same."""
        same = (key, power.reach, power.namespace, power.names, power.target)
        if same not in self.known:
            self.known.add(same)
            self.powers.setdefault(key, []).append(power)

    def _holders(
        self, verb: str, group: str, resource: str, subresource: str = "", name: str | None = None
    ) -> Iterator[tuple[SubjectKey, Grant]]:
        for key, grant in self.index.holders(verb, group, resource, subresource, name):
            if self.counts(key, grant):
                yield key, grant

    def _each_holder(
        self, verb: str, group: str, resource: str, *, name: str | None = None
    ) -> Iterator[tuple[SubjectKey, Grant]]:
        """As `_holders`, with each member of a group by itself, for it may hold what is missing."""
        for key, grant in self._holders(verb, group, resource, name=name):
            yield key, grant
            for member in self._members.get(key, ()) if key[0] == "Group" else ():
                yield member, grant

    @cached_property
    def _members(self) -> dict[SubjectKey, list[SubjectKey]]:
        """The subjects that are in each group by nature."""
        found: dict[SubjectKey, list[SubjectKey]] = {}
        for key in self.index.subjects():
            for group in natural_groups(key):
                found.setdefault(group, []).append(key)
        return found

    def _also(
        self,
        key: SubjectKey,
        verbs: tuple[str, ...],
        group: str,
        resource: str,
        subresource: str = "",
        *,
        name: str = "",
        namespace: str | None = None,
    ) -> bool:
        """Whether it may do one of the verbs too, by any of its grants."""
        return any(
            self.index.can(key, verb, group, resource, subresource, name, namespace)
            for verb in verbs
        )

    def _more_rights(self) -> None:
        for key, grant in self._each_holder("bind", RBAC, "clusterroles", name="cluster-admin"):
            if grant.namespace is None and self._also(
                key, ("create",), RBAC, "clusterrolebindings"
            ):
                text = "bind cluster-admin to itself, by bind on clusterroles"
                self._add(key, Power(Reach.ONE, text, grant))
            else:
                self._bind_in_namespace(key, grant)
        for key, grant in self._each_holder("escalate", RBAC, "clusterroles"):
            own = self._own_role(key, grant, "ClusterRole", None)
            if grant.namespace is None and own:
                text = f"add any rule to its own ClusterRole {own}, by escalate on clusterroles"
                self._add(key, Power(Reach.ONE, text, grant))
        for key, grant in self._each_holder("escalate", RBAC, "roles"):
            for namespace in self._own_namespaces(key, grant):
                own = self._own_role(key, grant, "Role", namespace)
                if own:
                    text = (
                        f"add any rule to its own Role {own} in namespace {namespace}, by "
                        "escalate on roles, and so act as"
                    )
                    self._add(key, Power(Reach.ACCOUNTS, text, grant, namespace))

    def _bind_in_namespace(self, key: SubjectKey, grant: Grant) -> None:
        spaces: Sequence[str | None] = [grant.namespace]
        if grant.namespace is None and not self._also(key, ("create",), RBAC, "rolebindings"):
            spaces = sorted(
                {
                    item.namespace
                    for item in self.index.matching(key, "create", RBAC, "rolebindings")
                    if item.namespace
                }
            )
        for namespace in spaces:
            if self._also(key, ("create",), RBAC, "rolebindings", namespace=namespace):
                where = f" in namespace {namespace}" if namespace else " in every namespace"
                text = (
                    f"bind cluster-admin to itself{where}, by bind on clusterroles, and so act as"
                )
                self._add(key, Power(Reach.ACCOUNTS, text, grant, namespace))

    def _own_namespaces(self, key: SubjectKey, grant: Grant) -> list[str]:
        """Where it has a Role of its own that the grant reaches."""
        if grant.namespace is not None:
            return [grant.namespace]
        found = {item.namespace for item in self.index.effective(key) if item.role.kind == "Role"}
        return sorted(space for space in found if space)

    def _own_role(
        self, key: SubjectKey, grant: Grant, kind: str, namespace: str | None
    ) -> str | None:
        """A role that it has and may change beyond what it holds."""
        plural = "clusterroles" if kind == "ClusterRole" else "roles"
        own = {
            item.role.name
            for item in self.index.effective(key)
            if item.role.kind == kind
            and item.namespace == namespace
            and (not grant.names or item.role.name in grant.names)
        }
        for name in sorted(own, key=lambda name: (name != grant.role.name, name)):
            if self._also(key, ("update", "patch"), RBAC, plural, name=name, namespace=namespace):
                return name
        return None

    def _somebody_else(self) -> None:
        for key, grant in self._holders("impersonate", "", "users"):
            if grant.namespace is None:
                self._add(key, Power(Reach.USERS, "impersonate", grant, names=grant.names))
        for key, grant in self._each_holder("impersonate", "", "groups"):
            if grant.namespace is None and self._may_be_somebody(key):
                self._add(key, Power(Reach.GROUPS, "impersonate", grant, names=grant.names))
        for key, grant in self._holders("impersonate", "", "serviceaccounts"):
            self._add(key, Power(Reach.NAMED, "impersonate", grant, grant.namespace, grant.names))
        for key, grant in self._holders("create", "", "serviceaccounts", "token"):
            text = "create a token of"
            self._add(key, Power(Reach.ACCOUNTS, text, grant, grant.namespace, grant.names))
        for key, grant in self._certificates(CLIENT_SIGNER):
            text = "request and approve a client certificate of"
            self._add(key, Power(Reach.CERTIFICATE, text, grant))

    def _may_be_somebody(self, key: SubjectKey) -> bool:
        return any(
            self.index.matching(key, "impersonate", "", resource, name=None)
            for resource in ("users", "serviceaccounts")
        )

    def _certificates(self, signer: str) -> Iterator[tuple[SubjectKey, Grant]]:
        """Who may approve a certificate of a signer that they requested themselves."""
        seen = set()
        for name in (signer, "kubernetes.io/*"):
            for key, grant in self._each_holder("approve", CERTIFICATES, "signers", name=name):
                requests = "certificatesigningrequests"
                if (
                    key not in seen
                    and grant.namespace is None
                    and self._also(key, ("create",), CERTIFICATES, requests)
                    and self._also(key, ("update", "patch"), CERTIFICATES, requests, "approval")
                ):
                    seen.add(key)
                    yield key, grant

    def _pods(self) -> None:
        for group, plural, _ in POD_MAKERS:
            for key, grant in self._holders("create", group, plural, name=""):
                text = f"create {plural}{_inside(grant)} that run as"
                self._add(key, Power(Reach.ACCOUNTS, text, grant, grant.namespace))
        for group, plural, kind in POD_MAKERS:
            for verb in ("update", "patch"):
                for key, grant in self._holders(verb, group, plural):
                    self._change(key, grant, verb, plural, kind)
        for subresource, verbs in self._ways_in():
            for verb in verbs:
                for key, grant in self._holders(verb, "", "pods", subresource):
                    text = f"run code by pods/{subresource}{_inside(grant)} in a pod that runs as"
                    self._running(key, grant, text)

    def _change(self, key: SubjectKey, grant: Grant, verb: str, plural: str, kind: str) -> None:
        if kind == "Pod":
            text = f"{verb} pods{_inside(grant)}: put an image of its own into one that runs as"
            self._running(key, grant, text)
            return
        if grant.names or (kind, grant.namespace) in self.running:
            text = f"{verb} {plural}{_inside(grant)} to run as"
            self._add(key, Power(Reach.ACCOUNTS, text, grant, grant.namespace))

    def _running(self, key: SubjectKey, grant: Grant, text: str) -> None:
        self._add(key, Power(Reach.RUNNING, text, grant, grant.namespace, grant.names))

    def _ways_in(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        version = re.match(r"v1\.(\d+)", str(self.view.target.facts.get("version", "")))
        old = version is not None and int(version[1]) < EXEC_NEEDS_CREATE
        verbs = ("create", "get") if old else ("create",)
        return ("exec", verbs), ("attach", verbs), ("ephemeralcontainers", ("update", "patch"))

    def _secrets(self) -> None:
        for key, grant in self._each_holder("create", "", "secrets", name=""):
            for space in self._readable(key, grant):
                where = f" in namespace {space}" if space else " in every namespace"
                text = f"create a token secret{where} and read it, of"
                self._add(key, Power(Reach.ACCOUNTS, text, grant, space))
        for verb in READS:
            name = "" if verb == "deletecollection" else None
            for key, grant in self._holders(verb, "", "secrets", name=name):
                text = f"{verb} the token secrets{_inside(grant)} of"
                names = grant.names
                self._add(key, Power(Reach.TOKEN_SECRETS, text, grant, grant.namespace, names))

    def _readable(self, key: SubjectKey, grant: Grant) -> Sequence[str | None]:
        """Where it may read what it creates by a grant."""
        if self._also(key, READS, "", "secrets", namespace=grant.namespace):
            return [grant.namespace]
        if grant.namespace is not None:
            return []
        return sorted(
            {
                item.namespace
                for verb in READS
                for item in self.index.matching(key, verb, "", "secrets")
                if item.namespace
            }
        )

    def _nodes(self) -> None:
        for verb in ("get", "create"):
            for key, grant in self._holders(verb, "", "nodes", "proxy"):
                if grant.namespace is None:
                    text = (
                        f"run code in any container through the kubelets, by {verb} on nodes/proxy"
                    )
                    self._add(key, Power(Reach.ONE, text, grant, target=NODES))
        for key, grant in self._certificates(KUBELET_SIGNER):
            text = "request and approve the client certificate of any node"
            self._add(key, Power(Reach.ONE, text, grant, target=NODES))
        for key, grant in self._each_holder("create", "", "persistentvolumes", name=""):
            if grant.namespace is None and self._mounts(key):
                text = "create a hostPath volume of any directory and a pod that mounts it"
                self._add(key, Power(Reach.ONE, text, grant, target=NODES))

    def _mounts(self, key: SubjectKey) -> bool:
        """Whether it may create a claim and something that makes a pod in one namespace."""
        claims = self._where_created(key, "", "persistentvolumeclaims")
        pods = {
            space
            for group, plural, _ in POD_MAKERS
            for space in self._where_created(key, group, plural)
        }
        return bool(claims & pods or (claims and None in pods) or (pods and None in claims))

    def _where_created(self, key: SubjectKey, group: str, plural: str) -> set[str | None]:
        return {item.namespace for item in self.index.matching(key, "create", group, plural)}

    def _admission(self) -> None:
        for verb in ("create", "update", "patch"):
            hooks = "mutatingwebhookconfigurations"
            for key, grant in self._holders(
                verb, ADMISSION_GROUP, hooks, name="" if verb == "create" else None
            ):
                if grant.namespace is None:
                    text = f"alter objects as others write them, by {verb} on {hooks}"
                    self._add(key, Power(Reach.ONE, text, grant, target=WRITES))
        policies = "mutatingadmissionpolicies"
        for key, grant in self._each_holder("create", ADMISSION_GROUP, policies, name=""):
            bindings = "mutatingadmissionpolicybindings"
            if grant.namespace is None and self._also(key, ("create",), ADMISSION_GROUP, bindings):
                text = f"alter objects as others write them, by create on {policies}"
                self._add(key, Power(Reach.ONE, text, grant, target=WRITES))


def _inside(grant: Grant) -> str:
    return f" in namespace {grant.namespace}" if grant.namespace else " in every namespace"
