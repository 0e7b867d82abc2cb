"""Whether a namespace has a service account that may do more than a subject who can become it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from auditor.model import View
from checks.kubernetes._rbac_access import shown_rule, unread_bindings
from checks.kubernetes._rbac_index import (
    Grant,
    SubjectKey,
    key_of,
    natural_groups,
    rbac_index,
    shown_subject,
)
from checks.kubernetes._scopes import gap_of


class Stronger(NamedTuple):
    """A service account with a right that a subject does not have.

    `grant` None: what it holds could not be read.
    """

    account: str
    grant: Grant | None = None
    exists: bool = True

    @property
    def note(self) -> str:
        """What it means, in words."""
        if self.grant is None:
            return f"what {self.account} may do could not be read"
        who = f"{self.account} there"
        if not self.exists:
            who = f"{self.account}, which bindings name and which is not there yet,"
        return f"{who} may do more: {shown_rule(self.grant)} ({self.grant.path})"


def stronger_account(
    key: SubjectKey,
    namespace: str,
    view: View,
    names: frozenset[str] = frozenset(),
    *,
    absent: bool = False,
) -> Stronger | None:
    """A service account of a namespace that holds what the subject does not, if there is one.

    What Kubernetes gives every account does not count. With `names` only those accounts are
    looked at. An account whose role could not be read is named where no other one is stronger.
    Accounts that bindings name and that do not exist count where the subject may create them, and
    with `absent` in any case: who is impersonated need not exist.
    """
    return view.index(_Accounts).stronger(key, namespace, names, absent)


class _Accounts:
    """The accounts of each namespace, and what was found out about them: asked again and again."""

    def __init__(self, view: View) -> None:
        self._index = rbac_index(view)
        self._in = _accounts(view)
        self._bound: dict[str, list[SubjectKey]] = {}
        for account in map(key_of, view.subjects):
            if account[0] == "ServiceAccount" and account[1]:
                self._bound.setdefault(account[1], []).append(account)
        self._added: dict[SubjectKey, Sequence[Grant]] = {}
        self._covered: dict[tuple[_Held, int, int], bool] = {}
        self._found: dict[tuple[SubjectKey, str, frozenset[str], bool], Stronger | None] = {}

    def stronger(
        self, key: SubjectKey, namespace: str, names: frozenset[str], absent: bool
    ) -> Stronger | None:
        """See `stronger_account`."""
        asked = (key, namespace, names, absent)
        if asked not in self._found:
            self._found[asked] = self._look(*asked)
        return self._found[asked]

    def _look(
        self, key: SubjectKey, namespace: str, names: frozenset[str], absent: bool
    ) -> Stronger | None:
        mine = _Mine(self._index.effective(key))
        hidden: Stronger | None = None
        there = self._in.get(namespace, [_default(namespace)])
        accounts = there
        if absent or self._index.can(key, "create", "", "serviceaccounts", namespace=namespace):
            accounts = list(dict.fromkeys((*there, *self._bound.get(namespace, ()))))
        for account in accounts:
            if account == key or (names and account[2] not in names):
                continue
            for grant in self._grants(account):
                if not self._covers(mine, grant):
                    return Stronger(shown_subject(account), grant, account in there)
            for member in (account, *natural_groups(account)):
                if member != key and unread_bindings(member, self._index):
                    hidden = hidden or Stronger(shown_subject(account))
        return hidden

    def _covers(self, mine: _Mine, grant: Grant) -> bool:
        """Whether a subject may do all that a grant allows; asked once for equal sets of rules."""
        near, held = mine.near(grant.namespace)
        asked = (held, id(grant.role), grant.rule)
        known = self._covered.get(asked)
        if known is None:
            known = self._covered[asked] = _covered(grant, near)
        return known

    def _grants(self, account: SubjectKey) -> Sequence[Grant]:
        found = self._added.get(account)
        if found is None:
            found = self._added[account] = self._index.added(account)
        return found


def _accounts(view: View) -> dict[str, list[SubjectKey]]:
    """The service accounts that are in each namespace, `default` among them.

    Where not all were read, those that bindings name count too.
    """
    found: dict[str, dict[SubjectKey, None]] = {}
    for account in view.of_kind("ServiceAccount"):
        namespace = account.namespace or ""
        found.setdefault(namespace, {})[("ServiceAccount", namespace, account.name)] = None
    if gap_of(view, "serviceaccounts") is not None:
        for subject in view.subjects:
            if subject.kind == "ServiceAccount" and subject.namespace:
                found.setdefault(subject.namespace, {})[key_of(subject)] = None
    for namespace, accounts in found.items():
        accounts[_default(namespace)] = None
    return {namespace: list(accounts) for namespace, accounts in found.items()}


def _default(namespace: str) -> SubjectKey:
    return "ServiceAccount", namespace, "default"


_Held = tuple[bool, frozenset[tuple[int, int]], frozenset[tuple[int, int]]]
"""Which rules of which roles somebody holds: whether a namespace is asked about, everywhere, there.

Roles stand by their identity: a view keeps them for as long as it is evaluated.
"""


class _Mine:
    """What a subject holds, by the namespace in which it counts."""

    def __init__(self, grants: Sequence[Grant]) -> None:
        self._grants = grants
        self._near: dict[str | None, tuple[list[Grant], _Held]] = {}

    def near(self, namespace: str | None) -> tuple[list[Grant], _Held]:
        """The grants that count in a namespace (None: in the whole cluster), and their set."""
        found = self._near.get(namespace)
        if found is None:
            grants = [own for own in self._grants if own.namespace in (None, namespace)]
            wide = frozenset((id(own.role), own.rule) for own in grants if own.namespace is None)
            there = frozenset((id(own.role), own.rule) for own in grants if own.namespace)
            found = self._near[namespace] = grants, (namespace is None, wide, there)
        return found


def _covered(grant: Grant, near: Sequence[Grant]) -> bool:
    """Whether a subject with the grants `near` may do all that a grant allows."""
    # The same rule of the same role, whoever binds it: most comparisons end here.
    if any(own.role is grant.role and own.rule == grant.rule for own in near):
        return True
    # A RoleBinding gives no non-resource URLs.
    urls = grant.urls if grant.namespace is None else frozenset()
    for verb in grant.verbs:
        if not all(any(own.allows_url(verb, url) for own in near) for url in urls):
            return False
        for thing in grant.resources:
            resource, _, subresource = thing.partition("/")
            for group in grant.groups:
                for name in grant.names or ("",):
                    if not any(
                        own.covers(verb, group, resource, subresource, name) for own in near
                    ):
                        return False
    return True
