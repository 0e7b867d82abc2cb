"""A small real HTTP server on loopback that plays an API server, healthy or with a fault."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from auditor.collect.base import Harvest
from auditor.collect.kubernetes import collect_kubernetes
from auditor.collect.probes import Probes
from auditor.config import KubernetesTable
from auditor.model import Gap

UID = "11111111-2222-3333-4444-555555555555"
SECRET = "Hk7-" + "q9" * 9
Answer = Callable[["Handler", dict[str, str]], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the server's table of faults, else as an empty, healthy API server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(split.query).items()}
        self.server.seen.append((split.path, query, self.headers["Authorization"]))
        fault = self.server.faults.get(split.path)
        if fault is not None:
            fault(self, query)
        else:
            self.healthy(split.path)

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.sent.append((self.path, sent))
        self.do_GET()

    def healthy(self, path: str) -> None:
        if path == "/version":
            self.reply({"gitVersion": "v1.35.4", "platform": "linux/amd64"})
        elif path == "/apis":
            self.reply({"groups": [{"name": "apps", "versions": [{"version": "v1"}]}]})
        elif path.endswith("/namespaces/kube-system"):
            self.reply({"metadata": {"name": "kube-system", "uid": UID}})
        elif path.endswith("selfsubjectreviews"):
            self.reply({"status": {"userInfo": {"username": "eve", "groups": ["b", "a"]}}})
        else:
            self.reply({"metadata": {}, "items": []})

    def reply(self, body: Any, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def status(self, code: int, message: str, **headers: str) -> None:
        body = {"kind": "Status", "status": "Failure", "message": message, "code": code}
        self.reply(body, code, **headers)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a test's output is its result."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: dict[str, Answer] = {}
        self.seen: list[tuple[str, dict[str, str], str | None]] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some of these tests are about."""

    def queries(self, path: str) -> list[dict[str, str]]:
        return [query for seen, query, _ in self.seen if seen == path]


@contextmanager
def serving() -> Iterator[Server]:
    """A server that runs; it is stopped when the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def collector(server: Server, folder: Path) -> Callable[..., Harvest]:
    """A function that collects from the server, with small pages and few retries."""

    def run(probes: Probes | None = None, **settings: Any) -> Harvest:
        config = {
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "users": [{"name": "u", "user": {"token": SECRET}}],
            "contexts": [{"name": "faulty", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "faulty",
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config))
        table = {"call_timeout": 5.0, "retries": 2, "page_size": 2, **settings}
        config_of = KubernetesTable(**table)
        return collect_kubernetes(kubeconfig=path, config=config_of, probes=probes)

    return run


def pods(*names: str, token: str = "") -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    items = [{"metadata": {"name": name, "namespace": "n"}, "spec": spec} for name in names]
    return {"metadata": {"continue": token}, "items": items}


PODS = "/api/v1/pods"


def covered(harvest: Harvest) -> dict[str, int]:
    return {row.scope: row.count for row in harvest.coverage}


def names(harvest: Harvest) -> list[str]:
    return [item.name for item in harvest.resources if item.kind == "Pod"]


def only_gap(harvest: Harvest) -> Gap:
    assert len(harvest.gaps) == 1, harvest.gaps
    return harvest.gaps[0]
