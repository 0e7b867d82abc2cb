"""What a container may use, and how the cluster learns that it is well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from auditor.model import (
    Container,
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
from checks.kubernetes._pods import LONG_RUNNING, mapping


@check(
    id="k8s-resource-limits",
    title="Containers have requests and limits for CPU and memory",
    severity="medium",
    applies_to="kubernetes/workload",
    distinct=True,
)
def resource_limits(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the requests and limits of every container, or of its pod as a whole.

    Why: A container without limits can take the node's memory and CPU from all others, by a bug
    or by an intruder who mines. Without requests the scheduler packs nodes blindly.

    Rule: Passes when requests and limits are set for both CPU and memory. A limit without a
    request counts for both, as the API fills it in; `resources` of the pod count for its
    containers; a limit of 0 is none. Fails otherwise, once for each container, naming what is
    missing. Ephemeral containers cannot have any and are not asked. Unknown when pods or
    workloads could not be listed.

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
    for container in workload.containers():
        path = f"{container.path}.resources"
        if container.kind is ContainerKind.EPHEMERAL:
            yield not_applicable("an ephemeral container cannot have resources", path)
            continue
        missing = list(_missing(mapping(container.body.get("resources")), of_pod))
        if missing:
            yield failed(
                path, f"missing: {', '.join(missing)}", "requests and limits of cpu and memory"
            )
        else:
            yield passed(path)


_ZERO = re.compile(r"0*(\.0*)?[A-Za-z]*")


def _missing(own: Mapping[str, Json], of_pod: Mapping[str, Json]) -> Iterator[str]:
    for kind in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            places = [own, of_pod]
            found = any(_is_set(place, kind, resource) for place in places)
            if not found and kind == "requests":
                found = any(_is_set(place, "limits", resource) for place in places)
            if not found:
                yield f"{kind}.{resource}"


def _is_set(resources: Mapping[str, Json], kind: str, name: str) -> bool:
    quantity = mapping(resources.get(kind)).get(name)
    return quantity is not None and not _ZERO.fullmatch(str(quantity))


@check(
    id="k8s-health-probes",
    title="Long-running containers have a health probe",
    severity="low",
    applies_to="kubernetes/workload",
    distinct=True,
)
def health_probes(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks for a liveness or a readiness probe on every container that is meant to stay.

    Why: Without a probe the cluster sees a process, not a service: a hung or compromised
    container keeps its traffic, and nobody is told.

    Rule: Passes when an ordinary or sidecar container has a `livenessProbe` or a
    `readinessProbe`; a `startupProbe` alone ends with the start and does not count. Fails when it
    has neither. Does not apply to pods that run to their end (Jobs, CronJobs, a `restartPolicy`
    other than Always), nor to init and ephemeral containers. Unknown when pods or workloads could
    not be listed.

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
        if container.kind in LONG_RUNNING:
            yield _probe_of(container)
        else:
            yield not_applicable(f"an {container.kind} does not stay", container.path)


def _probe_of(container: Container) -> Verdict:
    if any(mapping(container.body.get(key)) for key in ("livenessProbe", "readinessProbe")):
        return passed(container.path)
    only = "only a startupProbe" if container.body.get("startupProbe") else "no probe"
    return failed(container.path, only, "a livenessProbe or a readinessProbe")
