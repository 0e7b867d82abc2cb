"""Which files of an image hold secrets: by where they lie and by what is in them.

Three classes of file keep false alarms low, because most text in an image is somebody's library:

- *configuration* (`.env`, `.npmrc`, a kubeconfig, `application.yml` beside the application, …):
  every detector, also values under a credential's name;
- *packages* (`/usr/lib`, `site-packages`, `node_modules`, …) and program text (`.py`, `.js`,
  `.md`, …): keys and issuers' tokens alone, and those in a package's folder of tests, examples or
  documents are for a person to judge;
- *everything else*: whatever shows by its own shape.

Only text up to a size is searched (see `[docker] secret_scan_max_bytes`). Values are dropped here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from auditor.collect.secrets import CREDENTIAL_NAME, detect
from auditor.collect.secrets.shapes import _shapes

_MAX_FOUND = 20
"""Records of one file; the first ones say enough."""
_BINARY_PROBE = 8192

_PACKAGES = re.compile(
    r"^(?:usr/(?:lib|lib32|lib64|libexec|share|include|bin|sbin|src)|usr/local/(?:lib|share|go|include)"
    r"|lib|lib64|bin|sbin|go/pkg|root/go/pkg|var/lib/(?:dpkg|apt|rpm)|snap|nix/store)/"
    r"|(?:^|/)(?:site-packages|dist-packages|node_modules|gems|vendor|Python\.framework)/"
)
_SAMPLES = re.compile(
    r"(?:^|/)(?:tests?|testing|testdata|test[-_]\w+|spec|docs?|examples?|samples?|fixtures|demos?)/",
    re.IGNORECASE,
)
_SAMPLE_FILE = re.compile(r"[._-](?:example|sample|template|tmpl|dist|defaults?|schema)(?:\.|$)")
_ENV_LIKE = re.compile(r"^(?:\.env(?:\..+)?|\.?[\w.-]+\.env|\.envrc)$")
_CONFIG_NAMES = frozenset(
    {
        ".npmrc",
        ".yarnrc",
        ".yarnrc.yml",
        ".pypirc",
        "pip.conf",
        ".netrc",
        "_netrc",
        ".pgpass",
        ".my.cnf",
        ".s3cfg",
        ".boto",
        ".git-credentials",
        ".dockercfg",
        ".htpasswd",
        "wp-config.php",
        "auth.json",
    }
)
_CONFIG_ENDS = (
    ".aws/credentials",
    ".aws/config",
    ".docker/config.json",
    ".kube/config",
    ".git/config",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".m2/settings.xml",
)
_CONFIG_FILE = re.compile(
    r"^(?:application|appsettings|settings|config|database|credentials?|secrets?)(?:[.\-_][\w\-]+)*"
    r"\.(?:ya?ml|json|properties|toml|ini|php|xml|cfg|conf)$"
)
_KUBECONFIG = re.compile(
    r"(?:^|/)(?:\.kube/config|etc/kubernetes/[\w-]+\.conf|[\w.-]*kubeconfig[\w.-]*)$"
)
_KEY_STORE = re.compile(r"\.(?:p12|pfx|jks|keystore|kdbx)$", re.IGNORECASE)
_TRUST_STORE = re.compile(r"cacerts|trust", re.IGNORECASE)

# What a file of this kind holds in a form of its own; group 1 is the secret.
_OWN_FORMS: tuple[tuple[re.Pattern[str], str, re.Pattern[str]], ...] = (
    (
        re.compile(r"(?:^|/)[._]netrc$"),
        "password in a netrc file",
        re.compile(r"\bpassword[ \t]+(\S+)"),
    ),
    (
        _KUBECONFIG,
        "kubeconfig client key",
        re.compile(r"client-key-data:[ \t]*[\"']?([A-Za-z0-9+/=]{20,})"),
    ),
    (
        re.compile(r"(?:^|/)\.pgpass$"),
        "password in a pgpass file",
        re.compile(r"^[^#\n:]*:[^\n:]*:[^\n:]*:[^\n:]*:(\S+)", re.MULTILINE),
    ),
    (
        re.compile(r"(?:^|/)(?:etc/g?shadow-?|\.htpasswd)$"),
        "password hash",
        re.compile(r"^[^#\n:]+:(\$[^\n:$]{1,16}\$[^\n:]+)", re.MULTILINE),
    ),
)
# Programs handle passwords, and documents explain them: their words are no secrets.
_PROGRAM = re.compile(
    r"\.(?:py|pyi|js|mjs|cjs|jsx|ts|tsx|vue|map|rb|go|java|kt|scala|c|h|cc|cpp|hpp|rs|php|pl|pm|lua"
    r"|cs|swift|ex|exs|clj|hs|md|rst|txt|html?|css|tmpl|j2|po|pot|ipynb|1|3|5|7|8)$",
    re.IGNORECASE,
)
# Shapes that also stand in prose, help texts and test code: no evidence in packages and programs.
_WEAK = frozenset(
    {
        CREDENTIAL_NAME,
        "high-entropy value",
        "basic auth in a URL",
        "password for chpasswd",
        "password on a command line",
        "authorization header",
        "registry credentials",
        "JSON web token",
    }
)


class Found(NamedTuple):
    """A secret that was seen in a file: never its value.

    `line` is 1-based, None where the file as a whole is meant. `certain` is false where a person
    must judge: a key among a package's tests, a repository's history, a locked key store.
    """

    path: str
    line: int | None
    detector: str
    length: int
    certain: bool


def by_place(path: str, size: int) -> Found | None:
    """What a file's place alone says: a Git repository, a key store. No slash leads `path`."""
    if path.endswith(".git/HEAD") and path[-10:-9] in ("", "/"):
        return Found(path.removesuffix("/HEAD"), None, "Git repository with its history", 0, False)
    name = path.rpartition("/")[2]
    if size and _KEY_STORE.search(name) and not _TRUST_STORE.search(name):
        if _PACKAGES.search(path) and _SAMPLES.search(path):
            return None
        return Found(path, None, "key store", size, False)
    return None


def by_content(path: str, data: bytes) -> list[Found]:
    """The secrets in a file's content, at most 20. `path` has no leading slash."""
    if b"\0" in data[:_BINARY_PROBE]:
        return []
    text = data.decode("utf-8", "replace")
    found = [
        Found(path, text.count("\n", 0, match.start()) + 1, detector, len(match.group(1)), True)
        for place, detector, form in _OWN_FORMS
        if place.search(path)
        for match in form.finditer(text)
    ]
    found += _shaped(path, data, text)
    return found[:_MAX_FOUND]


def _shaped(path: str, data: bytes, text: str) -> list[Found]:
    in_package = bool(_PACKAGES.search(path))
    configuration = not in_package and _is_configuration(path)
    quiet = in_package or (not configuration and bool(_PROGRAM.search(path)))
    if quiet:
        lowered = data.lower()
        if not any(anchor in lowered for anchor in _anchors()):
            return []
    hits = detect(text, assignments=configuration)
    if not hits:
        return []
    sample = in_package and bool(_SAMPLES.search(path))
    env_like = bool(_ENV_LIKE.match(path.rpartition("/")[2]))
    found = []
    lines = _lines_of(text, configuration)
    for hit in hits:
        if quiet and hit.detector in _WEAK:
            continue
        if hit.placeholder and not env_like:
            continue
        waiting = lines.get(hit.detector)
        line = waiting.pop(0) if waiting else None
        certain = not (sample or hit.placeholder)
        found.append(Found(path, line, hit.detector, hit.length, certain))
    return found


@cache
def _anchors() -> tuple[bytes, ...]:
    """Literals of which everything that counts in a package or program holds one, lower-case.

    Nearly all text of an image is of that class: looking for them first takes a third of the time.
    """
    literals = {
        literal for shape in _shapes() if shape.detector not in _WEAK for literal in shape.literals
    }
    return tuple(sorted(literal.encode() for literal in literals))


def _lines_of(text: str, configuration: bool) -> dict[str, list[int]]:
    """The lines on which each detector fires, found by asking line by line."""
    lines: dict[str, list[int]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if "-----BEGIN " in line:
            lines.setdefault("private key", []).append(number)
        for hit in detect(line, assignments=configuration):
            if hit.detector != "private key":
                lines.setdefault(hit.detector, []).append(number)
    return lines


def _is_configuration(path: str) -> bool:
    name = path.rpartition("/")[2]
    if _SAMPLE_FILE.search(name):
        return False
    return (
        name in _CONFIG_NAMES
        or path.endswith(_CONFIG_ENDS)
        or bool(_ENV_LIKE.match(name) or _CONFIG_FILE.match(name) or _KUBECONFIG.search(path))
    )
