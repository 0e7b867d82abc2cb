"""Checks of how an application is told to use TLS."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.model import Resource, Verdict, View, failed, not_applicable, passed, unknown
from auditor.registry import check
from checks.appconfig._settings import (
    Setting,
    connects,
    is_client_certificate,
    settings,
    verifies,
)

_NO_CONNECTION = "no URL and no TLS setting in it"


@check(
    id="app-config-verify-ssl",
    title="The application verifies certificates",
    severity="high",
    applies_to="app-config/file",
)
def verify_ssl(file: Resource, view: View) -> Iterator[Verdict]:
    """Looks at the settings that turn the verification of certificates on or off.

    Why: Without verification anybody on the way can answer in the server's place, read what is
    sent, tokens included, and send back what he likes.
    Rule: fails when a setting such as `verify_ssl` is false, or one such as `insecure_skip_verify`
    is true. Passes when it is the other way round; the path of a CA bundle passes as well.
    Unknown when the file has a URL or another TLS setting but does not say: the application's own
    default decides, and it is not in the file; also when the setting is no yes or no. Not
    applicable when the file has neither.
    Fix: say it.

        {"general": {"verify_ssl": true}}

    Source: hardening guide, network security (TLS configuration); which names mean the
    same is this project's list.
    """
    judged = [setting for setting in settings(file) if verifies(setting) is not None]
    for setting in judged:
        yield _verification(setting)
    if judged:
        return
    reason = connects(file)
    if reason is None:
        yield not_applicable(_NO_CONNECTION)
        return
    seen = f"not set, though {reason['path']} is: the application's default decides"
    yield unknown("verify_ssl", seen, "verify_ssl: true")


def _verification(setting: Setting) -> Verdict:
    path, key = setting["path"], setting["key"]
    turns_on = verifies(setting)
    expected = str(turns_on).lower()
    if setting["kind"] == "boolean":
        value = setting["value"]
        if value is turns_on:
            return passed(path, expected)
        line, column = setting["line"], setting["column"]
        return failed(path, str(value).lower(), expected, line=line, column=column)
    if turns_on and setting.get("shape") == "path":
        return passed(path, "the path of a CA bundle")
    return unknown(path, f"{key} is {setting['kind']}, no yes or no", expected)


@check(
    id="app-config-client-cert",
    title="The application shows a client certificate",
    severity="medium",
    applies_to="app-config/file",
)
def client_cert(file: Resource, view: View) -> Iterator[Verdict]:
    """Looks for the client certificate by which an application shows who it is.

    Why: A token that leaks works from anywhere. A server that asks for a client certificate too
    lets in only who holds its key.
    Rule: fails when a file that has a URL or a TLS setting names no client certificate, or an
    empty one. Passes when a path or a certificate stands there. Unknown when it is a reference
    that is resolved elsewhere. Not applicable when the file has neither URL nor TLS setting.
    Fix: give the application a certificate of its own, mounted from a secret.

        {"general": {"client_cert": "/run/secrets/client.pem"}}

    Source: hardening guide, network security (TLS configuration).
    """
    reason = connects(file)
    if reason is None:
        yield not_applicable(_NO_CONNECTION)
        return
    expected = "the path of a client certificate"
    judged = [setting for setting in settings(file) if is_client_certificate(setting)]
    for setting in judged:
        path, shape = setting["path"], setting.get("shape")
        if shape == "reference":
            yield unknown(path, "a reference, resolved elsewhere", expected)
        elif setting["kind"] == "text" and shape != "empty":
            yield passed(path, str(setting.get("value", "set")))
        else:
            seen = "empty" if setting["kind"] != "boolean" else "no certificate"
            line, column = setting["line"], setting["column"]
            yield failed(path, seen, expected, line=line, column=column)
    if not judged:
        beside = next((s for s in settings(file) if verifies(s) is not None), reason)
        parent = f"{beside['parent']}." if beside["parent"] else ""
        yield failed(f"{parent}client_cert", "not set", expected, line=beside["line"])
