"""An administrator's client of a Kubernetes API server, for tests; see `controlplane`."""

import datetime as dt
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import urllib3
import yaml

Document = Mapping[str, Any]
PATIENCE_SECONDS = 60.0
_MERGE = "application/merge-patch+json"
_APPLY_ORDER = {  # Other kinds come at 3; the last ones can refuse or break what follows them.
    "CustomResourceDefinition": 0,
    "Namespace": 1,
    "ServiceAccount": 2,
    "ValidatingWebhookConfiguration": 4,
    "MutatingWebhookConfiguration": 4,
    "APIService": 5,
}


class ApiError(Exception):
    """An answer of 400 or above: `status` is the HTTP code, `body` the parsed answer."""

    def __init__(self, method: str, path: str, status: int, body: Any) -> None:
        message = body.get("message") if isinstance(body, dict) else body
        super().__init__(f"{method} {path}: {status}: {message}")
        self.status = status
        self.body = body


class Client:
    """What tests ask of an API server as its administrator, with a client certificate."""

    def __init__(self, url: str, ca_file: Path, certificate: Path, key: Path) -> None:
        self.url = url
        self._http = urllib3.PoolManager(
            ca_certs=str(ca_file), cert_file=str(certificate), key_file=str(key), maxsize=32
        )
        self._resources: dict[str, list[dict[str, Any]]] = {}
        self._nodes: set[str] = set()
        self._makes_accounts = False

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> Any:
        """Ask the server as administrator; return its answer, parsed where it is JSON.

        A body is sent as JSON whatever its content type. Raises ApiError from status 400 on.
        """
        headers = {"Accept": "application/json", "Content-Type": content_type}
        data = None if body is None else json.dumps(body)
        answer = self._http.request(method, self.url + path, body=data, headers=headers, timeout=60)
        parsed: Any = answer.data.decode()
        if "json" in answer.headers.get("Content-Type", ""):
            parsed = json.loads(parsed)
        if answer.status >= 400:
            raise ApiError(method, path, answer.status, parsed)
        return parsed

    def wait_until(self, goal: str, reached: Callable[[], Any]) -> None:
        """Wait until `reached` gives something true; an ApiError of it counts as false.

        Raises TimeoutError after 60 seconds.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                if reached():
                    return
            except (ApiError, urllib3.exceptions.HTTPError):
                pass
            self._check()
            time.sleep(0.05)
        raise TimeoutError(f"gave up after {PATIENCE_SECONDS:.0f} s waiting until {goal}")

    def _check(self) -> None:
        """Raise where waiting is of no use any more."""

    def apply(
        self,
        sources: Path | str | Iterable[Path | str | Document],
        *,
        namespace: str = "default",
        create_namespaces: bool = False,
    ) -> list[tuple[str, str]]:
        """Create or update every object of YAML files, folders of them, or parsed documents.

        `namespace` is that of an object which names none; what has no kind is passed over.
        Returns a pair of object and error for each that could not be applied, in the order of
        trying. Raises OSError or yaml.YAMLError for a file that cannot be read.
        """
        given = [sources] if isinstance(sources, (str, Path)) else sources
        docs = [doc for source in given for doc in _documents(source)]
        if create_namespaces:
            used = {doc["metadata"].get("namespace", namespace) for doc in docs}
            used -= {doc["metadata"]["name"] for doc in docs if doc["kind"] == "Namespace"}
            docs += [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                for name in sorted(used)
            ]
        failed: list[tuple[str, str]] = []
        for doc in sorted(docs, key=lambda doc: _APPLY_ORDER.get(doc["kind"], 3)):
            try:
                self._apply_one(doc, namespace)
            except (ApiError, LookupError, TimeoutError) as error:
                meta = doc["metadata"]
                where = f"{meta['namespace']}/" if "namespace" in meta else ""
                name = meta.get("name") or meta.get("generateName")
                failed.append((f"{doc['kind']} {where}{name}", str(error)))
        return failed

    def add_node(self, name: str, *, address: str = "127.0.0.1") -> dict[str, Any]:
        """Create a Node that is Ready and return it; the server refuses to proxy to loopback."""
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {}}}
        self.request("POST", "/api/v1/nodes", node)
        self._nodes.add(name)
        now, identity = _now(), uuid.uuid5(uuid.NAMESPACE_DNS, name)
        size = {"cpu": "16", "memory": "64Gi", "pods": "250", "ephemeral-storage": "100Gi"}
        status = {
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": name},
            ],
            "capacity": size,
            "allocatable": size,
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "kubelet is posting ready status",
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                }
            ],
            "nodeInfo": {
                "kubeletVersion": self.request("GET", "/version")["gitVersion"],
                "containerRuntimeVersion": "containerd://2.1.4",
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "kernelVersion": "6.1.0-40-amd64",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "machineID": identity.hex,
                "systemUUID": str(identity),
                "bootID": str(identity),
                "kubeProxyVersion": "",
            },
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        }
        # Admission taints a new node as not ready; the controller that would undo it is off.
        self.request("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}}, _MERGE)
        done = self.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, _MERGE)
        return dict(done)

    def run_pod(self, manifest: Document, *, node: str = "node-1") -> dict[str, Any]:
        """Create a pod on a node (made where there is none) and return it, running.

        Waits a little for a service account that is yet to be made. Raises ApiError.
        """
        spec = dict(manifest["spec"])
        pod = {"apiVersion": "v1", "kind": "Pod", **manifest, "spec": spec}
        self._ensure_node(spec.setdefault("nodeName", node))
        namespace = manifest["metadata"].get("namespace", "default")
        path = f"/api/v1/namespaces/{namespace}/pods"
        for seconds_left in range(10, -1, -1):
            try:
                made = self.request("POST", path, pod)
                break
            except ApiError as error:
                late = error.status == 403 and "error looking up service account" in str(error)
                if not (late and seconds_left and self._makes_accounts):
                    raise
                time.sleep(1)
        return self.mark_running(namespace, made["metadata"]["name"])

    def mark_running(self, namespace: str, name: str, node: str = "node-1") -> dict[str, Any]:
        """Report an existing pod as running, bound to `node` if it has none yet; return it."""
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        pod = self.request("GET", path)
        if not pod["spec"].get("nodeName"):
            self._ensure_node(node)
            target = {"apiVersion": "v1", "kind": "Node", "name": node}
            binding = {"apiVersion": "v1", "kind": "Binding", "target": target}
            self.request("POST", f"{path}/binding", {**binding, "metadata": {"name": name}})
        status = _running_status(pod["spec"])
        return dict(self.request("PATCH", f"{path}/status", {"status": status}, _MERGE))

    def _ensure_node(self, name: str) -> None:
        if name not in self._nodes:
            try:
                self.add_node(name)
            except ApiError as error:
                if error.status != 409:
                    raise
                self._nodes.add(name)

    def _apply_one(self, doc: Document, namespace: str) -> None:
        path, namespaced = self._resource_path(doc["apiVersion"], doc["kind"])
        meta = doc["metadata"]
        if namespaced:
            before, after = path.rsplit("/", 1)
            path = f"{before}/namespaces/{meta.get('namespace', namespace)}/{after}"
        if "name" not in meta:
            self.request("POST", path, doc)
            return
        options = "fieldManager=auditor-tests&force=true"
        self.request(
            "PATCH", f"{path}/{meta['name']}?{options}", doc, "application/apply-patch+yaml"
        )
        if doc["kind"] == "CustomResourceDefinition":
            version = next(v["name"] for v in doc["spec"]["versions"] if v["served"])
            listed = f"/apis/{doc['spec']['group']}/{version}/{doc['spec']['names']['plural']}"
            self.wait_until(f"{meta['name']} is served", lambda: self.request("GET", listed))
            self._resources.clear()
        elif doc["kind"] == "Namespace" and self._makes_accounts:
            self._await_account(meta["name"])

    def _await_account(self, namespace: str) -> None:
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        self.wait_until(f"{account} exists", lambda: self.request("GET", account))

    def _resource_path(self, api_version: str, kind: str) -> tuple[str, bool]:
        """Return the collection's path without namespace, and whether it needs one."""
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        if base not in self._resources:
            self._resources[base] = self.request("GET", base)["resources"]
        for resource in self._resources[base]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                return f"{base}/{resource['name']}", bool(resource["namespaced"])
        raise LookupError(f"the server has no {kind} in {api_version}")


class _Loader(yaml.CSafeLoader):
    """A YAML loader that leaves dates and the sign `=` as text, as Kubernetes does."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [pair for pair in pairs if not pair[0].endswith((":timestamp", ":value"))]
        for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _documents(source: Path | str | Document) -> Iterator[dict[str, Any]]:
    """Yield every object of a source, those of a list one by one."""
    if isinstance(source, Mapping):
        docs: list[Any] = [source]
    else:
        path = Path(source)
        found = path.rglob("*") if path.is_dir() else [path]
        kinds = (".yaml", ".yml", ".json")
        files = sorted(f for f in found if f.suffix in kinds or f == path)
        docs = [doc for f in files for doc in yaml.load_all(f.read_bytes(), _Loader) if doc]
    for doc in docs:
        if not (isinstance(doc, Mapping) and "apiVersion" in doc and "kind" in doc):
            continue
        if doc["kind"].endswith("List") and "items" in doc:
            given = {"apiVersion": doc["apiVersion"], "kind": doc["kind"].removesuffix("List")}
            for item in doc["items"]:
                yield from _documents({**given, **item})
        else:
            yield {**doc, "metadata": doc.get("metadata") or {}}


def _running_status(spec: Document) -> dict[str, Any]:
    """Return what a kubelet would report of a pod whose containers all run."""
    now = _now()

    def container(of: Document, state: dict[str, Any]) -> dict[str, Any]:
        identity = hashlib.sha256(of["image"].encode()).hexdigest()
        return {
            "name": of["name"],
            "image": of["image"],
            "imageID": f"{_repository(of['image'])}@sha256:{identity}",
            "containerID": f"containerd://{identity}",
            "ready": True,
            "started": "running" in state,
            "restartCount": 0,
            "state": state,
        }

    finished = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now}}
    running = {"running": {"startedAt": now}}
    conditions = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "startTime": now,
        "hostIP": "127.0.0.1",
        "podIP": "10.244.0.10",
        "podIPs": [{"ip": "10.244.0.10"}],
        "conditions": [
            {"type": name, "status": "True", "lastTransitionTime": now} for name in conditions
        ],
        "containerStatuses": [container(c, running) for c in spec["containers"]],
        "initContainerStatuses": [
            container(c, running if c.get("restartPolicy") == "Always" else finished)
            for c in spec.get("initContainers", ())
        ],
    }


def _repository(image: str) -> str:
    folder, _, last = image.split("@")[0].rpartition("/")
    return f"{folder or 'docker.io/library'}/{last.split(':')[0]}"


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
