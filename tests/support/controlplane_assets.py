"""Where the binaries of the tests' control plane come from; use it through `controlplane`."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1] / "live" / "controlplane"
APISERVER = "kube-apiserver"
MANAGER = "kube-controller-manager"
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


class Missing(Exception):  # noqa: N818
    """A part of the control plane is not on this machine; `how_to_get` says how to get it."""

    def __init__(self, part: str, how_to_get: str) -> None:
        super().__init__(f"{part} is missing: {how_to_get}")
        self.part = part
        self.how_to_get = how_to_get


@dataclass(frozen=True)
class Assets:
    """The server binaries; the controller manager may be absent."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path | None


def find_or_build() -> Assets:
    """Return the server binaries, building them once (some minutes) where Go is present.

    The folder `KUBEBUILDER_ASSETS`, where set, has all of them but etcd, which may be on PATH.
    Built ones stay in `AUDITOR_TEST_CACHE`, else in the user's cache folder. Raises Missing.
    """
    given = os.environ.get("KUBEBUILDER_ASSETS")
    path = os.environ.get("PATH", os.defpath)
    etcd = shutil.which("etcd", path=f"{given}{os.pathsep}{path}" if given else path)
    if etcd is None:
        raise Missing("etcd", "install the package etcd-server, or set KUBEBUILDER_ASSETS")
    folder = given or str(_build())
    apiserver = shutil.which(APISERVER, path=folder)
    if apiserver is None:
        raise Missing(APISERVER, f"there is none in {folder}, which KUBEBUILDER_ASSETS names")
    manager = shutil.which(MANAGER, path=folder)
    return Assets(Path(etcd), Path(apiserver), Path(manager) if manager else None)


def _build() -> Path:
    """Build what go.mod pins into the cache, once even among concurrent runs; return its folder.

    A build is renamed into place when it is whole, so an interrupted one leaves nothing usable.
    """
    go = shutil.which("go")
    if go is None:
        raise Missing(APISERVER, "install Go, which builds it, or set KUBEBUILDER_ASSETS")
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    target = subprocess.run([go, "env", "GOOS", "GOARCH"], env=env, capture_output=True, check=True)
    pinned = (MODULE / "go.mod").read_bytes()
    hashed = pinned + (MODULE / "go.sum").read_bytes() + target.stdout
    key = hashlib.sha256(hashed).hexdigest()[:16]
    cache = _cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / key).is_dir():
            for interrupted in cache.glob(f".{key}.*"):
                shutil.rmtree(interrupted)
            with tempfile.TemporaryDirectory(prefix=f".{key}.", dir=cache) as scratch:
                made = Path(scratch, "bin")
                _go_build(go, env, pinned.decode(), made)
                made.rename(cache / key)
    return cache / key


def _cache_folder() -> Path:
    if own := os.environ.get("AUDITOR_TEST_CACHE"):
        return Path(own)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "benchmark-auditor" / "controlplane"


def _go_build(go: str, env: dict[str, str], go_mod: str, into: Path) -> None:
    """Build both servers into a folder, stamped with the version of Kubernetes they are."""
    version = re.search(r"k8s\.io/kubernetes (v1\.(\d+)\.\d+)", go_mod)
    if version is None:
        raise ValueError("go.mod pins no version of k8s.io/kubernetes")
    stamps = (("gitVersion", version[1]), ("gitMajor", "1"), ("gitMinor", version[2]))
    link = ["-s", "-w"]
    link += [f"-X {package}.{name}={v}" for package in _VERSION_PACKAGES for name, v in stamps]
    command = [go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false"]
    command += ["-ldflags", " ".join(link), "-o", f"{into}/"]
    command += [f"k8s.io/kubernetes/cmd/{name}" for name in (APISERVER, MANAGER)]
    done = subprocess.run(command, cwd=MODULE, env=env, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise Missing(APISERVER, f"building it with Go failed:\n{tail}")
