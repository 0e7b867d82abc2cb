"""When a name means a credential, and when a value under such a name is one.

Both rules are our own, written down here because no standard has them:

**Names.** A name is split into words at separators and at camel-case humps (`dbPassword`,
`DB_PASSWORD` and `db.password` are the same words). It means a credential when one of its words
is or ends with a word for one (`password`, `token`, `secret`, …), or when two neighbouring words
make one (`access key`, `connection string`, …), and no *later* word says that the value is
something else about it: where it lies (`TOKEN_FILE`), how long it lives (`TOKEN_TTL`), what it
is called (`SECRET_NAME`). A few first words turn it round too (`MAX_TOKENS`, `ALLOW_PASSWORD`).

**Values.** Any value counts that is not empty, not a plain yes or no, not purely a reference to
something elsewhere (`$(VAR)`, `${VAR}`, `$VAR`, `{{ .Values.x }}`, a command substitution, a
secret store's address), not the path or name of a file, and not a URL without a password.
"""

from __future__ import annotations

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MAX_NAME = 256

_EXACT = frozenset({"pass", "pwd", "creds", "cred", "jwt", "passwords", "passphrases", "pat"})
_ENDINGS = (
    "password",
    "passwd",
    "passphrase",
    "token",
    "tokens",
    "secret",
    "secrets",
    "credential",
    "credentials",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "encryptionkey",
    "signingkey",
    "connectionstring",
)
_PAIRS = frozenset(
    {
        ("api", "key"),
        ("access", "key"),
        ("account", "key"),
        ("auth", "key"),
        ("encryption", "key"),
        ("master", "key"),
        ("private", "key"),
        ("secret", "key"),
        ("shared", "key"),
        ("signing", "key"),
        ("ssh", "key"),
        ("storage", "key"),
        ("connection", "string"),
        ("conn", "str"),
        ("conn", "string"),
    }
)
# Words after the credential's that say the value is something about it, not the thing itself.
_ABOUT = _set(
    """
    account address age alg algo algorithm arn attempts audience backend bucket ca cache cert
    certificate class count data days description dir directory domain duration email enabled
    encoding endpoint engine env error exp expiration expires expiry field file filename folder
    format header hint host hours id ids ini interval issuer json kind label len length level
    lifetime limit location login manager max message method min minutes mode mount name names
    namespace path pattern plugin policy port prefix prompt properties provider ref
    reference refs regex region required reset retries role rotation scope scopes seconds server
    service size source stdin store strength suffix template timeout title toml ttl type types uri
    url urls user username validation validator var version volume xml yaml yml
    """
)
# First words that make the rest a number or a switch.
_SWITCHES = _set(
    "allow disable enable has is max min no num number require requires total use uses"
)
# Weaker names: alone they mean nothing, with a random-looking value they do.
_HINTS = _set("auth authorization bearer cookie key keys license salt session sig")
_PUBLIC = _set("checksum digest fingerprint gpg hash md5 pgp pub public sha sum")

_EMPTY = _set("- [] {} 0 1 false n nil no none null off on true undefined y yes ~") | {""}
_REFERENCE = re.compile(
    r"""(?: \$\{ [A-Za-z_]\w* (?: :?[?+][^}]* | :?-? )? \}   # ${VAR} ${VAR:-} ${VAR:?text}
          | \$\$? [A-Za-z_]\w* | \$[0-9@*]
          | \$ \( (?: [^()] | \([^()]*\) )* \)                # $(VAR), $(command)
          | ` [^`]* `
          | \{\{ [^{}]* \}\} | \$\{\{ [^{}]* \}\}             # templates
          | % [A-Za-z_]\w* %
        )+""",
    re.VERBOSE,
)
_STORE = re.compile(
    r"(?:op|vault|secret|awssm|gcpsm|azurekv|file|env|sops|sm)://|ref\+|vault:|arn:aws[\w-]*:"
    r"|projects/[^/]+/secrets/|ENC\[|secretref:|(?:id|type|src|source|env)=|@Microsoft\.KeyVault",
    re.IGNORECASE,
)
_URL = re.compile(r"[a-z][a-z0-9+.\-]*://[^\s]+", re.IGNORECASE)
_PATH = re.compile(r"(?:~|\.{1,2})?/[\w.@\-/:]*|[A-Za-z]:\\[\w.@\-\\ ]+")
_FILE_NAME = re.compile(
    r"[\w.\-]{1,100}\.(?:cer|conf|crt|der|env|ini|jks|json|key|keytab|kdbx|p12|pem|pfx|pub|toml"
    r"|token|txt|ya?ml)",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"""^(?: \{[^{}]*\} | <[^<>]*> | \[[^\[\]]*\] | [xX*.#?_\-]+ )$
      | your | example | change[\s_\-]*(?:me|it) | replace | placeholder | dummy | redacted | sample
      | ^(?: todo | tbd | fixme | insert | (?:my|the|some|a)?[\s_\-]*
           (?: password | passwd | pass | pwd | secret | token | key | value | credential s? ) )$
    """,
    re.IGNORECASE | re.VERBOSE,
)


def words_of(name: str) -> list[str]:
    """Split a name into lower-case words: `dbPassword`, `DB_PASSWORD` -> `["db", "password"]`."""
    return [match.group().lower() for match in _WORD.finditer(name[-_MAX_NAME:])]


def is_credential_name(name: str) -> bool:
    """Whether a name means a credential (the rule is in the module's text).

    `AWS_ACCESS_KEY_ID` does: half of a key pair is published with its other half.
    `PWD` alone does not: shells keep the working directory there.
    """
    words = words_of(name)
    if not words or words[0] in _SWITCHES or words in (["pwd"], ["old", "pwd"]):
        return False
    if words[-2:] == ["application", "credentials"]:
        return False  # GOOGLE_APPLICATION_CREDENTIALS is the path of a file by its definition
    last = -1
    for index, word in enumerate(words):
        pair = (words[index - 1], word) if index else None
        if word in _EXACT or word.endswith(_ENDINGS) or pair in _PAIRS:
            last = index
    if last < 0:
        return False
    after = words[last + 1 :]
    if after == ["id"] and words[last] in {"key", "accesskey"} and "access" in words[last - 1]:
        return True
    return not any(word in _ABOUT for word in after)


def hints_at_credential(name: str) -> bool:
    """Whether a name is one under which a random-looking value is taken for a credential.

    Fingerprints and checksums are random-looking and public (`GPG_KEY`, `SHA256`): never.
    """
    words = words_of(name)
    if any(word in _PUBLIC for word in words) or (words and words[-1] in _ABOUT):
        return False
    return any(word in _HINTS for word in words)


def is_literal(value: str) -> bool:
    """Whether a value is itself something, by the rule of the module's text.

    >>> [is_literal(text) for text in ("s3cr3t", "{YOUR_TOKEN}", "", "true", "$(VAR)", "/run/t")]
    [True, True, False, False, False, False]
    """
    text = value.strip()
    if text.lower() in _EMPTY or _REFERENCE.fullmatch(text):
        return False
    if _STORE.match(text) or _FILE_NAME.fullmatch(text):
        return False
    if _PATH.fullmatch(text) and not any(_is_random(part) for part in re.split(r"[/\\]", text)):
        return False
    # What a URL carries in its user part or its path is found by its own shape.
    return not _URL.fullmatch(text)


def _is_random(part: str) -> bool:
    """A segment over 20 characters that mixes cases and digits is no file name (base64 has /)."""
    return (
        len(part) > 20
        and any(map(str.isdigit, part))
        and any(map(str.islower, part))
        and any(map(str.isupper, part))
    )


def is_placeholder(value: str, name: str | None = None) -> bool:
    """Whether a value only shows where one belongs: `{YOUR_TOKEN}`, `changeme`, `xxxx`.

    So does one that spells its own name: `aws_secret_access_key` under `secret_access_key`.
    """
    if _PLACEHOLDER.search(value.strip()):
        return True
    spelled = "_".join(words_of(name or ""))
    return bool(spelled) and spelled in "_".join(words_of(value)) and value.count("_") > 0
