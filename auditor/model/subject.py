"""Who an entry of an RBAC binding means."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.model.world import Json, Resource

SubjectKey = tuple[str, str | None, str]
"""Kind (`User`, `Group`, `ServiceAccount`), namespace and name; only accounts have a namespace."""

_ACCOUNT_USER = "system:serviceaccount:"


def subject_key(subject: Mapping[str, Json], binding: Resource) -> SubjectKey:
    """Who an entry of `subjects` means; the user name of a service account is that account."""
    kind, name = str(subject.get("kind")), str(subject.get("name"))
    if kind == "ServiceAccount":
        return kind, str(subject.get("namespace") or binding.namespace or ""), name
    if kind == "User" and name.startswith(_ACCOUNT_USER) and name.count(":") == 3:
        namespace, _, account = name.removeprefix(_ACCOUNT_USER).partition(":")
        return "ServiceAccount", namespace, account
    return kind, None, name
