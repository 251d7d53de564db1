"""Overworld itself in the cluster, from its image, as docs/kubernetes.md installs it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.commands import CommandFailed
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
    """A release and its API."""

    cluster: Cluster
    helm: Helm
    database_url: str
    api: httpx.Client
    values: Values

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


@pytest.fixture(scope="module")
def whole(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Overworld, installed by the real helm on a PostgreSQL by URL with saves to an S3 store, every NetworkPolicy
    enforced."""
    for archive in build_images("overworld", "luanti"):
        cluster.import_images(archive)
    nodes = list(cluster.nodes.values())
    with (
        run_cluster(HOST_ADDRESS, DATABASE_PORT) as admin_url,
        S3(tmp_path_factory.mktemp("store") / "s3", HOST_ADDRESS) as s3,
        enforced(nodes, cluster.kubeconfig),
    ):
        with psycopg.connect(admin_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE overworld")
        url = f"postgresql://{SUPERUSER}@{HOST_ADDRESS}:{DATABASE_PORT}/overworld"
        cluster.kubectl("create", "namespace", SYSTEM)
        secret = ("create", "secret", "generic", "overworld-database", f"--from-literal=url={url}")
        cluster.kubectl("--namespace", SYSTEM, *secret)
        contents = [f"--from-literal={name}={content}" for name, content in worker_secret().items()]
        cluster.kubectl("--namespace", SYSTEM, "create", "secret", "generic", "overworld-worker", *contents)
        helm, values = Helm(cluster.kubeconfig), values_with(s3)
        helm.install(RELEASE, SYSTEM, values)
        address = wait_until(lambda: _address(cluster), 20, "web has its address")
        token = cluster.kubectl(
            "--namespace", SYSTEM, "exec", "deployment/arcade-controller", "--", "overworld", "db", "admin-token"
        ).strip()
        headers = {"Authorization": f"Bearer {token}"}
        base = f"http://{address}/api/v1"
        with httpx.Client(base_url=base, headers=headers, timeout=10, trust_env=False) as api:
            yield Whole(cluster, helm, url, api, values)
        helm.uninstall(RELEASE, SYSTEM)
        cluster.kubectl("delete", "namespace", SYSTEM, "--timeout=60s")


def _address(cluster: Cluster) -> str:
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    return cluster.kubectl("--namespace", SYSTEM, "get", "service", "arcade-web", "--output", path)


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


@pytest.mark.timeout(600)
def test_a_server_asked_for_by_api_runs_and_an_upgrade_does_not_disturb_it(whole: Whole) -> None:
    """From the image, with the chart's rights and under its policies: created, reached from outside, watched, spoken
    to; every pod of Overworld is replaced by `helm upgrade` meanwhile, and the game is the same process as before."""
    created = json_of(whole.api.post("/servers", json={"name": "meadow", "game": "luanti"}))
    server_id = created["id"]
    wait_until(lambda: whole.server(server_id)["state"] == "running", 90, "the server runs")
    (endpoint,) = whole.server(server_id)["endpoints"]
    assert endpoint["host"].startswith("198.18.113.")
    player = Player(endpoint["host"], endpoint["port"])
    wait_until(player.is_let_in, 20, "the game is reached from outside")
    wait_until(lambda: (whole.server(server_id)["activity"] or {}).get("memory_mib"), 60, "it is watched")
    wait_until(lambda: whole.server(server_id)["activity"]["players"] == 0, 20, "its keeper says that nobody plays")
    before = whole.pod(server_id)
    old = set(whole.kubectl(SYSTEM, "get", "pods", "--output=name").split())
    with player.at_the_door():
        settings = {**VALUES["settings"], "retention": "P14D"}
        whole.helm.install(RELEASE, SYSTEM, {**whole.values, "settings": settings})
        wait_until(
            lambda: not old & set(whole.kubectl(SYSTEM, "get", "pods", "--output=name").split()),
            90,
            "every pod of Overworld is another",
        )
        spoken = whole.api.post(f"/servers/{server_id}/console", json={"command": "/status"})
        assert spoken.status_code == 204, spoken.text
    assert player.handshakes > 10
    assert player.failures == []
    after = whole.pod(server_id)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [one["restartCount"] for one in after["status"]["containerStatuses"]] == [0]
    json_of(whole.api.post(f"/servers/{server_id}/stop"))
    wait_until(lambda: whole.server(server_id)["state"] == "stopped", 60, "the new controller stops it")


def name_the_worker(whole: Whole) -> None:
    """Web finds the worker's Service by its name: the test cluster has nobody who tells names."""
    ask = ("get", "service", "arcade-worker", "--output=jsonpath={.spec.clusterIP}")
    alias = {"ip": whole.kubectl(SYSTEM, *ask), "hostnames": ["arcade-worker"]}
    change = json.dumps({"spec": {"template": {"spec": {"hostAliases": [alias]}}}})
    whole.kubectl(SYSTEM, "patch", "deployment", "arcade-web", f"--patch={change}")
    whole.kubectl(SYSTEM, "rollout", "status", "deployment/arcade-web", "--timeout=60s")


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


@pytest.mark.timeout(600)
def test_worlds_are_saved_restored_cloned_and_looked_into(whole: Whole) -> None:
    """By the worker of the chart, with its rights and under its policies: a running game is saved quieted, its database
    by SQLite; its files are read and changed through web; a restore goes back and its undo forward; a stop is saved,
    proven by the game that starts on it, and a server made of it. No key is in any object but the operator's Secret."""
    name_the_worker(whole)
    created = json_of(whole.api.post("/servers", json={"name": "garden", "game": "luanti"}))
    url = f"/servers/{created['id']}"
    wait_until(lambda: whole.server(created["id"])["state"] == "running", 90, "the server runs")
    note = f"{url}/files/content"
    written = whole.api.put(note, params={"path": "note.txt"}, content=b"before", headers=BYTES)
    assert written.status_code in {200, 201}, written.text
    ended(whole, whole.api.post(f"{url}/saves", json={"label": "first"}))
    save = next(one for one in json_of(whole.api.get(f"{url}/saves"))["items"] if one["label"] == "first")
    assert (save["state"], save["quiet"], save["error"]) == ("kept", "quieted", "")
    inside = [item["name"] for item in json_of(whole.api.get(f"/saves/{save['id']}/files"))["items"]]
    assert "note.txt" in inside
    assert whole.api.put(note, params={"path": "note.txt"}, content=b"after", headers=BYTES).status_code == 200
    ended(whole, whole.api.post(f"{url}/restore", json={"save_id": save["id"]}))
    wait_until(lambda: whole.server(created["id"])["state"] == "running", 90, "it runs on the restored world")
    assert whole.api.get(note, params={"path": "note.txt"}).content == b"before"
    ended(whole, whole.api.post(f"{url}/undo-restore"))
    wait_until(lambda: whole.server(created["id"])["state"] == "running", 90, "it runs on its own world again")
    assert whole.api.get(note, params={"path": "note.txt"}).content == b"after"
    json_of(whole.api.post(f"{url}/stop"))

    def stop_save() -> dict[str, Any] | None:
        found = [one for one in json_of(whole.api.get(f"{url}/saves"))["items"] if one["reason"] == "stop"]
        return found[0] if found and found[0]["state"] == "kept" else None

    last = wait_until(stop_save, 120, "the stopped world is saved")
    assert last is not None
    assert last["quiet"] == "stopped"
    assert whole.api.get(note, params={"path": "note.txt"}).content == b"after"  # of a stopped server
    ended(whole, whole.api.post(f"{url}/prove", json={"save_id": last["id"]}))
    assert json_of(whole.api.get(f"/saves/{last['id']}"))["proof"] == "booted"
    clone = ended(whole, whole.api.post(f"/saves/{last['id']}/clone", json={"name": "copy"}))
    copied = whole.api.get(f"/servers/{clone['server_id']}/files/content", params={"path": "note.txt"})
    assert copied.content == b"after"
    kept = whole.kubectl(GAMES, "get", "pods,secrets,configmaps,events", "-ojson")
    kept += whole.kubectl(SYSTEM, "get", "pods,configmaps,events,deployments", "-ojson")
    assert [one for one in worker_secret().values() if one != KEY_ID and one in kept] == []


def test_what_web_lacks_it_does_not_have(whole: Whole) -> None:
    """Inside of web's pod there is no way to a game's Secret."""
    script = (
        "import urllib.request, ssl; token = open('/var/run/secrets/kubernetes.io/serviceaccount/token').read(); "
        "context = ssl.create_default_context(cafile='/var/run/secrets/kubernetes.io/serviceaccount/ca.crt'); "
        f"request = urllib.request.Request('https://10.96.0.1/api/v1/namespaces/{GAMES}/secrets', "
        "headers={'Authorization': 'Bearer ' + token}); urllib.request.urlopen(request, context=context)"
    )
    with pytest.raises(CommandFailed, match="403: Forbidden"):
        whole.kubectl(SYSTEM, "exec", "deployment/arcade-web", "--", "python3", "-c", script)


def test_the_image_believes_the_usual_authorities(whole: Whole) -> None:
    """Or no call of Azure's API would be answered: the controller verifies who it speaks to."""
    script = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    said = whole.kubectl(SYSTEM, "exec", "deployment/arcade-controller", "--", "python3", "-c", script)
    assert int(said) > 50
