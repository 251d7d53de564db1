"""Overworld itself in the cluster, from its image, as docs/kubernetes.md installs it: its chart, database and store."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from cluster.harness.cluster import Cluster
from cluster.harness.helm import Helm, Values
from cluster.harness.image_builds import REGISTRY, TAG, build_images
from cluster.harness.names import HOST_ADDRESS
from cluster.harness.policies import enforced
from cluster.harness.provisioner import DISK
from installation import json_of
from overworld.games.query import luanti
from overworld.saves.secrets import Keyring, new_key
from postgres import SUPERUSER, run_cluster
from s3 import BUCKET, KEY_ID, S3, SECRET
from waiting import wait_until

BYTES = {"Content-Type": "application/octet-stream"}
RELEASE, SYSTEM, GAMES = "arcade", "arcade", "arcade-games"
DATABASE_PORT = 54329
VALUES: Values = {
    "image": {"repository": f"{REGISTRY}/overworld", "tag": TAG},
    "games": {"registry": REGISTRY, "imageTag": TAG},
    "storage": {"disk": {"provisioner": DISK}},
    "web": {"service": {"type": "LoadBalancer"}},
    "networkPolicies": {"database": {"ranges": [f"{HOST_ADDRESS}/32"], "port": DATABASE_PORT}},
    "metrics": {"enabled": True},
    "settings": {"disk_mib": 64, "kube_cpu_request_millis": 50, "monitor_interval": 2, "save_schedule": ""},
}


def values_with(s3: S3) -> Values:
    """The chart's values with that save store."""
    assert s3.ca_file is not None
    return {
        **VALUES,
        "saves": {"store": f"s3:https://{s3.host}:{s3.port}/{BUCKET}", "authority": s3.ca_file.read_text()},
        "networkPolicies": {
            **VALUES["networkPolicies"],
            "saveStore": {"ranges": [f"{HOST_ADDRESS}/32"], "port": s3.port},
        },
    }


def worker_secret() -> dict[str, str]:
    """What an operator puts into it."""
    return {
        "link": "a" * 64,
        "save-keys": Keyring((new_key("first"),)).format(),
        "store-key-id": KEY_ID,
        "store-key": SECRET,
    }


@dataclass
class Whole:
    """A release and its API; what it stands on."""

    cluster: Cluster
    helm: Helm
    admin_url: str
    s3: S3
    values: Values
    api: httpx.Client

    def prepare(self, secret: dict[str, str]) -> None:
        """What is there before the chart: an empty database, the namespace and its Secrets, the worker's with that."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS overworld WITH (FORCE)")
            connection.execute("CREATE DATABASE overworld")
        url = f"postgresql://{SUPERUSER}@{HOST_ADDRESS}:{DATABASE_PORT}/overworld"
        self.cluster.kubectl("create", "namespace", SYSTEM)
        for name, contents in (("overworld-database", {"url": url}), ("overworld-worker", secret)):
            given = [f"--from-literal={key}={content}" for key, content in contents.items()]
            self.kubectl(SYSTEM, "create", "secret", "generic", name, *given)

    def install(self, token: str = "") -> None:
        """The release runs, and its API is asked with that token, or with a new one."""
        self.helm.install(RELEASE, SYSTEM, self.values)
        path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
        ask = ("get", "service", "arcade-web", "--output", path)
        address = wait_until(lambda: self.kubectl(SYSTEM, *ask), 20, "web has its address")
        self.api.base_url = f"http://{address}/api/v1"
        issue = ("exec", "deployment/arcade-controller", "--", "overworld", "db", "admin-token")
        self.api.headers["Authorization"] = f"Bearer {token or self.kubectl(SYSTEM, *issue).strip()}"

    def kubectl(self, namespace: str, *arguments: str) -> str:
        """kubectl in a namespace."""
        return self.cluster.kubectl("--namespace", namespace, *arguments)

    def server(self, server_id: str) -> dict[str, Any]:
        """What the API says of a server."""
        found: dict[str, Any] = json_of(self.api.get(f"/servers/{server_id}"))
        return found

    def pod(self, server_id: str) -> dict[str, Any]:
        """The pod that runs it."""
        (found,) = json.loads(self.kubectl(GAMES, "get", "pods", f"--selector=overworld/server={server_id}", "-ojson"))[
            "items"
        ]
        return dict(found)


@contextmanager
def whole_site(cluster: Cluster, folder: Path) -> Iterator[Whole]:
    """All that a release needs, of which none is there yet: images, a PostgreSQL by URL, an S3 store; every
    NetworkPolicy is enforced."""
    for archive in build_images("overworld", "luanti"):
        cluster.import_images(archive)
    nodes = list(cluster.nodes.values())
    # Else a request goes to a pod of web that a later release has just replaced.
    limits = httpx.Limits(max_keepalive_connections=0)
    with (
        run_cluster(HOST_ADDRESS, DATABASE_PORT) as admin_url,
        S3(folder / "s3", HOST_ADDRESS) as s3,
        enforced(nodes, cluster.kubeconfig),
        httpx.Client(timeout=10, trust_env=False, limits=limits) as api,
    ):
        yield Whole(cluster, Helm(cluster.kubeconfig), admin_url, s3, values_with(s3), api)


@dataclass
class Player:
    """Shakes hands with a game over and over; remembers when nobody answered."""

    host: str
    port: int
    handshakes: int = 0
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def at_the_door(self) -> Iterator[None]:
        """For as long as the block lasts."""
        leave = threading.Event()
        knocking = threading.Thread(target=self._knock, args=(leave,))
        knocking.start()
        try:
            yield
        finally:
            leave.set()
            knocking.join()

    def _knock(self, leave: threading.Event) -> None:
        while not leave.wait(0.2):
            began = time.monotonic()
            if not self.is_let_in():
                self.failures.append(f"no answer from {began} to {time.monotonic()}")
            self.handshakes += 1

    def is_let_in(self) -> bool:
        """One handshake."""

        async def shake() -> bool:
            try:
                async with asyncio.timeout(2):
                    await luanti.probe(self.host, self.port)
            except (OSError, TimeoutError):
                return False
            return True

        return asyncio.run(shake())


def name_the_worker(whole: Whole) -> None:
    """Web finds the worker's Service by its name: the test cluster has nobody who tells names."""
    ask = ("get", "service", "arcade-worker", "--output=jsonpath={.spec.clusterIP}")
    alias = {"ip": whole.kubectl(SYSTEM, *ask), "hostnames": ["arcade-worker"]}
    change = json.dumps({"spec": {"template": {"spec": {"hostAliases": [alias]}}}})
    whole.kubectl(SYSTEM, "patch", "deployment", "arcade-web", f"--patch={change}")
    whole.kubectl(SYSTEM, "rollout", "status", "deployment/arcade-web", "--timeout=60s")
    # One that is on its way out still answers, and does not know the name.
    told = "--output=jsonpath={range .items[*]}{.spec.hostAliases[0].ip},{end}"
    look = ("get", "pods", "--selector=app.kubernetes.io/component=web", told)
    wait_until(lambda: set(whole.kubectl(SYSTEM, *look).split(",")[:-1]) == {alias["ip"]}, 60, "all of web know it")


def ended(whole: Whole, answer: httpx.Response) -> dict[str, Any]:
    """The operation, once it has succeeded."""
    assert answer.status_code == 202, answer.text
    where = f"/operations/{answer.json()['id']}"

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = json_of(whole.api.get(where))
        return None if found["outcome"] == "running" else found

    done = wait_until(look, 150, f"{where} ends: {json_of(whole.api.get(where))}")
    assert done is not None
    assert done["outcome"] == "succeeded", done
    return done
