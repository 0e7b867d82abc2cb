"""A real Docker engine for tests: the one that runs here, else one that is started for the run.

An engine that already runs is used and left as it was found: what a test makes is removed. One
that is started has its own folder, socket and containerd namespace and touches no network of the
host; it ends with its `with` block. Nothing is pulled: images are built from scratch with busybox.
"""

import atexit
import ctypes
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from docker import APIClient
from docker.errors import DockerException, NotFound

from .controlplane import Missing, StartError

STARTUP_SECONDS = 60.0
_DEFAULT = "unix:///var/run/docker.sock"
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Engine:
    """An engine with what tests need of it. `host` is its address, `api` a client of it.

    Names that `name` gives are new, so that runs side by side do not meet.
    """

    def __init__(self, host: str, *, folder: Path | None = None) -> None:
        """Use the engine at `host`; `folder` is the one of an engine that `start` made."""
        self.host = host
        self.folder = folder
        self.api: Any = APIClient(base_url=host, version="auto", timeout=60)
        self._server: subprocess.Popen[bytes] | None = None
        self._prefix = f"auditor-test-{uuid.uuid4().hex[:8]}"
        self._containers: list[str] = []
        self._images: list[str] = []
        self._volumes: list[str] = []

    @classmethod
    def find_or_start(cls) -> Self:
        """Use the engine at `DOCKER_HOST` or the default socket, or start one. Raises Missing."""
        host = os.environ.get("DOCKER_HOST") or _DEFAULT
        try:
            engine = cls(host)
            engine.api.ping()
            return engine
        except DockerException as error:
            if os.environ.get("DOCKER_HOST"):
                raise Missing(f"the engine at {host}", "start it, or unset DOCKER_HOST") from error
        return cls.start()

    @classmethod
    def start(cls, *flags: str) -> Self:
        """Start an engine with its own folder, and return when it answers. Raises Missing."""
        dockerd = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if dockerd is None:
            raise Missing("dockerd", "install the package docker.io, or set DOCKER_HOST")
        if os.geteuid() != 0:
            raise Missing("the right to start dockerd", "start an engine, or run as root")
        folder = Path(tempfile.mkdtemp(prefix="auditor-engine-"))
        host = f"unix://{folder}/docker.sock"
        # Not the folder's name: that may hold underscores where containerd takes none.
        namespace = f"auditor-{uuid.uuid4().hex}"
        command = [
            dockerd,
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
            f"--host={host}",
            # A containerd of the host, where one runs, is shared with the host's own engine.
            f"--containerd-namespace={namespace}",
            f"--containerd-plugins-namespace=plugins.{namespace}",
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            *flags,
        ]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        try:
            _await(host, server, folder / "log")
            engine = cls(host, folder=folder)
        except BaseException:
            _end(server, folder)
            raise
        engine._server = server
        atexit.register(engine.close)
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was made through this object, and end the engine if it was started."""
        for container in self._containers:
            _quietly(lambda name=container: self.api.remove_container(name, force=True, v=True))
        for image in reversed(self._images):
            _quietly(lambda name=image: self.api.remove_image(name, force=True))
        for volume in self._volumes:
            _quietly(lambda name=volume: self.api.remove_volume(name, force=True))
        self._containers, self._images, self._volumes = [], [], []
        self.api.close()
        if self._server is not None and self.folder is not None:
            _end(self._server, self.folder)
            self._server = None
            atexit.unregister(self.close)

    def name(self, word: str) -> str:
        """A name of this object's own for an image, container or volume."""
        return f"{self._prefix}-{word}"

    def build(
        self,
        word: str,
        dockerfile: str,
        files: Mapping[str, bytes] | None = None,
        *,
        build_args: Mapping[str, str] | None = None,
    ) -> str:
        """Build an image without a network, with the classic builder; return its reference.

        Busybox lies in the context as `busybox`; `files` come beside it.
        """
        tag = f"{self.name(word)}:1"
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as tar:
            for path, data in {"Dockerfile": dockerfile.encode(), **(files or {})}.items():
                _add(tar, path, data, 0o644)
            _add(tar, "busybox", busybox(), 0o755)
        context.seek(0)
        lines = self.api.build(
            fileobj=context,
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            network_mode="none",
            buildargs=dict(build_args or {}),
            # Without it an equal image of somebody else's is the same image under another name.
            labels={"auditor-test": self._prefix},
            decode=True,
        )
        for line in lines:
            if "error" in line:
                raise StartError(f"the build of {tag} failed: {json.dumps(line)}")
        self._images.append(tag)
        return tag

    def container(
        self,
        word: str,
        image: str,
        *,
        command: Sequence[str] = ("/bin/busybox", "sleep", "600"),
        start: bool = True,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        healthcheck: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> str:
        """Make a container without a network, and start it; return its name.

        `options` are those of the SDK's `create_host_config`.
        """
        name = self.name(word)
        options.setdefault("network_mode", "none")
        self.api.create_container(
            image,
            command=list(command),
            name=name,
            user=user,
            environment=dict(environment or {}),
            labels=dict(labels or {}),
            healthcheck=healthcheck,
            host_config=self.api.create_host_config(**options),
        )
        self._containers.append(name)
        if start:
            self.api.start(name)
        return name

    def volume(self, word: str, **options: str) -> str:
        """Make a volume of the local driver; return its name."""
        name = self.name(word)
        self.api.create_volume(name, driver="local", driver_opts=options)
        self._volumes.append(name)
        return name

    def save(self, image: str, path: Path) -> Path:
        """Write `docker save` of an image to a file."""
        with path.open("wb") as file:
            for chunk in self.api.get_image(image):
                file.write(chunk)
        return path


def busybox() -> bytes:
    """The bytes of a static busybox. Raises Missing when there is none."""
    found = shutil.which("busybox", path=f"/bin:/usr/bin:{os.environ.get('PATH', '')}")
    how = "install the package busybox-static"
    if found is None:
        raise Missing("busybox", how)
    data = Path(found).read_bytes()
    if b"/ld-linux" in data or b"/ld-musl" in data:
        raise Missing("a static busybox", how)
    return data


def _add(tar: tarfile.TarFile, path: str, data: bytes, mode: int) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))


def _await(host: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise Missing("an engine that starts here", f"dockerd ended with: {_tail(log)}")
        try:
            client: Any = APIClient(base_url=host, version="auto", timeout=5)
            client.ping()
            client.close()
            return
        except DockerException:
            time.sleep(0.1)
    raise Missing("an engine that starts here", f"dockerd did not answer: {_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "nothing"


def _end(server: subprocess.Popen[bytes], folder: Path) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    # dockerd leaves the mount of a network namespace behind, and a folder with it cannot go.
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", mount], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


def _quietly(remove: Any) -> None:
    try:
        remove()
    except NotFound:
        pass
    except DockerException as error:
        # Another test run may be removing the same layers; what is left has a name of its own.
        print(f"not removed: {error}")


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
