"""Before anything is listed: kubeconfigs, credentials, certificates, servers that are none."""

from __future__ import annotations

import datetime as dt
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from auditor.collect.base import Harvest
from auditor.collect.kubernetes import collect_kubernetes
from auditor.config import KubernetesTable
from auditor.errors import AbsentTargetError, CollectError
from tests.support.controlplane_pki import Authority
from tests.support.kube_server import SECRET, Answer, Server, collector, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def collect(server: Server, tmp_path: Path) -> Callable[..., Harvest]:
    return collector(server, tmp_path)


FIRST = "/api/v1/namespaces/kube-system"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda handler, _: handler.status(401, "Unauthorized"), "does not accept the credentials"),
        (lambda handler, _: handler.reply(b"<html>", 404), "cannot be read"),
        (lambda handler, _: handler.reply({"hello": "world"}), "not a Kubernetes API server"),
        (lambda handler, _: handler.reply(b"welcome"), "not JSON"),
        (lambda handler, _: handler.status(500, "broken"), "broken"),
    ],
)
def test_a_server_that_cannot_be_read_at_all_is_one_clear_line(
    server: Server, collect: Callable[..., Harvest], answer: Answer, words: str
) -> None:
    server.faults[FIRST] = answer
    with pytest.raises(CollectError) as raised:
        collect(retries=1)
    line = str(raised.value)
    assert words in line
    assert "context 'faulty' (http://127.0.0.1:" in line
    assert "\n" not in line
    assert raised.value.remedy


def test_a_server_that_is_not_there_is_said_to_be_so_at_once(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        cluster = {"server": f"http://127.0.0.1:{bound.getsockname()[1]}"}
        config = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "contexts": [CONTEXT],
            "current-context": "x",
            "users": [{"name": "u", "user": {}}],
        }
        path.write_text(json.dumps(config))
        started = time.monotonic()
        with pytest.raises(CollectError, match="cannot be reached: connection refused"):
            collect_kubernetes(kubeconfig=path, config=KubernetesTable(retries=20))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("days", "own_authority", "words"),
    [(-1, True, "certificate has expired"), (1, False, "unable to get local issuer certificate")],
    ids=["expired", "unknown authority"],
)
def test_a_servers_certificate_that_does_not_verify_is_told_apart(
    server: Server, tmp_path: Path, days: int, own_authority: bool, words: str
) -> None:
    authority = Authority(tmp_path)
    local = [x509.IPAddress(ip_address("127.0.0.1"))]
    cert, key = authority.issue("server", valid_for=dt.timedelta(days=days), hosts=local)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    trusted = authority.ca_file
    if not own_authority:
        (tmp_path / "other").mkdir()
        trusted = Authority(tmp_path / "other").ca_file
    cluster = {
        "server": server.url.replace("http:", "https:"),
        "certificate-authority": str(trusted),
    }
    config = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [CONTEXT],
        "current-context": "x",
        "users": [{"name": "u", "user": {"token": SECRET}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    with pytest.raises(CollectError) as raised:
        collect_kubernetes(kubeconfig=path, config=KubernetesTable())
    assert words in str(raised.value)
    assert "certificate" in str(raised.value.remedy)


def test_no_kubeconfig_is_an_absent_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(AbsentTargetError, match="no kubeconfig was found"):
        collect_kubernetes(config=KubernetesTable())
    with pytest.raises(CollectError, match="there is no kubeconfig"):
        collect_kubernetes(context="prod", config=KubernetesTable())


CLUSTER = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
CONTEXT = {"name": "x", "context": {"cluster": "c", "user": "u"}}


def plugin(*command: str) -> dict[str, Any]:
    spec = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command[0],
        "args": list(command[1:]),
        "interactiveMode": "Never",
    }
    return {
        "clusters": [CLUSTER],
        "contexts": [CONTEXT],
        "current-context": "x",
        "users": [{"name": "u", "user": {"exec": spec}}],
    }


@pytest.mark.parametrize(
    ("content", "context", "words"),
    [
        (f"a: [\ntoken: {SECRET}: b", None, "kubeconfig:2: the kubeconfig is not YAML"),
        ("", None, "has no current context"),
        ("- a", None, "has no current context"),
        (json.dumps({"contexts": [CONTEXT], "current-context": "y"}), None, "no context 'y'"),
        (json.dumps({"contexts": [CONTEXT]}), "prod", "no context 'prod'; known: x"),
        (json.dumps({"contexts": [CONTEXT], "current-context": "x"}), None, "has no server"),
        (
            json.dumps(
                {
                    "clusters": [
                        {
                            "name": "c",
                            "cluster": {"server": "https://h", "certificate-authority": "gone"},
                        }
                    ],
                    "contexts": [CONTEXT],
                    "users": [{"name": "u", "user": {}}],
                    "current-context": "x",
                }
            ),
            None,
            "cannot be used: File does not exist",
        ),
        (json.dumps(plugin("/nonexistent/login")), None, "gave no credentials"),
        (
            json.dumps(plugin("sh", "-c", f"echo token={SECRET} >&2; exit 3")),
            None,
            "gave no credentials: exec: process returned 3",
        ),
    ],
    ids=["yaml", "empty", "list", "current", "context", "server", "file", "plugin", "plugin-fails"],
)
def test_a_mistake_in_a_kubeconfig_is_one_clear_line(
    tmp_path: Path,
    content: str,
    context: str | None,
    words: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(CollectError) as raised:
        collect_kubernetes(kubeconfig=path, context=context, config=KubernetesTable())
    line = str(raised.value)
    assert words in line
    assert "\n" not in line
    assert SECRET not in line
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_credential_plugin_that_waits_for_ever_is_left(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(plugin("sleep", "2")))
    with pytest.raises(CollectError, match=r"did not answer within 0\.3 s"):
        collect_kubernetes(kubeconfig=path, config=KubernetesTable(deadline=0.3))


def test_a_credential_plugins_token_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": SECRET},
    }
    config = plugin("echo", json.dumps(credential))
    config["clusters"] = [{"name": "c", "cluster": {"server": server.url}}]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{path}")
    harvest = collect_kubernetes(config=KubernetesTable())
    assert harvest.gaps == []
    assert {token for _, _, token in server.seen} == {f"Bearer {SECRET}"}
    assert path.read_text() == json.dumps(config)
