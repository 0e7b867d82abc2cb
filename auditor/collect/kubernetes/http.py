"""Calls to an API server: raw bytes, one deadline, bounded retries, failures as plain data.

The Kubernetes client library brings the connection pool and the credentials; its generated
models are not used, because they cost ten times the transfer.
"""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import orjson
import tenacity
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from auditor import __version__
from auditor.collect.base import Deadline
from auditor.collect.kubernetes.connection import Connection
from auditor.collect.secrets import redact
from auditor.config import KubernetesTable
from auditor.model import Json, Reason

MAX_ANSWER = 512 * 1024**2
"""Largest answer that is read, in bytes: 500 objects of the largest size etcd takes are less."""

CONNECT_SECONDS = 10.0
"""Longest wait for a connection; an API server that takes longer is not there."""

_REVIEW = re.compile(r"/apis/authentication\.k8s\.io/v1(?:beta1)?/selfsubjectreviews")
_PODS = re.compile(r"/api/v1/namespaces/[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?/pods")
_DRY_RUN = {"dryRun": "All"}

_CHUNK = 256 * 1024
_MAX_MESSAGE = 300
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_REASONS = {401: Reason.UNAUTHENTICATED, 403: Reason.FORBIDDEN, 404: Reason.ABSENT}


@dataclass(eq=False)
class ApiError(Exception):
    """A call that gave nothing: why, in words for a report, and whether trying again may help.

    `status` is the HTTP status, None where there was no answer; `retry_after` is in seconds.
    `from_api` says that the answer was an API server's own, not a proxy's in front of it.
    """

    reason: Reason
    message: str
    status: int | None = None
    transient: bool = False
    retry_after: float | None = None
    from_api: bool = False

    def __str__(self) -> str:
        return self.message


class Api:
    """One API server within one deadline. Thread-safe."""

    def __init__(self, connection: Connection, config: KubernetesTable) -> None:
        self._connection = connection
        self._config = config
        self._deadline = Deadline.after(config.deadline)
        self._pool = connection.client.rest_client.pool_manager
        # What goes wrong becomes a gap; the library's own warnings would only repeat it.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    @property
    def page_size(self) -> int:
        """Objects in one page of a list."""
        return self._config.page_size

    def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        attempts: int | None = None,
    ) -> Json:
        """Return the decoded JSON answer to a GET. Raises `ApiError` when all tries failed."""
        url = f"{path}?{urlencode(query)}" if query else path
        return self._call("GET", url, None, accept, attempts)

    def review_self(self, path: str, body: Mapping[str, Json]) -> Json:
        """Ask who we are: the answer to a POST that stores nothing. Raises `ApiError`."""
        return self._post(path, {}, body, None)

    def dry_run_pod(self, namespace: str, pod: Mapping[str, Json], attempts: int) -> Json:
        """Ask what would become of a pod: the answer to its creation as a dry run.

        Nothing is stored: `dryRun=All` goes with it, always. Raises `ApiError` for a refusal, too.
        """
        return self._post(f"/api/v1/namespaces/{namespace}/pods", _DRY_RUN, pod, attempts)

    def _post(
        self, path: str, query: Mapping[str, str], body: Mapping[str, Json], attempts: int | None
    ) -> Json:
        """The one place that sends a body. It lets two things through and nothing else, so that
        no mistake elsewhere can write to a cluster. Raises `ValueError` for any other.
        """
        is_review = bool(_REVIEW.fullmatch(path)) and not query
        is_dry_run = bool(_PODS.fullmatch(path)) and query == {"dryRun": "All"}
        if not (is_review or is_dry_run):
            raise ValueError(f"an audit does not POST to {path}")
        url = f"{path}?{urlencode(query)}" if query else path
        return self._call("POST", url, orjson.dumps(body), "application/json", attempts)

    def _call(
        self, method: str, url: str, body: bytes | None, accept: str, attempts: int | None
    ) -> Json:
        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(
                self._config.retries + 1 if attempts is None else attempts
            ),
            wait=self._wait,
            retry=tenacity.retry_if_exception(self._worth_another_try),
            sleep=time.sleep,
            reraise=True,
        )
        return tries(self._once, method, url, body, accept)

    @property
    def deadline(self) -> Deadline:
        """When everything must have been read."""
        return self._deadline

    def _worth_another_try(self, error: BaseException) -> bool:
        if not isinstance(error, ApiError) or not error.transient:
            return False
        wait = error.retry_after or 0.0
        return wait <= self._config.max_retry_after and wait < self._deadline.left

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        backoff = min(0.2 * 2 ** (state.attempt_number - 1), 5.0)
        asked = error.retry_after if isinstance(error, ApiError) else None
        return min(backoff if asked is None else asked, self._deadline.left)

    def _once(self, method: str, url: str, body: bytes | None, accept: str) -> Json:
        if self._deadline.passed:
            raise ApiError(
                Reason.TIMED_OUT,
                f"the {self._config.deadline:g} s for the whole cluster had passed",
            )
        seconds = self._deadline.bound(self._config.call_timeout)
        ends = Deadline.after(seconds)
        try:
            response = self._pool.request(
                method,
                self._connection.host + url,
                body=body,
                headers=self._headers(accept, method),
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds),
                preload_content=False,
                redirect=False,
                retries=False,
            )
            data = _read(response, ends, seconds)
        except (HTTPError, OSError) as error:
            raise failure_of(error, seconds) from error
        if response.status >= 300:
            raise _refused(response.status, response.headers, data)
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise ApiError(Reason.MALFORMED, "the answer is not JSON", response.status) from error

    def _headers(self, accept: str, method: str) -> dict[str, str]:
        headers = {
            "Accept": accept,
            # A page of pods shrinks to a fifteenth, for less time than TLS takes to carry it.
            "Accept-Encoding": "gzip",
            "User-Agent": f"benchmark-auditor/{__version__}",
        }
        if method == "POST":
            headers["Content-Type"] = "application/json"
        return headers | self._connection.auth_headers()


def _read(response: Any, ends: Deadline, seconds: float) -> bytes:
    """Read an answer within its time and size, however slowly it drips."""
    data = bytearray()
    try:
        # read1 gives what has arrived: a server that drips cannot hold us inside one read.
        while chunk := response.read1(_CHUNK, decode_content=True):
            data += chunk
            if len(data) > MAX_ANSWER:
                raise ApiError(Reason.REFUSED, f"the answer is larger than {MAX_ANSWER} bytes")
            if ends.passed:
                raise _too_slow(seconds)
    except BaseException:
        # Half an answer still stands in this connection: it must not be used again.
        response.close()
        raise
    response.release_conn()
    return bytes(data)


def _too_slow(seconds: float) -> ApiError:
    return ApiError(Reason.TIMED_OUT, f"no whole answer within {seconds:.3g} s", transient=True)


def failure_of(error: Exception, seconds: float) -> ApiError:
    """Put an exception of the transport in words. `seconds` is how long the call might take."""
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ApiError(
            Reason.UNREACHABLE,
            f"the server's certificate does not verify: {cause.verify_message}",
        )
    if isinstance(error, SSLError) or isinstance(cause, ssl.SSLError):
        text = str(getattr(cause, "reason", None) or cause).replace("_", " ").lower()
        return ApiError(Reason.UNREACHABLE, f"no TLS connection: {text}")
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        wait = min(CONNECT_SECONDS, seconds)
        return ApiError(Reason.UNREACHABLE, f"no connection within {wait:.3g} s", transient=True)
    if isinstance(error, (ReadTimeoutError, TimeoutError)):
        return _too_slow(seconds)
    if isinstance(error, NameResolutionError):
        return ApiError(
            Reason.UNREACHABLE, "the name of the server does not resolve", transient=True
        )
    if isinstance(error, ProxyError):
        return ApiError(Reason.UNREACHABLE, "the proxy does not answer", transient=True)
    if isinstance(error, NewConnectionError):
        text = getattr(cause, "strerror", None) or "no connection"
        return ApiError(Reason.UNREACHABLE, str(text).lower(), transient=True)
    if isinstance(error, (ProtocolError, OSError)):
        return ApiError(Reason.UNREACHABLE, "the connection was cut", transient=True)
    return ApiError(Reason.UNREACHABLE, f"no answer ({type(error).__name__})")


def _innermost(error: BaseException) -> BaseException:
    """The exception at the bottom: urllib3 wraps what the system said."""
    for _ in range(8):
        below = error.__cause__ or error.__context__
        if below is None and error.args and isinstance(error.args[-1], BaseException):
            below = error.args[-1]
        if below is None:
            break
        error = below
    return error


def _refused(status: int, headers: Mapping[str, str], data: bytes) -> ApiError:
    message = _status_message(data)
    return ApiError(
        _REASONS.get(status, Reason.FAILED),
        message or f"the server answered with HTTP {status}",
        status,
        transient=status in _TRANSIENT,
        retry_after=_retry_after(headers.get("Retry-After")),
        from_api=message is not None,
    )


def _status_message(data: bytes) -> str | None:
    """What an API server itself said; None where the answer is somebody else's."""
    if data.strip() == b"404 page not found":
        # Not a Status, but an API server's own words for an API that it does not serve.
        return "the server does not serve this API"
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict) or body.get("kind") != "Status":
        return None
    return one_line(str(body.get("message") or body.get("reason") or ""))


def one_line(text: str) -> str:
    """A message from the far side: no secrets, no control characters, not too long."""
    clean = " ".join(redact(text[:4000])[0].split())
    clean = "".join(char for char in clean if char.isprintable())
    return clean if len(clean) <= _MAX_MESSAGE else f"{clean[:_MAX_MESSAGE]}…"


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from either form the header may have (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
