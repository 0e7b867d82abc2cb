"""Admission as judge: what is read from objects equals what a real API server says to a dry run.

Every pod of every rule of CIS 5.2, and some that try each rule of the Pod Security Standards, is
sent as a dry run to namespaces of each level at many versions; nothing is ever stored.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from auditor.cli.probing import admission_probes
from auditor.collect.base import Harvest
from auditor.collect.kubernetes import collect_kubernetes
from auditor.collect.objects import resource_from
from auditor.config import Config
from auditor.evaluate import evaluate, views
from auditor.model import Target, View
from auditor.registry import discover
from checks.kubernetes._admission.answers import Outcome
from checks.kubernetes._admission.decide import decide, read
from checks.kubernetes._admission.pod_security import ENFORCE, ENFORCE_VERSION, LEVELS
from checks.kubernetes._admission.violations import COMPLIANT, VIOLATIONS
from tests.support.controlplane import ApiError, ControlPlane
from tests.support.etcd import put_object
from tests.support.fixtures import snapshot_of
from tests.support.pod_policies import POLICIES, RULE_LABEL, bindings, policy
from tests.support.pod_zoo import OTHER_PODS

pytestmark = pytest.mark.live

VERSIONS = (
    *("v1.0", "v1.7", "v1.8", "v1.18", "v1.19", "v1.20", "v1.21", "v1.22", "v1.23", "v1.24"),
    *("v1.25", "v1.26", "v1.27", "v1.28", "v1.29", "v1.30", "v1.31", "v1.32", "v1.33", "v1.34"),
    *("v1.35", "v1.99", "latest"),
)
PODS: Mapping[str, Any] = {
    "compliant": COMPLIANT,
    **{variant: pod for rule in VIOLATIONS for variant, pod in rule.variants.items()},
    **OTHER_PODS,
}
PODS_OF_RULES = 53
THREADS = 16
REFUSERS = ("violates PodSecurity", "ValidatingAdmissionPolicy '")

Said = dict[tuple[str, str], bool]
"""By namespace and pod: whether it was refused."""


def namespace(name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": dict(labels or {})},
    }


def create(plane: ControlPlane, namespaces: Sequence[dict[str, Any]]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for failed in pool.map(lambda item: plane.apply([item]), namespaces):
            assert failed == []


def delete(plane: ControlPlane, namespaces: Sequence[dict[str, Any]]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        names = [item["metadata"]["name"] for item in namespaces]
        list(pool.map(lambda name: plane.request("DELETE", f"/api/v1/namespaces/{name}"), names))


def refused(plane: ControlPlane, where: str, pod: Any) -> str | None:
    """The API server's refusal of a pod by admission, in a dry run; None where it admits it."""
    try:
        made = plane.request("POST", f"/api/v1/namespaces/{where}/pods?dryRun=All", pod)
    except ApiError as error:
        # Anything else (an invalid pod, a missing account) would say nothing of admission.
        assert error.status in (403, 422), str(error)
        assert any(words in str(error) for words in REFUSERS), str(error)
        return str(error)
    assert "resourceVersion" not in made["metadata"]
    return None


def ask(plane: ControlPlane, names: Sequence[str], pods: Mapping[str, Any]) -> Said:
    """Ask the API server about every pod in every namespace."""
    questions = list(itertools.product(names, pods))
    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(lambda asked: refused(plane, asked[0], pods[asked[1]]), questions)
        return {
            question: answer is not None
            for question, answer in zip(questions, answers, strict=True)
        }


def view_of(plane: ControlPlane, *paths: str) -> View:
    """What an audit would see of the listed collections."""
    version = plane.request("GET", "/version")["gitVersion"]
    harvest = Harvest()
    harvest.targets.append(Target("kubernetes:judge", "kubernetes", "judge", {"version": version}))
    for path in ("/api/v1/namespaces", *paths):
        listed = plane.request("GET", path)
        for item in listed["items"]:
            body = {
                **item,
                "apiVersion": listed["apiVersion"],
                "kind": listed["kind"].removesuffix("List"),
            }
            harvest.resources.append(
                resource_from(body, source="kubernetes", target="kubernetes:judge")
            )
    return views(snapshot_of(harvest))[0]


def differences(view: View, names: Sequence[str], pods: Mapping[str, Any], said: Said) -> list[str]:
    """Where the reading of a pod's fate is not the API server's word."""
    found = []
    by_name = {item.name: item for item in view.of_kind("Namespace")}
    for name, (variant, pod) in itertools.product(names, pods.items()):
        reading = read(variant, pod, by_name[name], view).outcome
        wanted = Outcome.REFUSED if said[name, variant] else Outcome.ADMITTED
        if reading is not wanted:
            found.append(f"{name}: {variant}: read {reading}, the server says {wanted}")
    return found


def rule_differences(view: View, names: Sequence[str], said: Said) -> list[str]:
    """Where the ruling on a rule of 5.2 is not what the API server's answers amount to."""
    found = []
    by_name = {item.name: item for item in view.of_kind("Namespace")}
    for name, rule in itertools.product(names, VIOLATIONS):
        all_refused = all(said[name, variant] for variant in rule.variants)
        wanted = Outcome.REFUSED if all_refused else Outcome.ADMITTED
        ruling = decide(rule, by_name[name], view)
        if ruling.outcome is not wanted:
            found.append(f"{name}: {rule.id}: {ruling}, the server says {wanted}")
    return found


@pytest.fixture(scope="module")
def levels(controlplane: ControlPlane) -> Iterator[list[str]]:
    """Namespaces of each level at each version, and of none."""
    made = [
        namespace(f"judge-{level}-{version.replace('.', '-')}", labels)
        for level in LEVELS
        # The privileged level has no rules at any version.
        for version in (VERSIONS if level != "privileged" else VERSIONS[::11])
        for labels in [{ENFORCE: level, ENFORCE_VERSION: version}]
    ]
    made.append(namespace("judge-none"))
    made.append(namespace("judge-version-alone", {ENFORCE_VERSION: "v1.31"}))
    made.append(namespace("judge-level-alone", {ENFORCE: "restricted"}))
    soft = {"pod-security.kubernetes.io/warn": "restricted"}
    made.append(namespace("judge-warns", {**soft, "pod-security.kubernetes.io/audit": "baseline"}))
    create(controlplane, made)
    yield [item["metadata"]["name"] for item in made]
    delete(controlplane, made)


def test_every_level_at_every_version_is_read_as_the_server_acts(
    controlplane: ControlPlane, levels: list[str]
) -> None:
    said = ask(controlplane, levels, PODS)
    view = view_of(controlplane)
    assert differences(view, levels, PODS, said) == []
    assert rule_differences(view, levels, said) == []

    assert len(levels) == 2 * len(VERSIONS) + 3 + 4 == 53
    assert sum(len(rule.variants) for rule in VIOLATIONS) == PODS_OF_RULES
    assert len(said) == len(levels) * (1 + PODS_OF_RULES + len(OTHER_PODS))
    # Had every pod been admitted, or every one refused, agreement would show nothing.
    assert len(said) // 4 < sum(said.values()) < len(said) * 3 // 4
    assert len(said) == 4770
    for name in levels:
        assert not said[name, "compliant"]
    unenforced = [name for name in levels if not any(said[name, pod] for pod in PODS)]
    assert len(unenforced) == 3 + 3
    # Each of the other pods shows a rule: some namespace refuses it, and some admits it.
    for pod in OTHER_PODS:
        assert {said[name, pod] for name in levels} == {True, False}, pod


def test_labels_that_are_invalid_are_read_as_the_server_acts(controlplane: ControlPlane) -> None:
    """They cannot be set while the plugin is on, so they are put into the store itself."""
    labels = {
        "judge-invalid-level": {ENFORCE: "Baseline"},
        "judge-empty-level": {ENFORCE: ""},
        "judge-invalid-version": {ENFORCE: "restricted", ENFORCE_VERSION: "1.20"},
        "judge-invalid-both": {ENFORCE: "strict", ENFORCE_VERSION: "v1.020"},
        "judge-invalid-level-at-version": {ENFORCE: "strict", ENFORCE_VERSION: "v1.20"},
    }
    made = [namespace(name) for name in labels]
    create(controlplane, made)
    for name, wrong in labels.items():
        with pytest.raises(ApiError) as refusal:
            controlplane.request("POST", "/api/v1/namespaces", namespace(f"{name}-x", wrong))
        assert refusal.value.status == 422
        body = controlplane.request("GET", f"/api/v1/namespaces/{name}")
        body["metadata"]["labels"].update(wrong)
        put_object(controlplane, f"/registry/namespaces/{name}", body)
        pod = OTHER_PODS["AppArmor Unconfined in the pod"]
        asked = (controlplane, name, pod)
        controlplane.wait_until(f"{name} is labelled", lambda given=asked: refused(*given))
    said = ask(controlplane, list(labels), PODS)
    view = view_of(controlplane)
    assert differences(view, list(labels), PODS, said) == []
    assert rule_differences(view, list(labels), said) == []
    # Restricted in its latest version in all but one, which is restricted as of 1.20.
    admitting = {
        name for name in labels if not said[name, "container with no capabilities dropped"]
    }
    assert admitting == {"judge-invalid-level-at-version"}
    delete(controlplane, made)


ADMISSION = "/apis/admissionregistration.k8s.io/v1"
POLICY_PATHS = (
    f"{ADMISSION}/validatingadmissionpolicies",
    f"{ADMISSION}/validatingadmissionpolicybindings",
)


@pytest.fixture(scope="module")
def ruled(controlplane: ControlPlane) -> Iterator[list[str]]:
    """A namespace for each policy of a rule of 5.2, one for all of them, and some that none of
    them binds with Deny.
    """
    made = [namespace(f"judge-rule-{name}", {RULE_LABEL: name}) for name in POLICIES]
    made += [
        namespace(f"judge-rule-{name}", {RULE_LABEL: name}) for name in ("all", "warned", "unknown")
    ]
    made.append(namespace("judge-rule-both", {RULE_LABEL: "k8s-host-pid", ENFORCE: "baseline"}))
    create(controlplane, made)
    objects = [item for name in POLICIES for item in (policy(name), *bindings(name))]
    assert controlplane.apply(objects) == []
    for name in POLICIES:
        pods = next(rule.variants for rule in VIOLATIONS if name.startswith(rule.id))
        asked = (controlplane, f"judge-rule-{name}", next(iter(pods.values())))
        controlplane.wait_until(f"{name} is enforced", lambda given=asked: refused(*given))
    yield [item["metadata"]["name"] for item in made]
    for item in objects:
        kind = "validatingadmissionpolicies"
        if item["kind"].endswith("Binding"):
            kind = "validatingadmissionpolicybindings"
        controlplane.request("DELETE", f"{ADMISSION}/{kind}/{item['metadata']['name']}")
    delete(controlplane, made)


def test_every_bound_policy_is_read_as_the_server_acts(
    controlplane: ControlPlane, ruled: list[str]
) -> None:
    said = ask(controlplane, ruled, PODS)
    view = view_of(controlplane, *POLICY_PATHS)
    assert differences(view, ruled, PODS, said) == []
    assert rule_differences(view, ruled, said) == []

    assert len(POLICIES) == len(VIOLATIONS) + 1
    assert len(said) == (len(POLICIES) + 4) * len(PODS)
    for rule in VIOLATIONS:
        for where in (f"judge-rule-{rule.id}", "judge-rule-all"):
            assert all(said[where, variant] for variant in rule.variants)
        for where in ("judge-rule-warned", "judge-rule-unknown"):
            assert not any(said[where, variant] for variant in rule.variants)
    assert not any(said[name, "compliant"] for name in ruled)
    # The policy that looks at ordinary containers alone lets an init container through.
    partly = "judge-rule-k8s-privileged-container-partly"
    assert said[partly, "container with privileged true"]
    assert not said[partly, "init container with privileged true"]


HIDDEN_CONFIGURATION = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AdmissionConfiguration",
    "plugins": [
        {
            "name": "PodSecurity",
            "configuration": {
                "apiVersion": "pod-security.admission.config.k8s.io/v1",
                "kind": "PodSecurityConfiguration",
                "defaults": {"enforce": "baseline", "enforce-version": "latest"},
                "exemptions": {"namespaces": ["exempt"]},
            },
        }
    ],
}


def test_what_only_the_server_knows_is_found_by_asking_it(
    fresh_controlplane: Callable[..., ControlPlane],
) -> None:
    """A default level and an exemption stand in a file of the API server's, and in no object."""
    plane = fresh_controlplane(admission_config=HIDDEN_CONFIGURATION)
    made = [namespace("plain"), namespace("exempt", {ENFORCE: "restricted"})]
    made.append(namespace("opened", {ENFORCE: "privileged"}))
    create(plane, made)
    ids = [rule.check for rule in VIOLATIONS]
    checks = discover().select([*ids, "k8s-pod-security-mechanism"])

    def statuses(asked: bool) -> dict[tuple[str, str], tuple[str, str]]:
        harvest = collect_kubernetes(
            kubeconfig=plane.kubeconfig,
            config=Config().kubernetes,
            probes=admission_probes(asked, Config()),
        )
        assert harvest.gaps == []
        found = evaluate(snapshot_of(harvest), checks)
        return {
            (item.name, item.check): (str(item.status), item.observed)
            for item in found
            if item.name in {"plain", "exempt", "opened"}
        }

    by_reading, by_asking = statuses(False), statuses(True)
    assert len(by_reading) == len(by_asking) == 3 * 13
    host_pid, net_raw = "k8s-host-pid-admission", "k8s-net-raw-admission"
    assert by_reading["plain", host_pid] == ("fail", "not set; admitted: pod with hostPID")
    assert by_asking["plain", host_pid][0] == "pass"
    assert by_asking["plain", "k8s-pod-security-mechanism"][0] == "pass"
    # Baseline is not all: it keeps nobody from NET_RAW, and the server says so.
    assert by_asking["plain", net_raw][0] == "fail"
    assert (
        "asked with a dry run; admitted: container with no capabilities dropped"
        in (by_asking["plain", net_raw][1])
    )
    for check in ids:
        assert by_reading["exempt", check][0] == "pass"
        status, observed = by_asking["exempt", check]
        assert status == "fail"
        assert observed.startswith("restricted, version latest; asked with a dry run; admitted: ")
        assert "an exemption in the API server's AdmissionConfiguration" in observed
        assert by_reading["opened", check][0] == by_asking["opened", check][0] == "fail"
