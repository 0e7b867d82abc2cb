"""The pods that are asked about, in the labels and from the registry of a workload that is there.

Many clusters refuse every pod without some label or probe, or from a foreign registry. A bare pod
never comes past such a rule, so nothing would show of the others; but whoever creates a pod there
knows what to write. A workload that runs shows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import NamedTuple

from auditor.model import Json, Resource, View
from checks.kubernetes._admission.answers import Pod
from checks.kubernetes._pods import LONG_RUNNING, mapping
from checks.kubernetes._scopes import is_system

MOST = 6
"""How many workloads are tried, for each namespace."""

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_IMAGE = "auditor-probe:1.0"
_OF_ONE_POD = frozenset({"pod-template-hash", "controller-revision-hash"})


class Dress(NamedTuple):
    """Labels, an image (empty: the pod's own), and the health probes of ordinary containers, each
    as JSON; `words` say whose they are.
    """

    words: str
    labels: frozenset[tuple[str, str]]
    image: str = ""
    probes: tuple[tuple[str, str], ...] = ()


def dresses(namespace: Resource, view: View) -> Iterator[Dress]:
    """What pods may wear in a namespace: of its own workloads first, then of others'.

    The image is one that nobody has, below the same registry, before the workload's own: a policy
    that makes an exception for one image says nothing of pods at large.
    """
    own = view.workloads_in(namespace.name)
    others = (
        item
        for item in view.workloads
        if item.namespace != namespace.name and not is_system(item.namespace, view)
    )
    tried: set[tuple[frozenset[tuple[str, str]], str]] = set()
    for workload in (*own, *others):
        container = next((c.body for c in workload.containers() if c.kind in LONG_RUNNING), {})
        image = str(container.get("image") or "")
        labels = _labels(workload)
        if (labels, image) in tried:
            continue
        if len(tried) >= MOST:
            return
        tried.add((labels, image))
        place = f"{workload.kind} {workload.namespace}/{workload.name}"
        yield Dress(f"the labels of {place}", labels)
        folder = image.rpartition("/")[0]
        if folder:
            yield Dress(f"the labels and registry of {place}", labels, f"{folder}/{_IMAGE}")
        if image:
            yield Dress(f"the labels and image of {place}", labels, image)
        probes = tuple((key, json.dumps(container[key])) for key in _PROBES if key in container)
        if probes:
            yield Dress(f"the labels, image and probes of {place}", labels, image, probes)


def _labels(workload: Resource) -> frozenset[tuple[str, str]]:
    found = mapping(mapping(workload.body.get("metadata")).get("labels"))
    return frozenset((str(k), str(v)) for k, v in found.items() if str(k) not in _OF_ONE_POD)


class Wardrobe:
    """Dressed pods, each made once: what is asked about them is remembered by identity."""

    def __init__(self, view: View) -> None:
        self.made: dict[tuple[int, Dress], tuple[Pod, Pod]] = {}

    def wear(self, pod: Pod, dress: Dress | None) -> Pod:
        """The pod in a dress; the pod itself where there is none."""
        if dress is None:
            return pod
        key = (id(pod), dress)
        if key not in self.made:
            self.made[key] = (pod, _dressed(pod, dress))
        return self.made[key][1]


def _dressed(pod: Pod, dress: Dress) -> Pod:
    made: dict[str, Json] = deepcopy(dict(pod))
    metadata = made.setdefault("metadata", {})
    metadata["labels"] = {**mapping(metadata.get("labels")), **dict(dress.labels)}
    for key in ("initContainers", "containers"):
        for container in made["spec"].get(key) or ():
            if dress.image:
                container["image"] = dress.image
            if key == "containers":
                container |= {name: json.loads(probe) for name, probe in dress.probes}
    return made
