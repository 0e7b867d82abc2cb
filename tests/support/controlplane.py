"""A real Kubernetes control plane for tests: etcd, kube-apiserver, kube-controller-manager.

Everything listens on 127.0.0.1 and lives in one temporary folder; nothing is scheduled and no
container runs. Linux only. Start it from the main thread: the kernel kills the servers when the
thread that started them ends.
"""

import atexit
import base64
import ctypes
import datetime as dt
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import yaml
from cryptography import x509

from .controlplane_assets import MANAGER, Assets, Missing, find_or_build
from .controlplane_client import ApiError, Client, Document
from .controlplane_pki import Authority

__all__ = ["ApiError", "Assets", "ControlPlane", "Missing", "StartError", "find_or_build"]

STARTUP_SECONDS = 90.0
BASE_CONTROLLERS = (
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "namespace-controller",
    "clusterrole-aggregation-controller",
    "root-ca-certificate-publisher-controller",
)
WORKLOAD_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "daemonset-controller",
    "statefulset-controller",
    "job-controller",
    "cronjob-controller",
)
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """A server ended or did not get ready; the message has the last 20 lines of its log."""


class ControlPlane(Client):
    """A running control plane; `start` makes one, and leaving its `with` block removes it.

    `kubeconfig` is an administrator's and self-contained, `url` the server's address, `ca_file`
    the PEM file of its authority.
    """

    def __init__(self) -> None:
        """Prepare a folder, ports and certificates; use `start`."""
        self.folder = Path(tempfile.mkdtemp(prefix="auditor-controlplane-"))
        atexit.register(self.stop)
        self._servers: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._authority = Authority(self.folder)
        self.ca_file = self._authority.ca_file
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            self._etcd_url = f"http://127.0.0.1:{first.getsockname()[1]}"
            url = f"https://127.0.0.1:{second.getsockname()[1]}"
        cert, key = self._authority.issue("kubernetes-admin", ["system:masters"])
        super().__init__(url, self.ca_file, cert, key)
        self.kubeconfig = self._write_kubeconfig("admin", _certificate_user(cert, key))

    @classmethod
    def start(
        cls,
        assets: Assets,
        *,
        controllers: bool = True,
        workload_controllers: bool = False,
        admission_config: Path | Document | None = None,
        extra_apiserver_args: Sequence[str] = (),
    ) -> Self:
        """Start the servers and return when they are ready: some seconds.

        `workload_controllers` makes pods from workloads (Pending until `mark_running`). Without
        `controllers` no service account is made, which a pod needs. `admission_config` is an
        AdmissionConfiguration; of an apiserver flag given twice the last counts. Raises
        StartError, or Missing where controllers are wanted and their manager is not there.
        """
        wanted = controllers or workload_controllers
        manager = assets.kube_controller_manager if wanted else None
        if wanted and manager is None:
            raise Missing(MANAGER, "unset KUBEBUILDER_ASSETS and install Go, which builds it")
        for attempts_left in (2, 1, 0):
            plane, ready = cls(), False
            try:
                plane._start_servers(assets, admission_config, extra_apiserver_args)
                if manager:
                    more = WORKLOAD_CONTROLLERS if workload_controllers else ()
                    plane._start_controllers(manager, [*BASE_CONTROLLERS, *more])
                ready = True
                return plane
            except TimeoutError as error:
                log = plane._log_tail(plane._servers[-1][0])
                raise StartError(f"{error}:\n{log}") from error
            except StartError as error:
                if not (attempts_left and "address already in use" in str(error)):
                    raise
            finally:
                if not ready:
                    plane.stop()
        raise AssertionError("unreachable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill the servers this object started and remove its folder; may be called again."""
        for _, server in reversed(self._servers):
            server.kill()
            server.wait()
        self._servers.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)

    def kubeconfig_for(
        self,
        user: str,
        groups: Iterable[str] = (),
        *,
        valid_for: dt.timedelta = dt.timedelta(days=1),
        expired: bool = False,
    ) -> Path:
        """Write a kubeconfig with a client certificate, which expired an hour ago if wanted."""
        term = dt.timedelta(hours=-1) if expired else valid_for
        cert, key = self._authority.issue(user, groups, valid_for=term)
        return self._write_kubeconfig(cert.stem, _certificate_user(cert, key))

    def kubeconfig_for_serviceaccount(
        self, namespace: str, name: str, *, valid_for: dt.timedelta = dt.timedelta(hours=1)
    ) -> Path:
        """Write a kubeconfig with a token of an existing service account, of 10 minutes or more."""
        token = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {"spec": {"expirationSeconds": int(valid_for.total_seconds())}},
        )["status"]["token"]
        return self._write_kubeconfig(f"sa-{namespace}-{name}", {"token": token})

    def _start_servers(
        self, assets: Assets, admission: Path | Document | None, extra: Sequence[str]
    ) -> None:
        self._run(
            "etcd",
            assets.etcd,
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            "--listen-peer-urls=http://127.0.0.1:0",
            "--log-level=warn",
        )
        self._await_health(f"{self._etcd_url}/health")
        names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        hosts: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        hosts += [x509.IPAddress(ip_address(ip)) for ip in ("127.0.0.1", "10.96.0.1")]
        cert, key = self._authority.issue("kube-apiserver", hosts=hosts)
        signing = self._authority.write_key("service-account")[1]
        args = [
            f"--etcd-servers={self._etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self.url.rsplit(':', 1)[1]}",
            f"--cert-dir={self.folder}",
            f"--tls-cert-file={cert}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.ca_file}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--service-cluster-ip-range=10.96.0.0/12",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={signing}",
            f"--service-account-signing-key-file={signing}",
        ]
        if isinstance(admission, Mapping):
            file = self.folder / "admission.yaml"
            file.write_text(json.dumps(admission))
            admission = file
        if admission is not None:
            args.append(f"--admission-control-config-file={admission}")
        self._run("kube-apiserver", assets.kube_apiserver, *args, *extra)
        self._await_health(f"{self.url}/readyz")

    def _start_controllers(self, manager: Path, controllers: Sequence[str]) -> None:
        kubeconfig = self.kubeconfig_for("system:kube-controller-manager")
        self._run(
            MANAGER,
            manager,
            f"--kubeconfig={kubeconfig}",
            f"--controllers={','.join(controllers)}",
            f"--service-account-private-key-file={self.folder / 'service-account.key'}",
            f"--root-ca-file={self.ca_file}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--secure-port=0",
        )
        self._makes_accounts = True
        for name in ("kube-system", "default"):
            self._await_account(name)
        for name in ("view", "edit", "admin"):
            self._await_rules(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}")

    def _await_health(self, url: str) -> None:
        """Wait for 200, with little patience for each try: the port may be a stranger's."""

        def healthy() -> bool:
            return self._http.request("GET", url, timeout=2, retries=False).status == 200

        self.wait_until(f"{url} says it is healthy", healthy)

    def _await_rules(self, role: str) -> None:
        self.wait_until(f"{role} has rules", lambda: self.request("GET", role)["rules"])

    def _run(self, name: str, binary: Path, *args: str) -> None:
        """Start a server in its own session, with no environment but what it needs."""
        env = {"PATH": os.defpath, "HOME": str(self.folder), "ETCD_UNSUPPORTED_ARCH": "arm64"}
        with (self.folder / f"{name}.log").open("wb") as log:
            server = subprocess.Popen(
                [binary, *args],
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._servers.append((name, server))

    def _check(self) -> None:
        for name, server in self._servers:
            if server.poll() is not None:
                raise StartError(f"{name} ended:\n{self._log_tail(name)}")

    def _log_tail(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-20:])

    def _write_kubeconfig(self, stem: str, user: dict[str, str]) -> Path:
        cluster = {"server": self.url, "certificate-authority-data": _base64(self.ca_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": stem, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": stem}}],
        }
        file = self.folder / f"{stem}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(config))
        return file


def _certificate_user(cert: Path, key: Path) -> dict[str, str]:
    return {"client-certificate-data": _base64(cert), "client-key-data": _base64(key)}


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
