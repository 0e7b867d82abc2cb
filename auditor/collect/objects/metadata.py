"""Metadata made lean and harmless, and what `kubectl apply` leaves behind in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import orjson

from auditor.collect.objects.podspec import as_text, hit_rows
from auditor.collect.secrets import detect, redact
from auditor.model import Json

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MAX_ANNOTATION = 512
"""Characters of an annotation that are kept; longer ones hold documents, not facts."""

_PLAIN_LABEL = re.compile(r"[A-Za-z0-9._-]{0,19}")

Reducer = Callable[[Mapping[str, Json]], dict[str, Json]]
"""Turns a raw object into the kept part of its body, metadata aside; raises `ValueError`."""


def prune_metadata(raw: Mapping[str, Json], reduce: Reducer | None = None) -> dict[str, Json]:
    """Return the part of an object's metadata that rules and reports use.

    `reduce` is the object's own reducer: the copy of the object that `kubectl apply` keeps in an
    annotation goes through it, and `lastApplied` then lists the secrets seen there.
    """
    kept = {
        key: raw[key]
        for key in ("name", "namespace", "uid", "creationTimestamp")
        if raw.get(key) is not None
    }
    labels = raw.get("labels")
    if isinstance(labels, Mapping) and labels:
        kept["labels"] = {str(key): _label(as_text(value)) for key, value in labels.items()}
    annotations = raw.get("annotations")
    if isinstance(annotations, Mapping) and annotations:
        kept["annotations"] = {
            str(key): _annotation(str(key), as_text(value))
            for key, value in annotations.items()
            if key != LAST_APPLIED
        }
        if LAST_APPLIED in annotations and reduce is not None:
            seen = _last_applied(as_text(annotations[LAST_APPLIED]), reduce)
            if seen:
                kept["lastApplied"] = seen
    owners = raw.get("ownerReferences")
    if isinstance(owners, list) and owners:
        kept["ownerReferences"] = [
            {key: owner[key] for key in ("kind", "name", "controller") if key in owner}
            for owner in owners
            if isinstance(owner, Mapping)
        ]
    return kept


def _label(value: str) -> str:
    # Every pod has labels: what is too short and too plain for any token is not searched.
    return value if _PLAIN_LABEL.fullmatch(value) else redact(value)[0]


def _annotation(key: str, value: str) -> str:
    if len(value) > MAX_ANNOTATION:
        return f"«dropped: {len(value)} characters»"
    return redact(value, key)[0]


def _last_applied(text: str, reduce: Reducer) -> list[dict[str, Json]]:
    """What the copy of an object that `kubectl apply` leaves behind holds in plain text.

    The copy goes through the object's own reducer, so the same places are looked at.
    """
    try:
        reduced = reduce(orjson.loads(text))
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        # Anybody can write this annotation, so it can hold anything.
        return [{"path": "", **row} for row in hit_rows(detect(text))]
    return [{"path": path, **row} for path, row in _hits_below(reduced, "")]


def _hits_below(value: Json, path: str) -> Iterator[tuple[str, Mapping[str, Json]]]:
    if isinstance(value, Mapping):
        hits = value.get("hits")
        if isinstance(hits, list):
            yield from ((path.removesuffix(".literal"), row) for row in hits)
            return
        for key, item in value.items():
            yield from _hits_below(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _hits_below(item, f"{path}[{index}]")
