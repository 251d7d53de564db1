"""A test cluster for benchmarks: namespaces, users whose writes are counted, and Overworld's controller beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil
import yaml

from cluster.harness.cluster import Cluster
from cluster.harness.provisioner import DISK
from cluster.scripted_image import STEWARD_IMAGE
from installation import free_port
from waiting import wait_until

GAMES_FOLDER = Path(__file__).resolve().parent.parent / "games"
REGISTRY, TAG = "registry.test", "1"
STORAGE_CLASS = "world"
NAMESPACE = "games"
"""Of Overworld."""
BARE_NAMESPACE = "bare-games"
"""Of the program that it is compared with: each would touch the other's servers."""
USERS = (f"system:serviceaccount:{NAMESPACE}:bench", f"system:serviceaccount:{BARE_NAMESPACE}:bench")


@contextmanager
def open_cluster(*, nodes: int = 0, fake_nodes: int = 0) -> Iterator[Cluster]:
    """A cluster with both namespaces, each with a user that may do everything, and the storage class."""
    # A fake node that is a moment late with its sign of life under load would have its pods called unready for ever.
    with Cluster(nodes=nodes, node_loss_seconds=600, audited=USERS) as cluster:
        if fake_nodes:
            cluster.add_fake_nodes(fake_nodes, tainted=False)
        for namespace in (NAMESPACE, BARE_NAMESPACE):
            _prepare(cluster, namespace)
        storage_class = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": STORAGE_CLASS},
            "provisioner": DISK,
            "reclaimPolicy": "Retain",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        cluster.kubectl("apply", "--filename=-", stdin=json.dumps(storage_class))
        yield cluster
        cluster.stand_ins.check()


def _prepare(cluster: Cluster, namespace: str) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bench", "namespace": namespace}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"bench-{namespace}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "bench", "namespace": namespace}],
    }
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": label}},
        account,
        binding,
    ]
    body = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(body))
    wait_until(
        lambda: "default" in cluster.kubectl("--namespace", namespace, "get", "serviceaccounts", "--output=name"),
        20,
        f"the namespace {namespace} has its service account",
    )


def write_kubeconfig(cluster: Cluster, namespace: str, path: Path) -> Path:
    """A kubeconfig for the namespace's user: as a pod's, with a token, under the same limits of the API server."""
    content: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.kubectl("--namespace", namespace, "create", "token", "bench", "--duration=6h").strip()
    content["users"][0]["user"] = {"token": token}
    path.write_text(yaml.safe_dump(content))
    return path


def count_writes(cluster: Cluster, namespace: str) -> Counter[str]:
    """The writes of the namespace's user so far, by verb and kind (``patch pods``), refused ones included."""
    user = f"system:serviceaccount:{namespace}:bench"
    found: Counter[str] = Counter()
    log = cluster.control_plane.audit_log
    for line in log.read_text().splitlines() if log.exists() else ():
        note = json.loads(line)
        if note["user"]["username"] == user:
            subresource = note["objectRef"].get("subresource")
            found[f"{note['verb']} {note['objectRef']['resource']}{f'/{subresource}' if subresource else ''}"] += 1
    return found


@dataclass(frozen=True)
class Spent:
    """What a process has used so far."""

    cpu_seconds: float
    rss_mib: float


def environment(kubeconfig: Path, database_url: str, **settings: str) -> dict[str, str]:
    """Of every process of Overworld here; ``settings`` are more, or other, settings."""
    chosen = {
        "database_url": database_url,
        "engine": "kube",
        "kubeconfig": str(kubeconfig),
        "kube_namespace": NAMESPACE,
        "kube_registry": REGISTRY,
        "kube_image_tag": TAG,
        "kube_steward_image": STEWARD_IMAGE,
        "kube_disk_class": STORAGE_CLASS,
        "kube_service_type": "ClusterIP",
        "kube_cpu_request_millis": "10",
        "disk_mib": "64",
        "catalogue_folders": str(GAMES_FOLDER),
        "log_level": "warning",
    } | settings
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("OVERWORLD_")},
        **{f"OVERWORLD_{name.upper()}": value for name, value in chosen.items()},
    }


@contextmanager
def run_web(kubeconfig: Path, database_url: str, token: str) -> Iterator[httpx.Client]:
    """``overworld web`` as a process of its own; a client of its API with that token."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "overworld", "web"],
        env=environment(kubeconfig, database_url, listen_port=str(port)),
        stdin=subprocess.DEVNULL,
    )
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=10, trust_env=False) as client:
            wait_until(lambda: _answers(client), 30, "web answers")
            client.base_url = f"http://127.0.0.1:{port}/api/v1"
            yield client
    finally:
        process.terminate()
        process.wait(20)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


class Controller:
    """``overworld controller`` as a process of its own, on a cluster and a database. Use as a context manager."""

    def __init__(self, kubeconfig: Path, database_url: str, **settings: str) -> None:
        self._port = free_port()
        self._environment = environment(kubeconfig, database_url, metrics_listen=f"127.0.0.1:{self._port}", **settings)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; does not wait."""
        command = [sys.executable, *_profiler(), "-m", "overworld", "controller"]
        self._process = subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL)

    def stop(self) -> None:
        """Stop it as a service manager would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def until_leading(self) -> None:
        """It holds the lease and has looked at the cluster."""
        wait_until(lambda: self.metric("overworld_controller_is_leader") == 1, 60, "the controller leads")

    def metric(self, name: str) -> float:
        """The sum over all samples of one of its metrics; 0 while it does not answer."""
        assert self._process is not None
        assert self._process.poll() is None, f"the controller ended with {self._process.returncode}"
        try:
            text = httpx.get(f"http://127.0.0.1:{self._port}/metrics", timeout=5, trust_env=False).text
        except httpx.TransportError:
            return 0.0
        samples = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return sum(float(value) for sample, _, value in samples if sample.partition("{")[0] == name)

    def spent(self) -> Spent:
        """CPU and memory of the process, threads included."""
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        times = process.cpu_times()
        return Spent(times.user + times.system, process.memory_info().rss / 2**20)


def _profiler() -> list[str]:
    """``PROFILE=file`` has the controller write a profile of its event loop's thread there."""
    return ["-m", "cProfile", "-o", os.environ["PROFILE"]] if "PROFILE" in os.environ else []


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for what is written on the way."""
    with tempfile.TemporaryDirectory(prefix="overworld-bench-") as folder:
        yield Path(folder)


def until(look: Callable[[], bool], within_seconds: float, explain: Callable[[], object], pause: float = 0.2) -> float:
    """Wait without disturbing what is measured; the seconds that it took. Raises TimeoutError with an explanation."""
    began = time.monotonic()
    while not look():
        if time.monotonic() > began + within_seconds:
            raise TimeoutError(f"not within {within_seconds:g} s: {explain()}")
        time.sleep(pause)
    return time.monotonic() - began


def changed(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What has grown, and by how much."""
    return {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
