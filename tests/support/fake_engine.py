"""An engine's API that answers what a test wants: refusals, nonsense, silence."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import unquote, urlsplit

Answer = Any
"""A JSON value; bytes; an int as an HTTP status; a float as seconds of silence; or a function."""

DEFAULTS: dict[str, Answer] = {
    "/_ping": b"OK",
    "/version": {"ApiVersion": "1.43", "Version": "24.0.7"},
    "/info": {
        "ID": "ENGINE",
        "Name": "host",
        "ServerVersion": "24.0.7",
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=no-new-privileges"],
    },
    "/containers/json": [],
    "/networks": [],
    "/volumes": {"Volumes": None},
    "/plugins": [],
    "/images/json": [],
}


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def __init__(self, socket: str, routes: dict[str, Answer], seen: list[str]) -> None:
        self.routes, self.seen = routes, seen
        super().__init__(socket, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are a part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        self.server.seen.append(f"{self.command} {path}")
        answer = self.server.routes.get(path, 404)
        if callable(answer):
            answer = answer()
        if isinstance(answer, float):
            time.sleep(answer)
            answer = 500
        status = answer if isinstance(answer, int) else 200
        if isinstance(answer, int):
            answer = {"message": f"this engine says {status}"}
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815


@contextmanager
def fake_engine(
    folder: Path, routes: dict[str, Answer | Callable[[], Answer]]
) -> Iterator[tuple[str, list[str]]]:
    """Serve `routes` over the defaults; yield the address and the requests as they come."""
    socket = str(folder / "engine.sock")
    seen: list[str] = []
    server = _Server(socket, {**DEFAULTS, **routes}, seen)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"unix://{socket}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
