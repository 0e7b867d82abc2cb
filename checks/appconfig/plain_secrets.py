"""Checks of credentials in application configuration."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Severity, Verdict, View, failed, passed
from auditor.registry import check
from checks.appconfig._settings import settings


@check(
    id="app-config-plain-secrets",
    title="No credentials in configuration files",
    severity="high",
    applies_to="app-config/file",
)
def plain_secrets(file: Resource, view: View) -> Iterator[Verdict]:
    """Looks for credentials in the values of a configuration file, by shape and by name.

    Why: A configuration file is copied, mailed and committed like any other; whoever reads it has
    the credential, and nobody can tell who has.
    Rule: fails for a value with the shape of a credential, and for any value under a name that
    means one, medium when it is only a placeholder. Empty values, references to variables and the
    paths of files pass. Unknown when the file cannot be read.
    Fix: leave the value empty and give it at run time, from the environment or a mounted file.

        {"service": {"token_file": "/run/secrets/token"}}

    Source: hardening guide, secrets management; what counts as a credential is in
    `auditor.collect.secrets`.
    """
    clean = True
    for setting in settings(file):
        for secret in setting["secrets"]:
            clean = False
            unit = "character" if secret["length"] == 1 else "characters"
            seen = f"{secret['detector']}, {secret['length']} {unit}"
            yield failed(
                setting["path"],
                seen + (", a placeholder" if secret["placeholder"] else ""),
                "empty, a reference, or the path of a mounted file",
                line=setting["line"],
                column=setting["column"],
                severity=Severity.MEDIUM if secret["placeholder"] else None,
            )
    if clean:
        yield passed("", "no credential")
