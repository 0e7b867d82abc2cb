"""Who may do what: every binding joined to its role once for a view, asked by every RBAC check.

The answers are those of the API server's RBAC authorizer, and a live test holds them against its
SubjectAccessReview. The rules, from `k8s.io/kubernetes` (plugin/pkg/auth/authorizer/rbac and
pkg/registry/rbac/validation, 1.35):

- A rule allows a request if each of its four lists does. `*` matches every verb, API group or
  resource, subresources included; `*/scale` matches that subresource of every resource; nothing
  else is a pattern (`pods/*` matches no request).
- `resourceNames` that are not empty match requests for just those names; a request without a
  name (list, create, deletecollection) is not for any of them.
- A RoleBinding grants in its own namespace, whatever its role; non-resource URLs are granted by
  ClusterRoleBindings alone, and match exactly or by a prefix that ends in `*`.
- A service account is the user `system:serviceaccount:<namespace>:<name>`; an account that a
  RoleBinding names without a namespace is of the binding's, and in a ClusterRoleBinding nobody.
- Every member of `system:masters` may do everything: the API server asks no RBAC about them.
- A live ClusterRole holds the rules that its `aggregationRule` gathered; in manifests they are
  gathered here, from the ClusterRoles that the manifests hold. Manifests that bind a role which
  Kubernetes ships (`edit`) grant what it ships with.

What other authorizers allow (Node, webhooks) is not seen here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from auditor.model import Json, Resource, SubjectKey, View
from checks.kubernetes._pods import mapping, objects
from checks.kubernetes._rbac import ALL_VERBS
from checks.kubernetes._rbac_rules import (
    ALL,
    Grant,
    Rule,
    Step,
    masters_grant,
    parsed_rule,
    rules_of,
)
from checks.kubernetes._rbac_shipped import MASTERS
from checks.kubernetes._rbac_shipped_rules import SHIPPED_RULES
from checks.kubernetes._rbac_subjects import (
    is_builtin_subject,
    is_shipped_grant,
    key_of,
    natural_groups,
    shown_subject,
    subjects_of,
)
from checks.kubernetes._scopes import gap_of, only_partial

__all__ = [
    "Grant",
    "RbacIndex",
    "Step",
    "SubjectKey",
    "is_builtin_subject",
    "key_of",
    "natural_groups",
    "rbac_index",
    "shown_subject",
    "subjects_of",
]

RBAC_GROUP = "rbac.authorization.k8s.io"
_SHIPPED_LABEL = "kubernetes.io/bootstrapping"

_RoleKey = tuple[str, str | None, str]


class _Bound(NamedTuple):
    """A binding with the role that it gives, in the index's order."""

    binding: Resource
    namespace: str | None
    role: int
    subjects: tuple[SubjectKey, ...]


class _Question(NamedTuple):
    verb: str
    group: str
    resource: str
    subresource: str
    name: str | None


class RbacIndex:
    """The grants of one view, by subject and by what they allow. Use `rbac_index(view)`.

    All answers are by lookup: what was worked out for a question or a binding is kept.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self._pool: dict[Rule, Rule] = {}
        self._roles: list[tuple[Resource, tuple[Rule, ...]]] = []
        self._role_ids: dict[_RoleKey, int] = {}
        self._bound: list[_Bound] = []
        self._by_subject: dict[SubjectKey, list[int]] = {}
        self._by_role: dict[int, list[int]] = {}
        self._dangling: dict[SubjectKey, list[Resource]] = {}
        self._unread: dict[SubjectKey, list[Resource]] = {}
        self._by_resource: dict[str, list[tuple[int, int]]] = {}
        self._with_urls: list[tuple[int, int]] = []
        self._grants: dict[int, tuple[Grant, ...]] = {}
        self._direct: dict[SubjectKey, tuple[Grant, ...]] = {}
        self._matches: dict[_Question, dict[int, int]] = {}
        self._wild: dict[int, frozenset[str]] = {}
        self._read_roles()
        self._read_bindings()
        self._masters = masters_grant(view)

    # Building

    def _read_roles(self) -> None:
        cluster_roles = [role for role in self.view.of_kind("ClusterRole") if _is_rbac(role)]
        by_name = {role.name: role for role in cluster_roles}
        for role in cluster_roles:
            self._add_role(role, None, rules_of(role, by_name))
        for role in self.view.of_kind("Role"):
            if _is_rbac(role):
                self._add_role(role, role.namespace, objects(role.body.get("rules")))

    def _add_role(
        self, role: Resource, namespace: str | None, rules: Iterable[Mapping[str, Json]]
    ) -> None:
        number = len(self._roles)
        parsed = tuple(self._pooled(rule) for rule in rules)
        self._roles.append((role, parsed))
        wild = frozenset(
            verb
            for rule in parsed
            if ALL in rule.resources and ALL in rule.groups and not rule.names
            for verb in rule.verbs
        )
        if wild:
            self._wild[number] = wild
        self._role_ids[(role.kind, namespace, role.name)] = number
        for index, rule in enumerate(parsed):
            for resource in rule.resources:
                self._by_resource.setdefault(resource, []).append((number, index))
            if rule.urls:
                self._with_urls.append((number, index))

    def _pooled(self, rule: Mapping[str, Json]) -> Rule:
        parsed = parsed_rule(rule)
        return self._pool.setdefault(parsed, parsed)

    def _read_bindings(self) -> None:
        for kind in ("ClusterRoleBinding", "RoleBinding"):
            for binding in self.view.of_kind(kind):
                if _is_rbac(binding):
                    self._add_binding(binding)

    def _add_binding(self, binding: Resource) -> None:
        reference = mapping(binding.body.get("roleRef"))
        kind, name = str(reference.get("kind")), str(reference.get("name"))
        namespace = None if binding.kind == "ClusterRoleBinding" else binding.namespace
        role = self._role_ids.get((kind, namespace if kind == "Role" else None, name))
        subjects = tuple(dict.fromkeys(subjects_of(binding)))
        if role is None and kind == "ClusterRole":
            role = self._shipped_role(name)
        if role is None or (kind == "Role" and namespace is None):
            scope = "clusterroles" if kind == "ClusterRole" else "roles"
            missing = self._dangling if gap_of(self.view, scope, name=name) is None else None
            for subject in subjects:
                (self._unread if missing is None else missing).setdefault(subject, []).append(
                    binding
                )
            return
        number = len(self._bound)
        self._bound.append(_Bound(binding, namespace, role, subjects))
        self._by_role.setdefault(role, []).append(number)
        for subject in subjects:
            self._by_subject.setdefault(subject, []).append(number)

    def _shipped_role(self, name: str) -> int | None:
        """A role that every cluster has, where manifests could not show it: its least rules.

        What cluster-admin may do is known even where roles could not be read.
        """
        rules = SHIPPED_RULES.get(name)
        if rules is None or gap_of(self.view, "clusterroles", name=name) is None:
            return None
        if name != "cluster-admin" and not only_partial(self.view, "clusterroles"):
            return None
        target = self.view.target
        labels = {"labels": {_SHIPPED_LABEL: "rbac-defaults"}}
        body = {"metadata": labels, "rules": rules}
        self._add_role(
            Resource(target.source, target.id, "ClusterRole", None, name, body), None, rules
        )
        return len(self._roles) - 1

    # Asking about one subject

    def subjects(self) -> Iterable[SubjectKey]:
        """Every subject that is granted something by a binding that names it."""
        return self._by_subject.keys()

    def direct(self, key: SubjectKey) -> Sequence[Grant]:
        """What bindings that name this very subject grant it."""
        found = self._direct.get(key)
        if found is None:
            found = tuple(
                grant
                for number in self._by_subject.get(key, ())
                for grant in self._grants_of(number)
            )
            self._direct[key] = found
        return found

    def effective(self, key: SubjectKey) -> Sequence[Grant]:
        """What it is granted by name and through the groups that it is in by nature."""
        found = self.direct(key)
        for group in natural_groups(key):
            more = self.direct(group)
            found = (*found, *more) if more else found
        return (*found, self._masters) if key == MASTERS else found

    def added(self, key: SubjectKey) -> Sequence[Grant]:
        """As `effective`, without what Kubernetes itself ships (see `is_shipped_grant`)."""
        return [grant for grant in self.effective(key) if not self.is_shipped_grant(key, grant)]

    def matching(
        self,
        key: SubjectKey,
        verb: str,
        group: str,
        resource: str,
        subresource: str = "",
        name: str | None = "",
        *,
        groups: Collection[str] = (),
    ) -> list[Grant]:
        """Its effective grants that allow a request, each in its own reach: look at `namespace`.

        With name None a grant for certain names (`names`) counts too. One grant a binding.
        """
        roles = self._matching(_Question(verb, group, resource, subresource, name))
        found = [
            self._grants_of(number)[roles[self._bound[number].role]]
            for member in _members(key, groups)
            for number in self._by_subject.get(member, ())
            if self._bound[number].role in roles
        ]
        return [*found, self._masters] if key == MASTERS or MASTERS[2] in groups else found

    def can(
        self,
        key: SubjectKey,
        verb: str,
        group: str,
        resource: str,
        subresource: str = "",
        name: str = "",
        namespace: str | None = None,
        groups: Collection[str] = (),
    ) -> bool:
        """Whether it may do this; `groups` are more groups that it is in."""
        roles = self._matching(_Question(verb, group, resource, subresource, name))
        if key == MASTERS or MASTERS[2] in groups:
            return True
        return any(
            bound.role in roles and bound.namespace in (None, namespace)
            for member in _members(key, groups)
            for bound in map(self._bound.__getitem__, self._by_subject.get(member, ()))
        )

    def can_url(self, key: SubjectKey, verb: str, url: str, groups: Collection[str] = ()) -> bool:
        """Whether it may ask for a path that is no resource, such as `/metrics`."""
        if key == MASTERS or MASTERS[2] in groups:
            return True
        return any(
            grant.allows_url(verb, url)
            for member in _members(key, groups)
            for grant in self.direct(member)
        )

    def is_admin(self, key: SubjectKey) -> bool:
        """Whether it may do everything: all verbs on all of the cluster, by one role or several.

        All the verbs of the API by name count as every verb: the rest need only one step more.
        """
        if key == MASTERS:
            return True
        verbs: set[str] = set()
        for member in _members(key, ()):
            for number in self._by_subject.get(member, ()):
                bound = self._bound[number]
                if bound.namespace is None and bound.role in self._wild:
                    verbs |= self._wild[bound.role]
        return ALL in verbs or verbs >= ALL_VERBS

    def dangling(self, key: SubjectKey) -> Sequence[Resource]:
        """Bindings that name it and a role that does not exist, where all roles were read."""
        return self._dangling.get(key, ())

    def unread(self, key: SubjectKey) -> Sequence[Resource]:
        """Bindings that name it and a role that could not be read."""
        return self._unread.get(key, ())

    def path_to_admin(
        self, key: SubjectKey, groups: Collection[str] = ()
    ) -> tuple[Step, ...] | None:
        """The shortest way by which it can become cluster-admin; see `_rbac_paths`.

        Empty when it is one already, None when there is no way that is looked for.
        """
        # Here, because that module works on this one.
        from checks.kubernetes._rbac_paths import admin_paths

        paths = admin_paths(self.view)
        found = [paths[member] for member in _members(key, groups) if member in paths]
        return min(found, key=len, default=None)

    # Asking about one thing

    def who_can(
        self,
        verb: str,
        group: str,
        resource: str,
        subresource: str = "",
        name: str = "",
        namespace: str | None = None,
    ) -> list[tuple[SubjectKey, Grant]]:
        """Every subject that bindings name and that may do this, each with a grant, sorted.

        A subject stands there once for each binding that allows it.
        """
        found = [
            (subject, grant)
            for subject, grant in self.holders(verb, group, resource, subresource, name)
            if grant.namespace in (None, namespace)
        ]
        return self._sorted(found)

    def holders(
        self,
        verb: str,
        group: str,
        resource: str,
        subresource: str = "",
        name: str | None = "",
    ) -> Iterator[tuple[SubjectKey, Grant]]:
        """As `who_can`, in whatever namespace, unsorted, and without what RBAC is not asked about.

        With name None a grant for certain names (`names`) counts too.
        """
        roles = self._matching(_Question(verb, group, resource, subresource, name))
        for role, rule in roles.items():
            for number in self._by_role.get(role, ()):
                grant = self._grants_of(number)[rule]
                for subject in self._bound[number].subjects:
                    yield subject, grant

    def who_can_url(self, verb: str, url: str) -> list[tuple[SubjectKey, Grant]]:
        """As `who_can`, for a path that is no resource."""
        roles: dict[int, int] = {}
        for role, rule in self._with_urls:
            if role not in roles and self._roles[role][1][rule].covers_url(verb, url):
                roles[role] = rule
        found = [
            (subject, self._grants_of(number)[rule])
            for role, rule in roles.items()
            for number in self._by_role.get(role, ())
            if self._bound[number].namespace is None
            for subject in self._bound[number].subjects
        ]
        return self._sorted(found)

    def _sorted(self, found: list[tuple[SubjectKey, Grant]]) -> list[tuple[SubjectKey, Grant]]:
        if all(subject != MASTERS for subject, _ in found):
            found.append((MASTERS, self._masters))
        found.sort(key=lambda item: (*_order(item[0]), item[1].path))
        return found

    def is_shipped_grant(self, key: SubjectKey, grant: Grant) -> bool:
        """Whether Kubernetes itself gives this to this subject, or to a group that it is in."""
        return grant is self._masters or is_shipped_grant(key, grant)

    # Working

    def _grants_of(self, number: int) -> tuple[Grant, ...]:
        found = self._grants.get(number)
        if found is None:
            binding, namespace, role, _ = self._bound[number]
            resource, rules = self._roles[role]
            found = tuple(
                Grant(*rule, namespace, binding, resource, index)
                for index, rule in enumerate(rules)
            )
            self._grants[number] = found
        return found

    def _matching(self, question: _Question) -> dict[int, int]:
        """The roles that allow it, each with the place of the first rule that does."""
        found = self._matches.get(question)
        if found is None:
            found = {}
            for role, rule in self._candidates(question):
                if rule < found.get(role, rule + 1) and self._roles[role][1][rule].covers(
                    *question
                ):
                    found[role] = rule
            self._matches[question] = found
        return found

    def _candidates(self, question: _Question) -> Iterator[tuple[int, int]]:
        _, _, resource, subresource, _ = question
        yield from self._by_resource.get(ALL, ())
        if subresource:
            yield from self._by_resource.get(f"*/{subresource}", ())
            resource = f"{resource}/{subresource}"
        if resource != ALL:
            yield from self._by_resource.get(resource, ())


def rbac_index(view: View) -> RbacIndex:
    """The index of a view, built on the first call."""
    return view.index(RbacIndex)


def _members(key: SubjectKey, groups: Iterable[str]) -> Iterator[SubjectKey]:
    """The subject and its groups, each once."""
    known = (key, *natural_groups(key))
    yield from known
    for name in groups:
        group: SubjectKey = ("Group", None, name)
        if group not in known:
            yield group


def _is_rbac(resource: Resource) -> bool:
    """Other groups have kinds of these names too, of which a manifest may hold some."""
    version = str(resource.body.get("apiVersion") or RBAC_GROUP)
    return version.partition("/")[0] == RBAC_GROUP


def _order(key: SubjectKey) -> tuple[str, str, str]:
    return key[0], key[1] or "", key[2]
