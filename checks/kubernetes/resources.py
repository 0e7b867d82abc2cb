"""What a container may use, and how the cluster learns that it is well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from auditor.model import (
    ContainerKind,
    Json,
    Resource,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
)
from auditor.registry import check
from checks.kubernetes._accepted import WORKLOAD_SETTINGS, accepted_workload
from checks.kubernetes._pods import LONG_RUNNING, PASSED, mapping, objects


@check(
    id="k8s-resource-limits",
    title="Containers have requests and limits for CPU and memory",
    severity="medium",
    applies_to="kubernetes/workload",
    needs=("limitranges",),
    settings=WORKLOAD_SETTINGS,
    excuse=accepted_workload,
)
def resource_limits(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the requests and limits of every container, or of its pod as a whole.

    Why: A container without limits can take the node's memory and CPU from all others, by a bug
    or by an intruder who mines. Without requests the scheduler packs nodes blindly.

    Rule: Passes when requests and limits are set for both CPU and memory. A limit without a
    request counts for both, as the API fills it in; `resources` of the pod count for its
    containers; a limit of 0 is none. What a LimitRange of the namespace gives counts: live pods
    carry it, and to a template without pods, and to manifests that hold the LimitRange, it is
    added as admission would. Fails otherwise, once for each container, naming what is missing; a
    manifest is not excused by a LimitRange that it does not hold. Ephemeral containers cannot have
    any and are not asked. What `[rules] accepted_workloads` names is waived with its reason.
    Unknown when pods or workloads could not be listed, and for templates without pods when
    LimitRanges could not and something is missing.

    Fix: Measure, then set:

        resources:
          requests:
            cpu: 100m
            memory: 128Mi
          limits:
            cpu: 500m
            memory: 512Mi

    Source: the hardening guide's "Resource Limits"; NIST SP 800-190, 4.4.3.
    """
    of_pod = mapping(workload.spec.get("resources"))
    # A live pod went through admission already.
    admitted = workload.count > 0 and workload.source != "manifest"
    given = _NOTHING if admitted else view.index(_defaults).get(workload.namespace, _NOTHING)
    for container in workload.containers():
        if container.kind is ContainerKind.EPHEMERAL:
            path = f"{container.path}.resources"
            yield not_applicable("an ephemeral container cannot have resources", path)
            continue
        missing = _missing(mapping(container.body.get("resources")), of_pod, given)
        if not missing:
            yield _PASSED
            continue
        yield failed(
            f"{container.path}.resources",
            f"missing: {', '.join(missing)}",
            "requests and limits of cpu and memory",
            stands=admitted or workload.source == "manifest",
        )


class _Given(NamedTuple):
    """Of which kinds of resources LimitRanges give containers a limit, and a request."""

    limits: frozenset[str] = frozenset()
    requests: frozenset[str] = frozenset()


_KINDS = ("cpu", "memory")
_NOTHING = _Given()
_PASSED = passed(stands=True)
_ZERO = re.compile(r"0*(\.0*)?[A-Za-z]*")


def _defaults(view: View) -> dict[str | None, _Given]:
    """What the LimitRanges of each namespace give to containers that set nothing.

    As the API server defaults a LimitRange itself: `max` is the default limit where none is given,
    and a default limit or `min` the default request (SetDefaults_LimitRangeItem, core/v1).
    """
    found: dict[str | None, _Given] = {}
    for item in view.of_kind("LimitRange"):
        limits, requests = found.get(item.namespace, _NOTHING)
        for entry in objects(item.spec.get("limits")):
            if entry.get("type") == "Container":
                limits |= _set(entry, "default") | _set(entry, "max")
                requests |= _set(entry, "defaultRequest") | _set(entry, "min")
        found[item.namespace] = _Given(limits, requests)
    return found


def _missing(own: Mapping[str, Json], of_pod: Mapping[str, Json], given: _Given) -> list[str]:
    limits = _set(own, "limits") | _set(of_pod, "limits") if of_pod else _set(own, "limits")
    if given.limits:
        limits |= given.limits - _named(own, "limits")
    if len(limits) == len(_KINDS):
        return []
    requests = limits | _set(own, "requests") | _set(of_pod, "requests") | given.requests
    return [
        *(f"requests.{kind}" for kind in _KINDS if kind not in requests),
        *(f"limits.{kind}" for kind in _KINDS if kind not in limits),
    ]


def _set(resources: Mapping[str, Json], key: str) -> set[str]:
    """Which of CPU and memory have a quantity that is not zero."""
    quantities = resources.get(key)
    if not isinstance(quantities, dict):
        return set()
    return {kind for kind in _KINDS if _is_some(quantities.get(kind))}


def _named(resources: Mapping[str, Json], key: str) -> set[str]:
    """Which have a quantity at all: nothing is given to those, a zero included."""
    return {*mapping(resources.get(key))}


def _is_some(quantity: Json) -> bool:
    if quantity is None:
        return False
    text = str(quantity)
    # Most quantities begin with another digit, and a pattern takes ten times as long.
    return text[:1] in "123456789" or not _ZERO.fullmatch(text)


@check(
    id="k8s-health-probes",
    title="Long-running containers have a health probe",
    severity="low",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def health_probes(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks for a liveness or a readiness probe on every container that is meant to stay.

    Why: Without a probe the cluster sees a process, not a service: a hung or compromised
    container keeps its traffic, and nobody is told.

    Rule: Passes when an ordinary or sidecar container has a `livenessProbe` or a
    `readinessProbe`; a `startupProbe` alone ends with the start and does not count. Fails when it
    has neither. Does not apply to pods that run to their end (Jobs, CronJobs, a `restartPolicy`
    other than Always), nor to init and ephemeral containers. What `[rules] accepted_workloads`
    names is waived with its reason. Unknown when pods or workloads could not be listed.

    Fix: Ask the application itself, over the port it serves:

        readinessProbe:
          httpGet:
            path: /healthz
            port: http
        livenessProbe:
          httpGet:
            path: /healthz
            port: http

    Source: the hardening guide's feature "Health Checks" and its item "Health checks passing".
    """
    if workload.spec.get("restartPolicy") in ("Never", "OnFailure"):
        yield not_applicable("it runs to its end: restartPolicy is not Always")
        return
    for container in workload.containers():
        if container.kind not in LONG_RUNNING:
            yield not_applicable(f"an {container.kind} does not stay", container.path)
        elif container.body.get("livenessProbe") or container.body.get("readinessProbe"):
            yield PASSED
        else:
            only = "only a startupProbe" if container.body.get("startupProbe") else "no probe"
            yield failed(container.path, only, "a livenessProbe or a readinessProbe")
