"""What an image's configuration and history say: its user, health check and secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from auditor.model import Json, Resource, Severity, Verdict, View, failed, passed, unknown
from auditor.registry import check

_EXPECTED_USER = "the id of a user other than 0"
_UNPRIVILEGED = 1024
"""The first port that needs no right to bind (Linux, ip(7): ip_unprivileged_port_start)."""


@check(
    id="image-non-root-user",
    title="Images run as a user other than root",
    severity="high",
    applies_to="image/image",
    needs=("image-files",),
)
def non_root_user(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the `USER` of an image, and at the id that its name has in the image.

    Why: an image without a user runs as root wherever nobody thinks of it; root in a container is
        root for the kernel.
    Rule: fails when no user is set, when it is `root` or the id 0, and when the image's own
        `/etc/passwd` gives its name the id 0; passes for any other id; unknown for a name whose id
        is not in the image, or whose image's files could not be read.
    Fix: make a user and switch to it by its id:

            RUN adduser -D -u 10001 app
            USER 10001:10001
    Source: CIS Docker 4.1 (1.6 to 1.8); hardening guide, feature "Non-root User";
        NIST SP 800-190, 4.1.2.
    """
    settings = _config(image)
    if settings is None:
        yield unknown("config.User", "the configuration was not read", _EXPECTED_USER)
        return
    user = str(settings.get("User") or "").split(":")[0]
    path = "config.User"
    if user in ("", "root"):
        yield failed(path, user or "not set, which is root", _EXPECTED_USER)
    elif user.lstrip("+").isdecimal():
        if int(user) == 0:
            yield failed(path, f"{user}, which is root", _EXPECTED_USER)
        else:
            yield passed(path, user, _EXPECTED_USER, stands=True)
    else:
        yield _named(image, user)


def _named(image: Resource, user: str) -> Verdict:
    path = "config.User"
    files = image.body.get("files")
    users = files.get("users") if isinstance(files, Mapping) else None
    if not isinstance(users, Mapping):
        reason = image.body.get("files_gap") or "the image's /etc/passwd could not be read"
        return unknown(path, f"{user}: {reason}", _EXPECTED_USER)
    if user not in users:
        return unknown(path, f"{user}: not in the image's /etc/passwd", _EXPECTED_USER)
    if users[user] == 0:
        observed = f"{user}, which the image's /etc/passwd gives the id 0"
        # A layer that was not read may have another /etc/passwd.
        return failed(path, observed, _EXPECTED_USER, stands=False)
    return passed(path, f"{user}, id {users[user]}", _EXPECTED_USER)


@check(
    id="image-healthcheck",
    title="Images declare a health check",
    severity="low",
    applies_to="image/image",
)
def healthcheck(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the `HEALTHCHECK` of an image.

    Why: a process that hangs still runs; without a health check the engine keeps sending work to
        it and nobody learns that the service is gone.
    Rule: fails when there is none, and when it is switched off with `NONE`; passes otherwise;
        unknown when the configuration was not read. The OCI image format has no field for it:
        an image that was built in that format fails, for it has none.
    Fix: declare a command that asks the service itself:

            HEALTHCHECK --interval=30s --timeout=3s \\
              CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/healthz"]
    Source: CIS Docker 4.6 (1.6 to 1.8); hardening guide, feature "Health Checks".
    """
    settings = _config(image)
    path, expected = "config.Healthcheck", "a health check"
    if settings is None:
        yield unknown(path, "the configuration was not read", expected)
        return
    health = settings.get("Healthcheck")
    test = health.get("Test") if isinstance(health, Mapping) else None
    if not test:
        yield failed(path, "not set", expected)
    elif test == ["NONE"]:
        yield failed(path, "switched off (NONE)", expected)
    else:
        yield passed(path)


@check(
    id="image-privileged-ports",
    title="Images expose no privileged port",
    severity="low",
    applies_to="image/image",
)
def privileged_ports(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the ports that an image says it listens on.

    Why: a service that insists on a port below 1024 is one that is used to starting as root, and
        whoever runs it is led to give it the right to bind there.
    Rule: fails for each exposed port below 1024, TCP, UDP or SCTP; passes when there is none;
        unknown when the configuration was not read. What is published when the image runs is
        another question: see docker-privileged-port.
    Fix: listen higher, and let the engine or the service in front map it:

            EXPOSE 8443
    Source: this project's decision rules; the idea of CIS Docker 5.8 for what an image asks for.
    """
    settings = _config(image)
    if settings is None:
        yield unknown("config.ExposedPorts", "the configuration was not read", "1024 or higher")
        return
    ports = settings.get("ExposedPorts")
    clean = True
    for port in sorted(ports) if isinstance(ports, Mapping) else ():
        number = str(port).partition("/")[0].partition("-")[0]
        if number.isdecimal() and int(number) < _UNPRIVILEGED:
            clean = False
            yield failed(f"config.ExposedPorts[{port}]", str(port), "1024 or higher")
    if clean:
        yield passed("config.ExposedPorts")


@check(
    id="image-env-secrets",
    title="Images carry no secrets in environment variables",
    severity="high",
    applies_to="image/image",
)
def env_secrets(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the names and values of the variables in an image. Values are never kept.

    Why: whoever can pull the image can read its configuration, and every container made from it
        carries the same secret.
    Rule: fails for each variable whose name means a credential and whose value is one, and for
        each value that shows by its own shape (a private key, an issuer's token, a password in a
        URL); a placeholder such as `changeme` fails at low severity. References, file paths and
        names such as `TOKEN_FILE` or `TOKEN_TTL` pass. Unknown when the configuration was not read.
    Fix: take the variable out of the Dockerfile and change the secret; for a build that needs one:

            RUN --mount=type=secret,id=token TOKEN="$(cat /run/secrets/token)" make
    Source: CIS Docker 4.10 (1.6 to 1.8); hardening guide, "Secrets Management";
        NIST SP 800-190, 4.1.4.
    """
    settings = _config(image)
    if settings is None:
        yield unknown("config.Env", "the configuration was not read", "no secret")
        return
    clean = True
    for variable in _rows(settings.get("Env")):
        for hit in _rows(variable.get("hits")):
            clean = False
            yield _secret(f"config.Env[{variable.get('name')}]", hit)
    if clean:
        yield passed("config.Env")


@check(
    id="image-history-secrets",
    title="The history of images holds no secrets",
    severity="high",
    applies_to="image/image",
)
def history_secrets(image: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the commands in an image's history: build arguments, RUN lines, ENV and LABEL.

    Why: `docker history` shows every command of the build with its arguments to whoever can pull
        the image; a secret given with `--build-arg` stands there for good.
    Rule: fails for each command that gives a value to a credential's name, or holds a value that
        shows by its own shape; a placeholder fails at low severity. Passes when no command does;
        unknown when the history was not read.
    Fix: change the secret, build the image again from a clean base, and hand secrets to a build
        as files that no layer keeps:

            RUN --mount=type=secret,id=token TOKEN="$(cat /run/secrets/token)" make
    Source: CIS Docker 4.10 (1.6 to 1.8); hardening guide, "Secrets Management";
        NIST SP 800-190, 4.1.4.
    """
    history = image.body.get("history")
    if not isinstance(history, list):
        yield unknown("history", "the history was not read", "no secret")
        return
    clean = True
    for index, entry in enumerate(_rows(history)):
        for hit in _rows(entry.get("hits")):
            clean = False
            yield _secret(f"history[{index}].created_by", hit)
    if clean:
        yield passed("history")


def _secret(path: str, hit: Mapping[str, Json]) -> Verdict:
    observed = f"{hit.get('detector')}, {hit.get('length')} characters"
    if not hit.get("placeholder"):
        return failed(path, observed, "no secret")
    return failed(path, f"{observed}, looks like a placeholder", "no secret", severity=Severity.LOW)


def _config(image: Resource) -> Mapping[str, Json] | None:
    settings = image.body.get("config")
    return settings if isinstance(settings, Mapping) else None


def _rows(value: Json) -> list[Mapping[str, Json]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
