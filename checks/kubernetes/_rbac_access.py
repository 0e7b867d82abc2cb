"""Which subjects hold a right, by which binding, and how far it reaches.

What the checks of RBAC subjects share: each names the rights it looks for, the roles that
Kubernetes ships with them, and how bad it is to hold them; the rest is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from auditor.model import (
    Gap,
    Resource,
    Severity,
    Status,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
    unknown,
)
from checks.kubernetes._pods import some
from checks.kubernetes._rbac import CLUSTER_ADMIN, SHIPPED_FOR_PEOPLE, role_key, shown_name
from checks.kubernetes._rbac_index import (
    Grant,
    RbacIndex,
    SubjectKey,
    key_of,
    rbac_index,
    shown_subject,
)
from checks.kubernetes._rbac_shipped import EVERYONE
from checks.kubernetes._scopes import EVERYTHING, gap_of, is_system, only_partial

ALL = "*"
ANY = "<any>"
"""A subresource that stands for each one that a grant may name."""

NEEDS = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
"""What must have been read for "no binding gives it that" to hold."""

SETTINGS = ("accepted_subjects", "system_namespaces")

_BINDINGS = ("rolebindings", "clusterrolebindings")


class Right(NamedTuple):
    """One kind of request; `cluster` where only a grant over the whole cluster allows it."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    cluster: bool = False

    @property
    def thing(self) -> str:
        """What it is done to, as a role names it."""
        if self.subresource == ANY:
            return f"{self.resource}/*"
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Access:
    """The rights that a check looks for, and the shipped roles that have any of them.

    A role that Kubernetes ships and that is not listed in `shipped` has none of the rights as it
    ships: if it does have one, somebody added it.
    """

    def __init__(self, rights: Iterable[Right], shipped: Iterable[str]) -> None:
        self.rights = tuple(rights)
        self.shipped = frozenset(shipped)
        self.verbs = frozenset({ALL, *(right.verb for right in self.rights)})
        named: set[str] = {ALL}
        for right in self.rights:
            named |= {right.thing, f"*/{right.subresource}"} if right.subresource else {right.thing}
        self._resources = frozenset(named)
        self._any = any(right.subresource == ANY for right in self.rights)

    def may_match(self, grant: Grant) -> bool:
        """Whether a grant is worth a closer look: most are not."""
        return not self.verbs.isdisjoint(grant.verbs) and (
            self._any or not self._resources.isdisjoint(grant.resources)
        )


def rights(
    verbs: Iterable[str], group: str, things: Iterable[str], *, cluster: bool = False
) -> Iterator[Right]:
    """Every verb on every thing of one API group; a thing is `resource` or `resource/sub`."""
    for thing in things:
        resource, _, subresource = thing.partition("/")
        for verb in verbs:
            yield Right(verb, group, resource, subresource, cluster)


@dataclass(slots=True)
class Holding:
    """What one binding gives one subject of the rights that a check looks for.

    `grants` is empty where the role is known by its name alone. `names` is empty where no
    resourceNames narrow it.
    """

    key: SubjectKey
    binding: Resource
    namespace: str | None
    role: str
    rights: list[Right]
    grants: list[Grant] = field(default_factory=list)
    names: frozenset[str] = frozenset()
    given: bool = False
    """Whether Kubernetes itself gives it: the binding, its role and the subject are shipped so."""

    @property
    def path(self) -> str:
        """The binding and the rule, or the role where its rules were not read."""
        return self.grants[0].path if self.grants else f"{shown_name(self.binding)}: {self.role}"

    @property
    def where(self) -> str:
        """Its reach in words."""
        if self.namespace is not None:
            return f"in namespace {self.namespace}"
        if all(right.cluster for right in self.rights):
            return "in the cluster"
        return "in every namespace"

    def observed(self, note: str = "") -> str:
        """The right, its reach and the rule, as a sentence."""
        text = f"{shown_subject(self.key)} may {_verbs_on_things(self.rights)}"
        if self.names:
            text += f" named {some(sorted(self.names))}"
        text += f" {self.where}, by {self._rule()}"
        return f"{text}; {note}" if note else text

    def _rule(self) -> str:
        if not self.grants:
            return f"{self.role} as Kubernetes ships it"
        first, more = self.grants[0], len(self.grants) - 1
        rest = f" and {more} more rule{'s' if more > 1 else ''}" if more else ""
        return f"a rule ({shown_rule(first)}){rest}"


Weigh = Callable[[Holding], Verdict]
"""What a check says of a holding that Kubernetes does not give itself."""


def judge(subject: Resource, view: View, access: Access, weigh: Weigh) -> Iterator[Verdict]:
    """Judge one subject: a verdict for each binding that gives it any of the rights.

    Without a failure: unknown where a role or bindings could not be read; not applicable where all
    that it holds of them is Kubernetes' own or where its bindings grant nothing; else a pass.
    """
    index, key = rbac_index(view), key_of(subject)
    found = list(holdings(key, index, access))
    ours = [weigh(holding) for holding in found if not holding.given]
    yield from ours
    unread = unread_bindings(key, index)
    if unread:
        yield unread_roles(unread, view)
    elif found and not ours and bindings_gap(view) is None:
        yield not_applicable("Kubernetes itself gives it this right, and nobody else does")
    elif all(verdict.status in _HARMLESS for verdict in ours):
        # What was seen is harmless; whether there is more is another question.
        yield granted_nothing(key, index, view)


_HARMLESS = frozenset({Status.PASS, Status.REVIEW})


def holdings(key: SubjectKey, index: RbacIndex, access: Access) -> Iterator[Holding]:
    """What each binding that names the subject gives it of the rights, bindings in their order."""
    by_binding: dict[int, Holding] = {}
    for grant in index.direct(key):
        if not access.may_match(grant):
            continue
        found = [right for right in access.rights if _allows(key, grant, right, index)]
        if not found:
            continue
        holding = by_binding.get(id(grant.binding))
        if holding is None:
            given = grant.role.name in access.shipped and index.is_shipped_grant(key, grant)
            role = f"{grant.role.kind}/{grant.role.name}"
            by_binding[id(grant.binding)] = Holding(
                key, grant.binding, grant.namespace, role, found, [grant], grant.names, given
            )
            continue
        holding.names = (
            holding.names | grant.names if holding.names and grant.names else frozenset()
        )
        holding.rights += [right for right in found if right not in holding.rights]
        holding.grants.append(grant)
    yield from by_binding.values()
    yield from _by_name(key, index, access)


def _allows(key: SubjectKey, grant: Grant, right: Right, index: RbacIndex) -> bool:
    verb, group, resource, subresource, cluster = right
    if cluster and grant.namespace is not None:
        return False
    if subresource == ANY:
        return any(grant.covers(verb, group, resource, sub, None) for sub in _subresources(grant))
    if not grant.covers(verb, group, resource, subresource, None):
        return False
    if not grant.names or subresource:
        return True
    # The API server asks about these without a name, which no resourceNames match …
    if verb == "deletecollection":
        return False
    # … but a server-side apply of an object that is not there asks for `create` with its name.
    return verb != "create" or any(
        index.can(key, "patch", group, resource, "", name, grant.namespace) for name in grant.names
    )


def _subresources(grant: Grant) -> Iterator[str]:
    for resource in grant.resources:
        yield resource.partition("/")[2] or "any"


def _by_name(key: SubjectKey, index: RbacIndex, access: Access) -> Iterator[Holding]:
    """Bindings to a cluster-admin that is not there: the API server makes it when it starts."""
    for binding in index.dangling(key):
        if role_key(binding) != CLUSTER_ADMIN:
            continue
        namespace = None if binding.kind == "ClusterRoleBinding" else binding.namespace
        reached = [right for right in access.rights if namespace is None or not right.cluster]
        if reached:
            yield Holding(key, binding, namespace, "ClusterRole/cluster-admin", reached)


def unread_bindings(key: SubjectKey, index: RbacIndex) -> list[Resource]:
    """Bindings of a subject whose role could not be read and is not known by its name.

    The index knows the ClusterRoles that Kubernetes ships. Manifests bind one shipped Role too,
    which reads a ConfigMap.
    """
    return [
        binding
        for binding in index.unread(key)
        if not (role_key(binding) in SHIPPED_FOR_PEOPLE and only_partial(index.view, "roles"))
    ]


def unread_roles(bindings: Sequence[Resource], view: View) -> Verdict:
    """An unknown for bindings to roles that could not be read."""
    role = role_key(bindings[0])
    gap = gap_of(view, "clusterroles" if role[0] == "ClusterRole" else "roles", name=role[2])
    names = some(f"{shown_name(binding)} to {_role_name(binding)}" for binding in bindings)
    why = f": {gap.reason}: {gap.detail}" if gap else ""
    return unknown("", f"the role could not be read of {names}{why}", "roles to judge")


def _role_name(binding: Resource) -> str:
    kind, _, name = role_key(binding)
    return f"{kind}/{name}"


def granted_nothing(key: SubjectKey, index: RbacIndex, view: View) -> Verdict:
    """What to say of a subject that no binding gives what a check looks for."""
    gap = bindings_gap(view)
    if gap is not None:
        # Manifests are no better: the cluster that they go to may bind the subject to more.
        return unknown("", f"could not read {gap.scope}: {gap.reason}: {gap.detail}", _NO_BINDING)
    dangling = index.dangling(key)
    if dangling and not index.direct(key):
        names = some(f"{shown_name(binding)} to {_role_name(binding)}" for binding in dangling)
        return not_applicable(f"it is granted nothing: the role does not exist of {names}")
    return passed("", "no binding gives it that", stands=True)


_NO_BINDING = "no binding that gives it that"


def bindings_gap(view: View) -> Gap | None:
    """What hides bindings that may name a subject, manifests' own nature included."""
    return next(
        (gap for gap in view.gaps if gap.scope in (*_BINDINGS, EVERYTHING) and gap.name is None),
        None,
    )


def by_reach(holding: Holding, view: View) -> Severity | None:
    """How bad a holding is by how far it reaches; None: as the check says.

    One namespace is medium, one of the platform's high; resourceNames take one step off, and
    what everybody has is a step worse.
    """
    everybody = holding.key in EVERYONE
    if holding.namespace is None:
        severity = Severity.CRITICAL if everybody else None
        return Severity.MEDIUM if holding.names and not everybody else severity
    if is_system(holding.namespace, view):
        severity = Severity.CRITICAL if everybody else Severity.HIGH
    else:
        severity = Severity.HIGH if everybody else Severity.MEDIUM
    return _LOWER[severity] if holding.names else severity


_LOWER = {
    Severity.CRITICAL: Severity.HIGH,
    Severity.HIGH: Severity.MEDIUM,
    Severity.MEDIUM: Severity.LOW,
}


def fails(
    holding: Holding, expected: str, severity: Severity | None = None, note: str = ""
) -> Verdict:
    """A failure at the binding that gives the right."""
    return failed(holding.path, holding.observed(note), expected, severity=severity)


def shown_rule(rule: Grant) -> str:
    """A rule in words: `verbs: get, list; resources: secrets; apiGroups: core`."""
    parts = []
    for name, words in (
        ("verbs", rule.verbs),
        ("resources", rule.resources),
        ("apiGroups", rule.groups),
    ):
        if words:
            parts.append(f"{name}: {some((word or 'core' for word in sorted(words)), 6)}")
    return "; ".join(parts)


def _verbs_on_things(held: Iterable[Right]) -> str:
    """`create pods, jobs and 3 more; update, patch deployments`: equal lists of verbs as one."""
    verbs: dict[str, list[str]] = {}
    for right in held:
        listed = verbs.setdefault(right.thing, [])
        if right.verb not in listed:
            listed.append(right.verb)
    things: dict[tuple[str, ...], list[str]] = {}
    for thing, listed in verbs.items():
        things.setdefault(tuple(listed), []).append(thing)
    return " and ".join(f"{', '.join(key)} {some(names)}" for key, names in things.items())
