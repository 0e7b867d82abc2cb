"""Pure helpers: what the settings of a configuration file say about TLS."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from auditor.model import Json, Resource

Setting = Mapping[str, Json]

_VERIFY = frozenset(
    {
        *("verify_ssl", "ssl_verify", "verify_tls", "tls_verify", "verify_cert", "verify_certs"),
        *("verify_certificate", "verify_certificates", "validate_cert", "validate_certs"),
        *("validate_certificates", "ssl_verification", "tls_verification", "strict_ssl"),
        *("reject_unauthorized", "ssl_verify_peer", "verify_peer", "verify_server_cert"),
    }
)
_NO_VERIFY = frozenset(
    {
        *("insecure", "insecure_skip_verify", "skip_verify", "skip_tls_verify", "skip_ssl_verify"),
        *("tls_skip_verify", "tls_skip_verify_insecure", "tls_insecure", "ssl_insecure"),
        *("allow_insecure", "disable_ssl_verification", "disable_tls_verification"),
        *("insecure_skip_tls_verify", "no_check_certificate", "ssl_no_verify", "no_verify"),
    }
)
_CLIENT_CERT = frozenset(
    {
        *("client_cert", "client_certificate", "client_cert_file", "client_cert_path"),
        *("client_certificate_file", "client_certificate_path", "client_pem"),
        *("tls_client_cert", "ssl_client_cert", "ssl_cert", "tls_cert", "ssl_certfile"),
    }
)
_TLS_PARENT = frozenset({"tls", "ssl", "https", "http_client", "tls_config", "tls_client_config"})


def settings(file: Resource) -> Sequence[Setting]:
    """All settings of a file, in its order."""
    listed: Sequence[Setting] = file.body["settings"]
    return listed


def snake(key: str) -> str:
    """A key in one spelling: `verifySSL`, `verify-ssl` and `VERIFY_SSL` are `verify_ssl`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", key)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def verifies(setting: Setting) -> bool | None:
    """Whether a setting of this name turns verification on (True), off (False), or neither."""
    key = snake(setting["key"])
    if key in _VERIFY or (key == "verify" and _in_tls(setting)):
        return True
    return False if key in _NO_VERIFY else None


def is_client_certificate(setting: Setting) -> bool:
    """Whether a setting names the certificate by which the application shows who it is."""
    key = snake(setting["key"])
    return key in _CLIENT_CERT or (key in {"cert", "cert_file", "certfile"} and _in_tls(setting))


def _in_tls(setting: Setting) -> bool:
    parent = str(setting["parent"]).rsplit(".", 1)[-1]
    return snake(re.sub(r"\[\d+\]", "", parent)) in _TLS_PARENT


def connects(file: Resource) -> Setting | None:
    """The first setting that tells that the application connects to something by URL or TLS."""
    for setting in settings(file):
        if setting.get("shape") in {"http", "https"}:
            return setting
        if verifies(setting) is not None or is_client_certificate(setting):
            return setting
    return None
