"""Secrets that reach a program through its environment instead of a file."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Json, Resource, Verdict, View, failed
from auditor.registry import check
from checks.kubernetes._accepted import WORKLOAD_SETTINGS, accepted_workload
from checks.kubernetes._pods import PASSED, mapping, objects

EXPECTED = "the Secret mounted as a file"


@check(
    id="k8s-secret-env",
    title="Secrets are mounted as files, not put into the environment",
    severity="medium",
    applies_to="kubernetes/workload",
    settings=WORKLOAD_SETTINGS,
    distinct=True,
    excuse=accepted_workload,
)
def secret_env(workload: Resource, view: View) -> Iterator[Verdict]:
    """Looks at `env` and `envFrom` of every container for values that come from a Secret.

    Why: An environment is inherited by every child process, printed by crash reports and debug
    pages, shown by `/proc/<pid>/environ`, and fixed until the program restarts. A file is read by
    who needs it, has a mode, and changes when the Secret does.

    Rule: Fails for each `env` entry with `valueFrom.secretKeyRef` and for each `envFrom` entry
    with `secretRef`, optional ones too, in containers of every kind; the evidence names the
    Secret, never a value. Passes when there is none. The hardening guide calls `secretKeyRef` the
    secure practice, and against a literal value it is: it passes the guide's control and fails
    this one, which is of level 2. What a program reads into its own environment (an agent that
    injects, a shell that exports a file) does not show. What `[rules] accepted_workloads` names
    is waived with its reason. Unknown when pods or workloads could not be listed.

    Fix: Mount the Secret, and let the program read the file; many take a path in a variable whose
    name ends in _FILE. The files are root's: a program that is not root reads them by its fsGroup:

        securityContext:
          fsGroup: 10001
        volumes:
          - name: credentials
            secret:
              secretName: ledger-export-credentials
              defaultMode: 0440

    Source: CIS Kubernetes 5.4.1, level 2.
    """
    for container in workload.containers():
        found = False
        # Most entries are literals: they are passed over without a call.
        for index, entry in enumerate(container.body.get("env") or ()):
            source = entry.get("valueFrom")
            reference = source.get("secretKeyRef") if isinstance(source, dict) else None
            if reference is not None:
                found = True
                path = f"{container.path}.env[{index}].valueFrom.secretKeyRef"
                yield failed(path, f"{entry.get('name')} from {_secret(reference)}", EXPECTED)
        for index, entry in enumerate(objects(container.body.get("envFrom"))):
            reference = entry.get("secretRef")
            if reference is not None:
                found = True
                path = f"{container.path}.envFrom[{index}].secretRef"
                yield failed(path, f"each key of {_secret(reference)}", EXPECTED)
        if not found:
            yield PASSED


def _secret(reference: Json) -> str:
    """The Secret, and where one is named its key: names, never a value."""
    named = mapping(reference)
    key = f", key {named['key']}" if named.get("key") else ""
    return f"Secret {named.get('name')}{key}"
