"""Manifests: what is read, what is passed over, and that hostile files only cost themselves."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from auditor.collect.base import Harvest
from auditor.collect.kubernetes.kinds import CONSTRAINTS, CUSTOM_KINDS
from auditor.collect.manifests import MAX_BYTES, collect_manifests
from auditor.evaluate import evaluate
from auditor.model import Gap, Reason, Status
from auditor.registry import discover
from tests.support.fixtures import snapshot_of

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {containers: [{name: c, image: i}]}
"""


def pod(name: str) -> str:
    return POD.replace("NAME", name)


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def names(harvest: Harvest) -> list[str]:
    return [resource.name for resource in harvest.resources]


def problems(harvest: Harvest) -> list[Gap]:
    return [gap for gap in harvest.gaps if gap.reason is not Reason.PARTIAL]


def test_documents_lists_and_json_are_read_with_their_lines(tmp_path: Path) -> None:
    listed = """\
# a comment
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: ServiceAccount
    metadata: {name: in-list}
  - apiVersion: v1
    kind: Namespace
    metadata:
      name: ns
---
PLAIN---
# nothing here
---
apiVersion: apps/v1
kind: DeploymentList
items:
- metadata: {name: typed, namespace: shop}
  spec: {template: {spec: {containers: [{name: c, image: i}]}}}
""".replace("PLAIN", pod("plain"))
    yaml = write(tmp_path, "all.yaml", listed)
    json = write(
        tmp_path, "one.json", '{"apiVersion": "v1", "kind": "Service",\n"metadata":{"name":"svc"}}'
    )
    harvest = collect_manifests([yaml, json], base=tmp_path)
    found = {
        item.name: (item.kind, item.namespace, item.origin, item.line) for item in harvest.resources
    }
    assert found == {
        "in-list": ("ServiceAccount", "default", "all.yaml", 5),
        "ns": ("Namespace", None, "all.yaml", 8),
        "plain": ("Pod", "default", "all.yaml", 13),
        "typed": ("Deployment", "shop", "all.yaml", 23),
        "svc": ("Service", "default", "one.json", 1),
    }
    assert problems(harvest) == []


def test_a_broken_document_takes_no_other_with_it(tmp_path: Path) -> None:
    text = f"{pod('one')}---\nkind: [\n---\n{pod('two')}---\n{pod('bad').replace('[{', '{a: {')}"
    path = write(tmp_path, "mixed.yaml", text.replace("i}]}", "i}]}", 1))
    harvest = collect_manifests([path], base=tmp_path)
    assert names(harvest) == ["one", "two"]
    gaps = problems(harvest)
    assert [(gap.scope, gap.name, gap.reason) for gap in gaps] == [
        ("manifests", "mixed.yaml", Reason.MALFORMED)
    ] * 2
    assert [gap.detail.split(":")[0] for gap in gaps] == ["line 7", "line 16"]


def test_an_object_of_impossible_shape_is_a_gap_with_its_line(tmp_path: Path) -> None:
    bad = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: [1]\n"
    harvest = collect_manifests([write(tmp_path, "a.yaml", pod("ok") + "---\n" + bad)])
    assert names(harvest) == ["ok"]
    assert [gap.detail for gap in problems(harvest)] == ["line 6: Pod: spec is not an object"]


def test_a_directory_is_read_to_its_leaves_and_other_files_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", pod("b"))
    write(tmp_path, "sub/deep/a.yml", pod("a"))
    write(tmp_path, "values.yaml", "replicas: 3\n")
    write(
        tmp_path,
        "kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n",
    )
    write(tmp_path, "notes.txt", "kind: Pod")
    write(tmp_path, ".git/x.yaml", pod("hidden"))
    harvest = collect_manifests([tmp_path], base=tmp_path)
    assert names(harvest) == ["b", "a"]
    assert [item.origin for item in harvest.resources] == ["b.yaml", "sub/deep/a.yml"]
    assert problems(harvest) == []
    assert harvest.targets[0].facts == {
        "manifests": "2 objects in 4 files",
        "not manifests": "2 documents",
    }


def test_a_named_file_that_is_no_manifest_is_a_gap(tmp_path: Path) -> None:
    values = write(tmp_path, "values.yaml", "replicas: 3\n")
    empty = write(tmp_path, "empty.yaml", "# nothing\n---\n")
    harvest = collect_manifests([values, empty], base=tmp_path)
    assert [(gap.name, gap.detail) for gap in problems(harvest)] == [
        ("values.yaml", "line 1: no Kubernetes object (no apiVersion and kind)"),
        ("empty.yaml", "it holds no object"),
    ]


def test_a_template_is_a_gap_that_says_how_to_render_it(tmp_path: Path) -> None:
    write(tmp_path, "chart/templates/pod.yaml", pod("{{ .Release.Name }}"))
    write(tmp_path, "chart/templates/if.yaml", "{{- if .Values.on }}\n" + pod("x") + "{{- end }}\n")
    harvest = collect_manifests([tmp_path], base=tmp_path)
    assert names(harvest) == []
    assert {gap.name for gap in problems(harvest)} == {
        "chart/templates/if.yaml",
        "chart/templates/pod.yaml",
    }
    assert all("helm template" in gap.remedy for gap in problems(harvest))


def test_standard_input_is_read_where_a_dash_stands() -> None:
    harvest = collect_manifests([Path("-")], stdin=pod("piped").encode())
    assert [(item.name, item.origin) for item in harvest.resources] == [("piped", "<stdin>")]


def test_origins_never_name_a_folder_of_this_machine(tmp_path: Path) -> None:
    write(tmp_path, "apps/web/pod.yaml", pod("x"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    harvest = collect_manifests([tmp_path / "apps"], base=elsewhere)
    assert [item.origin for item in harvest.resources] == ["apps/web/pod.yaml"]


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)
    ]
    return "\n".join(lines)


HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "a billion laughs": (laughs(9), "1000000 nodes"),
    "laughs by merging": (
        "a: &a {x: 1}\n"
        + f"b: &b {{<<: [{', '.join(['*a'] * 1500)}]}}\n"
        + f"c: {{<<: [{', '.join(['*b'] * 1500)}]}}\n",
        "1000000 nodes",
    ),
    "one long text many times": (
        f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 2000)}]",
        "1000000 nodes",
    ),
    "contains itself": ("a: &a\n  b: *a\n", "contains itself"),
    "ten thousand brackets": ("[" * 10_000 + "]" * 10_000, "200 levels"),
    "unclosed brackets": ("[" * 1_000_000, "200 levels"),
    "compact nesting": ("- " * 5000 + "x", "200 levels"),
    "an object of Python": ("a: !!python/object/apply:os.system [echo]", "constructor"),
    "a set": ("a: !!set {b, c}", "constructor"),
    "binary junk": (bytes(range(256)) * 40, "not UTF-8"),
    "control characters": (b"a: \x00\x01\x02", "not YAML"),
    "an unknown alias": ("a: *nobody", "undefined alias"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_quickly_and_the_rest_is_read(case: str, tmp_path: Path) -> None:
    content, words = HOSTILE[case]
    write(tmp_path, "a-bad.yaml", content)
    write(tmp_path, "b-good.yaml", pod("good"))
    started = time.monotonic()
    harvest = collect_manifests([tmp_path], base=tmp_path)
    assert time.monotonic() - started < 2
    assert names(harvest) == ["good"]
    assert [gap.name for gap in problems(harvest)] == ["a-bad.yaml"]
    assert words in problems(harvest)[0].detail


def test_a_gap_never_quotes_the_file(tmp_path: Path) -> None:
    value = "Hk7-" + "q9" * 9
    for number, text in enumerate(
        (f"token: {value}: x", f"a: *{value}", f"!{value} x", f"? [{value}")
    ):
        write(tmp_path, f"{number}.yaml", text)
    harvest = collect_manifests([tmp_path])
    assert len(problems(harvest)) == 4
    assert value not in repr(harvest)


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    gap = problems(collect_manifests([path], base=tmp_path))[0]
    assert (gap.name, gap.reason) == ("huge.yaml", Reason.REFUSED)


def test_a_file_that_is_not_there_is_a_gap(tmp_path: Path) -> None:
    gap = problems(collect_manifests([tmp_path / "nowhere.yaml"], base=tmp_path))[0]
    assert (gap.name, gap.reason) == ("nowhere.yaml", Reason.FAILED)


def test_values_are_read_as_kubernetes_reads_them(tmp_path: Path) -> None:
    text = """\
apiVersion: example.com/v1
kind: Thing
metadata: {name: 007x}
spec:
  time: 12:30
  day: 2026-01-02
  octal: 0644
  large: 99999999999999999999
  yes: on
  8080: port
  binary: !!binary aGVsbG8=
"""
    harvest = collect_manifests([write(tmp_path, "t.yaml", text)])
    assert harvest.resources[0].spec == {
        "time": "12:30",
        "day": "2026-01-02",
        "octal": 420,
        "large": 1e20,
        "true": True,
        "8080": "port",
        "binary": "aGVsbG8=",
    }


def test_no_manifests_and_no_gap_is_not_a_pass(tmp_path: Path) -> None:
    """An empty directory proves that nothing is there; a broken file proves nothing."""
    check = discover().select(["k8s-privileged-container"])
    empty = evaluate(snapshot_of(collect_manifests([tmp_path])), check)
    assert {row.status for row in empty} == {Status.NOT_APPLICABLE}
    write(tmp_path, "bad.yaml", "a: [")
    broken = evaluate(snapshot_of(collect_manifests([tmp_path])), check)
    assert {row.status for row in broken} == {Status.UNKNOWN}


def test_a_check_of_relations_never_passes_on_what_a_manifest_cannot_show(tmp_path: Path) -> None:
    write(tmp_path, "ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n")
    harvest = collect_manifests([tmp_path])
    found = evaluate(snapshot_of(harvest), discover().select(["k8s-network-policy"]))
    assert [row.status for row in found] == [Status.UNKNOWN]


EXAMPLES = Path(__file__).parents[2] / "examples" / "manifests"
KUBERNETES_CHECKS = [check for check in discover() if check.platform == "kubernetes"]


def statuses(folder: Path) -> dict[str, set[Status]]:
    found: dict[str, set[Status]] = {}
    for row in evaluate(snapshot_of(collect_manifests([folder])), KUBERNETES_CHECKS):
        found.setdefault(row.check, set()).add(row.status)
    return found


# What decides these stands elsewhere: who else is bound, what runs beside, which policies of
# network plugins or admission controllers there are.
ONLY_THE_CLUSTER_KNOWS = {
    # Who else binds the subjects that the manifests bind.
    "k8s-admission-configuration-access",
    "k8s-cluster-admin-binding",
    "k8s-csr-approval-access",
    "k8s-escalation-access",
    "k8s-node-proxy-access",
    "k8s-persistent-volume-creation",
    "k8s-pod-creation-access",
    "k8s-secret-access",
    "k8s-token-creation-access",
    "k8s-cni-network-policy",
    "k8s-default-deny-egress",
    "k8s-default-deny-ingress",
    "k8s-default-service-account",
    "k8s-external-secret-store",
    "k8s-image-provenance",
    "k8s-metadata-egress",
    "k8s-namespace-boundaries",
    "k8s-path-to-cluster-admin",
}
SETTLED = {Status.PASS, Status.NOT_APPLICABLE}


def test_the_good_example_passes_all_that_a_manifest_can_show() -> None:
    found = statuses(EXAMPLES / "good")
    unknown = {check for check, seen in found.items() if Status.UNKNOWN in seen}
    assert unknown <= ONLY_THE_CLUSTER_KNOWS
    assert set().union(*found.values()) == {*SETTLED, Status.UNKNOWN}
    passed = {check for check, seen in found.items() if Status.PASS in seen}
    assert passed >= {
        "k8s-allow-privilege-escalation",
        "k8s-capabilities-dropped",
        "k8s-network-policy",
        "k8s-network-policy-open-rule",
        "k8s-privileged-admission",
        "k8s-privileged-container",
        "k8s-run-as-non-root",
        "k8s-security-context",
    }


def test_the_bad_example_fails_what_a_manifest_can_show() -> None:
    found = statuses(EXAMPLES / "bad")
    assert not set().union(*found.values()) & {Status.ERROR}
    failing = {check for check, seen in found.items() if Status.FAIL in seen}
    assert failing >= {
        "k8s-allow-privilege-escalation",
        "k8s-capabilities-dropped",
        "k8s-cluster-admin-binding",
        "k8s-configmap-secrets",
        "k8s-host-path-volume",
        "k8s-literal-env-secrets",
        "k8s-network-policy-open-rule",
        "k8s-privileged-container",
        "k8s-rbac-wildcard",
        "k8s-run-as-non-root",
        "k8s-security-context",
    }
    # It has the guide's policy, which is one.
    assert found["k8s-network-policy"] == {Status.PASS}
    # A policy elsewhere may refuse its pods.
    admission = {check for check in found if check.endswith("-admission")}
    assert {check for check in admission if found[check] != {Status.UNKNOWN}} == set()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("rbac.yaml", set()),
        # Both files say so themselves, and are apart from the first for that reason.
        ("gatekeeper-rbac.yaml", {"k8s-rbac-wildcard"}),
        ("probe-rbac.yaml", {"k8s-pod-creation-access"}),
    ],
)
def test_the_rbac_of_the_auditor_fails_nothing_but_what_it_says(
    file: str, expected: set[str]
) -> None:
    found = statuses(EXAMPLES.parents[1] / "deploy" / file)
    bad = {Status.FAIL, Status.ERROR, Status.REVIEW}
    assert {check for check, seen in found.items() if seen & bad} == expected


CUSTOM = """\
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: wide}
---
apiVersion: kyverno.io/v1
kind: Policy
metadata: {name: spaced}
---
apiVersion: config.ratify.deislabs.io/v1beta1
kind: Policy
metadata: {name: ratify}
---
apiVersion: crd.projectcalico.org/v1
kind: NetworkPolicy
metadata: {name: calico}
---
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sMine
metadata: {name: constraint}
---
apiVersion: extensions/v1beta1
kind: Deployment
metadata: {name: old}
spec: {template: {spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: example.org/v1
kind: Thing
metadata: {name: unknown}
"""


def test_custom_kinds_stand_where_they_would_and_count_to_their_own_scopes(
    tmp_path: Path,
) -> None:
    harvest = collect_manifests([write(tmp_path, "custom.yaml", CUSTOM)])
    assert {item.name: (item.kind, item.namespace) for item in harvest.resources} == {
        "wide": ("ClusterPolicy", None),
        "spaced": ("Policy", "default"),
        "ratify": ("Policy.config.ratify.deislabs.io", None),
        "calico": ("NetworkPolicy.crd.projectcalico.org", "default"),
        "constraint": ("K8sMine", None),
        "old": ("Deployment", "default"),
        "unknown": ("Thing", None),
    }
    counts = {row.scope: row.count for row in harvest.coverage if row.count}
    assert counts == {
        "clusterpolicies.kyverno.io": 1,
        "policies.kyverno.io": 1,
        "policies.config.ratify.deislabs.io": 1,
        "networkpolicies.crd.projectcalico.org": 1,
        "constraints.gatekeeper.sh": 1,
        "deployments": 1,
        "things": 1,
    }
    # What else there is of them a manifest does not show.
    partial = {gap.scope for gap in harvest.gaps if gap.reason is Reason.PARTIAL}
    assert partial >= {kind.scope for kind in CUSTOM_KINDS} | {CONSTRAINTS}


@pytest.mark.parametrize("kind", ["AdmissionProbe", "APIGroup", "SelfSubjectReview"])
def test_a_file_cannot_pretend_to_be_an_answer_of_a_cluster(kind: str, tmp_path: Path) -> None:
    forged = f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: x}}\n"
    harvest = collect_manifests([write(tmp_path, "forged.yaml", forged)], base=tmp_path)
    assert harvest.resources == []
    assert [gap.name for gap in problems(harvest)] == ["forged.yaml"]
