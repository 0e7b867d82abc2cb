"""Checks of credentials in a Dockerfile."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Json, Resource, Severity, Verdict, View, failed, passed, unknown
from auditor.registry import check
from checks.dockerfile._accept import accepted_in_file
from checks.dockerfile._facts import Instruction, instructions

_EXPECTED = "no credential in the file: RUN --mount=type=secret at build time, a secret at run time"


@check(
    id="dockerfile-secrets",
    title="No credentials in the Dockerfile",
    severity="critical",
    applies_to="dockerfile/Dockerfile",
    excuse_place=accepted_in_file,
)
def secrets(dockerfile: Resource, view: View) -> Iterator[Verdict]:
    """Looks for credentials in every instruction of every stage, by their shape and their name.

    Why: What a Dockerfile says is in version control and in the history of every image built from
    it, for anybody who may pull it. A later instruction does not take it back.
    Rule: fails for a value with the shape of a credential (private key, issuer's token, password
    in a URL), and for any value under a name that means one, in ENV, ARG, LABEL, RUN, here-
    documents and all others; medium when the value is only a placeholder. Fails (medium) for an
    ARG whose name means a credential, with no value here: the one given at build time stays in the
    image's history; and for an ENV that keeps such an ARG. References, paths and empty values
    pass. Unknown when an ENV whose name means a credential takes a variable that this file does
    not set.
    Fix: mount the secret for the one step that needs it; give the rest at run time.

        RUN --mount=type=secret,id=registry_token \\
            REGISTRY_TOKEN="$(cat /run/secrets/registry_token)" ./fetch.sh

    Source: hardening guide, secrets management ("do not hardcode in Dockerfile"); CIS Docker
    4.10; what counts as a credential is in `auditor.collect.secrets`.
    """
    found = instructions(dockerfile)
    arguments = {
        pair["name"] for item in found if item["cmd"] == "ARG" for pair in item.get("pairs", ())
    }
    clean = True
    for instruction in found:
        for verdict in [*_hits(instruction), *_by_name(instruction, arguments)]:
            clean = False
            yield verdict
    if clean:
        yield passed("", "no credential")


def _hits(instruction: Instruction) -> Iterator[Verdict]:
    for secret in instruction["secrets"]:
        key = f".{secret['key']}" if secret["key"] else ""
        unit = "character" if secret["length"] == 1 else "characters"
        seen = f"{secret['detector']}, {secret['length']} {unit}"
        severity = None
        if secret["placeholder"]:
            seen += ", a placeholder"
            severity = Severity.MEDIUM
        yield failed(
            f"{instruction['path']}{key}",
            seen,
            _EXPECTED,
            line=secret["line"],
            column=secret["column"],
            severity=severity,
        )


def _by_name(instruction: Instruction, arguments: set[str]) -> Iterator[Verdict]:
    hit = {secret["key"] for secret in instruction["secrets"]}
    for pair in instruction.get("pairs", ()):
        if not pair["credential"] or pair["name"] in hit:
            continue
        path = f"{instruction['path']}.{pair['name']}"
        if instruction["cmd"] == "ARG" and not pair["value"]:
            yield _medium(path, "a build argument: its value stays in the history", pair)
        elif instruction["cmd"] == "ENV" and arguments & set(pair["names"]):
            yield _medium(path, "keeps a build argument in the image", pair)
        elif instruction["cmd"] == "ENV" and pair["unresolved"]:
            yield unknown(path, "takes a variable that this file does not set", _EXPECTED)


def _medium(path: str, seen: str, pair: dict[str, Json]) -> Verdict:
    return failed(path, seen, _EXPECTED, line=pair["line"], severity=Severity.MEDIUM)
