"""Who is bound to a role, as things to judge: one resource for each subject of RBAC bindings.

A subject has no object of its own (users and groups live outside the cluster), so it is made
here from the bindings that name it, as a workload is made from its pods.
"""

from __future__ import annotations

from collections.abc import Iterable

from auditor.model import Resource, SubjectKey, subject_key

BINDING_KINDS = ("ClusterRoleBinding", "RoleBinding")


def rbac_subjects(resources: Iterable[Resource]) -> list[Resource]:
    """Return one resource for each distinct subject that any binding names, sorted.

    Its body holds `bindings`: the names of the bindings, as `Kind/name` or `Kind/namespace/name`.
    """
    found: dict[SubjectKey, list[Resource]] = {}
    for binding in resources:
        if binding.kind not in BINDING_KINDS:
            continue
        subjects = binding.body.get("subjects")
        for subject in subjects if isinstance(subjects, list) else ():
            if isinstance(subject, dict):
                found.setdefault(subject_key(subject, binding), []).append(binding)
    return [
        _resource(key, bindings)
        for key, bindings in sorted(found.items(), key=lambda item: _order(item[0]))
    ]


def _order(key: SubjectKey) -> tuple[str, str, str]:
    return key[0], key[1] or "", key[2]


def _resource(key: SubjectKey, bindings: list[Resource]) -> Resource:
    kind, namespace, name = key
    first = bindings[0]
    names = ("/".join(filter(None, (item.kind, item.namespace, item.name))) for item in bindings)
    return Resource(
        source=first.source,
        target=first.target,
        kind=kind,
        namespace=namespace,
        name=name,
        body={"bindings": sorted(set(names))},
        origin=first.origin,
        line=first.line,
    )
