"""Random RBAC objects that an API server takes, with every feature that decides an answer."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

GROUP = "rbac.authorization.k8s.io"
NAMESPACES = ("judge-a", "judge-b", "judge-c")
NAMES = ("alpha", "beta", "kubernetes.io/kube-apiserver-client", "kubernetes.io/*")

Document = dict[str, Any]
Question = tuple[str, str, str, str, str]
"""Verb, API group, resource, subresource and name."""

_ADMISSION = "admissionregistration.k8s.io"
_CERTIFICATES = "certificates.k8s.io"
_CONFIGURATIONS = (
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
)

QUESTIONS: tuple[Question, ...] = (
    *((verb, "", "secrets", "", "") for verb in ("get", "list", "watch")),
    ("get", "", "secrets", "", "alpha"),
    ("create", "", "pods", "", ""),
    ("create", "", "pods", "", "alpha"),
    ("create", "", "pods", "exec", "alpha"),
    ("create", "apps", "deployments", "", ""),
    ("update", "apps", "deployments", "scale", "beta"),
    *(
        (verb, GROUP, resource, "", name)
        for verb in ("bind", "escalate")
        for resource in ("roles", "clusterroles")
        for name in ("", "alpha")
    ),
    *(
        ("impersonate", "", resource, "", name)
        for resource in ("users", "groups", "serviceaccounts")
        for name in ("", "beta")
    ),
    ("impersonate", "authentication.k8s.io", "userextras", "scopes", "alpha"),
    ("create", "", "persistentvolumes", "", ""),
    *((verb, "", "nodes", "proxy", name) for verb in ("get", "create") for name in ("", "alpha")),
    *(
        (verb, _CERTIFICATES, "certificatesigningrequests", "approval", name)
        for verb in ("update", "patch")
        for name in ("", "alpha")
    ),
    *(("approve", _CERTIFICATES, "signers", "", name) for name in ("", *NAMES[2:])),
    *(
        (verb, _ADMISSION, resource, "", "beta" if verb in {"update", "delete"} else "")
        for resource in _CONFIGURATIONS
        for verb in ("create", "update", "patch", "delete")
    ),
    ("create", "", "serviceaccounts", "token", ""),
    ("create", "", "serviceaccounts", "token", "alpha"),
    ("deletecollection", "", "secrets", "", ""),
)
"""What the controls of CIS Kubernetes 5.1 ask about, with names where names can decide."""

URLS = ("/metrics", "/healthz", "/healthz/etcd", "/logs", "/api", "/apis/apps", "/nowhere")

_GROUPS = ("", "apps", GROUP, _CERTIFICATES, _ADMISSION, "authentication.k8s.io")
_VERBS = tuple(sorted({verb for verb, *_ in QUESTIONS}))
_RESOURCES = tuple(
    sorted({f"{resource}/{sub}" if sub else resource for _, _, resource, sub, _ in QUESTIONS})
)
# Patterns that the authorizer knows, and some that it does not take for patterns.
_PATTERNS = ("*", "*/proxy", "*/token", "*/approval", "*/exec", "pods/*", "nodes/*", "secret*")
_PATHS = ("*", "/metrics", "/healthz*", "/healthz/*", "/api*", "/logs", "/apis/*")

SUBJECTS: tuple[Document, ...] = (
    *({"kind": "User", "name": name} for name in ("alice", "bob", "carol@example.com")),
    {"kind": "User", "name": "system:anonymous"},
    {"kind": "User", "name": f"system:serviceaccount:{NAMESPACES[0]}:named-like-one"},
    {"kind": "User", "name": "system:serviceaccount:odd"},
    *({"kind": "Group", "name": name} for name in ("ops", "developers", "system:authenticated")),
    {"kind": "Group", "name": "system:unauthenticated"},
    {"kind": "Group", "name": "system:serviceaccounts"},
    {"kind": "Group", "name": "system:nodes"},
    *({"kind": "Group", "name": f"system:serviceaccounts:{space}"} for space in NAMESPACES),
    *(
        {"kind": "ServiceAccount", "namespace": space, "name": name}
        for space in (*NAMESPACES, "kube-system")
        for name in ("alpha", "beta")
    ),
    {"kind": "ServiceAccount", "namespace": NAMESPACES[0], "name": "named-like-one"},
)
_EVERYBODY = ("system:authenticated", "system:serviceaccounts", "system:unauthenticated")


def random_world(random: Random) -> Iterator[Document]:
    """Yield namespaces, some hundred roles and bindings; role names are for lookup by bindings.

    Groups that hold everybody get few and narrow bindings: else every answer would be yes.
    """
    for space in NAMESPACES:
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
    for number in range(60):
        yield _role(f"judge-{number}", [_rule(random, wide=number % 12 == 0)])
    for number in range(20):
        rules = [_rule(random) for _ in range(random.randint(0, 3))]
        rules.append({"verbs": ["get"], "nonResourceURLs": random.sample(_PATHS, 2)})
        yield _role(f"judge-part-{number}", rules, labels={"judge": f"part-{number % 4}"})
    for number in range(4):
        labels = {"judge": "part-0"} if number == 1 else {}
        role = _role(f"judge-gathered-{number}", [], labels=labels)
        chosen = {"matchLabels": {"judge": f"part-{number}"}}
        if number == 3:
            chosen = {
                "matchExpressions": [
                    {"key": "judge", "operator": "In", "values": ["part-2", "part-3"]}
                ]
            }
        role["aggregationRule"] = {"clusterRoleSelectors": [chosen]}
        yield role
    for space in NAMESPACES:
        for number in range(20):
            rules = [_rule(random) for _ in range(random.randint(1, 3))]
            yield _role(f"judge-{number}", rules, namespace=space)
    cluster_roles = [
        *(f"judge-{number}" for number in range(64)),  # four of them do not exist
        *(f"judge-part-{number}" for number in range(20)),
        *(f"judge-gathered-{number}" for number in range(4)),
    ]
    yield from _pinned()
    narrow = [f"judge-{number}" for number in range(60) if number % 12]
    for number in range(60):
        subjects = _subjects(random, cluster_wide=True)
        everybody = any(item["name"] in _EVERYBODY for item in subjects)
        role = random.choice(narrow if everybody else cluster_roles)
        yield _binding(f"judge-{number}", "ClusterRole", role, subjects)
    for space in NAMESPACES:
        for number in range(40):
            kind = random.choice(("Role", "ClusterRole"))
            names = cluster_roles if kind == "ClusterRole" else [f"judge-{i}" for i in range(22)]
            subjects = _subjects(random, cluster_wide=False)
            yield _binding(f"judge-{number}", kind, random.choice(names), subjects, space)


def _pinned() -> Iterator[Document]:
    """What random worlds meet too seldom: each form of a resource, and names, by itself."""
    forms: list[Document] = [{"resources": [pattern]} for pattern in (*_PATTERNS, "pods", "*/*")]
    forms += [{"resources": ["*"], "resourceNames": [name]} for name in ("alpha", "*")]
    for number, form in enumerate(forms):
        name = f"judge-pinned-{number}"
        yield _role(name, [{"verbs": ["*"], "apiGroups": ["*"], **form}])
        for space in (None, NAMESPACES[number % 3]):
            user = f"pinned-{number}-{'in-one' if space else 'everywhere'}"
            yield _binding(name, "ClusterRole", name, [{"kind": "User", "name": user}], space)


def _rule(random: Random, *, wide: bool = False) -> Document:
    if wide:
        return {
            "verbs": random.choice((["*"], ["get", "list", "create", "update"])),
            "apiGroups": ["*"],
            "resources": random.choice((["*"], ["*/proxy", "*/token"])),
        }
    verbs = ["*"] if random.random() < 0.15 else random.sample(_VERBS, random.randint(1, 4))
    groups = ["*"] if random.random() < 0.2 else random.sample(_GROUPS, random.randint(1, 3))
    resources = random.sample(_RESOURCES, random.randint(1, 4))
    if random.random() < 0.4:
        resources.append(random.choice(_PATTERNS))
    rule: Document = {"verbs": verbs, "apiGroups": groups, "resources": resources}
    if random.random() < 0.3:
        rule["resourceNames"] = random.sample(NAMES, random.randint(1, 2))
    return rule


def _role(
    name: str,
    rules: list[Document],
    *,
    namespace: str | None = None,
    labels: dict[str, str] | None = None,
) -> Document:
    metadata: Document = {"name": name, "labels": labels or {}}
    if namespace:
        metadata["namespace"] = namespace
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Role" if namespace else "ClusterRole",
        "metadata": metadata,
        "rules": rules,
    }


def _subjects(random: Random, *, cluster_wide: bool) -> list[Document]:
    chosen = [dict(item) for item in random.sample(SUBJECTS, random.randint(0, 3))]
    if cluster_wide and random.random() < 0.8:
        # Few cluster-wide grants to everybody, or nothing would be left to decide.
        chosen = [item for item in chosen if item["name"] not in _EVERYBODY]
    for item in chosen:
        if item["kind"] == "ServiceAccount" and not cluster_wide and random.random() < 0.3:
            del item["namespace"]  # the API server fills in nothing: the authorizer does
    return chosen


def _binding(
    name: str, kind: str, role: str, subjects: list[Document], namespace: str | None = None
) -> Document:
    metadata: Document = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
        "subjects": [
            item if item["kind"] == "ServiceAccount" else {**item, "apiGroup": GROUP}
            for item in subjects
        ],
    }
