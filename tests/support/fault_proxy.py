"""A proxy with faults in front of a real API server: it passes on what it is asked, and breaks it.

It listens on loopback with plain HTTP; to the server it speaks TLS as whoever the given client
certificate says. A fault is chosen by the path of the request, and may let requests through.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import urllib3
import yaml

Fault = Callable[["Call"], bool]
"""Answers a call wrongly, or returns False to let it through."""

_PASSED_ON = ("Accept", "Accept-Encoding", "Authorization", "Content-Type", "User-Agent")


class Call(BaseHTTPRequestHandler):
    """One request on its way."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultProxy

    @property
    def query(self) -> dict[str, str]:
        return {key: found[0] for key, found in parse_qs(urlsplit(self.path).query).items()}

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        with self.server.lock:
            self.server.seen.append((path, self.query))
        fault = self.server.faults.get(path)
        if fault is None or not fault(self):
            self.pass_on()

    def do_POST(self) -> None:
        self.do_GET()

    def fetched(self) -> tuple[int, dict[str, str], bytes]:
        """What the real server answers."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        headers = {name: self.headers[name] for name in _PASSED_ON if self.headers[name]}
        answer = self.server.upstream.request(
            self.command,
            self.server.target + self.path,
            body=body,
            headers=headers,
            preload_content=False,
            redirect=False,
            retries=False,
        )
        data = answer.read(decode_content=False)
        answer.release_conn()
        names = ("Content-Type", "Content-Encoding", "Retry-After")
        kept = {name: answer.headers[name] for name in names if name in answer.headers}
        return answer.status, kept, data

    def pass_on(self) -> None:
        self.send(*self.fetched())

    def send(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.begin(status, headers, len(data))
        self.wfile.write(data)

    def begin(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def refuse(self, status: int, message: str, **headers: str) -> bool:
        """Answer with a Status as an API server would; always True."""
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message,
            "code": status,
        }
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(status, {"Content-Type": "application/json", **named}, json.dumps(body).encode())
        return True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a test's output is its result."""


class FaultProxy(ThreadingHTTPServer):
    """The proxy; `faults` has what goes wrong by path, `seen` what was asked."""

    daemon_threads = True

    def __init__(self, target: str, ca_file: Path, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), Call)
        self.target = target
        self.upstream = urllib3.PoolManager(
            ca_certs=str(ca_file), cert_file=str(certificate), key_file=str(key), maxsize=32
        )
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.faults: dict[str, Fault] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some of these tests are about."""

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(seen == path for seen, _ in self.seen)

    def kubeconfig(self, folder: Path) -> Path:
        """Write a kubeconfig that leads here; the proxy itself says who asks."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}
            ],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
        }
        path = folder / "faulty.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path


@contextmanager
def proxying(target: str, ca_file: Path, certificate: Path, key: Path) -> Iterator[FaultProxy]:
    """A proxy that runs; it is stopped when the block ends, stalled calls with it."""
    proxy = FaultProxy(target, ca_file, certificate, key)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        proxy.shutdown()
        thread.join()
        proxy.server_close()
        proxy.upstream.clear()


def forbidden(call: Call) -> bool:
    """As RBAC would."""
    return call.refuse(403, f'{urlsplit(call.path).path} is forbidden: User "eve" cannot list it')


def broken(call: Call) -> bool:
    """As a server would whose etcd is down."""
    return call.refuse(500, "etcdserver: request timed out")


def busy(seconds: str, times: int = 10**9) -> Fault:
    """429 with a Retry-After, so many times."""
    return _limited(lambda call: call.refuse(429, "too many requests", Retry_After=seconds), times)


def cut(times: int = 10**9, *, only_later_pages: bool = False) -> Fault:
    """Half of a page, and then the connection is closed."""

    def fault(call: Call) -> bool:
        if only_later_pages and "continue" not in call.query:
            return False
        status, headers, data = call.fetched()
        call.begin(status, headers, len(data))
        call.wfile.write(data[: len(data) // 2])
        call.close_connection = True
        return True

    return _limited(fault, times)


def expired(times: int = 10**9) -> Fault:
    """410 to every further page, as after a compaction of etcd."""
    message = "The provided continue parameter is too old to display a consistent list result."
    return _limited(lambda call: "continue" in call.query and call.refuse(410, message), times)


def stalling(times: int = 10**9, *, only_later_pages: bool = False, begun: bool = False) -> Fault:
    """No answer for 30 seconds, or until the test is over; `begun`: half a page, and then none."""

    def fault(call: Call) -> bool:
        if only_later_pages and "continue" not in call.query:
            return False
        if begun:
            status, headers, data = call.fetched()
            call.begin(status, headers, len(data))
            call.wfile.write(data[: len(data) // 2])
            call.wfile.flush()
        call.server.released.wait(30)
        call.close_connection = True
        return True

    return _limited(fault, times)


def _limited(fault: Fault, times: int) -> Fault:
    """The fault, so many times; a call that it lets through does not count."""
    lock, left = threading.Lock(), [times]

    def limited(call: Call) -> bool:
        with lock:
            if not left[0]:
                return False
            left[0] -= 1
        done = fault(call)
        if not done:
            with lock:
                left[0] += 1
        return done

    return limited
