"""How a kind is listed: page by page, pruned at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from auditor.collect.kubernetes.http import Api, ApiError
from auditor.collect.kubernetes.kinds import Kind
from auditor.collect.objects import SpecPool, resource_from
from auditor.model import Json, Reason, Resource

MAX_RESTARTS = 3
"""How often a list that expired in the middle (410) is begun again."""


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
