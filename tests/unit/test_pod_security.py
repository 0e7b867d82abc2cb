"""The Pod Security Standards by level and version, and what several answers amount to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest

from checks.kubernetes._admission.answers import Outcome
from checks.kubernetes._admission.decide import (
    decide,
    mechanism,
    read,
    remedy,
)
from checks.kubernetes._admission.pod_security import (
    ENFORCE,
    ENFORCE_VERSION,
    LEVELS,
    STANDARDS,
    broken,
    enforced,
    server_minor,
)
from checks.kubernetes._admission.violations import BY_ID, COMPLIANT, VIOLATIONS
from tests.support.one_namespace import view_of
from tests.support.pod_zoo import OTHER_PODS

RESTRICTED = {ENFORCE: "restricted"}


def refused_at(rule: str, level: str) -> set[int]:
    """The minor versions at which a level refuses every variant of a rule."""
    pods = BY_ID[rule].variants.values()
    return {minor for minor in range(37) if all(broken(pod, level, minor) for pod in pods)}


# --- the pods -----------------------------------------------------------------------------------


@pytest.mark.parametrize("minor", [*range(37), None])
def test_the_compliant_pod_breaks_nothing(minor: int | None) -> None:
    assert [broken(COMPLIANT, level, minor) for level in LEVELS] == [[], [], []]


@pytest.mark.parametrize("rule", VIOLATIONS, ids=lambda rule: rule.id)
def test_every_variant_breaks_the_latest_restricted_level(rule: Any) -> None:
    assert rule.variants
    for variant, pod in rule.variants.items():
        assert broken(pod, "restricted", None), variant
        assert not broken(pod, "privileged", None), variant


def test_variants_are_told_apart_by_their_words() -> None:
    names = [variant for rule in VIOLATIONS for variant in rule.variants]
    assert len(names) == len(set(names)) == 53


def test_every_variant_is_a_pod_of_its_own() -> None:
    pods = [
        json.dumps(pod, sort_keys=True) for rule in VIOLATIONS for pod in rule.variants.values()
    ]
    # One pod breaks two rules: it sets no capabilities at all.
    assert len(pods) - len(set(pods)) == 2
    before = json.dumps(COMPLIANT, sort_keys=True)
    spec = deepcopy(VIOLATIONS[0].variants["container with privileged true"])["spec"]
    spec["containers"][0]["securityContext"]["capabilities"]["drop"].append("X")
    assert json.dumps(COMPLIANT, sort_keys=True) == before


def test_no_pod_is_more_than_its_rule_and_what_the_api_asks_for() -> None:
    """Nothing of the restricted level is broken beside the rule, or what cannot be without it."""
    beside = {
        "k8s-privileged-container": {"privileged", "allowPrivilegeEscalation is not false"},
        "k8s-host-pid": {"hostPID"},
        "k8s-host-ipc": {"hostIPC"},
        "k8s-host-network": {"hostNetwork"},
        "k8s-allow-privilege-escalation": {"allowPrivilegeEscalation is not false"},
        "k8s-run-as-non-root": {"runAsNonRoot", "runAsUser 0"},
        "k8s-net-raw": {"capabilities", "NET_BIND_SERVICE"},
        "k8s-added-capabilities": {"NET_BIND_SERVICE"},
        "k8s-capabilities-dropped": {"capabilities", "NET_BIND_SERVICE"},
        "k8s-windows-host-process": {"hostNetwork", "hostProcess"},
        "k8s-host-path-volume": {"hostPath"},
        "k8s-host-port": {"hostPort"},
    }
    assert set(beside) == set(BY_ID)
    for rule in VIOLATIONS:
        for variant, pod in rule.variants.items():
            for words in broken(pod, "restricted", None):
                assert any(word in words for word in beside[rule.id]), (variant, words)


# --- levels and versions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "baseline", "restricted"),
    [
        ("k8s-privileged-container", 0, 0),
        ("k8s-host-pid", 0, 0),
        ("k8s-host-ipc", 0, 0),
        ("k8s-host-network", 0, 0),
        ("k8s-allow-privilege-escalation", None, 8),
        ("k8s-run-as-non-root", None, 0),
        ("k8s-net-raw", None, 22),
        ("k8s-added-capabilities", 0, 0),
        ("k8s-capabilities-dropped", None, 22),
        ("k8s-windows-host-process", 0, 0),
        ("k8s-host-path-volume", 0, 0),
        ("k8s-host-port", 0, 0),
    ],
)
def test_a_rule_is_refused_from_a_version_on(
    rule: str, baseline: int | None, restricted: int
) -> None:
    assert refused_at(rule, "restricted") == set(range(restricted, 37))
    assert refused_at(rule, "baseline") == (set() if baseline is None else set(range(37)))


@pytest.mark.parametrize(
    ("pod", "level", "admitting"),
    [
        ("sysctl allowed from 1.27", "baseline", range(27, 37)),
        ("sysctl allowed from 1.29", "baseline", range(29, 37)),
        ("sysctl allowed from 1.32", "restricted", range(32, 37)),
        ("SELinux type of an engine", "baseline", range(31, 37)),
        ("Windows pod in order", "restricted", [*range(8), *range(25, 37)]),
        ("root in a user namespace", "restricted", range(35, 37)),
        ("runAsUser 0 in a user namespace", "restricted", range(35, 37)),
        ("runAsUser 0 in the pod, runAsNonRoot true", "restricted", range(23)),
        ("procMount Unmasked in a user namespace", "baseline", range(35, 37)),
        ("procMount Unmasked in a user namespace", "restricted", ()),
        ("seccomp annotation of the pod", "baseline", range(19, 37)),
        ("seccomp Unconfined in the pod", "baseline", range(19)),
        ("no seccomp profile", "restricted", range(19)),
        ("no seccomp profile", "baseline", range(37)),
        ("CHOWN added", "baseline", range(37)),
        ("CHOWN added", "restricted", range(22)),
        ("CAP_CHOWN added", "baseline", ()),
        ("all dropped in small letters", "restricted", range(22)),
        ("NFS volume", "baseline", range(37)),
        ("NFS volume", "restricted", ()),
        ("liveness probe of another host", "baseline", range(34)),
        ("handler that calls another host at the start", "restricted", range(34)),
        ("sidecar that may run as root", "restricted", ()),
    ],
)
def test_a_pod_is_admitted_at_some_versions(pod: str, level: str, admitting: Sequence[int]) -> None:
    found = {minor for minor in range(37) if not broken(OTHER_PODS[pod], level, minor)}
    assert found == set(admitting)


def test_the_latest_level_of_a_server_is_its_own() -> None:
    pod = OTHER_PODS["liveness probe of another host"]
    assert broken(pod, "baseline", None)
    assert not broken(pod, "baseline", None, server=33)
    assert not broken(pod, "baseline", 34, server=33)
    assert broken(pod, "baseline", 34, server=36)
    assert broken(pod, "baseline", 99, server=36)


def test_a_rule_replaced_in_the_restricted_level_is_said_once() -> None:
    pod = BY_ID["k8s-host-path-volume"].variants["container with the node's / mounted"]
    assert broken(pod, "restricted", None) == ["volume host (hostPath)"]
    assert broken(pod, "baseline", None) == ["hostPath volume host"]


def test_ephemeral_containers_are_looked_at() -> None:
    pod = deepcopy(COMPLIANT)
    pod["spec"]["ephemeralContainers"] = [
        {"name": "debug", "securityContext": {"privileged": True}}
    ]
    found = broken(pod, "restricted", None)
    assert "container debug: privileged" in found
    assert "container debug: allowPrivilegeEscalation is not false" in found


@pytest.mark.parametrize("standard", STANDARDS, ids=lambda standard: standard.id)
def test_every_standard_takes_any_shape(standard: Any) -> None:
    """What no API server would take is no reason to crash."""
    shapes: list[Any] = [{}, {"spec": None}, {"spec": []}, {"spec": {"containers": {}}}]
    shapes += [{"metadata": {"annotations": []}, "spec": {"containers": [None, 1, {}]}}]
    odd = {"securityContext": [], "ports": 1, "lifecycle": "x", "livenessProbe": {"httpGet": []}}
    shapes += [{"spec": {"securityContext": {"sysctls": {}}, "volumes": 1, "containers": [odd]}}]
    for _, rule in standard.forms:
        for shape in shapes:
            assert isinstance(rule(shape), str)


def test_a_volume_without_a_source_is_an_empty_one() -> None:
    pod = deepcopy(COMPLIANT)
    pod["spec"]["volumes"] = [{"name": "a"}, {"name": "b", "hostPath": None}]
    assert broken(pod, "restricted", None) == []


# --- labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "level", "minor", "words"),
    [
        ({}, None, None, "not set"),
        ({ENFORCE_VERSION: "v1.20"}, None, None, "not set"),
        ({ENFORCE: "privileged", ENFORCE_VERSION: "v1.20"}, "privileged", None, "privileged"),
        ({ENFORCE: "baseline"}, "baseline", None, "baseline, version latest"),
        ({ENFORCE: "baseline", ENFORCE_VERSION: "v1.0"}, "baseline", 0, "baseline, version v1.0"),
        (
            {ENFORCE: "Baseline"},
            "restricted",
            None,
            "'Baseline', which is no level and counts as restricted, version latest",
        ),
        ({ENFORCE: ""}, "restricted", None, "'', which is no level and counts as restricted"),
        (
            {ENFORCE: "baseline", ENFORCE_VERSION: "v1.08"},
            "baseline",
            None,
            "baseline, version 'v1.08', which is none and counts as latest",
        ),
        ({ENFORCE: "restricted", ENFORCE_VERSION: "v1.20.3"}, "restricted", None, "'v1.20.3'"),
    ],
)
def test_labels_are_read_as_the_server_does(
    labels: dict[str, str], level: str | None, minor: int | None, words: str
) -> None:
    found = enforced(labels)
    assert (found.level, found.minor) == (level, minor)
    assert words in found.words


@pytest.mark.parametrize(
    ("version", "minor"),
    [("v1.35.4", 35), ("1.24+", 24), ("v1.30.4-eks-a737599", 30), ("", None), ("v2.1", None)],
)
def test_the_minor_version_of_a_server(version: str, minor: int | None) -> None:
    assert server_minor(view_of(version=version)[1]) == minor


def test_a_server_older_than_the_plugin_enforces_no_label() -> None:
    namespace, view = view_of(RESTRICTED, version="v1.22.17", servers=[[]])
    ruling = decide(BY_ID["k8s-host-pid"], namespace, view)
    assert ruling.outcome is Outcome.ADMITTED
    assert "which a server before 1.23 (v1.22.17) does not enforce" in ruling.observed
    verdict = next(iter(mechanism(namespace, view)))
    assert verdict.status == "fail"
    namespace, view = view_of(RESTRICTED, version="v1.23.0")
    assert decide(BY_ID["k8s-host-pid"], namespace, view).outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    ("version", "servers", "outcome"),
    [
        ("v1.24.17", [], Outcome.UNDECIDED),  # a cloud's: its flags are not seen
        ("v1.25.0", [], Outcome.ADMITTED),
        ("v1.24.17", [["--enable-admission-plugins=NodeRestriction"]], Outcome.ADMITTED),
        ("v1.24.17", [["--enable-admission-plugins", "A,PodSecurityPolicy"]], Outcome.UNDECIDED),
        ("v1.24.17", [["--enable-admission-plugins=PodSecurityPolicy"], []], Outcome.ADMITTED),
        ("v1.25.0", [["--enable-admission-plugins=PodSecurityPolicy"]], Outcome.ADMITTED),
        ("", [], Outcome.ADMITTED),  # manifests: what is not seen is a gap of theirs
    ],
)
def test_old_servers_may_have_policies_that_are_not_read(
    version: str, servers: list[list[str]], outcome: Outcome
) -> None:
    namespace, view = view_of(version=version, servers=servers)
    ruling = decide(BY_ID["k8s-host-pid"], namespace, view)
    assert ruling.outcome is outcome
    assert ("PodSecurityPolicies (" in ruling.observed) == (outcome is Outcome.UNDECIDED)


@pytest.mark.parametrize(
    ("flags", "outcome"),
    [
        (["--disable-admission-plugins=PodSecurity"], Outcome.ADMITTED),
        (["--disable-admission-plugins", "A, PodSecurity"], Outcome.ADMITTED),
        (["--feature-gates=A=true,PodSecurity=false"], Outcome.ADMITTED),
        (["--disable-admission-plugins=PodSecurityX"], Outcome.REFUSED),
        (["--feature-gates=PodSecurity=true"], Outcome.REFUSED),
        ([], Outcome.REFUSED),
    ],
)
def test_a_label_counts_only_if_each_server_has_the_plugin(
    flags: list[str], outcome: Outcome
) -> None:
    """One server of several is enough: a client asks until that one answers."""
    for servers in ([flags], [[], flags]):
        namespace, view = view_of(RESTRICTED, servers=servers)
        ruling = decide(BY_ID["k8s-host-pid"], namespace, view)
        assert ruling.outcome is outcome
        assert ("does not enforce (--" in ruling.observed) == (outcome is Outcome.ADMITTED)


def test_a_server_refuses_only_by_the_rules_it_has() -> None:
    """A level pinned to the future is today's: `restricted` of 1.24 knows no Windows exemption."""
    for version in ("v1.24.0", "v1.25.0"):
        namespace, view = view_of(RESTRICTED, version=version)
        said = read("w", OTHER_PODS["Windows pod in order"], namespace, view)
        assert (said.outcome is Outcome.REFUSED) == (version == "v1.24.0")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("k8s-host-pid", "baseline or restricted, or a policy that refuses such pods"),
        ("k8s-run-as-non-root", "restricted, or a policy that refuses such pods"),
        ("k8s-net-raw", "restricted, version v1.22 or later, or a policy that refuses such pods"),
    ],
)
def test_what_would_pass_is_said(rule: str, words: str) -> None:
    assert remedy(rule) == words
