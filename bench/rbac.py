"""Time of the RBAC index and of all checks on RBAC, by number of bindings: a table in Markdown.

It makes roles and bindings in memory, as a large cluster has them: most grant little in one
namespace, some are cluster-wide, a few are strong, and there are many service accounts. Nothing is
collected; the same seed gives the same cluster.

    python bench/rbac.py --bindings 2000,20000 --roles 5000
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from auditor.config import Config  # noqa: E402
from auditor.evaluate import evaluate, views  # noqa: E402
from auditor.model import Check, Coverage, Resource, Snapshot, Status, Target  # noqa: E402
from auditor.registry import discover  # noqa: E402
from checks.kubernetes._rbac_index import rbac_index  # noqa: E402

TARGET = "kubernetes:bench"
RBAC = "rbac.authorization.k8s.io"
SUBJECTS = ("subject", "binding", "role", "RoleBinding", "ClusterRoleBinding", "Role")
RESOURCES = (
    ("", ("pods", "services", "configmaps", "secrets", "pods/log", "pods/exec", "events")),
    ("apps", ("deployments", "deployments/scale", "statefulsets", "daemonsets")),
    ("batch", ("jobs", "cronjobs")),
    ("networking.k8s.io", ("ingresses", "networkpolicies")),
    ("example.com", ("widgets", "gadgets", "widgets/status")),
)
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")
QUESTIONS = (
    ("get", "", "secrets", ""),
    ("create", "", "pods", ""),
    ("create", "", "serviceaccounts", "token"),
    ("bind", RBAC, "clusterroles", ""),
    ("get", "", "nodes", "proxy"),
)


def made(kind: str, name: str, namespace: str | None, **fields: Any) -> Resource:
    """One object, as the collector keeps it."""
    group = "v1" if kind in {"Namespace", "ServiceAccount"} else f"{RBAC}/v1"
    body = {"apiVersion": group, "kind": kind, "metadata": {"name": name}, **fields}
    return Resource("kubernetes", TARGET, kind, namespace, name, body)


def cluster(bindings: int, roles: int, seed: int) -> list[Resource]:
    """Roles, bindings, service accounts and namespaces of a cluster of that size."""
    chosen = random.Random(seed)
    spaces = [f"team-{number}" for number in range(max(10, bindings // 40))]
    found = [made("Namespace", name, None) for name in (*spaces, "kube-system")]
    accounts = []
    for number in range(bindings // 2):
        space = chosen.choice(spaces)
        found.append(made("ServiceAccount", f"app-{number}", space))
        accounts.append({"kind": "ServiceAccount", "namespace": space, "name": f"app-{number}"})
    people = [{"kind": "User", "name": f"user-{number}@example.com"} for number in range(2000)]
    groups = [{"kind": "Group", "name": f"group-{number}"} for number in range(300)]
    wide, narrow = [], {}
    for number in range(roles):
        rules = [rule(chosen) for _ in range(chosen.randint(1, 8))]
        if number % 4 == 0:
            wide.append(f"role-{number}")
            found.append(made("ClusterRole", f"role-{number}", None, rules=rules))
        else:
            space = chosen.choice(spaces)
            narrow.setdefault(space, []).append(f"role-{number}")
            found.append(made("Role", f"role-{number}", space, rules=rules))
    everything = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    found.append(made("ClusterRole", "cluster-admin", None, rules=everything))
    for number in range(bindings):
        subjects = [
            chosen.choice(chosen.choices((accounts, people, groups), (6, 3, 1))[0])
            for _ in range(chosen.randint(1, 3))
        ]
        name = f"binding-{number}"
        if number % 20 == 0:
            ref = {"kind": "ClusterRole", "name": chosen.choice(wide)}
            if number % 2000 == 0:
                ref["name"] = "cluster-admin"
            found.append(made("ClusterRoleBinding", name, None, roleRef=ref, subjects=subjects))
            continue
        space = chosen.choice(spaces)
        local = narrow.get(space)
        if local and number % 3:
            ref = {"kind": "Role", "name": chosen.choice(local)}
        else:
            ref = {"kind": "ClusterRole", "name": chosen.choice(wide)}
        found.append(made("RoleBinding", name, space, roleRef=ref, subjects=subjects))
    return found


def rule(chosen: random.Random) -> dict[str, Any]:
    """One rule: mostly a few verbs on a few resources, seldom a wildcard."""
    group, names = chosen.choice(RESOURCES)
    if chosen.random() < 0.01:
        return {"verbs": ["*"], "apiGroups": [group], "resources": ["*"]}
    reads = chosen.random() < 0.6
    made_rule: dict[str, Any] = {
        "verbs": list(VERBS[:3]) if reads else chosen.sample(VERBS, 3),
        "apiGroups": [group],
        "resources": chosen.sample(names, chosen.randint(1, len(names))),
    }
    if chosen.random() < 0.1:
        made_rule["resourceNames"] = [f"name-{chosen.randint(1, 50)}"]
    return made_rule


def snapshot_of(resources: list[Resource]) -> Snapshot:
    """A snapshot in which every scope of Kubernetes was read."""
    scopes = {
        "Role": "roles",
        "ClusterRole": "clusterroles",
        "RoleBinding": "rolebindings",
        "ClusterRoleBinding": "clusterrolebindings",
        "ServiceAccount": "serviceaccounts",
        "Namespace": "namespaces",
    }
    counts = dict.fromkeys((*scopes.values(), "pods"), 0)
    for item in resources:
        counts[scopes[item.kind]] += 1
    return Snapshot(
        taken_at="2026-01-01T00:00:00Z",
        tool_version="bench",
        targets=(Target(TARGET, "kubernetes", "bench", {"version": "v1.35.0"}),),
        resources=tuple(resources),
        gaps=(),
        coverage=tuple(
            Coverage(TARGET, "kubernetes", scope, count) for scope, count in counts.items()
        ),
        settings=Config().snapshot_settings(),
    )


def rbac_checks() -> list[Check]:
    """The checks that judge subjects, bindings and roles."""
    return [
        check
        for check in discover()
        if check.platform == "kubernetes" and check.subject in SUBJECTS
    ]


def measure(bindings: int, roles: int, seed: int, *, each: bool) -> None:
    """Print one row, and with `each` what every check takes."""
    snapshot = snapshot_of(cluster(bindings, roles, seed))
    gc.collect()
    gc.set_threshold(200_000, 50, 50)  # as the command line does
    (view,) = views(snapshot)

    start = time.perf_counter()
    index = rbac_index(view)
    indexed = time.perf_counter() - start

    start = time.perf_counter()
    for item in view.subjects:
        index.effective((item.kind, item.namespace, item.name))
    walked = time.perf_counter() - start

    start = time.perf_counter()
    for item in view.subjects:
        key = (item.kind, item.namespace, item.name)
        for question in QUESTIONS:
            index.matching(key, *question)
    asked = time.perf_counter() - start

    start = time.perf_counter()
    paths = sum(
        bool(index.path_to_admin((item.kind, item.namespace, item.name))) for item in view.subjects
    )
    searched = time.perf_counter() - start

    checks = rbac_checks()
    start = time.perf_counter()
    findings = evaluate(snapshot, checks)
    evaluated = time.perf_counter() - start
    failures = sum(row.status is Status.FAIL for row in findings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    questions = len(view.subjects) * len(QUESTIONS)
    print(
        f"| {bindings:,} | {roles:,} | {len(view.subjects):,} | {indexed:.2f} | {walked:.2f} "
        f"| {asked:.2f} ({questions:,}) | {searched:.2f} ({paths:,}) "
        f"| {evaluated:.2f} ({len(checks)}) | {failures:,} | {peak:.0f} |"
    )
    if each:
        for check in checks:
            start = time.perf_counter()
            evaluate(snapshot, [check])
            print(f"    {check.id}: {time.perf_counter() - start:.2f} s", file=sys.stderr)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bindings", default="2000,20000", help="sizes, with commas")
    parser.add_argument("--roles", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", action="store_true", help="also time every check by itself")
    wanted = parser.parse_args()
    print(
        "| Bindings | Roles | Subjects | Index (s) | Grants of all (s) | Questions (s) "
        "| Paths (s) | All checks (s) | Failures | Peak (MB) |"
    )
    print("| ---: " * 10 + "|")
    for size in wanted.bindings.split(","):
        measure(int(size), wanted.roles, wanted.seed, each=wanted.each)


if __name__ == "__main__":
    main()
