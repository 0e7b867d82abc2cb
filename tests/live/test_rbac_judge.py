"""The API server as the judge of the RBAC index: thousands of SubjectAccessReviews, one answer.

A cluster with real applications and some hundred random roles and bindings is collected as for an
audit. Then every subject is asked about, for every right that the controls ask for, cluster-wide
and in three namespaces. `AUDITOR_RBAC_SEED` repeats a world; a failure prints its seed.
"""

from __future__ import annotations

import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import pytest

from auditor.collect.kubernetes import collect_kubernetes
from auditor.config import KubernetesTable
from auditor.evaluate import views
from auditor.model import View
from checks.kubernetes._rbac import is_shipped, role_key
from checks.kubernetes._rbac_index import (
    RbacIndex,
    SubjectKey,
    natural_groups,
    rbac_index,
    shown_subject,
    subjects_of,
)
from checks.kubernetes._rbac_shipped import SHIPPED_BINDINGS
from checks.kubernetes._rbac_shipped_rules import SHIPPED_RULES
from tests.support.controlplane import ApiError, ControlPlane
from tests.support.fixtures import snapshot_of
from tests.support.rbac_world import GROUP, NAMESPACES, QUESTIONS, URLS, Question, random_world

pytestmark = pytest.mark.live

SHARED = Path(__file__).parents[2].parent / "shared" / "inputs" / "manifests"
SEED = int(os.environ.get("AUDITOR_RBAC_SEED") or random.SystemRandom().randrange(1_000_000))
FEWEST = 3000
THREADS = 6
NOBODY = "rbac-judge:nobody"


class Asked(NamedTuple):
    """One question about one subject; `url` instead of a resource where it is given."""

    subject: SubjectKey
    groups: tuple[str, ...]
    question: Question
    namespace: str | None
    url: str = ""

    def review(self) -> dict[str, Any]:
        """The SubjectAccessReview that asks it."""
        kind, namespace, name = self.subject
        groups = [group for _, _, group in natural_groups(self.subject)]
        user = name
        if kind == "ServiceAccount":
            user = f"system:serviceaccount:{namespace}:{name}"
        elif kind == "Group":
            user = NOBODY
            groups.append(name)
        spec: dict[str, Any] = {"user": user, "groups": [*groups, *self.groups]}
        verb, group, resource, subresource, named = self.question
        if self.url:
            spec["nonResourceAttributes"] = {"verb": verb, "path": self.url}
        else:
            spec["resourceAttributes"] = {
                "verb": verb,
                "group": group,
                "resource": resource,
                "subresource": subresource,
                "name": named,
                "namespace": self.namespace or "",
            }
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": spec,
        }

    def answer(self, index: RbacIndex) -> bool:
        """What the index says."""
        if self.url:
            return index.can_url(self.subject, self.question[0], self.url, self.groups)
        return index.can(self.subject, *self.question, namespace=self.namespace, groups=self.groups)

    def __str__(self) -> str:
        verb, group, resource, subresource, name = self.question
        what = self.url or f"{group}/{resource}/{subresource} {name!r}"
        return f"{shown_subject(self.subject)} {self.groups}: {verb} {what} in {self.namespace}"


class Judge:
    """SubjectAccessReviews over connections that stay open, one for each thread."""

    def __init__(self, plane: ControlPlane) -> None:
        self.host = urlsplit(plane.url).netloc
        self.context = ssl.create_default_context(cafile=str(plane.ca_file))
        certificate, key = plane._authority.issue("rbac-judge", ["system:masters"])
        self.context.load_cert_chain(certificate, key)
        self.local = threading.local()

    def allows(self, asked: Asked) -> bool:
        """The API server's answer."""
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = HTTPSConnection(self.host, context=self.context, timeout=30)
            self.local.connection = connection
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        headers = {"Content-Type": "application/json"}
        connection.request("POST", path, orjson.dumps(asked.review()), headers)
        answer = connection.getresponse()
        body = orjson.loads(answer.read())
        assert answer.status == 201, body
        return bool(body["status"]["allowed"])


def create_all(plane: ControlPlane, documents: Iterable[dict[str, Any]]) -> None:
    """Create RBAC objects side by side, namespaces first."""
    listed = list(documents)
    spaces = [item for item in listed if item["kind"] == "Namespace"]
    assert plane.apply(spaces) == []

    def create(document: dict[str, Any]) -> None:
        space = document["metadata"].get("namespace")
        plural = document["kind"].lower() + "s"
        where = f"namespaces/{space}/{plural}" if space else plural
        plane.request("POST", f"/apis/{GROUP}/v1/{where}", document)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(create, (item for item in listed if item["kind"] != "Namespace")))


def settle(plane: ControlPlane, judge: Judge) -> None:
    """Wait until roles are gathered, and until the authorizer has seen everything.

    It watches each kind by itself, in order: what came after all others is what to wait for.
    """
    path = f"/apis/{GROUP}/v1/clusterroles?labelSelector="

    def gathered() -> bool:
        roles = {item["metadata"]["name"]: item for item in plane.request("GET", path)["items"]}
        parts = {
            number: [
                rule
                for name, item in roles.items()
                if item["metadata"].get("labels", {}).get("judge") == f"part-{number}"
                for rule in item.get("rules") or ()
            ]
            for number in range(4)
        }
        wanted = {0: parts[0], 1: parts[1], 2: parts[2], 3: [*parts[2], *parts[3]]}
        return all(
            _canonical(roles[f"judge-gathered-{number}"].get("rules") or ()) == _canonical(rules)
            for number, rules in wanted.items()
        )

    plane.wait_until("the aggregated ClusterRoles hold their rules", gathered)
    rule = {"verbs": ["get"], "apiGroups": ["judge.example"], "resources": ["last"]}
    reference = {"apiGroup": GROUP, "name": "judge-last"}
    subjects = [{"kind": "User", "apiGroup": GROUP, "name": NOBODY}]
    for space in (None, NAMESPACES[0]):
        kind, prefix = ("Role", "") if space else ("ClusterRole", "Cluster")
        metadata = {"name": "judge-last", **({"namespace": space} if space else {})}
        base = {"apiVersion": f"{GROUP}/v1", "metadata": metadata}
        create_all(plane, [{**base, "kind": kind, "rules": [rule]}])
        ref = {**reference, "kind": kind}
        bound = {**base, "kind": f"{prefix}RoleBinding", "roleRef": ref, "subjects": subjects}
        create_all(plane, [bound])
        question = ("get", "judge.example", "last", "", "")
        asked = Asked(("User", None, NOBODY), (), question, space)
        plane.wait_until("the authorizer has seen it all", lambda a=asked: judge.allows(a))
        for plural in (f"{kind.lower()}s", f"{prefix.lower()}rolebindings"):
            where = f"namespaces/{space}/{plural}" if space else plural
            plane.request("DELETE", f"/apis/{GROUP}/v1/{where}/judge-last")
        plane.wait_until("the authorizer has seen it go", lambda a=asked: not judge.allows(a))


def _canonical(rules: Iterable[dict[str, Any]]) -> set[bytes]:
    return {orjson.dumps(rule, option=orjson.OPT_SORT_KEYS) for rule in rules}


def applications(plane: ControlPlane) -> None:
    """Apply the applications of the shared inputs, where they are there."""
    if not SHARED.is_dir():
        return
    for folder in sorted(SHARED.iterdir()):
        space = folder.stem
        plane.apply(folder, namespace=space, create_namespaces=True)


def questions(view: View, extra: random.Random) -> list[Asked]:
    """Every subject times every question, cluster-wide and in three namespaces, and more."""
    subjects: list[SubjectKey] = [(item.kind, item.namespace, item.name) for item in view.subjects]
    # Nobody names these: what they may do comes from the groups they are in, or is nothing.
    subjects += [("ServiceAccount", space, "unbound") for space in NAMESPACES]
    subjects += [("User", None, "unbound"), ("Group", None, "unbound")]
    groups = [name for kind, _, name in subjects if kind == "Group"]
    asked = [
        Asked(subject, (), question, space)
        for subject in subjects
        for question in QUESTIONS
        for space in (None, *NAMESPACES)
    ]
    asked += [
        Asked(subject, (), ("get", "", "", "", ""), None, url)
        for subject in subjects
        for url in URLS
    ]
    for _ in range(400):
        member = tuple(extra.sample(groups, 2))
        space = extra.choice((None, *NAMESPACES))
        asked.append(Asked(extra.choice(subjects), member, extra.choice(QUESTIONS), space))
    return asked


def test_the_index_answers_as_the_api_server_does(
    fresh_controlplane: Callable[..., ControlPlane],
) -> None:
    generator = random.Random(SEED)
    plane = fresh_controlplane()
    judge = Judge(plane)
    applications(plane)
    create_all(plane, random_world(generator))
    settle(plane, judge)
    harvest = collect_kubernetes(kubeconfig=plane.kubeconfig, config=KubernetesTable())
    assert not [gap for gap in harvest.gaps if "role" in gap.scope]
    (view,) = views(snapshot_of(harvest))
    index = rbac_index(view)
    asked = questions(view, generator)

    begun = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        judged = list(pool.map(judge.allows, asked, chunksize=1))
    seconds = time.monotonic() - begun

    yes = sum(judged)
    differences = [
        f"{item}: the API server says {right}"
        for item, right in zip(asked, judged, strict=True)
        if item.answer(index) != right
    ]
    print(f"{len(asked):,} questions, {yes:,} yes, {seconds:.0f} s, seed {SEED}")
    shown = "\n".join(differences[:20])
    assert not differences, f"seed {SEED}: {len(differences)} of {len(asked)} differ:\n{shown}"
    assert len(asked) > FEWEST
    assert len(asked) * 0.02 < yes < len(asked) * 0.98, f"seed {SEED} decides nothing: {yes} yes"
    _agrees_with_itself(index, asked, judged)


def _agrees_with_itself(index: RbacIndex, asked: list[Asked], judged: list[bool]) -> None:
    """The other ways to ask give the same: who_can, matching, and the grants by themselves."""
    for item, right in zip(asked, judged, strict=True):
        if item.url or item.groups:
            continue
        grants = index.effective(item.subject)
        alone = any(grant.allows(*item.question, item.namespace) for grant in grants)
        assert alone == right, f"seed {SEED}: {item}"
        found = index.matching(item.subject, *item.question)
        reached = any(grant.namespace in (None, item.namespace) for grant in found)
        assert reached == right, f"seed {SEED}: {item}"
    members: dict[SubjectKey, set[SubjectKey]] = {}
    for item in asked:
        members.setdefault(item.subject, {item.subject, *natural_groups(item.subject)})
    places = {(item.question, item.namespace) for item in asked if not item.url}
    named = {place: {key for key, _ in index.who_can(*place[0], place[1])} for place in places}
    for item, right in zip(asked, judged, strict=True):
        if not (item.url or item.groups):
            found_there = named[(item.question, item.namespace)]
            assert bool(members[item.subject] & found_there) == right, f"seed {SEED}: {item}"
    assert set(chain.from_iterable(named.values())) <= {
        *index.subjects(),
        ("Group", None, "system:masters"),
    }


def test_an_account_without_a_namespace_is_refused_where_it_would_be_nobody(
    controlplane: ControlPlane,
) -> None:
    body = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "judge-nobody"},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "alpha"}],
    }
    with pytest.raises(ApiError, match="namespace: Required value"):
        controlplane.request("POST", f"/apis/{GROUP}/v1/clusterrolebindings", body)


def test_what_a_new_cluster_holds_is_what_is_listed_as_shipped(
    fresh_controlplane: Callable[..., ControlPlane],
) -> None:
    plane = fresh_controlplane()
    harvest = collect_kubernetes(kubeconfig=plane.kubeconfig, config=KubernetesTable())
    (view,) = views(snapshot_of(harvest))
    bindings = [*view.of_kind("ClusterRoleBinding"), *view.of_kind("RoleBinding")]
    assert len(bindings) > 50
    for binding in bindings:
        shipped = SHIPPED_BINDINGS.get((binding.namespace, binding.name))
        assert is_shipped(binding) and shipped is not None, binding.name
        assert shipped == (role_key(binding)[2], frozenset(subjects_of(binding)))
    index = rbac_index(view)
    assert not [key for key in index.subjects() if index.added(key)]
    roles = {role.name: role for role in view.of_kind("ClusterRole")}
    for name, rules in SHIPPED_RULES.items():
        held = [_lists(rule) for rule in roles[name].body["rules"]]
        assert sorted(held) == sorted(_lists(rule) for rule in rules), name


def _lists(rule: Mapping[str, Any]) -> list[list[str]]:
    fields = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
    return [sorted(rule.get(field) or ()) for field in fields]
