"""What confines a container beyond its namespaces: AppArmor, SELinux and seccomp."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from auditor.model import (
    Json,
    Resource,
    Verdict,
    View,
    failed,
    not_applicable,
    passed,
    review,
    unknown,
)
from auditor.registry import check
from checks.docker._inspect import (
    engine_info,
    engine_options,
    host_config,
    inspected,
    missing,
    security_opt,
    texts,
)

_SELINUX_SYSTEMS = re.compile(
    r"\b(?:Red Hat|RHEL|CentOS|Fedora|Rocky|AlmaLinux|Oracle Linux|Amazon Linux)", re.IGNORECASE
)
"""Systems that ship with SELinux enforcing, as `OperatingSystem` of the engine names them."""

_UNCONFINED_TYPES = frozenset(
    {"spc_t", "unconfined_t", "container_runtime_t", "kernel_t", "init_t", "unconfined_service_t"}
)
_DEFAULT_ACTION = re.compile(r'"defaultAction"\s*:\s*"(SCMP_ACT_[A-Z_]+)"')
_LETTING = frozenset({"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY"})


@check(
    id="docker-apparmor-profile",
    title="Containers run under an AppArmor profile where the engine has AppArmor",
    severity="medium",
    applies_to="docker/container",
)
def apparmor_profile(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the AppArmor profile of a container, its own or the engine's default.

    Why: the profile forbids mounts and writes below `/proc` and `/sys` that have been ways out of
        a container, also to a process that has the capability for them.
    Rule: does not apply where the engine reports no AppArmor. Else fails when the profile is
        `unconfined`, by `--security-opt` or because the container is privileged and names none;
        passes for any other, the engine's default `docker-default` included, which a container
        that never ran will get; unknown when the engine does not tell its security options or the
        container's profile. Whether a profile of one's own is loaded and enforced, the engine does
        not say.
    Fix: leave the default, or name a profile that the host has loaded:

            docker run --security-opt apparmor=shop-web IMAGE
    Source: CIS Docker 5.2 (1.6 to 1.8); NIST SP 800-190, 4.4.3.
    """
    path, expected = "AppArmorProfile", "a profile other than unconfined"
    options, engine = host_config(container), engine_options(view)
    profile, own = inspected(container, path), security_opt(container, "apparmor")
    if engine is None and not profile:
        yield unknown(path, "the engine does not say whether it has AppArmor", expected)
    elif engine is not None and "apparmor" not in engine:
        yield not_applicable("the engine reports no AppArmor", path)
    elif not options:
        yield missing(path)
    elif own == "unconfined" or profile == "unconfined":
        told = own is None and options.get("Privileged")
        yield failed(path, "unconfined" + (" (privileged)" if told else ""), expected)
    elif own or profile:
        yield passed(path, str(own or profile), expected, stands=True)
    elif options.get("Privileged"):
        yield failed(path, "unconfined once it runs (privileged)", expected)
    elif profile is None:
        yield missing(path)
    elif _ran(container):
        yield failed(path, "none: it runs without a profile", expected)
    else:
        yield passed(path, "not set; from the daemon: docker-default", expected, stands=True)


def _ran(container: Resource) -> bool:
    state = inspected(container, "State")
    return isinstance(state, Mapping) and bool(state.get("Running"))


@check(
    id="docker-selinux-label",
    title="Containers have an SELinux label where the host has SELinux",
    severity="medium",
    applies_to="docker/container",
)
def selinux_label(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the SELinux label of a container's processes.

    Why: with a label of its own a process that gets out of its container still cannot touch what
        is not labelled for it, the files of other containers included.
    Rule: fails, where the engine uses SELinux, when the container has no process label: switched
        off (`label=disable`), or by the engine itself for privileged containers and those in the
        host's process or IPC namespace; also when the label's type confines nothing (`spc_t`,
        `unconfined_t`, …). Passes for any other label; another `--security-opt` is none. Where the
        engine does not use SELinux it does not apply, but is unknown when the host's system has
        SELinux by default and no AppArmor: the engine's answer does not show the host's own state.
    Fix: let the engine use it in `/etc/docker/daemon.json`, and give volumes a label:

            { "selinux-enabled": true }
            docker run -v /srv/shop:/data:Z IMAGE
    Source: CIS Docker 5.3 (1.6 to 1.8); NIST SP 800-190, 4.4.3.
    """
    path, expected = "ProcessLabel", "a label of a confined type"
    options, engine = host_config(container), engine_options(view)
    if engine is None:
        yield unknown(path, "the engine does not say whether it uses SELinux", expected)
        return
    if "selinux" not in engine:
        system = str(engine_info(view).get("OperatingSystem") or "")
        if "apparmor" not in engine and _SELINUX_SYSTEMS.search(system):
            observed = f"the engine does not use SELinux, which {system} has by default"
            yield unknown(path, observed, 'see `getenforce` on the host, and set "selinux-enabled"')
        else:
            yield not_applicable("the engine reports no SELinux", path)
        return
    label = inspected(container, path)
    if not options or label is None:
        yield missing(path)
        return
    words = [option.replace(":", "=", 1) for option in texts(options.get("SecurityOpt"))]
    kind = str(label).split(":")[2] if str(label).count(":") >= 2 else ""
    asked = {word.removeprefix("label=").partition(":")[2] for word in words if "type:" in word}
    if "label=disable" in words:
        yield failed("HostConfig.SecurityOpt", "label=disable", expected)
    elif unconfined := sorted(({kind} | asked) & _UNCONFINED_TYPES):
        yield failed(
            path, f"{label or 'not set'}: the type {unconfined[0]} confines nothing", expected
        )
    elif label:
        yield passed(path, str(label), expected, stands=True)
    else:
        privileged = " (privileged)" if options.get("Privileged") else ""
        yield failed(path, "not set" + privileged, expected)


@check(
    id="docker-seccomp-profile",
    title="Containers run under a seccomp profile",
    severity="high",
    applies_to="docker/container",
)
def seccomp_profile(container: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the seccomp profile of a container, its own or the engine's default.

    Why: the default profile refuses some fifty system calls that few programs need and that have
        opened holes in the kernel.
    Rule: fails when the profile is `unconfined`, by `--security-opt`, because the container is
        privileged and names none, or because it is the engine's default; when the engine's kernel
        has no seccomp; and when a profile of the container's own allows every call. Review when
        such a profile allows what it does not name (a list of refused calls). Passes for the
        engine's default, built in or not, and for a profile that refuses what it does not name.
        Unknown when the container names none and the engine does not tell its own.
    Fix: leave `seccomp=unconfined` out; where a program needs one more call, allow that one:

            docker run --security-opt seccomp=shop-web.json IMAGE
    Source: CIS Docker 5.22 (1.6 to 1.8); NIST SP 800-190, 4.4.3.
    """
    path, expected = "HostConfig.SecurityOpt", "a seccomp profile that refuses calls"
    options, engine = host_config(container), engine_options(view)
    own = security_opt(container, "seccomp")
    if not options:
        yield missing(path)
    elif own == "unconfined":
        yield failed(path, "seccomp=unconfined", expected)
    elif own is None and options.get("Privileged"):
        yield failed("HostConfig.Privileged", "true, which switches seccomp off", expected)
    elif engine is not None and "seccomp" not in engine:
        yield failed(path, "the engine reports no seccomp", expected)
    elif own is not None and own not in ("builtin", "default"):
        yield _own_profile(path, own, expected)
    elif engine is None and own is None:
        yield unknown(path, "not set, and the engine does not say its default", expected)
    elif own is not None:
        yield passed(path, f"seccomp={own}", expected, stands=True)
    else:
        default = (engine or {}).get("seccomp", {}).get("profile", "default")
        if default == "unconfined":
            yield failed(path, "not set; from the daemon: unconfined", expected)
        else:
            yield passed(path, f"not set; from the daemon: {default}", expected, stands=True)


def _own_profile(path: str, profile: str, expected: str) -> Verdict:
    """Judge a profile that the container brings: clients put its whole text into the option."""
    found = _DEFAULT_ACTION.search(profile)
    if found is None:
        if profile.lstrip().startswith("{"):
            return unknown(path, "a profile of its own without a default action", expected)
        return passed(path, f"seccomp={profile[:80]}", expected, stands=True)
    action = found.group(1)
    if action not in _LETTING:
        return passed(path, f"a profile of its own: {action} by default", expected, stands=True)
    try:
        document: Json = json.loads(profile)
    except ValueError:
        document = None  # Long ones are cut when they are collected.
    calls = document.get("syscalls") if isinstance(document, dict) else None
    refuses = any(
        isinstance(call, dict) and call.get("action") not in _LETTING
        for call in (calls if isinstance(calls, list) else ())
    )
    if document is not None and not refuses:
        return failed(path, f"a profile of its own that refuses nothing ({action})", expected)
    return review(path, f"a profile of its own: {action} for what it does not name", expected)
