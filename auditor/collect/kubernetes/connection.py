"""From a kubeconfig, or a pod's own account, to a connection; every mistake in it in one line.

The Kubernetes client library reads the configuration and runs credential plugins. Importing it
costs half a second, so this module is imported only when a cluster is audited.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from kubernetes.config import ConfigException, incluster_config, kube_config

from auditor.collect.secrets import redact
from auditor.errors import AbsentTargetError, CollectError

IN_CLUSTER = "in-cluster"
"""The name of the context of a process that runs in a pod."""

_SERVICE_VARIABLES = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
_REMEDY = "correct the kubeconfig, or name another with KUBECONFIG or --kube-context"


@dataclass(frozen=True, slots=True)
class Connection:
    """An API server and who speaks to it.

    `client` is the library's ApiClient, `context` the kubeconfig's name for it, and `verified` is
    False where the kubeconfig switches off the check of the server's certificate.
    """

    client: Any
    context: str
    host: str
    verified: bool

    def auth_headers(self) -> dict[str, str]:
        """The headers that say who asks; an expired token is renewed by the library."""
        setting = self.client.configuration.auth_settings().get("BearerToken")
        return {setting["key"]: setting["value"]} if setting and setting["value"] else {}

    def close(self) -> None:
        """Close every connection."""
        self.client.rest_client.pool_manager.clear()
        self.client.close()

    def expired_certificate(self) -> str | None:
        """The day on which the client certificate expired, or None when it did not."""
        path = self.client.configuration.cert_file
        return _expired(Path(path)) if path else None


def connect(
    kubeconfig: Path | None,
    context: str | None,
    *,
    folder: Path,
    parallel: int,
    seconds: float,
) -> Connection:
    """Read the configuration and log in; no call is made to the API server yet.

    `folder` takes the certificates of the kubeconfig while the connection lives, `parallel` is
    the number of connections, and a credential plugin has `seconds` to answer.

    Raises `AbsentTargetError` where nothing is configured and nothing was asked for, and
    `CollectError` for a configuration that cannot be used.
    """
    configuration = client.Configuration()
    configuration.connection_pool_maxsize = parallel
    files = _files(kubeconfig)
    if files:
        name = _bounded(lambda: _load(files, context, configuration, folder), seconds)
    elif context is None and all(os.environ.get(name) for name in _SERVICE_VARIABLES):
        name = _load_in_cluster(configuration)
    elif context is not None or kubeconfig is not None:
        raise CollectError("there is no kubeconfig", where=str(kubeconfig or context))
    else:
        raise AbsentTargetError(
            "no kubeconfig was found", remedy="set KUBECONFIG, or write ~/.kube/config"
        )
    return Connection(
        client=client.ApiClient(configuration),
        context=name,
        host=configuration.host.rstrip("/"),
        verified=bool(configuration.verify_ssl),
    )


def _files(kubeconfig: Path | None) -> list[Path]:
    """The kubeconfig files that exist: the named one, or those kubectl would read."""
    if kubeconfig is not None:
        named = [kubeconfig]
    elif os.environ.get("KUBECONFIG"):
        parts = os.environ["KUBECONFIG"].split(os.pathsep)
        named = [Path(part).expanduser() for part in parts if part]
    else:
        named = [Path("~/.kube/config").expanduser()]
    return [path for path in named if path.exists()]


def _load_in_cluster(configuration: Any) -> str:
    library: Any = incluster_config  # not typed in every version
    try:
        library.load_incluster_config(client_configuration=configuration)
    except (ConfigException, OSError) as error:
        raise CollectError(
            f"the pod's own account cannot be used: {error}",
            remedy="let the pod mount its service account's token",
        ) from error
    return IN_CLUSTER


def _load(files: Sequence[Path], context: str | None, configuration: Any, folder: Path) -> str:
    """Fill `configuration` from kubeconfig files; return the name of the context."""
    library: Any = kube_config  # not typed in every version
    named = os.pathsep.join(str(file) for file in files)
    chosen, user = _chosen(files, context)
    try:
        with _log_of_library() as said:
            merged = library.KubeConfigMerger(named)
            loader = library.KubeConfigLoader(
                config_dict=merged.config, active_context=chosen, temp_file_path=str(folder)
            )
            loader.load_and_set(configuration)
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CollectError(
            f"the kubeconfig cannot be used: {_safe(str(error))}", where=named, remedy=_REMEDY
        ) from error
    has_credentials = configuration.api_key or configuration.cert_file
    if user.get("exec") and not has_credentials:
        plugin = _field(user["exec"], "command")
        why = f": {_safe(said[-1])}" if said else ""
        raise CollectError(
            f"the credential plugin {plugin!r} of context {chosen!r} gave no credentials{why}",
            where=named,
            remedy="run `kubectl auth whoami` and mend what it reports",
        )
    return chosen


def _chosen(files: Sequence[Path], context: str | None) -> tuple[str, Mapping[str, Any]]:
    """The context's name and its user's entry; each mistake on the way is told apart.

    Of entries with one name in several files the first counts, as in kubectl.
    """
    documents = [_document(file) for file in files]
    where = os.pathsep.join(str(file) for file in files)
    contexts = _named(documents, "contexts")
    known = f"known: {', '.join(sorted(contexts)) or 'none'}"
    current = (_field(document, "current-context") for document in documents)
    chosen = context or next(filter(None, current), "")
    if not chosen:
        raise CollectError(
            "the kubeconfig has no current context",
            where=where,
            remedy=f"name one with --kube-context; {known}",
        )
    if chosen not in contexts:
        raise CollectError(f"the kubeconfig has no context {chosen!r}", where=where, remedy=known)
    entry = contexts[chosen].get("context")
    cluster = _field(entry, "cluster")
    if not _field(_named(documents, "clusters").get(cluster, {}).get("cluster"), "server"):
        raise CollectError(
            f"context {chosen!r} names cluster {cluster!r}, which has no server",
            where=where,
            remedy=_REMEDY,
        )
    user = _named(documents, "users").get(_field(entry, "user"), {}).get("user")
    return chosen, user if isinstance(user, Mapping) else {}


def _document(file: Path) -> Any:
    try:
        return yaml.load(file.read_bytes(), yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        # Not the parser's own words: they quote the line, and the line may be a token.
        raise CollectError("the kubeconfig is not YAML", where=place, remedy=_REMEDY) from None
    except OSError as error:
        raise CollectError(
            f"the kubeconfig cannot be read: {error.strerror}", where=str(file), remedy=_REMEDY
        ) from error


def _named(documents: Sequence[Any], key: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for raw in documents:
        listed = raw.get(key) if isinstance(raw, Mapping) else None
        for item in listed if isinstance(listed, list) else ():
            if isinstance(item, Mapping):
                found.setdefault(str(item.get("name")), item)
    return found


def _field(raw: Any, key: str) -> str:
    value = raw.get(key) if isinstance(raw, Mapping) else None
    return str(value) if value else ""


def _safe(text: str) -> str:
    """What a library or a plugin said, as one short line without credentials."""
    return " ".join(redact(text)[0].split())[:300]


def _bounded(load: Callable[[], str], seconds: float) -> str:
    """Run `load`, but not for ever: a credential plugin may wait for somebody who is not there."""
    result: list[str] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            result.append(load())
        except Exception as error:  # noqa: BLE001 - carried over to the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True, name="auditor-kubeconfig")
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not result:
        raise CollectError(
            f"the credential plugin did not answer within {seconds:g} s",
            remedy="log in first, for example with `kubectl auth whoami`",
        )
    return result[0]


@contextmanager
def _log_of_library() -> Iterator[list[str]]:
    """Catch what the library's kubeconfig loader would print: it logs errors of credential
    plugins to the root logger, and goes on without credentials.
    """
    said: list[str] = []

    def take(record: logging.LogRecord) -> bool:
        if record.module != "kube_config":
            return True
        said.append(record.getMessage())
        return False

    root = logging.getLogger()
    # Without any handler `logging.error` would install one that writes to stderr for good.
    silent = logging.NullHandler()
    root.addHandler(silent)
    root.addFilter(take)
    try:
        yield said
    finally:
        root.removeFilter(take)
        root.removeHandler(silent)


# An X.509 validity in DER: a sequence of two times, each UTCTime or GeneralizedTime (RFC 5280).
_VALIDITY = re.compile(
    rb"\x30[\x1e-\x22](?:\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)"
    rb"(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)"
)


def _expired(path: Path) -> str | None:
    """The day a PEM certificate expired. Only words a message: it is no verification."""
    try:
        pem = path.read_text(encoding="ascii")
        end = "-----END CERTIFICATE-----"
        der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN") : pem.index(end) + len(end)])
        found = _VALIDITY.search(der)
        if found is None:
            return None
        short, long = found.groups()
        # RFC 5280, 4.1.2.5.1: years of two digits are 1950 to 2049, as strptime's are nearly.
        text = long.decode() if long else ("20" + short.decode())
        until = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except (OSError, ValueError):
        return None
    return until.strftime("%Y-%m-%d") if until < datetime.now(UTC) else None
