"""The Pod Security Standards, read as the API server's own admission plugin reads them.

What each level forbids has changed from version to version, and a namespace may pin one: this is
the table of those rules as Kubernetes 1.35 has it (k8s.io/pod-security-admission, package
policy), and how the labels of a namespace choose among them (package api).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from auditor.model import Resource, View
from checks.kubernetes._admission.answers import Answer, Outcome, Pod
from checks.kubernetes._admission.pod_rules import (
    added_capabilities,
    app_armor,
    capabilities,
    escalation,
    host_namespaces,
    host_paths,
    host_ports,
    host_process,
    non_root,
    on_linux,
    outside_user_namespace,
    privileged,
    probe_hosts,
    proc_mount,
    se_linux,
    seccomp_annotations,
    seccomp_field,
    seccomp_required,
    sysctls,
    user_zero,
    volume_types,
)
from checks.kubernetes._admission.server_flags import Flags
from checks.kubernetes._scopes import labels_of

ENFORCE = "pod-security.kubernetes.io/enforce"
ENFORCE_VERSION = f"{ENFORCE}-version"

PRIVILEGED, BASELINE, RESTRICTED = LEVELS = ("privileged", "baseline", "restricted")

BY = "Pod Security Admission"
_BY_DEFAULT = "may enforce a level where no label does; the file is not read"

ON_BY_DEFAULT = 23
"""The minor version from which the plugin is on by default (beta in 1.23, stable in 1.25)."""

Rule = Callable[[Pod], str]
"""What of a pod a rule forbids, in words; an empty string when nothing."""


class Standard(NamedTuple):
    """A rule of a level: the form it has from each minor version on, the last being of today.

    `instead_of` is the rule of the baseline that it replaces in the restricted level.
    """

    id: str
    level: str
    forms: Sequence[tuple[int, Rule]]
    instead_of: str = ""

    def form(self, minor: int | None) -> Rule | None:
        """The form of the rule at a minor version (None: the latest), if it has one there."""
        found = None
        for since, rule in self.forms:
            if minor is None or since <= minor:
                found = rule
        return found


STANDARDS: Sequence[Standard] = (
    Standard("appArmorProfile", BASELINE, [(0, app_armor)]),
    Standard("capabilities_baseline", BASELINE, [(0, added_capabilities)]),
    Standard("hostNamespaces", BASELINE, [(0, host_namespaces)]),
    Standard("hostPathVolumes", BASELINE, [(0, host_paths)]),
    Standard("hostPorts", BASELINE, [(0, host_ports)]),
    Standard("hostProbesAndHostLifecycle", BASELINE, [(34, probe_hosts)]),
    Standard("privileged", BASELINE, [(0, privileged)]),
    Standard("procMount", BASELINE, [(0, proc_mount), (35, outside_user_namespace(proc_mount))]),
    Standard("seLinuxOptions", BASELINE, [(0, se_linux(0)), (31, se_linux(31))]),
    Standard("seccompProfile_baseline", BASELINE, [(0, seccomp_annotations), (19, seccomp_field)]),
    Standard("sysctls", BASELINE, [(minor, sysctls(minor)) for minor in (0, 27, 29, 32)]),
    Standard("windowsHostProcess", BASELINE, [(0, host_process)]),
    Standard("allowPrivilegeEscalation", RESTRICTED, [(8, escalation), (25, on_linux(escalation))]),
    Standard(
        "capabilities_restricted",
        RESTRICTED,
        [(22, capabilities), (25, on_linux(capabilities))],
        instead_of="capabilities_baseline",
    ),
    Standard("procMount_restricted", RESTRICTED, [(35, proc_mount)], instead_of="procMount"),
    Standard("restrictedVolumes", RESTRICTED, [(0, volume_types)], instead_of="hostPathVolumes"),
    Standard("runAsNonRoot", RESTRICTED, [(0, non_root), (35, outside_user_namespace(non_root))]),
    Standard("runAsUser", RESTRICTED, [(23, user_zero), (35, outside_user_namespace(user_zero))]),
    Standard(
        "seccompProfile_restricted",
        RESTRICTED,
        [(19, seccomp_required), (25, on_linux(seccomp_required))],
        instead_of="seccompProfile_baseline",
    ),
)


def broken(pod: Pod, level: str, minor: int | None, server: int | None = None) -> list[str]:
    """What of a level a pod breaks, in words; nothing for the privileged level.

    `minor` is the version that the level is pinned to (`v1.<minor>`; None: the latest) and
    `server` the server's own: a server knows no newer rules than its own.
    """
    return [words for rule in _rules(level, minor, server) if (words := rule(pod))]


def _rules(level: str, minor: int | None, server: int | None) -> Iterator[Rule]:
    if level == PRIVILEGED:
        return
    known = [number for number in (minor, server) if number is not None]
    asked = min(known, default=None)
    there = [
        (standard, form)
        for standard in STANDARDS
        if level in (standard.level, RESTRICTED) and (form := standard.form(asked)) is not None
    ]
    replaced = {standard.instead_of for standard, _ in there}
    for standard, form in there:
        if standard.id not in replaced:
            yield form


class Enforced(NamedTuple):
    """What the labels of a namespace make the plugin enforce, and those labels in words.

    `level` is None where no label says one: the API server's own default counts then, which is
    privileged unless its AdmissionConfiguration says otherwise, and which nobody can read.
    """

    level: str | None
    minor: int | None
    words: str


_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")


def enforced(labels: Mapping[str, str]) -> Enforced:
    """Read the labels as the plugin does: an invalid level is restricted, an invalid version
    the latest. (Neither can be set while the plugin is on; one from before stays.)
    """
    given = labels.get(ENFORCE)
    if given is None:
        return Enforced(None, None, "not set")
    level = given if given in LEVELS else RESTRICTED
    words = level if level == given else f"{given!r}, which is no level and counts as restricted"
    if level == PRIVILEGED:
        return Enforced(level, None, words)
    version = labels.get(ENFORCE_VERSION, "latest")
    match = _VERSION.fullmatch(version)
    if match is None and version != "latest":
        words += f", version {version!r}, which is none and counts as latest"
    else:
        words += f", version {version}"
    return Enforced(level, int(match.group(1)) if match else None, words)


def server_minor(view: View) -> int | None:
    """The minor version of the API server; None where it is not known, as for manifests."""
    match = re.match(r"v?1\.(\d+)", view.target.facts.get("version", ""))
    return int(match.group(1)) if match else None


def missing(view: View) -> str:
    """Why the server does not enforce any label, in words; empty where it has the plugin.

    It goes by the version, and by the flags of API servers whose pods are seen.
    """
    minor = server_minor(view)
    if minor is not None and minor < ON_BY_DEFAULT:
        version = view.target.facts.get("version")
        return f"which a server before 1.{ON_BY_DEFAULT} ({version}) does not enforce"
    flag = view.index(Flags).off
    return f"which the API server does not enforce ({flag})" if flag else ""


class _Judged:
    """What was found of a pod at a level and version: many namespaces ask the same."""

    def __init__(self, view: View) -> None:
        self.server = server_minor(view)
        self.found: dict[tuple[int, str, int | None], tuple[Pod, list[str]]] = {}

    def broken(self, pod: Pod, level: str, minor: int | None) -> list[str]:
        key = (id(pod), level, minor)
        if key not in self.found:
            # The pod is kept beside the answer: its id would be used again otherwise.
            self.found[key] = (pod, broken(pod, level, minor, self.server))
        return self.found[key][1]


def answers(pod: Pod, namespace: Resource, view: View) -> Iterator[Answer]:
    """What the plugin says of a pod to be created in a namespace, by the namespace's labels.

    Nothing where the server is without it, or where no label asks it to enforce a level; but
    undecided where the server is seen to have an AdmissionConfiguration, which may ask it to.
    """
    policy = enforced(labels_of(namespace))
    if policy.level == PRIVILEGED or missing(view):
        return
    if policy.level is None:
        configuration = view.index(Flags).configuration
        if configuration:
            yield Answer(Outcome.UNDECIDED, f"{BY} ({configuration})", _BY_DEFAULT)
        return
    found = view.index(_Judged).broken(pod, policy.level, policy.minor)
    if found:
        yield Answer(Outcome.REFUSED, BY, "; ".join(found))
    else:
        yield Answer(Outcome.ADMITTED, BY, "")
