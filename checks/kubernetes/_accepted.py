"""What an organisation accepts, with its reasons: failures that become `waived`, never a pass.

A reason is stated in `[rules]` of the configuration, or here for a component of the platform
itself, which cannot do its work without what others must not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from auditor.model import Json, Resource, View
from checks.kubernetes._platform import platform_reason
from checks.kubernetes._pods import objects
from checks.kubernetes._rbac_subjects import key_of, shown_subject
from checks.kubernetes._scopes import is_system

WORKLOAD_SETTINGS = ("accepted_workloads", "system_namespaces")
"""The settings that decide what `accepted_workload` says."""


def accepted_subject(check_id: str, subject: Resource, view: View) -> str | None:
    """Why a subject may hold what a check fails, by `[rules] accepted_subjects`."""
    return accepted_name(check_id, shown_subject(key_of(subject)), view)


def accepted_name(check_id: str, name: str, view: View) -> str | None:
    """As `accepted_subject`, for a subject's name as the setting writes it."""
    return _reason(view, "accepted_subjects", "subject", name, check_id)


def accepted_workload(check_id: str, workload: Resource, view: View) -> str | None:
    """Why a workload may do what a check fails.

    By `[rules] accepted_workloads`, or because it is a known component of the platform in a
    system namespace that cannot do without just this (see `checks.kubernetes._platform`).
    """
    if view.settings.get("accepted_workloads"):
        name = f"{workload.namespace}/{workload.kind}/{workload.name}"
        stated = _reason(view, "accepted_workloads", "workload", name, check_id)
        if stated is not None:
            return stated
    if not is_system(workload.namespace, view):
        return None
    reason = platform_reason(check_id, workload)
    return None if reason is None else f"a component of the platform: {reason}"


def _reason(view: View, setting: str, field: str, name: str, check_id: str) -> str | None:
    for entry in objects(view.settings.get(setting)):
        if fnmatchcase(name, str(entry.get(field))) and _covers(entry, check_id):
            return str(entry.get("reason"))
    return None


def _covers(entry: Mapping[str, Json], check_id: str) -> bool:
    patterns = entry.get("checks")
    return any(
        fnmatchcase(check_id, str(pattern))
        for pattern in (patterns if isinstance(patterns, list) else ())
    )
