"""Fill a test cluster with pods that look as if they ran, for measuring how long an audit takes.

Three nodes, twenty namespaces and W Deployments are made, each Deployment with its ReplicaSet,
service account, RoleBinding and pods; their owner references are real, their status is written
as a kubelet would. With `--workloads 0` the pods have no owner and no two are alike. Nothing is
deleted, and what exists is kept, so a run that was interrupted can be run again. For a control
plane without workload controllers or kubelets only: `auditor` itself never writes to a cluster.
"""

import argparse
import base64
import hashlib
import json
import random
import ssl
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
import yaml

NODES = 3
NAMESPACES = 20
ACCOUNTS_WITHOUT_WORKLOADS = 200
NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
IMAGES = (
    "registry.example.com/shop/{name}:v1.{minor}.0",
    "registry.example.com/shop/{name}@sha256:{digest}",
    "ghcr.io/example/{name}:2026.{minor}",
    "nginx:1.29",
    "redis:8-alpine",
    "{name}:latest",
    "python",
)
HOST_PATHS = ("/var/log", "/proc", "/", "/var/run/docker.sock", "/etc/kubernetes")

Object = dict[str, Any]


class Cluster:
    """A keep-alive client of the cluster that a kubeconfig's current context names."""

    def __init__(self, kubeconfig: Path, parallel: int) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        self._url = cluster["server"].rstrip("/")
        self._headers = {"Accept": "application/json"}
        if "tokenFile" in user:
            user["token"] = (kubeconfig.parent / user["tokenFile"]).read_text().strip()
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        with tempfile.TemporaryDirectory() as folder:

            def file(entry: Object, key: str) -> str | None:
                if f"{key}-data" in entry:
                    path = Path(folder, key)
                    path.touch(mode=0o600)
                    path.write_bytes(base64.b64decode(entry[f"{key}-data"]))
                    return str(path)
                return str(kubeconfig.parent / entry[key]) if key in entry else None

            tls = ssl.create_default_context(cafile=file(cluster, "certificate-authority"))
            certificate, key = file(user, "client-certificate"), file(user, "client-key")
            if certificate:
                tls.load_cert_chain(certificate, key)
        self._http = urllib3.PoolManager(ssl_context=tls, maxsize=parallel)

    def create(self, path: str, body: Object) -> Object:
        """Create an object, or take the one of that name; return it as the server has it.

        Raises RuntimeError with the server's words where it refuses.
        """
        answer = self._send("POST", path, body, "application/json")
        if answer.status == 409:
            answer = self._send("GET", f"{path}/{body['metadata']['name']}")
        return dict(answer.json())

    def write_status(self, path: str, status: Object) -> None:
        """Set fields of an object's status; raises as `create` does."""
        self._send("PATCH", f"{path}/status", {"status": status}, "application/merge-patch+json")

    def _send(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json"
    ) -> urllib3.BaseHTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        while True:
            answer = self._http.request(
                method,
                self._url + path,
                body=data,
                headers={**self._headers, "Content-Type": kind},
                timeout=60,
            )
            if answer.status == 429:
                time.sleep(float(answer.headers.get("Retry-After", "1")))
            elif answer.status < 400 or (answer.status == 409 and method == "POST"):
                return answer
            else:
                raise RuntimeError(f"{method} {path}: {answer.status}: {answer.data.decode()}")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, fill the cluster, and print what was made in how many seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pods", type=int, required=True, metavar="N", help="how many pods")
    parser.add_argument(
        "--workloads", type=int, default=200, metavar="W", help="Deployments; 0: all pods differ"
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, metavar="F")
    parser.add_argument("--parallel", type=int, default=16, metavar="P", help="connections")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other objects")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    cluster = Cluster(options.kubeconfig, options.parallel)
    with ThreadPoolExecutor(options.parallel) as pool:
        fill(cluster, pool, options.pods, options.workloads, options.seed)
    seconds = time.monotonic() - started
    print(f"{options.pods} pods of {options.workloads} workloads in {seconds:.1f} s")


def fill(cluster: Cluster, pool: ThreadPoolExecutor, pods: int, workloads: int, seed: int) -> None:
    """Make the nodes, the namespaces, the workloads and the pods; the first error ends it."""
    _all(pool.map(lambda number: make_node(cluster, number), range(NODES)))
    _all(pool.map(lambda number: make_namespace(cluster, number), range(NAMESPACES)))
    if not workloads:
        accounts = min(pods, ACCOUNTS_WITHOUT_WORKLOADS)
        _all(pool.map(lambda number: make_account(cluster, number, seed), range(accounts)))
        _all(pool.map(lambda number: make_single_pod(cluster, number, seed, accounts), range(pods)))
        return
    sizes = shares(pods, workloads, random.Random(seed))
    templates = pool.map(
        lambda number: make_workload(cluster, number, seed, sizes[number]), range(workloads)
    )
    work = [
        (template, replica)
        for template, size in zip(templates, sizes, strict=True)
        for replica in range(size)
    ]
    _all(pool.map(lambda item: make_replica(cluster, *item), work))


def shares(pods: int, workloads: int, rng: random.Random) -> list[int]:
    """Return how many pods each workload has: as uneven as in life, none without while it lasts."""
    sizes = [int(number < pods) for number in range(workloads)]
    weights = [rng.paretovariate(1.2) for _ in range(workloads)]
    for number in rng.choices(range(workloads), weights, k=max(0, pods - workloads)):
        sizes[number] += 1
    return sizes


def make_node(cluster: Cluster, number: int) -> None:
    """Create a Node and report it ready."""
    node = _object("v1", "Node", f"bench-node-{number}")
    cluster.create("/api/v1/nodes", node)
    size = {"cpu": "64", "memory": "256Gi", "pods": "5000"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    status = {
        "capacity": size,
        "allocatable": size,
        "addresses": [{"type": "InternalIP", "address": f"192.0.2.{number + 1}"}],
        "conditions": [{**ready, "lastHeartbeatTime": _now(), "lastTransitionTime": _now()}],
    }
    cluster.write_status(f"/api/v1/nodes/bench-node-{number}", status)


def make_namespace(cluster: Cluster, number: int) -> None:
    """Create a namespace with what the pods in it refer to."""
    namespace = _namespace(number)
    cluster.create("/api/v1/namespaces", _object("v1", "Namespace", namespace))
    path = f"/api/v1/namespaces/{namespace}"
    settings = _object("v1", "ConfigMap", "settings", namespace)
    settings["data"] = {"LOG_LEVEL": "info", "REGION": "eu-west"}
    cluster.create(f"{path}/configmaps", settings)
    secret = _object("v1", "Secret", "credentials", namespace)
    secret["stringData"] = {"password": "bench"}
    cluster.create(f"{path}/secrets", secret)
    # A controller makes this one too, but perhaps after the first pod that needs it.
    cluster.create(f"{path}/serviceaccounts", _object("v1", "ServiceAccount", "default", namespace))


def make_account(cluster: Cluster, number: int, seed: int) -> str:
    """Create a service account with a RoleBinding, and return its name."""
    rng, namespace = random.Random(f"account {seed} {number}"), _namespace(number)
    name = f"app-{seed}-{number}"
    account = _object("v1", "ServiceAccount", name, namespace)
    if rng.random() < 0.2:
        account["automountServiceAccountToken"] = False
    cluster.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    group = "rbac.authorization.k8s.io"
    binding = _object(f"{group}/v1", "RoleBinding", name, namespace)
    role = rng.choices(("view", "edit", "admin", "cluster-admin"), (80, 14, 5, 1))[0]
    binding["roleRef"] = {"apiGroup": group, "kind": "ClusterRole", "name": role}
    binding["subjects"] = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    cluster.create(f"/apis/{group}/v1/namespaces/{namespace}/rolebindings", binding)
    return name


def make_workload(cluster: Cluster, number: int, seed: int, replicas: int) -> Object:
    """Create a Deployment and its ReplicaSet; return the pod its replicas are copies of."""
    rng, namespace = random.Random(f"workload {seed} {number}"), _namespace(number)
    name = make_account(cluster, number, seed)
    spec = pod_spec(rng, name, name if rng.random() < 0.8 else "default")
    labels = {"app": name}
    template_hash = _letters(random.Random(f"hash {seed} {number}"), 10)
    hashed = {**labels, "pod-template-hash": template_hash}
    path = f"/apis/apps/v1/namespaces/{namespace}"
    deployment = _object("apps/v1", "Deployment", name, namespace, labels)
    deployment["spec"] = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }
    made = cluster.create(f"{path}/deployments", deployment)
    replica_set = _object("apps/v1", "ReplicaSet", f"{name}-{template_hash}", namespace, hashed)
    replica_set["metadata"]["ownerReferences"] = [_owner(made, "apps/v1", "Deployment")]
    replica_set["spec"] = {
        "replicas": replicas,
        "selector": {"matchLabels": hashed},
        "template": {"metadata": {"labels": hashed}, "spec": spec},
    }
    made = cluster.create(f"{path}/replicasets", replica_set)
    pod = _object("v1", "Pod", made["metadata"]["name"], namespace, hashed)
    pod["metadata"]["ownerReferences"] = [_owner(made, "apps/v1", "ReplicaSet")]
    return {**pod, "spec": spec}


def make_replica(cluster: Cluster, template: Object, replica: int) -> None:
    """Create one pod of a workload, running."""
    meta = template["metadata"]
    rng = random.Random(f"replica {meta['name']} {replica}")
    name = f"{meta['name']}-{_letters(rng, 5)}"
    run(cluster, {**template, "metadata": {**meta, "name": name}}, replica)


def make_single_pod(cluster: Cluster, number: int, seed: int, accounts: int) -> None:
    """Create one pod that has no owner and is like no other, running."""
    rng, name = random.Random(f"single {seed} {number}"), f"single-{seed}-{number}"
    account = number % accounts
    pod = _object("v1", "Pod", name, _namespace(account), {"app": name})
    pod["spec"] = pod_spec(rng, name, f"app-{seed}-{account}")
    run(cluster, pod, number)


def run(cluster: Cluster, pod: Object, number: int) -> None:
    """Create a pod on one of the nodes and report all of its containers as running."""
    node = number % NODES
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods"
    spec = pod["spec"]
    cluster.create(path, {**pod, "spec": {**spec, "nodeName": f"bench-node-{node}"}})
    now = _now()
    finished = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now}}
    status = {
        "phase": "Running",
        "startTime": now,
        "hostIP": f"192.0.2.{node + 1}",
        "podIP": f"10.{244 + node}.{number // 250 % 250}.{number % 250 + 1}",
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ],
        "containerStatuses": [
            _container_status(c, {"running": {"startedAt": now}}) for c in spec["containers"]
        ],
        "initContainerStatuses": [
            _container_status(c, finished) for c in spec.get("initContainers", ())
        ],
    }
    cluster.write_status(f"{path}/{pod['metadata']['name']}", status)


def pod_spec(rng: random.Random, name: str, account: str) -> Object:
    """Return a pod's specification: hardened, ordinary, careless, or a node agent's."""
    style = rng.choices(("hardened", "ordinary", "careless", "agent"), (35, 40, 20, 5))[0]
    volumes: list[Object] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[Object] = [{"name": "tmp", "mountPath": "/tmp"}]
    if rng.random() < 0.5:
        volumes.append({"name": "config", "configMap": {"name": "settings"}})
        mounts.append({"name": "config", "mountPath": "/etc/app", "readOnly": True})
    if rng.random() < 0.3:
        volumes.append({"name": "secret", "secret": {"secretName": "credentials"}})
        mounts.append({"name": "secret", "mountPath": "/etc/secret", "readOnly": True})
    if style == "agent":
        path = rng.choice(HOST_PATHS)
        volumes.append({"name": "host", "hostPath": {"path": path}})
        mounts.append({"name": "host", "mountPath": "/host", "readOnly": rng.random() < 0.5})
    count = rng.choices((1, 2, 3), (60, 30, 10))[0]
    names = ("main", "sidecar", "metrics")[:count]
    spec: Object = {
        "serviceAccountName": account,
        "containers": [_container(rng, name, c, style, mounts) for c in names],
        "volumes": volumes,
    }
    if rng.random() < 0.4:
        first = _container(rng, name, "prepare", style, mounts[:1])
        spec["initContainers"] = [
            {key: value for key, value in first.items() if not key.endswith("Probe")}
        ]
    if style == "hardened":
        spec["securityContext"] = {
            "runAsNonRoot": True,
            "runAsUser": rng.randint(1000, 60000),
            "fsGroup": 2000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        spec["automountServiceAccountToken"] = rng.random() < 0.3
    elif style == "agent":
        spec["hostPID"] = rng.random() < 0.5
        spec["hostNetwork"] = rng.random() < 0.5
        spec["tolerations"] = [{"operator": "Exists"}]
    return spec


def _container(
    rng: random.Random, name: str, container: str, style: str, mounts: list[Object]
) -> Object:
    image = rng.choice(IMAGES[:4] if style == "hardened" else IMAGES)
    digest = hashlib.sha256(name.encode()).hexdigest()
    made: Object = {
        "name": container,
        "image": image.format(name=name, minor=rng.randint(0, 40), digest=digest),
        "args": [f"--instance={name}", f"--workers={rng.randint(1, 64)}"],
        "env": [
            {"name": "INSTANCE", "value": name},
            {
                "name": "POD_IP",
                "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
            },
            {
                "name": "LOG_LEVEL",
                "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "LOG_LEVEL"}},
            },
        ],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "volumeMounts": mounts,
    }
    if style != "agent":
        made["ports"] = [{"containerPort": rng.randint(1024, 9999)}]
    if rng.random() < 0.25:
        reference = {"secretKeyRef": {"name": "credentials", "key": "password"}}
        made["env"].append({"name": "PASSWORD", "valueFrom": reference})
    if style != "careless":
        memory = f"{rng.choice((64, 128, 256, 512))}Mi"
        made["resources"] = {
            "requests": {"cpu": "50m", "memory": memory},
            "limits": {"cpu": "500m", "memory": memory},
        }
        probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10}
        made["livenessProbe"] = made["readinessProbe"] = probe
    if style == "hardened":
        made["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    elif style == "careless" and rng.random() < 0.5:
        capability = rng.choice(("NET_ADMIN", "NET_RAW", "SYS_PTRACE"))
        made["securityContext"] = {"runAsUser": 0, "capabilities": {"add": [capability]}}
    elif style == "agent":
        made["securityContext"] = {"privileged": rng.random() < 0.7}
    return made


def _container_status(container: Object, state: Object) -> Object:
    image = container["image"]
    digest = hashlib.sha256(image.encode()).hexdigest()
    folder, _, last = image.split("@")[0].rpartition("/")
    repository = f"{folder or 'docker.io/library'}/{last.split(':')[0]}"
    return {
        "name": container["name"],
        "image": image,
        "imageID": f"{repository}@sha256:{digest}",
        "containerID": f"containerd://{digest}",
        "ready": True,
        "started": "running" in state,
        "restartCount": 0,
        "state": state,
    }


def _object(
    version: str, kind: str, name: str, namespace: str = "", labels: dict[str, str] | None = None
) -> Object:
    meta: Object = {"name": name, "labels": labels or {}}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": meta}


def _owner(owner: Object, version: str, kind: str) -> Object:
    named = {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    flags = {"controller": True, "blockOwnerDeletion": True}
    return {"apiVersion": version, "kind": kind, **named, **flags}


def _namespace(number: int) -> str:
    return f"bench-{number % NAMESPACES:02}"


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(NAME_LETTERS, k=count))


def _named(entries: Iterable[Object], name: str) -> Object:
    return next(entry for entry in entries if entry["name"] == name)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _all(results: Iterable[object]) -> None:
    for _ in results:
        pass


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, urllib3.exceptions.HTTPError) as problem:
        sys.exit(str(problem))
