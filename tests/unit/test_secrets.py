"""The detector of secrets: what counts, what does not, and that no value gets through."""

from __future__ import annotations

import base64
import json
import re
import string
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from auditor.collect.secrets import Hit, detect, redact, redact_args, scrub_env
from auditor.collect.secrets.names import is_credential_name, is_literal

# Built from parts, so that no scanner of this repository takes them for real ones.
GITHUB = "ghp" + "_" + "a1B2" * 9
JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"none"}', b'{"sub":"somebody"}', b"signature-bytes")
)
PEM_BODY = "\n".join(["MIIBfake" * 8] * 3)
PEM = f"-----BEGIN PRIVATE {'KEY'}-----\n{PEM_BODY}\n-----END PRIVATE {'KEY'}-----"
RANDOM = "q7Zt0vXb9LmN4sRk2WcY8eHd"

MARKER = re.compile(r"«redacted: [^»]*»")


@pytest.mark.parametrize(
    "name",
    [
        "GRAFANA_TOKEN",
        "GRAFANA_ADMIN_PASSWORD",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "default_user_password",
        "dbPassword",
        "db.password",
        "apiKey",
        "API_KEY",
        "PGPASSWORD",
        "private-key",
        "connectionString",
        "CONNECTION_STRING",
        "clientSecret",
        "DB_PASS",
        "DB_PWD",
        "credentials",
        "SECRET_KEY_BASE",
        "authtoken",
    ],
)
def test_a_credential_name_makes_any_value_a_hit(name: str) -> None:
    assert detect("hunter2", name) == (Hit("credential name", 7, False),)


@pytest.mark.parametrize(
    "name",
    [
        "AWS_S3_BUCKET_KEY",
        "S3_BUCKET_KEY",
        "TOKEN_TTL",
        "DB_PASSWORD_FILE",
        "SECRET_PATH",
        "GRAFANA_ADMIN_ACCOUNT",
        "ADMIN_ACCOUNT",
        "SECRET_NAME",
        "TOKEN_URL",
        "MAX_TOKENS",
        "ALLOW_EMPTY_PASSWORD",
        "PUBLIC_KEY",
        "GPG_KEY",
        "KEY",
        "PWD",
        "OLDPWD",
        "PASSENGER",
        "TOKENIZER",
        "COMPASS",
        "BYPASS",
        "SECRETARY",
        "PASSWORD_MIN_LENGTH",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "",
    ],
)
def test_other_names_do_not(name: str) -> None:
    assert not is_credential_name(name)
    assert detect("hunter2", name) == ()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "  ",
        '""',
        "true",
        "False",
        "null",
        "$(DB_PASSWORD)",
        "${DB_PASSWORD}",
        "${DB_PASSWORD:-}",
        "$DB_PASSWORD",
        '"$DB_PASSWORD"',
        "{{ .Values.password }}",
        "$(cat /run/secrets/db)",
        "/run/secrets/db",
        "./secrets/db.txt",
        "~/.netrc",
        "C:\\secrets\\db",
        "client.pem",
        "https://vault.example.org/v1/auth",
        "vault:secret/data/db#password",
        "op://vault/item/field",
    ],
)
def test_what_is_empty_or_points_elsewhere_is_no_hit(value: str) -> None:
    assert detect(value, "DB_PASSWORD") == ()
    assert redact(value, "DB_PASSWORD") == (value, ())


@pytest.mark.parametrize(
    "value",
    ["{YOUR_TOKEN}", "<token>", "changeme", "your-token-here", "xxxxxxxx", "********", "password"],
)
def test_a_placeholder_is_a_hit_and_says_so(value: str) -> None:
    assert detect(value, "GRAFANA_TOKEN") == (Hit("credential name", len(value), True),)


def test_a_value_that_spells_its_name_is_a_placeholder() -> None:
    hit = Hit("credential name", 21, True)
    assert detect("aws_secret_access_key", "secret_access_key") == (hit,)
    assert not detect("correct_horse", "password")[0].placeholder


def test_digits_are_a_weak_password_and_no_placeholder() -> None:
    assert detect("00000000", "default_user_password") == (Hit("credential name", 8, False),)


@pytest.mark.parametrize(
    ("text", "detector", "length"),
    [
        (f"x {GITHUB} y", "GitHub token", len(GITHUB)),
        ("github_pat_" + "A1b2" * 12, "GitHub token", 59),
        ("glpat-" + "aB3d" * 5, "GitLab token", 26),
        ("xoxb-" + "123456789012-abcdefghijkl", "Slack token", 30),
        ("sk_live_" + "0a1B" * 6, "Stripe key", 32),
        ("npm_" + "Ab1" * 12, "npm token", 40),
        ("pypi-AgEIcHlwaS5vcmc" + "Ab1-" * 20, "PyPI token", 100),
        ("AKIA" + "Q2W3" * 4, "AWS access key", 20),
        (JWT, "JSON web token", len(JWT)),
        (PEM, "private key", len(PEM)),
        (PEM.replace("\n", "\\n"), "private key", len(PEM) + 4),
        ("AccountKey=" + "Ab1/" * 22, "Azure storage key", 99),
        ("postgres://app:s3cr3t@db:5432/x", "basic auth in a URL", 6),
        ("redis://:s3cr3t@cache", "basic auth in a URL", 6),
        ("echo 'root:s3cr3t' | chpasswd", "password for chpasswd", 6),
        ("curl -fsS -u bob:s3cr3t https://x.test", "password on a command line", 6),
        ('-H "Authorization: Bearer 0123456789"', "authorization header", 10),
    ],
)
def test_shapes_are_found_without_a_name(text: str, detector: str, length: int) -> None:
    assert [(hit.detector, hit.length) for hit in detect(text)] == [(detector, length)]


def test_a_google_service_account_is_named_as_one() -> None:
    text = json.dumps({"type": "service_account", "private_key": PEM})
    assert [hit.detector for hit in detect(text)] == ["GCP service account key"]


def test_a_registry_login_is_found_by_what_it_decodes_to() -> None:
    auth = base64.b64encode(b"robot:s3cr3t").decode()
    assert [hit.detector for hit in detect(f'{{"auth": "{auth}"}}')] == ["registry credentials"]
    assert detect('{"auth": "none"}') == ()


@pytest.mark.parametrize(
    "text",
    [
        "an ordinary sentence about a token and a password.",
        'if line == "-----BEGIN RSA PRIVATE ' + 'KEY-----":',
        "https://example.org:8443/path@version",
        "ssh://git@example.org/x.git",
        "https://${USER}:${PASSWORD}@example.org",
        "sha256:" + "0123456789abcdef" * 4,
        "//registry.npmjs.org/:_authToken=${NPM_TOKEN}",
        "0" * 300 + "AKIA" + "Q2W3" * 40,
    ],
)
def test_ordinary_text_has_no_hit(text: str) -> None:
    assert detect(text) == ()


def test_random_values_count_only_under_a_name_that_hints() -> None:
    assert detect(RANDOM, "SESSION_KEY") == (Hit("high-entropy value", len(RANDOM), False),)
    assert detect(RANDOM, "BUILD") == ()
    assert detect("daily", "AWS_S3_BUCKET_KEY") == ()
    assert detect("E3FF2839C048B25C" + "084DEBE9B26995E310250568", "GPG_KEY") == ()


def test_the_shape_names_a_value_that_its_name_gives_away_too() -> None:
    assert detect(GITHUB, "GITHUB_TOKEN") == (Hit("GitHub token", 40, False),)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("TOKEN=s3cr3t run", "TOKEN=# run"),
        ("export TOKEN='s3 cr3t' && run", "export TOKEN='#' && run"),
        ('TOKEN="s3 cr3t"; run', 'TOKEN="#"; run'),
        ("TOKEN=s3cr3t&&run", "TOKEN=#&&run"),
        ("(TOKEN=s3cr3t)", "(TOKEN=#)"),
        ("--password=s3cr3t --x", "--password=# --x"),
        ("--password s3cr3t --x", "--password # --x"),
        ("-password s3cr3t", "-password #"),
        ("docker run -e TOKEN=s3cr3t i", "docker run -e TOKEN=# i"),
        ("ENV TOKEN s3cr3t value", "ENV TOKEN #"),
        ("/bin/sh -c #(nop)  ENV TOKEN=s3cr3t", "/bin/sh -c #(nop)  ENV TOKEN=#"),
        ("|1 TOKEN=s3cr3t /bin/sh -c make", "|1 TOKEN=# /bin/sh -c make"),
        ("token: s3cr3t", "token: #"),
        ("token: 's3 cr3t'", "token: '#'"),
        ("admin_password = s3 cr3t", "admin_password = # cr3t"),
        ('{"token": "s3\\"cr3t", "a": 1}', '{"token": "#", "a": 1}'),
        ('["--token", "s3cr3t"]', '["--token", "#"]'),
        ("https://u:s3cr3t@h/p", "https://u:#@h/p"),
        ("curl 'https://h/?token=s3cr3t'", "curl 'https://h/?token=#'"),
        ("npm config set //r.test/:_authToken s3cr3t99", "npm config set //r.test/:_authToken #"),
        ("TOKEN=s3cr3t; echo s3cr3t > /t", "TOKEN=#; echo # > /t"),
    ],
)
def test_redact_masks_the_value_and_nothing_else(text: str, shown: str) -> None:
    redacted, hits = redact(text)
    assert MARKER.sub("#", redacted) == shown
    assert hits


@pytest.mark.parametrize(
    "text",
    [
        "RUN --mount=type=secret,id=npm_token cat /run/secrets/npm_token",
        "docker login --password-stdin < file",
        "passwd -d root",
        "ARG TOKEN",
        "PASSWORD= make",
        "[ $TOKEN = x ]",
        "TOKEN=$(cat /run/secrets/t) make",
        "--token-ttl 300",
        "image: my-secret:latest",
        "token = get_token(1)",
        'password = os.environ["X"]',
        "token: ${{ secrets.TOKEN }}",
    ],
)
def test_redact_leaves_what_holds_no_secret(text: str) -> None:
    assert redact(text) == (text, ())


def test_arguments_are_read_in_pairs() -> None:
    words, hits = redact_args(["--user", "bob", "--password", "s3cr3t", "TOKEN=t0k3n", "-x"])
    assert [MARKER.sub("#", word) for word in words] == [
        "--user", "bob", "--password", "#", "TOKEN=#", "-x",
    ]  # fmt: skip
    assert [hit.length for hit in hits] == [6, 5]


def test_scrubbed_environments_keep_no_value() -> None:
    assert scrub_env(["A=plain", "TOKEN=s3cr3t", "EMPTY_TOKEN=", "BARE"]) == [
        {"name": "A", "length": 5, "hits": []},
        {
            "name": "TOKEN",
            "length": 6,
            "hits": [{"detector": "credential name", "length": 6, "placeholder": False}],
        },
        {"name": "EMPTY_TOKEN", "length": 0, "hits": []},
        {"name": "BARE", "length": 0, "hits": []},
    ]


def test_a_store_of_secrets_is_dropped_whole() -> None:
    text = "\n".join(f"TOKEN_{n}=s3cr3t{n:04}" for n in range(300))
    redacted, hits = redact(text)
    assert redacted == f"«redacted: 300 secrets, {len(text)} characters»"
    assert len(hits) == 300


SECRET = st.text(string.ascii_letters + string.digits + "!@%+-_.,:/=~^*", min_size=4, max_size=40)
FORMS = st.sampled_from(
    [
        "DB_PASSWORD={}",
        "DB_PASSWORD='{}' make",
        '--password="{}"',
        "--password {}",
        "ENV API_KEY {}",
        "api_key: {}",
        '{{"clientSecret": "{}"}}',
        "https://user:{}@host/path",
        "docker run -e TOKEN={} image",
    ]
)
NOISE = st.text(string.printable, max_size=60)


@given(secret=SECRET, form=FORMS, before=NOISE, after=NOISE, again=st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_reported_value_never_stays_in_the_text(
    secret: str, form: str, before: str, after: str, again: bool
) -> None:
    text = before + "\n" + form.format(secret) + "\n" + after + (secret if again else "")
    redacted, hits = redact(text)
    whole = any(hit.length == len(secret) for hit in hits)
    alone = redact(form.format(secret))
    if whole and any(hit.length == len(secret) for hit in alone[1]):
        assert secret not in MARKER.sub("", redacted)
    # Whatever was reported is gone: asking again finds nothing of the same kind and length.
    assert hits == detect(text, assignments=True)


@given(secret=st.text(string.ascii_letters + string.digits, min_size=8, max_size=40), form=FORMS)
@settings(max_examples=300, deadline=None)
def test_a_plain_password_is_masked_in_every_form(secret: str, form: str) -> None:
    assume(is_literal(secret))
    redacted, hits = redact(form.format(secret))
    assert [hit.length for hit in hits] == [len(secret)]
    assert secret not in MARKER.sub("", redacted)


@given(text=st.text(max_size=400), key=st.none() | st.text(max_size=20))
@settings(max_examples=400, deadline=None)
def test_any_text_is_taken(text: str, key: str | None) -> None:
    redacted, hits = redact(text, key)
    assert (redacted == text) == (not hits)


@pytest.mark.parametrize(
    "hostile",
    [
        "eyJ" * 80_000,
        "//" * 120_000 + ":_authToken",
        "sk-" * 80_000 + "T3BlbkFJ",
        "token=f(" * 30_000,
        "token=" + "${" * 120_000,
        'token:"' * 30_000,
        "a:b" * 80_000 + "|chpasswd",
        "token=" + ")" * 240_000,
        "curl -u " * 30_000,
        "".join(f"token=v{n:06}\n" for n in range(16_000)),
        "key" * 80_000,
    ],
    ids=lambda text: repr(text[:14]),
)
def test_hostile_text_takes_linear_time(hostile: str) -> None:
    started = time.monotonic()
    redact(hostile)
    # Quadratic time on a quarter of a megabyte would be minutes; linear is well under a second.
    assert time.monotonic() - started < 10
