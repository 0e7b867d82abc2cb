"""Time and peak memory of a live audit by number of pods: a table in Markdown.

It starts a real API server with etcd (as the live tests do), fills it with `make_pods.py` to each
size in turn, and runs `auditor audit` as a whole process, so that interpreter start, imports,
HTML and PDF are all in the figure. Beside it stand a bare client that lists the same kinds side by
side and throws the decoded pages away, and `auditor collect`, whose listing is held against that,
in the same run: the ratio says what collecting adds to the transfer.

    python bench/audit.py --pods 50,500,5000 --workloads 200 --runs 3
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.controlplane import ControlPlane, find_or_build  # noqa: E402

BARE = """
import sys, time, gc
from concurrent.futures import ThreadPoolExecutor
import orjson
from kubernetes import client, config
from auditor.collect.kubernetes.kinds import KINDS
config.load_kube_config(sys.argv[1])
api = client.ApiClient()
pool = api.rest_client.pool_manager
host, size = api.configuration.host, int(sys.argv[2])
gc.disable()
def listed(kind):
    more = ""
    while True:
        page = min(size, kind.page)
        url = f"{host}{kind.path(kind.versions[0])}?limit={page}"
        accept = {"Accept": kind.accept, "Accept-Encoding": "gzip"}
        answer = pool.request("GET", url + (f"&continue={more}" if more else ""), headers=accept)
        more = orjson.loads(answer.data)["metadata"].get("continue", "")
        if not more:
            return
start = time.perf_counter()
with ThreadPoolExecutor(8) as threads:
    list(threads.map(listed, KINDS))
print(time.perf_counter() - start)
"""


def bare_list(kubeconfig: str, env: dict[str, str]) -> float:
    """Seconds in which a client lists the same kinds side by side, and throws the pages away."""
    command = [sys.executable, "-c", BARE, kubeconfig, "500"]
    run = subprocess.run(command, env=env, check=True, capture_output=True, text=True, cwd=ROOT)
    return float(run.stdout)


def collecting(kubeconfig: str, folder: str, number: int) -> list[str]:
    """`auditor collect` alone: nothing else runs beside its listing."""
    return [
        sys.executable, "-m", "auditor", "--log", str(Path(folder) / f"log{number}"), "collect",
        "--quiet", "--kubeconfig", kubeconfig, "--output", str(Path(folder) / "s.json.gz"),
    ]  # fmt: skip


@dataclass
class Run:
    """One process: wall seconds, peak resident MiB, its log's phases, its exit code."""

    wall: float
    peak: float
    phases: dict[str, float]
    code: int


def measure(command: list[str], log: Path | None = None, env: dict[str, str] | None = None) -> Run:
    """Run a command as a process of its own and read the kernel's own accounting of it."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    found = re.findall(r"phase (\S+) took ([0-9.]+) s", log.read_text()) if log else []
    phases = {name: float(seconds) for name, seconds in found}
    return Run(wall, usage.ru_maxrss / 1024, phases, process.returncode)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pods", default="50,500,5000")
    parser.add_argument("--workloads", type=int, default=200, help="0: all pods different")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    phases = ("collect", "snapshot", "evaluate", "aggregate", "html", "pdf", "json", "csv")
    print("| pods | wall s | peak MiB | bare list s | list / bare | " + " | ".join(phases) + " |")
    print("|---:|" * 1 + "---:|" * (4 + len(phases)))
    for size in (int(text) for text in options.pods.split(",")):
        with ControlPlane.start(find_or_build()) as plane, tempfile.TemporaryDirectory() as folder:
            kubeconfig = str(plane.kubeconfig)
            subprocess.run(
                [sys.executable, str(ROOT / "bench" / "make_pods.py"), "--pods", str(size),
                 "--workloads", str(min(options.workloads, size)), "--kubeconfig", kubeconfig],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            env = {**os.environ, "KUBECONFIG": kubeconfig}
            runs, bare, alone = [], [], []
            for number in range(options.runs):
                log = Path(folder) / f"log{number}"
                command = [
                    sys.executable, "-m", "auditor", "--log", str(log), "audit", "--quiet",
                    "--kubeconfig", kubeconfig, "--output", str(Path(folder) / "out"),
                ]  # fmt: skip
                bare.append(bare_list(kubeconfig, env))
                alone.append(measure(collecting(kubeconfig, folder, number), log, env))
                log.unlink()
                runs.append(measure(command, log, env))
            if any(run.code not in {0, 1, 3} for run in runs):
                sys.exit(f"an audit ended with {[run.code for run in runs]}")
            wall = statistics.median(run.wall for run in runs)
            plain = statistics.median(bare)
            ratio = statistics.median(
                run.phases["list"] / seconds for run, seconds in zip(alone, bare, strict=True)
            )
            cells = [
                f"{size:,}", f"{wall:.1f}", f"{max(run.peak for run in runs):.0f}",
                f"{plain:.2f}", f"{ratio:.2f}",
            ]  # fmt: skip
            for name in phases:
                seconds = statistics.median(run.phases.get(name, 0.0) for run in runs)
                cells.append(f"{seconds:.2f}")
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
