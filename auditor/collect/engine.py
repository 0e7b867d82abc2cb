"""The engine's API, read only: connect as the Docker command line does, call, name the failure.

Which engine is asked follows `docker` itself: the host that was given, `DOCKER_HOST`, the context
in `DOCKER_CONTEXT`, the current context of `~/.docker/config.json`, the default socket, in this
order. `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` count for the first two.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import requests
from docker.api.client import APIClient
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.context import ContextAPI
from docker.errors import APIError, DockerException
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env

from auditor.collect.base import Deadline
from auditor.collect.secrets import redact
from auditor.errors import AbsentTargetError, CollectError
from auditor.model import Json, Reason

T = TypeVar("T")

DEFAULT_HOST = DEFAULT_UNIX_SOCKET.removeprefix("http+")
PARALLEL = 8
"""Calls side by side: an engine answers an inspect in about a millisecond, mostly waiting."""
_CHUNK = 1024 * 1024
_LONGEST = 200


class EngineError(Exception):
    """A call that failed: why, in the report's words, and one line of detail."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Engine:
    """One engine. Calls may be made from several threads; each has a client of its own."""

    def __init__(
        self, host: str, tls: TLSConfig | bool, deadline: Deadline, call_timeout: float
    ) -> None:
        self.host = host
        self.deadline = deadline
        self._tls = tls
        self._timeout = call_timeout
        self._local = threading.local()
        self._version: str | None = None
        self._clients: list[APIClient] = []

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()

    def call(self, ask: Callable[[Any], T]) -> T:
        """Make one call of an `APIClient`. Raises `EngineError` for all that the far side does.

        The client is untyped here: the stubs of the SDK know only a part of its calls.
        """
        if self.deadline.passed:
            raise EngineError(Reason.TIMED_OUT, "the deadline for the engine has passed")
        try:
            client = self._client()
            client.timeout = self._seconds(self._timeout)
            return ask(client)
        except (DockerException, requests.RequestException, OSError, ValueError) as error:
            raise _failure(error) from error

    def mapping(self, ask: Callable[[Any], Any]) -> dict[str, Json]:
        """Make a call that answers one object. Raises `EngineError`, also for another form."""
        answer = self.call(ask)
        if not isinstance(answer, dict):
            raise EngineError(Reason.MALFORMED, "the answer is not an object")
        return answer

    def rows(self, ask: Callable[[Any], Any], key: str | None = None) -> list[dict[str, Json]]:
        """Make a call that answers a list of objects, each with `key`; `null` is an empty list.

        Raises `EngineError`, also for an answer of another form: it is not "nothing is there".
        """
        answer = self.call(ask)
        rows = [] if answer is None else answer
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and (key is None or row.get(key)) for row in rows
        ):
            raise EngineError(Reason.MALFORMED, "the answer is not a list of objects")
        return rows

    def export(self, image: str) -> Iterator[bytes]:
        """Yield the bytes of `docker save` of one image. Raises `EngineError` while iterating."""

        def ask(client: Any) -> Iterator[bytes]:
            # Older engines write the archive to their disk before they send its first byte.
            client.timeout = self._seconds(self.deadline.left)
            return iter(client.get_image(image, chunk_size=_CHUNK))

        chunks = self.call(ask)
        try:
            yield from chunks
        except (DockerException, requests.RequestException, OSError, ValueError) as error:
            raise _failure(error) from error

    def _seconds(self, wanted: float) -> int:
        return math.ceil(self.deadline.bound(wanted))

    def _client(self) -> APIClient:
        client: APIClient | None = getattr(self._local, "client", None)
        if client is None:
            client = APIClient(
                base_url=self.host,
                tls=self._tls,
                version=self._version or "auto",
                timeout=self._seconds(self._timeout),
                use_ssh_client=self.host.startswith("ssh://"),
            )
            self._version = client.api_version
            self._local.client = client
            self._clients.append(client)
        return client


def connect(host: str | None, deadline: Deadline, call_timeout: float) -> Engine:
    """Find the engine and make sure that it answers. Times are in seconds.

    Raises `AbsentTargetError` when none was named and none is there, and `CollectError` when the
    one that is meant cannot be reached or refuses.
    """
    try:
        address, tls = _address(host)
    except Exception as error:
        # The SDK raises a plain `Exception` for a context file that it cannot read.
        raise CollectError(
            f"the Docker client is not set up well: {_line(error)}",
            where=host or os.environ.get("DOCKER_HOST"),
            remedy="correct DOCKER_HOST, DOCKER_CERT_PATH or the Docker context",
        ) from error
    engine = Engine(address, tls, deadline, call_timeout)
    named = bool(host or os.environ.get("DOCKER_HOST") or address != DEFAULT_HOST)
    try:
        engine.call(lambda client: client.ping())
    except EngineError as error:
        raise _unusable(address, error, named=named) from error
    return engine


def _address(host: str | None) -> tuple[str, TLSConfig | bool]:
    settings = kwargs_from_env()
    tls: TLSConfig | bool = settings.get("tls") or False
    if host or os.environ.get("DOCKER_HOST"):
        return host or str(settings["base_url"]), tls
    name = os.environ.get("DOCKER_CONTEXT") or None
    context = ContextAPI.get_context(name)
    if context is None:
        raise ValueError(f"there is no Docker context {name or 'as the current one'!r}")
    return str(context.Host or DEFAULT_HOST), context.TLSConfig or False


def _unusable(address: str, error: EngineError, *, named: bool) -> CollectError:
    if error.reason is Reason.FORBIDDEN:
        remedy = "run as a member of the group docker, or as root"
        return CollectError(
            "permission denied by the engine",
            where=address,
            remedy=remedy,
            reason=Reason.FORBIDDEN,
        )
    text = f"the Docker engine cannot be reached: {error.detail}"
    if error.reason is Reason.ABSENT and not named:
        return AbsentTargetError(f"no Docker engine: {error.detail}", where=address)
    remedy = "start it, or name another with --docker HOST"
    return CollectError(text, where=address, remedy=remedy, reason=error.reason)


def _failure(error: BaseException) -> EngineError:
    """Put any failure of a call into the report's words."""
    chain = _chain(error)
    for cause in chain:
        if isinstance(cause, APIError):
            status = cause.response.status_code if cause.response is not None else 0
            text = str(cause.explanation or cause)
            return EngineError(_REASONS.get(status, Reason.FAILED), f"{status}: {_line(text)}")
    for cause in chain:
        if isinstance(cause, PermissionError):
            return EngineError(Reason.FORBIDDEN, "permission denied")
        if isinstance(cause, FileNotFoundError):
            return EngineError(Reason.ABSENT, "there is no such socket")
        if isinstance(cause, requests.Timeout | TimeoutError):
            return EngineError(Reason.TIMED_OUT, "no answer in time")
        if isinstance(cause, ConnectionRefusedError):
            return EngineError(Reason.UNREACHABLE, "the connection was refused")
        if isinstance(cause, requests.exceptions.SSLError):
            return EngineError(Reason.UNREACHABLE, f"TLS: {_line(cause)}")
        if isinstance(cause, requests.exceptions.JSONDecodeError):
            return EngineError(Reason.MALFORMED, "the answer is not JSON")
        if isinstance(cause, requests.exceptions.ChunkedEncodingError):
            return EngineError(Reason.FAILED, "the engine broke off in the middle")
    return EngineError(Reason.UNREACHABLE, _line(chain[-1]))


_REASONS = {
    401: Reason.UNAUTHENTICATED,
    403: Reason.FORBIDDEN,
    404: Reason.ABSENT,
    408: Reason.TIMED_OUT,
    504: Reason.TIMED_OUT,
}


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what it came from, also where a library only kept it among the arguments."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 20:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            waiting += [item.__cause__, item.__context__, *item.args]
            waiting.append(getattr(item, "reason", None))
    return found


def _line(text: object) -> str:
    """One short line without a secret in it, for a gap's detail."""
    line = " ".join(redact(str(text))[0].split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def listed(value: Json) -> list[Json]:
    """A list that an engine answers, which is `null` where it is empty."""
    return value if isinstance(value, list) else []
