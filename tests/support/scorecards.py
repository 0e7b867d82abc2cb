"""A scorecard to render: three targets, every status, hostile names, all kinds of benchmark.

Of CIS Kubernetes there are two versions, of which the audit takes one unless it is asked for both.

The findings are made by arithmetic, not by checks, and then go through the real `aggregate`, so
that the figures in it agree with one another. Nothing here is random and nothing reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from auditor.aggregate import aggregate
from auditor.catalogue import Catalogue
from auditor.config import Config
from auditor.evaluate import finding_id
from auditor.model import (
    Benchmark,
    Check,
    Control,
    Coverage,
    Finding,
    Gap,
    Reason,
    Section,
    Severity,
    Snapshot,
    Status,
    Target,
)
from auditor.registry import Registry
from auditor.scorecard import Scorecard

TAKEN_AT = "2026-03-31T22:15:04Z"
SHA256 = "3f" * 32
CLUSTER, ENGINE, FILES = "kubernetes:6f1c", "docker:QX5T", "files:examples"

SCRIPT = "</script><script>document.title='hacked'</script>"
TEMPLATE = "{{7*7}}{% raw %}"
LONG = "x" * 10_000
RIGHT_TO_LEFT = "payroll-\u202egpj.exe-\u05d0\u05d1\u05d2"
CONTROL = "bell\x07nul\x00esc\x1b[31m\u2028line"
HOSTILE = (SCRIPT, TEMPLATE, LONG, RIGHT_TO_LEFT, CONTROL, '"><img src=x onerror=alert(1)>')
"""Names that no renderer may trust; each is the name of a failing workload."""


class Rule(NamedTuple):
    """What is needed to make a check and its findings."""

    id: str
    title: str
    severity: str
    applies_to: str
    path: str
    observed: str
    expected: str
    controls: tuple[str, ...]


_RULES = """
k8s-cluster-admin-binding | Nobody holds cluster-admin without need | critical | kubernetes/binding
subjects[0] | Group developers | no subject beyond system:masters
cis-kubernetes 5.1.1, nist-csf PR.AA, hardening-guide G.7, checklist PO.3

k8s-rbac-wildcard | Roles name what they allow | high | kubernetes/role
rules[2].resources | * | named resources
cis-kubernetes 5.1.3, nist-csf PR.AA

k8s-privileged-container | Containers run unprivileged | critical | kubernetes/workload
spec.template.spec.containers[0].securityContext.privileged | true | false or not set
cis-kubernetes 5.2.2, nist-csf PR.PS, hardening-guide G.3

k8s-run-as-non-root | Containers run as a user that is not root | high | kubernetes/workload
spec.template.spec.securityContext.runAsNonRoot | not set | true, or runAsUser other than 0
cis-kubernetes 5.2.7, nist-csf PR.PS, hardening-guide G.4, checklist PR.2

k8s-network-policy | Every namespace has a network policy | high | kubernetes/Namespace
 | no NetworkPolicy | at least one NetworkPolicy
cis-kubernetes 5.3.2, nist-csf PR.IR, checklist PR.4

k8s-configmap-secrets | ConfigMaps hold no credentials | critical | kubernetes/ConfigMap
data.GRAFANA_TOKEN | credential name, 32 characters | a Secret or an external store
nist-csf PR.DS, hardening-guide G.11, checklist PR.3

k8s-security-context | The security context has all it needs | medium | kubernetes/workload
spec.template.spec.containers[0].securityContext.seccompProfile.type | not set | RuntimeDefault
cis-kubernetes 5.6.3, nist-csf PR.PS

k8s-resource-limits | Memory and CPU are limited | medium | kubernetes/workload
spec.template.spec.containers[0].resources.limits.memory | not set | a memory limit
nist-csf PR.IR, checklist PR.5

k8s-health-probes | Containers have health probes | low | kubernetes/workload
spec.template.spec.containers[0].livenessProbe | not set | a liveness probe
nist-csf DE.CM, checklist PO.1

docker-privileged-container | Containers run unprivileged | critical | docker/container
HostConfig.Privileged | true | false
cis-docker 5.5, nist-csf PR.PS

docker-memory-limit | Containers have a memory limit | medium | docker/container
HostConfig.Memory | 0 | greater than 0
cis-docker 5.11, nist-csf PR.IR

image-non-root-user | Images name a user that is not root | high | image/image
config.User | root | a user that is not root
cis-docker 4.1, nist-csf PR.PS, hardening-guide G.5

dockerfile-pinned-base | Base images are pinned | high | dockerfile/Dockerfile
FROM | alpine:latest | a tag of one version, or a digest
cis-docker 4.2, nist-csf GV.SC, hardening-guide G.1

dockerfile-healthcheck | Images tell when they are ill | low | dockerfile/Dockerfile
HEALTHCHECK | not set | a HEALTHCHECK instruction
cis-docker 4.6, hardening-guide G.6

app-config-verify-ssl | TLS certificates are verified | high | app-config/file
general.verify_ssl | false | true
nist-csf PR.DS, hardening-guide G.9
"""


def _rule(block: str) -> Rule:
    """Three lines: what it is, what it looks at, which controls it decides."""
    head, evidence, controls = block.split("\n")
    key, title, severity, applies_to = head.split(" | ")
    path, observed, expected = evidence.split(" | ")
    decides = tuple(controls.split(", "))
    return Rule(key, title, severity, applies_to, path.strip(), observed, expected, decides)


RULES = tuple(map(_rule, _RULES.strip("\n").split("\n\n")))

_PLACES: Mapping[str, tuple[str, str, tuple[tuple[str | None, str, str], ...]]] = {
    "kubernetes": (
        CLUSTER,
        "kubernetes",
        (
            ("shop", "Deployment", "web"),
            ("shop", "Deployment", "checkout-and-payments-gateway"),
            ("shop", "StatefulSet", "orders"),
            ("payroll", "CronJob", "monthly-run"),
            ("payroll", "Deployment", "api"),
            ("batch", "Job", "import-2026-03"),
            ("batch", "CronJob", "cleanup"),
            ("observability", "DaemonSet", "node-exporter"),
            ("kube-system", "DaemonSet", "kube-proxy"),
            ("kube-system", "Deployment", "coredns"),
        ),
    ),
    "docker": (ENGINE, "docker", ((None, "container", "cache"), (None, "container", "db"))),
    "image": (ENGINE, "image", ((None, "image", "registry.example/shop/web:1.4.2"),)),
    "dockerfile": (FILES, "dockerfile", ((None, "Dockerfile", "Dockerfile"),)),
    "app-config": (FILES, "app-config", ((None, "file", "settings.json"),)),
}
_CYCLE = (
    Status.FAIL,
    Status.PASS,
    Status.FAIL,
    Status.REVIEW,
    Status.PASS,
    Status.FAIL,
    Status.UNKNOWN,
    Status.PASS,
)


def _probe(*_: Any) -> tuple[()]:
    return ()


def registry() -> Registry:
    """The checks of `RULES`, with prose of the usual length."""
    return Registry(
        {
            rule.id: Check(
                id=rule.id,
                title=rule.title,
                severity=Severity(rule.severity),
                applies_to=rule.applies_to,
                needs=(),
                settings=("system_namespaces",) if rule.applies_to.endswith("workload") else (),
                distinct=False,
                summary=f"Looks at `{rule.path or 'the object'}` of each resource.",
                why="Whoever breaks into one container would otherwise reach the node, and from "
                "there every workload that runs on it and every credential mounted into them.",
                rule=f"fails when `{rule.path or 'the object'}` is {rule.observed}; passes when "
                f"it is {rule.expected}; unknown when it could not be read.",
                fix="Change the owner, not the pod:\n\n    spec:\n      containers:\n"
                "      - name: web\n        securityContext:\n          privileged: false\n\n"
                "- roll it out in one namespace first\n- then in all others",
                source=f"{', '.join(rule.controls)}.",
                probe=_probe,
                module=__name__,
            )
            for rule in sorted(RULES)
        }
    )


def _row(rule: Rule, place: tuple[str, str, str | None, str, str], status: Status) -> Finding:
    target, source, namespace, kind, name = place
    judged = status is not Status.PASS
    file = target == FILES
    origin = f"examples/{name}" if file else None
    return Finding(
        id=finding_id(rule.id, target, (kind, namespace, name, origin), rule.path, 1),
        check=rule.id,
        status=status,
        severity=Severity(rule.severity),
        target=target,
        source=source,
        kind=kind,
        namespace=namespace,
        name=name,
        path=rule.path if judged else "",
        line=12 if file and judged else None,
        column=None,
        observed=rule.observed if judged else "",
        expected=rule.expected if judged else "",
        count=1 if file else 3,
        waiver=None,
        origin=origin,
    )


def _findings() -> Iterator[Finding]:
    for number, rule in enumerate(RULES):
        target, source, places = _PLACES[rule.applies_to.partition("/")[0]]
        for step, (namespace, kind, name) in enumerate(places):
            status = _CYCLE[(number + step) % len(_CYCLE)]
            yield _row(rule, (target, source, namespace, kind, name), status)
    for rule in RULES[2:4]:
        for name in HOSTILE:
            yield _row(rule, (CLUSTER, "kubernetes", "shop", "Deployment", name), Status.FAIL)
    odd = _row(RULES[8], (CLUSTER, "kubernetes", LONG, "Deployment", "odd"), Status.ERROR)
    yield replace(odd, path=LONG, observed=f"=cmd|'/c calc'!A1 {SCRIPT}", expected=TEMPLATE)
    waived = _row(RULES[7], (CLUSTER, "kubernetes", "shop", "Job", "import"), Status.WAIVED)
    yield replace(waived, waiver="runs by hand")
    platform = _row(RULES[2], (CLUSTER, "kubernetes", "kube-system", "Job", "cni"), Status.WAIVED)
    yield replace(platform, waiver="a component of the platform: it <writes> the node's rules")
    yield _row(RULES[4], (CLUSTER, "kubernetes", None, "Namespace", "kube-public"), Status.FAIL)
    yield _row(RULES[4], (CLUSTER, "kubernetes", None, "Namespace", "x"), Status.NOT_APPLICABLE)


WHY = "It is the technical half of what this asks for."
"""The reason with which the framework's controls were given their checks."""


def _benchmark(
    key: str, version: str, title: str, kind: str, sections: Mapping[str, tuple[str, list[str]]]
) -> Benchmark:
    serves: dict[str, list[str]] = {}
    for rule in RULES:
        for ref in rule.controls:
            serves.setdefault(ref, []).append(rule.id)
    controls = tuple(
        Control(
            id=number,
            title=f"What {title} asks under {number}, said in words of our own",
            section=section,
            level=1 + position % 2 if kind == "benchmark" else None,
            mode="manual",
            checks=tuple(serves.get(f"{key} {number}", ())),
            note="The guide's own number for this is 5.1.1." if number == "G.4" else "",
            labels=("5.1.1",) if number == "G.4" else (),
            because=dict.fromkeys(serves.get(f"{key} {number}", ()), WHY)
            if kind in {"framework", "mapping"}
            else {},
            identity=f"about-{number}" if kind == "benchmark" else "",
            elsewhere=("5.7.3 in 1.10",) if (key, number) == ("cis-kubernetes", "5.6.3") else (),
        )
        for section, (_, numbers) in sections.items()
        for position, number in enumerate(numbers)
    )
    return Benchmark(
        id=key,
        version=version,
        title=title,
        kind=kind,
        platforms=("kubernetes", "docker", "image", "dockerfile", "app-config"),
        sections=tuple(Section(item, name) for item, (name, _) in sections.items()),
        controls=controls,
    )


def _range(prefix: str, count: int) -> list[str]:
    return [f"{prefix}.{number}" for number in range(1, count + 1)]


def _older(benchmark: Benchmark) -> Benchmark:
    """The same in an earlier version: its last chapter has another number, and one control more."""
    moved = tuple(
        replace(control, id=control.id.replace("5.6.", "5.7."), mode="automated", level=None)
        for control in benchmark.controls
        if control.id != "5.2.12"
    )
    gone = replace(moved[0], id="5.2.12", identity="about-something-gone", section="5.2", checks=())
    return replace(benchmark, version="1.10", controls=(*moved, gone))


def benchmarks() -> tuple[Benchmark, ...]:
    """CIS Kubernetes (55), CIS Docker (44), CSF (22), two mappings, a guide (60), a checklist."""
    kubernetes = {
        "1.1": ("Files of the control plane", _range("1.1", 21)),
    } | {
        f"5.{number}": (name, _range(f"5.{number}", count))
        for number, (name, count) in enumerate(
            (
                ("Access rights and service accounts", 13),
                ("Pod security", 12),
                ("Network policy", 2),
                ("Secrets", 2),
                ("Image admission", 1),
                ("Namespaces and workload settings", 4),
            ),
            start=1,
        )
    }
    csf = {
        "GV": ("Govern", ["GV.OC", "GV.RM", "GV.RR", "GV.PO", "GV.OV", "GV.SC"]),
        "ID": ("Identify", ["ID.AM", "ID.RA", "ID.IM"]),
        "PR": ("Protect", ["PR.AA", "PR.AT", "PR.DS", "PR.PS", "PR.IR"]),
        "DE": ("Detect", ["DE.CM", "DE.AE"]),
        "RS": ("Respond", ["RS.MA", "RS.AN", "RS.CO", "RS.MI"]),
        "RC": ("Recover", ["RC.RP", "RC.CO"]),
    }
    checklist = {
        "PR": ("Pre-deployment", _range("PR", 5)),
        "PO": ("Post-deployment", _range("PO", 5)),
    }
    docker = {"4": ("Images", _range("4", 12)), "5": ("Containers", _range("5", 32))}
    newest = _benchmark(
        "cis-kubernetes", "2.0.1", "CIS Kubernetes Benchmark", "benchmark", kubernetes
    )
    return (
        _older(newest),
        newest,
        _benchmark("cis-docker", "1.8", "CIS Docker Benchmark", "benchmark", docker),
        _benchmark("nist-csf", "2.0", "NIST Cybersecurity Framework", "framework", csf),
        _benchmark("nist-800-53", "r5", "NIST SP 800-53", "mapping", {"AC": ("Access", ["AC-6"])}),
        _benchmark(
            "nist-800-190",
            "2017",
            "NIST SP 800-190",
            "mapping",
            {"4.3": ("Orchestrators", ["4.3.1"])},
        ),
        _benchmark(
            "hardening-guide", "1", "Hardening guide", "guide", {"G": ("Guide", _range("G", 60))}
        ),
        _benchmark("checklist", "1", "Deployment checklist", "checklist", checklist),
    )


def _snapshot(settings: Mapping[str, Any]) -> Snapshot:
    targets = (
        Target(
            CLUSTER, "kubernetes", "prod-eu", {"version": "v1.35.4", "nodes": "12", "pods": "318"}
        ),
        Target(ENGINE, "docker", "build-host", {"version": "29.1.3", "containers": "2"}),
        Target(FILES, "files", "examples", {"files": "2"}),
    )
    gaps = (
        Gap(
            CLUSTER,
            "kubernetes",
            "networkpolicies",
            Reason.FORBIDDEN,
            f'User "system:serviceaccount:audit:{SCRIPT}" cannot list resource',
            "grant get and list on networkpolicies.networking.k8s.io to the audit's account",
        ),
        Gap(CLUSTER, "kubernetes", "pods", Reason.TIMED_OUT, "no answer", namespace="payroll"),
        Gap(FILES, "manifest", "rolebindings", Reason.PARTIAL, "manifests show no other binding"),
    )
    scopes = ("pods", "deployments", "namespaces", "roles", "clusterrolebindings", "configmaps")
    coverage = (
        *(Coverage(CLUSTER, "kubernetes", scope, 7 * len(scope)) for scope in scopes),
        Coverage(ENGINE, "docker", "containers", 2),
        Coverage(ENGINE, "docker", "images", 1),
        Coverage(FILES, "dockerfile", "dockerfiles", 1),
        Coverage(FILES, "app-config", "app-config", 1),
    )
    return Snapshot(TAKEN_AT, "0.1.0", targets, (), gaps, coverage, settings, SHA256)


ACCEPTED = {
    "accepted_workloads": [
        {"workload": "shop/Job/*", "checks": ["k8s-resource-limits"], "reason": "runs by hand"},
        {"workload": "gone/*", "checks": ["*"], "reason": "was there once"},
    ],
    "accepted_subjects": [
        {"subject": "Group:<sre>", "checks": ["*"], "reason": "two people, alarmed"}
    ],
}
"""What the configuration of the scorecard accepts; only the first entry set something aside."""


def make_scorecard(
    rows: int = 0, *, chosen: tuple[str, ...] = ("cis-kubernetes@auto",), **report: Any
) -> Scorecard:
    """Build the scorecard; `report` overrides keys of the `[report]` settings.

    `rows` adds that many failing workloads of one check, to see how a large audit looks. `chosen`
    are the versions of CIS Kubernetes that are decided, before all other benchmarks.
    """
    settings = Config().snapshot_settings()
    settings["report"] = {
        **settings["report"],
        "organisation": "Example & Sons",
        "prepared_for": "Internal audit",
        "prepared_by": "Platform team",
        "period": "2026 Q1",
        "classification": "Confidential",
        **report,
    }
    settings["notes"] = ["No container archive was given"]
    settings["rules"] = {**settings["rules"], **ACCEPTED}
    others = [ref for ref in settings["benchmarks"] if not ref.startswith("cis-kubernetes")]
    settings["benchmarks"] = [*chosen, *others]
    place = (CLUSTER, "kubernetes")
    extra = (
        _row(RULES[2], (*place, f"team-{n % 40}", "Deployment", f"worker-{n}"), Status.FAIL)
        for n in range(rows)
    )
    findings = [*_findings(), *extra]
    findings.sort(
        key=lambda row: (row.status.rank, row.severity.rank, row.check, row.target, row.name)
    )
    catalogue = Catalogue(benchmarks(), {"cis-kubernetes@2.0.1": ("1.35",)})
    return aggregate(_snapshot(settings), findings, registry(), catalogue)
