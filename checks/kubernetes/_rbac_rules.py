"""One rule of a role and one grant of a binding, and what they allow, as RBAC decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from auditor.model import Json, Resource, SubjectKey, View
from checks.kubernetes._pods import mapping, objects
from checks.kubernetes._rbac import shown_name
from checks.kubernetes._scopes import labels_of, selects

ALL = "*"


class Rule(NamedTuple):
    """One rule of a role, its lists as sets; equal rules of a view are one object."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    urls: frozenset[str]

    def covers(
        self, verb: str, group: str, resource: str, subresource: str = "", name: str | None = ""
    ) -> bool:
        """Whether it allows a request; with name None, for one name at least."""
        return _covers(self, verb, group, resource, subresource, name)

    def covers_url(self, verb: str, url: str) -> bool:
        """Whether it allows a request for a path that is no resource."""
        return (verb in self.verbs or ALL in self.verbs) and any(
            pattern == url or (pattern.endswith("*") and url.startswith(pattern.rstrip("*")))
            for pattern in self.urls
        )


class Grant(NamedTuple):
    """One rule that a binding gives to its subjects; `namespace` None means the whole cluster.

    `rule` is the rule's place in the role.
    """

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    urls: frozenset[str]
    namespace: str | None
    binding: Resource
    role: Resource
    rule: int

    @property
    def path(self) -> str:
        """Where it comes from: `ClusterRoleBinding/x: ClusterRole/y rules[3]`."""
        if self.role is self.binding:
            return self.role.name
        return f"{shown_name(self.binding)}: {self.role.kind}/{self.role.name} rules[{self.rule}]"

    def allows(
        self,
        verb: str,
        group: str,
        resource: str,
        subresource: str = "",
        name: str = "",
        namespace: str | None = None,
    ) -> bool:
        """Whether it alone allows a request; `namespace` None asks for the whole cluster."""
        return (self.namespace is None or self.namespace == namespace) and self.covers(
            verb, group, resource, subresource, name
        )

    def covers(
        self, verb: str, group: str, resource: str, subresource: str = "", name: str | None = ""
    ) -> bool:
        """As `allows`, in the grant's own reach; with name None, for one name at least."""
        return _covers(self, verb, group, resource, subresource, name)

    def allows_url(self, verb: str, url: str) -> bool:
        """Whether it alone allows a request for a path that is no resource."""
        return self.namespace is None and Rule(*self[:5]).covers_url(verb, url)


def _covers(
    rule: Rule | Grant, verb: str, group: str, resource: str, subresource: str, name: str | None
) -> bool:
    """As `Rule.covers`; asked millions of times, so neither is made from the other."""
    asked = f"{resource}/{subresource}" if subresource else resource
    return (
        (verb in rule.verbs or ALL in rule.verbs)
        and (group in rule.groups or ALL in rule.groups)
        and (
            asked in rule.resources
            or ALL in rule.resources
            or (bool(subresource) and f"*/{subresource}" in rule.resources)
        )
        and (not rule.names or name is None or name in rule.names)
    )


class Step(NamedTuple):
    """One step on a path to cluster-admin: from a subject, by a grant, to the next subject.

    `text` says in words what is done; `path` is the grant's, empty where membership is the step.
    """

    subject: SubjectKey
    text: str
    path: str
    gains: SubjectKey


def parsed_rule(rule: Mapping[str, Json]) -> Rule:
    """A rule as it stands in a role."""
    return Rule(
        _strings(rule.get("verbs")),
        _strings(rule.get("apiGroups")),
        _strings(rule.get("resources")),
        _strings(rule.get("resourceNames")),
        _strings(rule.get("nonResourceURLs")),
    )


def rules_of(role: Resource, by_name: Mapping[str, Resource]) -> list[Mapping[str, Json]]:
    """A ClusterRole's rules; those of an aggregated one of a manifest are gathered."""
    rule = mapping(role.body.get("aggregationRule"))
    if role.source != "manifest" or not rule:
        return objects(role.body.get("rules"))
    gathered: list[Mapping[str, Json]] = []
    seen, waiting = {role.name}, [role]
    while waiting:
        aggregation = mapping(waiting.pop().body.get("aggregationRule"))
        selectors = objects(aggregation.get("clusterRoleSelectors"))
        for other in by_name.values():
            if other.name in seen or not any(selects(one, labels_of(other)) for one in selectors):
                continue
            seen.add(other.name)
            if other.body.get("aggregationRule"):
                waiting.append(other)
            else:
                gathered += objects(other.body.get("rules"))
    return gathered


def masters_grant(view: View) -> Grant:
    """What the API server allows `system:masters` without asking RBAC."""
    name = "the API server allows system:masters everything"
    rule = Resource(view.target.source, view.target.id, "Authorizer", None, name, {})
    every = frozenset({ALL})
    return Grant(every, every, every, frozenset(), every, None, rule, rule, 0)


def _strings(listed: Json) -> frozenset[str]:
    return frozenset(map(str, listed)) if isinstance(listed, list) else frozenset()
