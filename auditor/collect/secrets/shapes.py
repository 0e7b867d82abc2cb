"""Secrets that show by their own shape, whatever they are called.

The patterns of issuers' tokens are those of `detect-secrets`; its plugins are used for their
patterns (`denylist`) and their tests, and never build a `PotentialSecret`, which hashes the value.
Added here are the shapes it lacks. Left out are plugins whose patterns fire on ordinary text or
hashes (Artifactory, Cloudant, Discord, IBM, Mailchimp, SoftLayer, Telegram, Twilio, public IPs) and
its keyword plugin, whose work `names` does with a stricter rule. Three patterns that take
quadratic time on hostile text (JWT, npm, OpenAI) are written again here, anchored and bounded.

Every pattern is tried only where a literal part of it occurs, so ordinary text costs a few
substring searches.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

HIGH_ENTROPY = "high-entropy value"
_MIN_RANDOM = 20
"""Shortest value judged by its entropy: below it words and random text overlap (our choice)."""
_MIN_KEY_BODY = 60
"""Base64 characters of the smallest private key in use (Ed25519 in PKCS #8 has 64)."""
_MAX_USERINFO = 512


class Span(NamedTuple):
    """Where a secret stands in a text: `text[start:end]`, which detector says so, and its name."""

    start: int
    end: int
    detector: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class _Shape:
    """A pattern, the group of it that is the value, and lower-case literals that must occur."""

    detector: str
    literals: tuple[str, ...]
    pattern: re.Pattern[str]
    group: int = 0
    accept: Callable[[str], bool] | None = None


# https://user:password@host, the password up to the last @ of the authority.
_USERINFO = re.compile(
    rf"://[^\s/?#@:'\"<>]{{0,{_MAX_USERINFO}}}:([^\s/'\"<>]{{1,{_MAX_USERINFO}}})@"
)
_PEM = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(.*?)"
    r"(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_PUTTY = re.compile(r"PuTTY-User-Key-File-[23]:.*?(?:Private-MAC: ?[0-9a-f]*|\Z)", re.DOTALL)
_PEM_HEADER = re.compile(r"^[A-Za-z][A-Za-z-]*: .*$", re.MULTILINE)
_SERVICE_ACCOUNT = re.compile(r"\"type\"\s*:\s*\"service_account\"")
_TOKEN_TAIL = re.compile(r"[A-Za-z0-9_\-]*")
_JWT = re.compile(r"(?<![\w\-=.])eyJ[\w\-=]{8,4096}\.[\w\-=]{2,65536}", re.ASCII)
_JWT_TAIL = re.compile(r"[A-Za-z0-9_\-.+/=]*")
_NPM_AUTH = re.compile(r":_authToken[ \t]*[= \t][ \t]*[\"']?([^\s\"'$]{8,})")
_OPENAI = re.compile(r"(?<![\w\-])sk-[\w\-]{0,200}?T3BlbkFJ[A-Za-z0-9]{20}", re.ASCII)
_CHPASSWD = re.compile(
    r"(?<![^\s'\"])[^\s:'\"]{1,64}:([^\s'\"|;]{1,256})['\"]?\s{0,20}\|\s{0,20}(?:sudo\s{1,20})?chpasswd\b"
)
_CURL_USER = re.compile(
    r"\b(?:curl|wget|http)\b[^\n|;]{0,1000}?\s(?:-u|--user)[ =]?['\"]?[^\s:'\"]+:([^\s'\"|;]+)"
)
_SSHPASS = re.compile(r"\bsshpass\s+-p\s*['\"]?([^\s'\"|;]+)")
_BASIC = re.compile(
    r"\bauthorization\b[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|token)\s+"
    r"([^\s\"',;]{6,})",
    re.IGNORECASE,
)
_REGISTRY = re.compile(r"\"auth\"\s*:\s*\"([A-Za-z0-9+/]{4,}={0,2})\"")


def _encoded_pair(value: str) -> bool:
    """Whether a value is base64 of `user:password`, as in a registry's configuration."""
    try:
        user, colon, password = base64.b64decode(value, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return bool(user and colon and password)


def _whole_key(block: str) -> bool:
    """Whether a PEM block holds a key, and is not just the words around one in a program."""
    match = _PEM.match(block)
    if match is None:
        return False
    body = match.group(1).replace("\\r", "\n").replace("\\n", "\n")
    packed = "".join(_PEM_HEADER.sub("", body).split()).replace("\\", "")
    # An armoured PGP key ends in a checksum line that starts with "=".
    return len(packed) >= _MIN_KEY_BODY and bool(re.match(r"[A-Za-z0-9+/=]{60}", packed))


_OWN = (
    _Shape("private key", ("private key",), _PEM, accept=_whole_key),
    _Shape("private key", ("putty-user-key-file",), _PUTTY),
    _Shape("basic auth in a URL", ("://",), _USERINFO, group=1),
    _Shape("password for chpasswd", ("chpasswd",), _CHPASSWD, group=1),
    _Shape("password on a command line", ("curl", "wget", "http "), _CURL_USER, group=1),
    _Shape("password on a command line", ("sshpass",), _SSHPASS, group=1),
    _Shape("authorization header", ("authorization",), _BASIC, group=1),
    _Shape("registry credentials", ('"auth"',), _REGISTRY, group=1, accept=_encoded_pair),
    # The issuers' own documented prefixes.
    _Shape("GitHub token", ("github_pat_",), re.compile(r"github_pat_[A-Za-z0-9_]{36,}")),
    _Shape("GitLab token", ("glpat-",), re.compile(r"glpat-[A-Za-z0-9_\-.]{20,}")),
    _Shape("npm token", ("npm_",), re.compile(r"npm_[A-Za-z0-9]{36,}")),
    _Shape("npm token", (":_authtoken",), _NPM_AUTH, group=1),
    _Shape("OpenAI token", ("t3blbkfj",), _OPENAI),
    _Shape("Docker Hub token", ("dckr_",), re.compile(r"dckr_[po]at_[A-Za-z0-9_\-]{20,}")),
    _Shape("Google API key", ("aiza",), re.compile(r"AIza[0-9A-Za-z_\-]{35}")),
    _Shape("Vault token", ("hvs.", "hvb."), re.compile(r"hv[sb]\.[A-Za-z0-9_\-]{24,}")),
    _Shape("Slack token", ("xapp-", "xoxe"), re.compile(r"(?:xapp-\d-|xoxe[.-])[\w.\-]{16,}")),
)


@cache
def _shapes() -> tuple[_Shape, ...]:
    """All shapes. Built on first use: importing `detect-secrets` takes a sixth of a second."""
    from detect_secrets.plugins.aws import AWSKeyDetector
    from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
    from detect_secrets.plugins.github_token import GitHubTokenDetector
    from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
    from detect_secrets.plugins.jwt import JwtTokenDetector
    from detect_secrets.plugins.pypi_token import PypiTokenDetector
    from detect_secrets.plugins.sendgrid import SendGridDetector
    from detect_secrets.plugins.slack import SlackDetector
    from detect_secrets.plugins.square_oauth import SquareOAuthDetector
    from detect_secrets.plugins.stripe import StripeDetector

    gitlab = "glpat- gldt- glft- glsoat- glrt- gr1348941 glcbt- glimt- glptt- glagent- gloas-"
    key_ids, named = AWSKeyDetector.denylist
    shapes = [
        _Shape("AWS access key", ("akia", "asia", "abia", "acca", "a3t"), key_ids),
        _Shape("AWS secret key", ("aws",), named, group=1),
        *_of(AzureStorageKeyDetector(), "Azure storage key", "accountkey="),
        *_of(GitHubTokenDetector(), "GitHub token", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
        *_of(GitLabTokenDetector(), "GitLab token", *gitlab.split()),
        _Shape("JSON web token", ("eyj",), _JWT, accept=JwtTokenDetector.is_formally_valid),
        *_of(PypiTokenDetector(), "PyPI token", "pypi-age"),
        *_of(SendGridDetector(), "SendGrid key", "sg."),
        *_of(SlackDetector(), "Slack token", "xox", "hooks.slack.com"),
        *_of(SquareOAuthDetector(), "Square secret", "sq0csp-"),
        *_of(StripeDetector(), "Stripe key", "k_live_"),
    ]
    return (*_OWN, *shapes)


def _of(plugin: Any, detector: str, *literals: str) -> Iterator[_Shape]:
    """The patterns of one `detect-secrets` plugin. Its own search gives prefixes, not spans."""
    for pattern in plugin.denylist:
        yield _Shape(detector, literals, pattern)


def shaped(text: str) -> list[Span]:
    """Every secret in `text` that shows by its shape, in no particular order; may overlap."""
    lowered = text.lower()
    spans: list[Span] = []
    if not _any_literal().search(lowered):
        return spans  # nearly every text of a cluster leaves here
    for shape in _shapes():
        if not any(literal in lowered for literal in shape.literals):
            continue
        for match in shape.pattern.finditer(text):
            start, end = match.span(shape.group)
            if shape.accept is not None and not shape.accept(text[start:end]):
                continue
            if shape.group == 0 and start and text[start - 1].isalnum() and _is_token(shape):
                continue
            tail = _tail(shape, text, end)
            if shape.detector == "AWS access key" and tail > end:
                continue  # key ids have one length: a longer run is some other text
            spans.append(Span(start, tail, _detector(shape, text)))
    return spans


@cache
def _any_literal() -> re.Pattern[str]:
    """All literals at once: one search in C is several times cheaper than one for each."""
    literals = sorted({literal for shape in _shapes() for literal in shape.literals})
    return re.compile("|".join(map(re.escape, literals)))


def _is_token(shape: _Shape) -> bool:
    """Whether the match must start a word: inside one it is a part of some other long text."""
    return shape.pattern not in (_PEM, _PUTTY)


def _tail(shape: _Shape, text: str, end: int) -> int:
    """The end of the whole token: patterns stop at their minimum, a token does not."""
    if shape.group or not _is_token(shape):
        return end
    tail = _JWT_TAIL if shape.detector == "JSON web token" else _TOKEN_TAIL
    match = tail.match(text, end)
    return match.end() if match else end


def _detector(shape: _Shape, text: str) -> str:
    if shape.pattern is _PEM and _SERVICE_ACCOUNT.search(text):
        return "GCP service account key"
    return shape.detector


@cache
def _entropy() -> tuple[Any, Any]:
    """The entropy measures of `detect-secrets` for base64 and for hexadecimal text."""
    from detect_secrets.plugins.high_entropy_strings import (
        Base64HighEntropyString,
        HexHighEntropyString,
    )

    return Base64HighEntropyString(), HexHighEntropyString()


def load_detectors() -> None:
    """Import and build every detector now, in this thread (a sixth of a second)."""
    _any_literal()
    _entropy()


def is_random(value: str) -> bool:
    """Whether a value looks random, by the entropy and the limits of `detect-secrets`.

    Only values of one run of base64 or hexadecimal characters, at least 20 long, are judged.
    """
    if len(value) < _MIN_RANDOM:
        return False
    base64, hexadecimal = _entropy()
    if re.fullmatch(r"[0-9a-fA-F]+", value):
        plugin = hexadecimal
    elif re.fullmatch(r"[A-Za-z0-9+/_\-]+={0,2}", value):
        plugin = base64
    else:
        return False
    entropy: float = plugin.calculate_shannon_entropy(value)
    limit: float = plugin.entropy_limit
    return entropy > limit
