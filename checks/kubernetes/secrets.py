"""Credentials in plain text: where they stand, never what they are.

The collector has searched and dropped every value; what these checks see is the detector that
fired and the number of characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from auditor.model import Json, Resource, Verdict, View, failed
from auditor.registry import check
from checks.kubernetes._accepted import WORKLOAD_SETTINGS, accepted_workload
from checks.kubernetes._pods import PASSED, mapping, objects

_APPLIED = "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]"


@check(
    id="k8s-configmap-secrets",
    title="ConfigMaps hold no credentials",
    severity="high",
    applies_to="kubernetes/ConfigMap",
)
def configmap_secrets(configmap: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what the collector found in the values of a ConfigMap, key by key.

    Why: ConfigMaps are read by everybody who may look at a namespace, are not encrypted at rest,
    and end up in manifests, backups and chat. A credential there is as good as published.

    Rule: Fails for each key whose name means a credential and whose value is not empty, and for
    each value that has the shape of one (a private key, a token of a known issuer, a password
    in a URL). A placeholder fails too: the place is wrong, whatever stands there today. The copy
    that `kubectl apply` keeps in an annotation is searched as well. Passes otherwise. Unknown
    when ConfigMaps could not be listed.

    Fix: Move the value to a Secret, from an external store where there is one, mount it as a
    file, and change the credential, for it has been readable:

        volumes:
          - name: credentials
            secret:
              secretName: ledger-export-credentials

    Source: the hardening guide, "Plain text in ConfigMap" and "Secrets externalized"; CIS
    Kubernetes 5.4.1; NIST SP 800-190, 4.1.4.
    """
    seen = set()
    for field in ("data", "binaryData"):
        for key, entry in sorted(mapping(configmap.body.get(field)).items()):
            hits = objects(mapping(entry).get("hits"))
            if hits:
                path = f"{field}.{key}"
                seen.add(path)
                yield failed(path, _evidence(hits), "a reference to a Secret")
    yield from _left_behind(configmap.metadata, seen)
    yield PASSED


@check(
    id="k8s-literal-env-secrets",
    title="No credentials in literal environment variables or command lines",
    severity="high",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    excuse=accepted_workload,
)
def literal_env_secrets(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at what the collector found in literal `env` values, commands, arguments and probes.

    Why: Whoever may read the workload, or its manifest, reads the credential. Command lines also
    show in the process list of the node and in every crash report.

    Rule: Fails for each literal environment variable whose name means a credential and whose
    value is not empty, or whose value has the shape of one, and for each credential on a command
    line or in a probe. A value that only names another variable, `$(NAME)`, is none. Passes
    when every such value comes from elsewhere (`valueFrom`). What `[rules] accepted_workloads`
    names is waived with its reason. Unknown when pods or workloads could not be listed.

    Fix: Refer to a Secret, better still mount it as a file:

        env:
          - name: DB_PASSWORD
            valueFrom:
              secretKeyRef:
                name: ledger-export-credentials
                key: db-password

    Source: the hardening guide, "Secrets Management"; CIS Kubernetes 5.4.1; NIST SP 800-190,
    4.1.4.
    """
    seen = set()
    for container in workload.containers():
        for index, entry in enumerate(container.body.get("env") or ()):
            literal = entry.get("literal")
            hits = objects(literal.get("hits")) if literal else ()
            if hits:
                path = f"{container.path}.env[{index}]"
                seen.add(path)
                observed = f"{entry.get('name')}: {_evidence(hits)}"
                yield failed(f"{path}.value", observed, "valueFrom, or a mounted Secret")
        for place, found in _by_path(container.body.get("redacted")).items():
            expected = "a variable or file from a Secret"
            yield failed(f"{container.path}.{place}", _evidence(found), expected)
    yield from _left_behind(mapping(workload.body.get("owner")) or workload.metadata, seen)
    yield PASSED


def _left_behind(metadata: Mapping[str, Json], seen: set[str]) -> Iterator[Verdict]:
    """Credentials in the copy that `kubectl apply` keeps, where the object itself has none."""
    for path, hits in sorted(_by_path(metadata.get("lastApplied")).items()):
        if path not in seen:
            observed = f"{path or 'the copy'}: {_evidence(hits)}"
            yield failed(_APPLIED, observed, "no credential in the copy of the object")


def _by_path(rows: Json) -> dict[str, list[Mapping[str, Json]]]:
    """Hits by the place at which they stand."""
    if not rows:
        return {}
    found: dict[str, list[Mapping[str, Json]]] = {}
    for row in objects(rows):
        found.setdefault(str(row.get("path")), []).append(row)
    return found


def _evidence(hits: Sequence[Mapping[str, Json]]) -> str:
    """Which detectors fired and how long the values are."""
    return "; ".join(
        f"{hit.get('detector')}, {hit.get('length')} characters"
        + (" (a placeholder)" if hit.get("placeholder") else "")
        for hit in hits
    )
