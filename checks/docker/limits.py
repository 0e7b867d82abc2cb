"""What a container may use and change: memory, processor, its own file system; and its health."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from auditor.model import Json, Resource, Verdict, View, failed, passed, review, unknown
from auditor.registry import check
from checks.docker._inspect import config, engine_info, host_config, missing, state, texts

_DEFAULT_SHARES = 1024


@check(
    id="docker-read-only-root-filesystem",
    title="Containers have a read-only root file system",
    severity="medium",
    applies_to="docker/container",
)
def read_only_root_filesystem(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at whether a container can write to the file system of its image.

    Why: whoever gets into a container with a writable root can put tools there and change the
        program itself; with a read-only one nothing stays.
    Rule: fails when `HostConfig.ReadonlyRootfs` is false; passes when it is true; unknown when the
        engine's answer does not say.
    Fix: make it read-only, with a memory file system where the program must write:

            docker run --read-only --tmpfs /tmp:rw,size=100M IMAGE
    Source: CIS Docker 5.13 (1.6 to 1.8); hardening guide, `--read-only`; NIST SP 800-190, 4.4.4.
    """
    read_only = host_config(container).get("ReadonlyRootfs")
    if read_only is None:
        yield missing("HostConfig.ReadonlyRootfs")
    elif read_only:
        yield passed("HostConfig.ReadonlyRootfs")
    else:
        yield failed("HostConfig.ReadonlyRootfs", "false", "true")


@check(
    id="docker-memory-limit",
    title="Containers have a memory limit",
    severity="medium",
    applies_to="docker/container",
)
def memory_limit(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the most memory that a container may use.

    Why: one container without a limit can take all memory of the host, and the kernel then ends
        processes of others.
    Rule: fails when `HostConfig.Memory` is 0 or not set, and when the engine says that its kernel
        cannot limit memory; passes for any limit; unknown when the engine's answer does not say.
    Fix: set a limit that fits the program:

            docker run --memory 512m IMAGE
    Source: CIS Docker 5.11 (1.6 to 1.8); hardening guide, resource limits; NIST SP 800-190, 4.4.3.
    """
    options = host_config(container)
    if not options:
        yield missing("HostConfig.Memory")
    elif not _number(options, "Memory"):
        yield failed("HostConfig.Memory", "not set", "a limit in bytes")
    elif engine_info(view).get("MemoryLimit") is False:
        observed = f"{options['Memory']}, which this engine's kernel cannot enforce"
        yield failed("HostConfig.Memory", observed, "a limit that is enforced")
    else:
        yield passed("HostConfig.Memory", str(options["Memory"]))


@check(
    id="docker-cpu-limit",
    title="Containers have a CPU limit",
    severity="low",
    applies_to="docker/container",
)
def cpu_limit(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the most processor time that a container may use.

    Why: one container without a limit can slow all others on the host down to a standstill.
    Rule: passes when `--cpus`, `--cpu-quota` or, with fewer processors than the host has,
        `--cpuset-cpus` is set; review when only `--cpu-shares` differs from its default of 1024: a
        weight among busy containers, which the benchmark accepts and which limits nothing on an
        idle host; fails when none of them is set, and when the engine says that its kernel cannot
        limit processor time; unknown when the engine's answer does not say.
    Fix: set a limit that fits the program:

            docker run --cpus 0.5 IMAGE
    Source: CIS Docker 5.12 (1.6 to 1.8), which asks for a priority; hardening guide, resource
        limits.
    """
    options, info = host_config(container), engine_info(view)
    if not options:
        yield missing("HostConfig.NanoCpus")
        return
    expected = "NanoCpus or CpuQuota above 0"
    limits = ("NanoCpus", "CpuQuota", "CpuCount", "CpuPercent")
    limit = next((key for key in limits if _number(options, key) > 0), None)
    if limit is not None:
        if info.get("CpuCfsQuota") is False:
            observed = f"{options[limit]}, which this engine's kernel cannot enforce"
            yield failed(f"HostConfig.{limit}", observed, "a limit that is enforced")
        else:
            yield passed(f"HostConfig.{limit}", str(options[limit]), expected)
        return
    cpus = str(options.get("CpusetCpus") or "")
    if cpus and 0 < _count(cpus) < _number(info, "NCPU"):
        yield passed("HostConfig.CpusetCpus", cpus, expected)
        return
    shares = _number(options, "CpuShares")
    if shares not in (0, _DEFAULT_SHARES):
        observed = f"{shares}: a weight among busy containers, not a limit"
        yield review("HostConfig.CpuShares", observed, expected)
        return
    observed = f"not set; CpusetCpus {cpus} is every processor" if cpus else "not set"
    yield failed("HostConfig.NanoCpus", observed, expected)


def _number(options: Mapping[str, Json], key: str) -> int:
    value = options.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _count(cpus: str) -> int:
    """The number of processors in a list such as `0-2,5`; 0 for a list of another form."""
    found: set[int] = set()
    for part in cpus.split(","):
        first, _, last = part.strip().partition("-")
        last = last or first
        if not (first.isdecimal() and last.isdecimal() and len(first) < 5 and len(last) < 5):
            return 0
        found.update(range(int(first), int(last) + 1))
    return len(found)


@check(
    id="docker-container-health",
    title="Containers have a health check that passes",
    severity="low",
    applies_to="docker/container",
)
def container_health(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the health check of a container, its own or its image's, and at what it says.

    Why: a process that hangs still runs; without a health check nobody learns that the service
        behind it is gone.
    Rule: fails when there is no health check, when it is switched off, and when a running
        container is unhealthy; passes when a running one is healthy, or one that does not run has
        a check; unknown while a running one has no result yet, and when the engine's answer does
        not say.
    Fix: declare it in the image, or for the container:

            docker run --health-cmd 'wget -q -O /dev/null http://127.0.0.1:8080/healthz' IMAGE
    Source: CIS Docker 5.27 and 4.6 (1.6 to 1.8); hardening guide, feature "Health Checks" and
        checklist "Health checks passing".
    """
    settings = config(container)
    if not settings:
        yield missing("Config.Healthcheck")
        return
    health = settings.get("Healthcheck")
    test = texts(health.get("Test")) if isinstance(health, Mapping) else []
    if not test or test == ["NONE"]:
        observed = "switched off (NONE)" if test else "not set"
        yield failed("Config.Healthcheck", observed, "a health check")
        return
    process = state(container)
    if not process.get("Running"):
        yield passed("Config.Healthcheck", f"set; the container is {process.get('Status')}")
        return
    result = process.get("Health")
    status = str(result.get("Status") or "") if isinstance(result, Mapping) else ""
    path, expected = "State.Health.Status", "healthy"
    if status == "healthy":
        yield passed(path, status, expected)
    elif status == "unhealthy" and isinstance(result, Mapping):
        streak = result.get("FailingStreak")
        yield failed(path, f"unhealthy: {streak} checks failed in a row", expected)
    else:
        yield unknown(path, f"{status or 'not set'}: no check has a result yet", expected)
