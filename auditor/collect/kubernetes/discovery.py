"""What an API server serves: its groups, their versions, and the resources of custom groups.

Servers from Kubernetes 1.27 on tell all of it in one answer (aggregated discovery). An older one
tells groups and versions, and is asked about each custom group that matters here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from auditor.collect.kubernetes.http import Api, ApiError
from auditor.collect.kubernetes.kinds import CONSTRAINTS, CUSTOM_GROUPS, CUSTOM_KINDS, Kind
from auditor.model import Json, Reason

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
ACCEPT = ",".join((_AGGREGATED.format("v2"), _AGGREGATED.format("v2beta1"), "application/json"))
"""The forms in which we take `/apis`, best first; an old server gives the last."""


@dataclass(frozen=True, slots=True)
class Served:
    """One resource that a server serves: its versions, the server's own choice first."""

    kind: str
    versions: tuple[str, ...]


@dataclass(slots=True)
class Discovery:
    """What a server serves. `groups` has the versions of each group, in the server's order.

    `resources` has the resources of each custom group by their plurals. `unread` has the groups
    whose resources could not all be read, and why: what they serve is then not known for sure.
    """

    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    resources: dict[str, dict[str, Served]] = field(default_factory=dict)
    unread: dict[str, ApiError] = field(default_factory=dict)


def discover(api: Api) -> Discovery:
    """Ask a server what it serves. Raises `ApiError` when it does not tell its groups."""
    answer = api.get("/apis", accept=ACCEPT)
    found = Discovery()
    if isinstance(answer, Mapping) and isinstance(answer.get("items"), list):
        for item in answer["items"]:
            _aggregated(item, found)
    elif isinstance(answer, Mapping) and isinstance(answer.get("groups"), list):
        for group in _mappings(answer["groups"]):
            versions = _mappings(group.get("versions"))
            found.groups[str(group.get("name"))] = tuple(str(v.get("version")) for v in versions)
        for name in sorted(CUSTOM_GROUPS & set(found.groups)):
            _ask(api, name, found)
    else:
        raise ApiError(Reason.MALFORMED, "the answer is not a list of API groups")
    return found


def constraints_alone(api: Api) -> Discovery:
    """What is known of Gatekeeper's constraints where the list of all groups cannot be read."""
    found = Discovery(groups={CONSTRAINTS: ("v1beta1",)})
    _ask(api, CONSTRAINTS, found)
    failure = found.unread.get(CONSTRAINTS)
    return Discovery() if failure and failure.status == 404 and failure.from_api else found


def _aggregated(item: Json, found: Discovery) -> None:
    """Take one group of an aggregated answer."""
    name = str(_mapping(_mapping(item).get("metadata")).get("name"))
    versions = _mappings(_mapping(item).get("versions"))
    found.groups[name] = tuple(str(version.get("version")) for version in versions)
    if name not in CUSTOM_GROUPS:
        return
    for version in versions:
        if version.get("freshness") == "Stale":
            # Another server answers for this group, and does not do so now.
            found.unread[name] = ApiError(
                Reason.UNREACHABLE, f"the server behind {name} does not say what it serves"
            )
        for resource in _mappings(version.get("resources")):
            kind = str(_mapping(resource.get("responseKind")).get("kind"))
            _add(found, name, str(resource.get("resource")), kind, str(version.get("version")))


def _ask(api: Api, group: str, found: Discovery) -> None:
    """Ask an older server about the resources of one group, version by version."""
    for version in found.groups[group]:
        try:
            answer = api.get(f"/apis/{group}/{version}")
        except ApiError as error:
            found.unread[group] = error
            continue
        for resource in _mappings(_mapping(answer).get("resources")):
            name = str(resource.get("name"))
            if "/" not in name:
                _add(found, group, name, str(resource.get("kind")), version)


def _add(found: Discovery, group: str, plural: str, kind: str, version: str) -> None:
    known = found.resources.setdefault(group, {}).get(plural, Served(kind, ()))
    found.resources[group][plural] = Served(known.kind, (*known.versions, version))


@dataclass(slots=True)
class Plan:
    """What is to be listed of custom kinds, and what need not be: kinds that are not served, and
    kinds that are served only in versions that this program does not know.
    """

    listed: list[Kind] = field(default_factory=list)
    not_served: list[Kind] = field(default_factory=list)
    too_new: list[tuple[Kind, tuple[str, ...]]] = field(default_factory=list)


def plan(found: Discovery | None, kinds: Sequence[Kind] = CUSTOM_KINDS) -> Plan:
    """Sort custom kinds by what is served; where that is not known (None) all are tried."""
    made = Plan()
    for kind in kinds:
        if found is None:
            made.listed.append(kind)
        elif kind.group not in found.groups or kind.unless in found.groups:
            made.not_served.append(kind)
        else:
            _sort(kind, found, made)
    return made


def _sort(kind: Kind, found: Discovery, made: Plan) -> None:
    served = found.resources.get(kind.group, {}).get(kind.plural)
    if served is None:
        (made.listed if kind.group in found.unread else made.not_served).append(kind)
        return
    known = tuple(version for version in served.versions if version in kind.versions)
    if known:
        made.listed.append(replace(kind, versions=known))
    else:
        made.too_new.append((kind, served.versions))


def constraint_kinds(found: Discovery) -> Iterator[Kind]:
    """The kinds that Gatekeeper made for its templates, each in the server's own version."""
    for plural, served in sorted(found.resources.get(CONSTRAINTS, {}).items()):
        yield Kind(
            plural,
            served.kind,
            CONSTRAINTS,
            served.versions[:1],
            page=500,
            cluster_wide=True,
            custom=True,
        )


def _mappings(value: Json) -> list[Mapping[str, Json]]:
    items: Iterable[Json] = value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, Mapping)]


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}
