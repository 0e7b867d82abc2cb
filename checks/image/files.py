"""What the files of an image say: setuid and setgid files, secrets in any layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from auditor.model import Json, Resource, Verdict, View, failed, passed, review, unknown
from auditor.registry import check

FILES = "image-files"
"""The scope that every check of an image's files needs."""


@check(
    id="image-setuid-files",
    title="Images hold no setuid or setgid files",
    severity="medium",
    applies_to="image/image",
    needs=(FILES,),
    settings=("setuid_allowed",),
)
def setuid_files(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the permissions of every file that the image shows when it runs.

    Why: a setuid file of root runs as root whoever starts it; a flaw in one of them turns an
        ordinary user in the container into its root.
    Rule: fails for each file with the setuid or setgid bit whose path is not accepted by
        `[rules] setuid_allowed` (paths, `*` allowed); passes when there is none; unknown when the
        image's files could not be read. A file that a later layer deletes or changes counts as the
        later layer leaves it. Directories do not count.
    Fix: take the bits away in the same layer that brings the files:

            RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} +
    Source: CIS Docker 4.8 (1.6 to 1.8).
    """
    files = files_of(image)
    if files is None:
        yield unread(image)
        return
    allowed = [str(pattern) for pattern in view.settings.get("setuid_allowed") or ()]
    listed = rows_of(files.get("setuid"))
    clean = True
    for row in listed:
        path = str(row.get("path"))
        if any(fnmatchcase(path, pattern) for pattern in allowed):
            continue
        clean = False
        owner = f"owner {row.get('uid')}:{row.get('gid')}, layer {row.get('layer')}"
        yield failed(path, f"mode {row.get('mode')}, {owner}", "no setuid or setgid bit")
    rest = rest_of(files, "setuid_count", listed)
    if rest:
        # Which of the unlisted ones are accepted cannot be told.
        verdict = unknown if allowed else failed
        yield verdict("", f"{rest} more files with a setuid or setgid bit", "none")
    elif clean:
        yield passed("files")


@check(
    id="image-layer-secrets",
    title="No layer of an image holds a secret",
    severity="high",
    applies_to="image/image",
    needs=(FILES,),
)
def layer_secrets(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks for secrets in the files of every layer, also in files that a later layer deletes.

    Why: whoever can pull the image can unpack each layer by itself; deleting a file in a later
        layer hides it and leaves it there.
    Rule: fails for each private key, issuer's token, password hash in `/etc/shadow`, and each
        credential in a file that is configuration (`.env`, `.npmrc`, a kubeconfig, the
        application's own settings, …); review for a key store, a Git repository with its history,
        a placeholder in a `.env` file, and a key among the tests or documents of a package; passes
        when there is none; unknown when the image's files could not be read. Text files up to
        `[docker] secret_scan_max_bytes` are searched.
    Fix: change the secret, keep the file out of the build context with `.dockerignore`, and hand
        it to the build as a mount that no layer keeps:

            RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci
    Source: CIS Docker 4.10 (1.6 to 1.8); hardening guide, "Build Context" and "Secrets
        Management"; NIST SP 800-190, 4.1.4.
    """
    files = files_of(image)
    if files is None:
        yield unread(image)
        return
    listed = rows_of(files.get("secrets"))
    for row in listed:
        yield _secret(row)
    rest = rest_of(files, "secrets_count", listed)
    if rest:
        # Certain ones are listed first: after one that is not, none follows.
        verdict = failed if listed[-1].get("certain") else review
        yield verdict("", f"{rest} more places that hold secrets", "no secret in any layer")
    elif not listed:
        yield passed("files")


def _secret(row: Mapping[str, Json]) -> Verdict:
    parts = [str(row.get("detector"))]
    if row.get("length"):
        parts.append(f"{row['length']} characters")
    if row.get("line"):
        parts.append(f"line {row['line']}")
    parts.append(f"in layer {row.get('layer')}")
    if row.get("deleted"):
        parts.append(f"{row.get('how')} and still in the image")
    make = failed if row.get("certain") else review
    return make(str(row.get("path")), ", ".join(parts), "no secret in any layer")


def files_of(image: Resource) -> Mapping[str, Json] | None:
    """What was read of an image's files; None when they were not read."""
    files = image.body.get("files")
    return files if isinstance(files, Mapping) else None


def unread(image: Resource) -> Verdict:
    """The verdict on an image whose files were not read: unknown, and why."""
    reason = image.body.get("files_gap") or "they were not read"
    return unknown("files", f"the image's files: {reason}")


def rest_of(files: Mapping[str, Json], key: str, listed: list[Mapping[str, Json]]) -> int:
    """How many places there are beyond the listed ones."""
    count = files.get(key)
    return max(0, count - len(listed)) if isinstance(count, int) else 0


def rows_of(value: Json) -> list[Mapping[str, Json]]:
    """The objects of a list; nothing of anything else."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
