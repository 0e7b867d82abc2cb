"""Which files of an image count as secrets, and which text never does."""

import json

import pytest

from auditor.collect.image.places import by_content, by_place

KEY = "-----BEGIN PRIVATE" + " KEY-----\n" + "MIIB" * 30 + "\n-----END PRIVATE" + " KEY-----\n"
GITHUB = "ghp_" + "a1B2" * 9
AWS = "AKIA" + "Q3EGR7Z2" * 2
PAIR = "c2hvcDpodW50ZXIyLWh1bnRlcjI="  # shop:hunter2-hunter2
HASH = "$6$" + "saltsalt$" + "x" * 40


def seen(path: str, text: str) -> list[tuple[str, int | None, bool]]:
    return [(item.detector, item.line, item.certain) for item in by_content(path, text.encode())]


@pytest.mark.parametrize(
    ("path", "text", "detector", "line"),
    [
        ("root/.ssh/id_rsa", KEY, "private key", 1),
        ("etc/ssl/private/site.pem", "# note\n" + KEY, "private key", 2),
        ("srv/readme.txt", f"see\n{GITHUB}\n", "GitHub token", 2),
        ("opt/run.sh", f"export ID={AWS}", "AWS access key", 1),
        ("app/setup.sh", "git clone https://me:hunter2-9@git.example.com/x", None, 1),
        ("app/tool.py", f"TOKEN = '{GITHUB}'", "GitHub token", 1),
        ("app/.env", "PORT=80\nDB_PASSWORD=hunter2-9\n", "credential name", 2),
        ("app/.env.production", "API_TOKEN='abcdef12'", "credential name", 1),
        ("app/prod.env", "API_TOKEN=abcdef12", "credential name", 1),
        ("app/config/application.yml", "db:\n  password: hunter2-9\n", "credential name", 2),
        ("app/appsettings.Production.json", '{"ApiKey": "hunter2-9"}', "credential name", 1),
        ("app/database.yml", "production:\n  password: hunter2-9", "credential name", 2),
        ("root/.npmrc", "//npm.example.com/:_authToken=abcdef0123456789", "npm token", 1),
        ("root/.pypirc", "[pypi]\npassword = hunter2-9", "credential name", 2),
        ("root/.netrc", "machine git.example.com\nlogin a password hunter2-9\n", None, 2),
        ("root/.pgpass", "# c\ndb:5432:shop:app:hunter2-9\n", "password in a pgpass file", 2),
        ("root/.aws/credentials", "[a]\naws_secret_access_key = hunter2-9\n", None, 2),
        ("root/.docker/config.json", json.dumps({"auths": {"r": {"auth": PAIR}}}), None, 1),
        ("root/.kube/config", "users:\n- user:\n    token: hunter2-9x\n", "credential name", 3),
        ("etc/kubernetes/admin.conf", f"    client-key-data: {'TFMw' * 9}\n", None, 1),
        ("app/.git/config", "url = https://a:hunter2-9@git.example.com/x", None, 1),
        ("etc/shadow", f"daemon:*:1:0:99999:7:::\nroot:{HASH}:1:0:::::\n", "password hash", 2),
    ],
)
def test_a_secret_is_found_by_place_and_content(
    path: str, text: str, detector: str | None, line: int
) -> None:
    found = seen(path, text)
    assert found, "nothing was found"
    assert found[0][1:] == (line, True)
    assert detector in (None, found[0][0])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/shadow", "root:*:1:0:99999:7:::\nbin:!:1::::::\nnobody:!!:1::::::\n"),
        ("app/.env", "PORT=80\nDB_PASSWORD=\nDB_PASSWORD_FILE=/run/secrets/db\n"),
        ("app/.env.example", "DB_PASSWORD=hunter2-9\n"),
        ("root/.npmrc", "//npm.example.com/:_authToken=${NPM_TOKEN}\n"),
        ("root/.docker/config.json", '{"auths": {}, "credsStore": "desktop"}'),
        ("app/main.py", "password = input('password: ')\nTOKEN = 'abc'\n"),
        ("usr/lib/python3/dist-packages/x/config.json", '{"password": "hunter2-9"}'),
        ("usr/share/doc/x/README", "curl -u user:hunter2-9 https://u:hunter2-9@example.com"),
        ("usr/lib/node_modules/x/settings.json", '{"api_key": "hunter2-9"}'),
        ("app/lib/oauth.py", 'headers = {"Authorization": "Bearer abcdef0123456789"}'),
        ("app/README.md", "git clone https://me:hunter2-9@git.example.com/x"),
        ("usr/bin/script", "-----BEGIN PRIVATE" + " KEY-----"),
        ("etc/ssl/certs/ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/login.defs", "PASS_MAX_DAYS 99999\n"),
        ("opt/run.sh", "export ID=AKIA" + "IOSFODNN7EXAMPLE"),
    ],
)
def test_ordinary_text_is_no_secret(path: str, text: str) -> None:
    assert seen(path, text) == []


def test_a_key_among_the_tests_of_a_package_is_for_a_person_to_judge() -> None:
    assert seen("usr/lib/python3.11/test/keycert.pem", KEY) == [("private key", 1, False)]
    assert seen("usr/lib/python3.11/ssl/key.pem", KEY) == [("private key", 1, True)]


def test_a_placeholder_in_an_env_file_is_for_a_person_to_judge() -> None:
    assert seen("app/.env", "DB_PASSWORD=changeme\n") == [("credential name", 1, False)]
    assert seen("app/config.json", '{"password": "changeme"}') == []


def test_binary_files_are_not_searched() -> None:
    assert by_content("app/.env", b"\0\0DB_PASSWORD=hunter2-9") == []


def test_a_file_full_of_secrets_gives_its_first_ones() -> None:
    text = "\n".join(f"K{number}_PASSWORD=hunter2-{number}" for number in range(100))
    found = by_content("app/.env", text.encode())
    assert [item.line for item in found] == list(range(1, 21))


@pytest.mark.parametrize(
    ("path", "size", "shown"),
    [
        ("app/.git/HEAD", 21, "app/.git"),
        (".git/HEAD", 21, ".git"),
        ("srv/store.p12", 4000, "srv/store.p12"),
        ("srv/store.JKS", 4000, "srv/store.JKS"),
        ("srv/empty.p12", 0, None),
        ("etc/ssl/certs/java/cacerts.jks", 4000, None),
        ("usr/lib/x/tests/data/a.pfx", 4000, None),
        ("app/digit/HEAD", 21, None),
        ("app/x.git/HEAD", 21, None),
        ("app/.git", 30, None),
    ],
)
def test_places_that_a_person_must_judge(path: str, size: int, shown: str | None) -> None:
    found = by_place(path, size)
    assert (found.path if found else None) == shown
    assert found is None or not found.certain
