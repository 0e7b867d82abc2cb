"""The shortest way from each subject to cluster-admin, worked out once for a view.

A breadth-first search backwards from the subjects that may do everything: in each round those are
found that can become somebody of the round before, by one of the powers of `_rbac_powers`. A path
is therefore as short as any, and the same in every audit of the same state.

It is a chain: what a subject holds counts at every step, what it picks up on the way only at the
step that follows. Rights of two subjects on the way that only together lead on are not joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from auditor.model import View
from checks.kubernetes._pods import mapping
from checks.kubernetes._rbac_index import (
    RbacIndex,
    Step,
    SubjectKey,
    natural_groups,
    rbac_index,
    shown_subject,
)
from checks.kubernetes._rbac_powers import ADMIN, NODES, WRITES, Power, Reach, powers
from checks.kubernetes._rbac_shipped import MASTERS
from checks.kubernetes._scopes import gap_of

Path = tuple[Step, ...]

WEAKER = frozenset({NODES, WRITES})
"""Ends of a path that need more than the API: code on a node, or somebody else's next write."""


def admin_paths(view: View) -> Mapping[SubjectKey, Path]:
    """The shortest path of every subject that has one; empty for those that are there already."""
    return view.index(_Search).paths


def added_path(view: View, key: SubjectKey) -> Path | None:
    """The path of a part of Kubernetes by what it was given beyond what Kubernetes gives it."""
    search = view.index(_Search)
    best: Path | None = None
    for power in search.powers_of(key, powers(view, added=True)):
        for target in search.everybody.targets(power, key):
            path = (_step(key, power, target), *search.paths.get(target, ()))
            if target != key and (best is None or len(path) < len(best)):
                best = path
    return best


def shown_path(path: Path) -> str:
    """A path in one line: each step, by which grant, and whose rights it gives."""
    return "; ".join(f"{number}. {step.text} ({step.path})" for number, step in enumerate(path, 1))


class _Strong:
    """Subjects that lead to cluster-admin, arranged by how somebody could become them."""

    def __init__(self, search: _Search, keys: Iterable[SubjectKey]) -> None:
        self.search = search
        self.users: list[SubjectKey] = []
        self.groups: list[SubjectKey] = []
        self.ends: set[SubjectKey] = set()
        self.accounts: dict[Reach, dict[str, list[SubjectKey]]] = {
            reach: {} for reach in (Reach.ACCOUNTS, Reach.NAMED, *search.holding)
        }
        for key in sorted(keys, key=lambda key: (key[0], key[1] or "", key[2])):
            kind, namespace, _ = key
            if kind == "User":
                self.users.append(key)
            elif kind == "Group":
                self.groups.append(key)
            elif kind == "ServiceAccount" and namespace:
                for reach, inside in self.accounts.items():
                    if reach not in search.holding or key in search.holding[reach]:
                        inside.setdefault(namespace, []).append(key)
            else:
                self.ends.add(key)

    def targets(self, power: Power, key: SubjectKey) -> Iterator[SubjectKey]:
        """Those that a power of a subject reaches."""
        if power.reach is Reach.ONE:
            found: Iterable[SubjectKey] = {power.target} & self.ends
        elif power.reach is Reach.USERS:
            found = self.users
        elif power.reach is Reach.GROUPS:
            found = self.groups
        elif power.reach is Reach.CERTIFICATE:
            found = (item for item in chain(self.users, self.groups) if item != MASTERS)
        else:
            yield from self._accounts(power, key)
            return
        for target in found:
            if not power.names or target[2] in power.names:
                yield target

    def _accounts(self, power: Power, key: SubjectKey) -> Iterator[SubjectKey]:
        inside = self.accounts[power.reach]
        if power.namespace is None:
            found: Iterable[SubjectKey] = chain.from_iterable(inside.values())
        else:
            found = inside.get(power.namespace, ())
        yield from (target for target in found if self._reaches(power, target, key))

    def _reaches(self, power: Power, target: SubjectKey, key: SubjectKey) -> bool:
        """Whether a power over some accounts of the right namespace is one over this account."""
        if power.reach not in self.search.holding:
            named = not power.names or target[2] in power.names
            return named and (power.reach is Reach.NAMED or self.search.exists(target, key))
        held = self.search.holding[power.reach][target]
        return not power.names or not held.isdisjoint(power.names)


class _Search:
    """One breadth-first search over a view."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.index: RbacIndex = rbac_index(view)
        self.existing: frozenset[SubjectKey] = frozenset(
            ("ServiceAccount", item.namespace, item.name) for item in view.of_kind("ServiceAccount")
        )
        self.all_accounts = gap_of(view, "serviceaccounts") is None
        self.holding: dict[Reach, dict[SubjectKey, frozenset[str]]] = {
            Reach.RUNNING: _pods_with_token(view),
            Reach.TOKEN_SECRETS: _token_secrets(view),
        }
        self.paths: dict[SubjectKey, Path] = {}
        self._search()
        self.everybody = _Strong(self, (*self.paths, ADMIN, NODES, WRITES))

    def powers_of(
        self, key: SubjectKey, found: Mapping[SubjectKey, list[Power]]
    ) -> Iterator[Power]:
        """What a subject can do by itself and through the groups that it is in by nature."""
        yield from found.get(key, ())
        for group in natural_groups(key):
            yield from found.get(group, ())

    def exists(self, account: SubjectKey, key: SubjectKey) -> bool:
        """Whether an account is there to be used, or a subject may make it."""
        return (
            not self.all_accounts
            or account in self.existing
            or self.index.can(key, "create", "", "serviceaccounts", namespace=account[1])
        )

    def _search(self) -> None:
        found = powers(self.view)
        subjects = {*self.index.subjects(), *self.existing, MASTERS}
        admins = [key for key in subjects if self.index.is_admin(key)]
        self.paths.update((key, ()) for key in admins)
        waiting = [
            (key, own)
            for key in subjects
            if key not in self.paths and (own := tuple(self.powers_of(key, found)))
        ]
        latest: Iterable[SubjectKey] = (*admins, ADMIN, NODES, WRITES)
        while latest and waiting:
            strong = _Strong(self, latest)
            fresh = {key: path for key, own in waiting if (path := self._first(key, own, strong))}
            self.paths.update(fresh)
            latest = fresh
            waiting = [item for item in waiting if item[0] not in fresh]

    def _first(self, key: SubjectKey, own: Iterable[Power], strong: _Strong) -> Path | None:
        """A step to one of the strong, which have equally long paths, and the path from there."""
        for power in own:
            for target in strong.targets(power, key):
                return (_step(key, power, target), *self.paths.get(target, ()))
        return None


def _step(key: SubjectKey, power: Power, target: SubjectKey) -> Step:
    text = power.text if power.reach is Reach.ONE else f"{power.text} {shown_subject(target)}"
    return Step(key, text, power.grant.path, target)


def _pods_with_token(view: View) -> dict[SubjectKey, frozenset[str]]:
    """The accounts whose token a pod holds, with the names of those pods as far as known."""
    silent = {
        (item.namespace, item.name)
        for item in view.of_kind("ServiceAccount")
        if item.body.get("automountServiceAccountToken") is False
    }
    found: dict[SubjectKey, frozenset[str]] = {}
    for workload in view.workloads:
        if not workload.count and workload.source != "manifest":
            continue
        spec = mapping(workload.spec)
        name = str(spec.get("serviceAccountName") or "default")
        mounted = spec.get("automountServiceAccountToken")
        if mounted is False or (mounted is None and (workload.namespace, name) in silent):
            continue
        key: SubjectKey = ("ServiceAccount", workload.namespace, name)
        pods = workload.body.get("pods")
        names = frozenset(map(str, pods)) if isinstance(pods, list) else frozenset()
        found[key] = found.get(key, frozenset()) | names
    return found


def _token_secrets(view: View) -> dict[SubjectKey, frozenset[str]]:
    """The token secrets that accounts list, as the API server made them before 1.24."""
    return {
        ("ServiceAccount", item.namespace, item.name): frozenset(map(str, secrets))
        for item in view.of_kind("ServiceAccount")
        if isinstance(secrets := item.body.get("secrets"), list) and secrets
    }
