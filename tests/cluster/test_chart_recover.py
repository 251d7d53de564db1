"""A whole installation in a cluster lost and brought back, as docs/recovery.md says: only bucket and key are left."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.commands import CommandFailed, run
from cluster.whole import (
    BYTES,
    GAMES,
    RELEASE,
    SYSTEM,
    Player,
    Whole,
    ended,
    name_the_worker,
    whole_site,
    worker_secret,
)
from installation import json_of
from waiting import wait_until

BUILT = os.urandom(300_000)
WORKER = "deployment/arcade-worker"


@pytest.fixture
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Nothing is installed yet; what is at the end is gone."""
    with whole_site(cluster, tmp_path_factory.mktemp("store")) as site:
        yield site
        lose(site)


def lose(site: Whole) -> None:
    """Every object of the installation is gone, and its database with the next one; no game was told."""
    site.helm.uninstall(RELEASE, SYSTEM)
    site.cluster.kubectl("delete", "namespace", GAMES, SYSTEM, "--wait=false")
    site.kubectl(GAMES, "delete", "deployments", "--all", "--wait=false")

    def are_gone() -> bool:
        for pod in site.kubectl(GAMES, "get", "pods", "--output=name").split():
            with suppress(CommandFailed):  # it is gone meanwhile
                site.kubectl(GAMES, "delete", pod, "--force", "--grace-period=0", "--wait=false")
                site.kubectl(GAMES, "patch", pod, "--type=merge", '--patch={"metadata":{"finalizers":null}}')
        spaces = site.cluster.kubectl("get", "namespaces", "--output=name").split()
        return not {f"namespace/{GAMES}", f"namespace/{SYSTEM}"} & set(spaces)

    wait_until(are_gone, 60, "both namespaces are gone")
    site.cluster.kubectl("delete", "persistentvolumes", "--all", "--wait=false")


def in_worker(site: Whole, *command: str, typed: str = "") -> str:
    """What `overworld` says in the worker's pod, which may be another one by now."""
    site.kubectl(SYSTEM, "rollout", "status", WORKER, "--timeout=60s")
    ask = ("--namespace", SYSTEM, "exec", "-i", WORKER, "--", "overworld", *command)
    return run(site.cluster.kubectl_command(*ask), stdin=typed, timeout_seconds=300)


def create(site: Whole, name: str) -> str:
    """A server that runs, with something that was built in its world."""
    server_id = str(json_of(site.api.post("/servers", json={"name": name, "game": "luanti"}))["id"])
    wait_until(lambda: site.server(server_id)["state"] == "running", 90, f"{name} runs")
    url = f"/servers/{server_id}/files/content"
    written = site.api.put(url, params={"path": "tower.bin"}, content=BUILT + name.encode(), headers=BYTES)
    assert written.is_success, written.text
    return server_id


def built(site: Whole, server_id: str) -> bytes:
    """The same, as it is now."""
    return site.api.get(f"/servers/{server_id}/files/content", params={"path": "tower.bin"}).content


def claims(site: Whole) -> list[dict[str, Any]]:
    """Volumes of worlds, whole or not."""
    found: list[dict[str, Any]] = json.loads(site.kubectl(GAMES, "get", "persistentvolumeclaims", "-ojson"))["items"]
    return found


def interrupt(site: Whole, key: str) -> None:
    """A recovery whose pod dies while it works on the worlds."""
    command = ("--namespace", SYSTEM, "exec", "-i", WORKER, "--", "overworld", "recover", "--yes")
    with subprocess.Popen(
        site.cluster.kubectl_command(*command),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as recovering:  # fmt: skip
        assert recovering.stdin is not None
        recovering.stdin.write(f"{key}\n")
        recovering.stdin.close()
        wait_until(lambda: claims(site) or recovering.poll() is not None, 60, "the first world is being made")
        site.s3.freeze()
        site.kubectl(SYSTEM, "delete", "pods", "--selector=app.kubernetes.io/component=worker", "--grace-period=1")
        site.s3.thaw()
        assert recovering.stdout is not None
        said = recovering.stdout.read()
    assert recovering.returncode != 0, said
    assert "The database is back" in said


@pytest.mark.timeout(900)
def test_every_server_comes_back_from_the_bucket_and_the_key(site: Whole) -> None:
    """Database, namespaces and volumes are gone; ids, tokens and worlds are as before, running ones run, the stopped
    one is stopped. A recovery whose pod dies goes on in the next one, and until its end no role starts. No copy of the
    save keys was kept: they come from the store, and without them nothing is begun."""
    secret = worker_secret()
    site.prepare(secret)
    site.install()
    name_the_worker(site)
    ids = {name: create(site, name) for name in ("meadow", "castle", "mine")}
    for name in ("meadow", "castle"):
        ended(site, site.api.post(f"/servers/{ids[name]}/saves", json={}))
    json_of(site.api.post(f"/servers/{ids['mine']}/stop"))

    def is_saved() -> bool:
        saves = json_of(site.api.get(f"/servers/{ids['mine']}/saves"))["items"]
        return bool(saves) and saves[0]["state"] == "kept" and saves[0]["quiet"] == "stopped"

    wait_until(is_saved, 120, "the stopped world is saved")
    key = in_worker(site, "recovery", "create-key").strip().splitlines()[-1]
    assert json_of(site.api.get("/recovery"))["state"] == "ready"
    token = site.api.headers["Authorization"].removeprefix("Bearer ")
    lose(site)

    began = time.monotonic()
    site.prepare({name: content for name, content in secret.items() if name != "save-keys"})
    site.helm.install(RELEASE, SYSTEM, {**site.values, "recovering": True})
    pods = site.kubectl(SYSTEM, "get", "pods", "--output=name").split()
    assert [pod for pod in pods if "worker" not in pod] == []
    with pytest.raises(CommandFailed, match="has not the keys that lock the saves \\(first\\)"):
        in_worker(site, "recover", "--yes", typed=f"{key}\n")
    save_keys = in_worker(site, "recovery", "save-keys", typed=f"{key}\n").strip()
    assert save_keys == secret["save-keys"]
    change = json.dumps({"stringData": {"save-keys": save_keys}})
    site.kubectl(SYSTEM, "patch", "secret", "overworld-worker", "--type=merge", f"--patch={change}")
    site.kubectl(SYSTEM, "rollout", "restart", WORKER)
    site.kubectl(SYSTEM, "rollout", "status", WORKER, "--timeout=60s")

    interrupt(site, key)
    for role in (("web",), ("controller",), ("worker",), ("monitor",), ("db", "upgrade")):
        with pytest.raises(CommandFailed, match="was begun and not ended"):
            in_worker(site, *role)
    again = time.monotonic()
    said = wait_until(lambda: recovered(site, key), 120, "the recovery that died is noticed")
    print(said)
    print(f"From the last attempt to its end: {time.monotonic() - again:.1f} s")
    assert "3 of 3 servers are back" in said
    assert [line for line in said.splitlines() if line.startswith("mine ") and " nothing " in line]

    site.install(token)
    for name in ("meadow", "castle"):
        wait_until(lambda: site.server(ids[name])["state"] == "running", 120, f"{name} runs again")  # noqa: B023
        (endpoint,) = site.server(ids[name])["endpoints"]
        player = Player(endpoint["host"], endpoint["port"])
        wait_until(player.is_let_in, 20, f"{name} is reached from outside")
    print(f"From an empty cluster to games that answer: {time.monotonic() - began:.1f} s")
    name_the_worker(site)
    for name, server_id in ids.items():
        assert built(site, server_id) == BUILT + name.encode()
        told = [event["reason"] for event in json_of(site.api.get(f"/servers/{server_id}/events"))["items"]]
        assert told.count("Recovered") == 1
    assert site.server(ids["mine"])["state"] == "stopped"
    ended(site, site.api.post(f"/servers/{ids['castle']}/saves", json={}))
    assert json_of(site.api.get("/recovery"))["state"] == "ready"
    restore_lost(site, ids["mine"])
    assert built(site, ids["mine"]) == BUILT + b"mine"
    events = site.kubectl(SYSTEM, "get", "pods,configmaps,events,deployments", "-ojson")
    assert [one for one in (key, save_keys) if one in events] == []


def restore_lost(site: Whole, server_id: str) -> None:
    """A world that is not there any more, as one that a recovery was ended without, by an ordinary restore."""
    site.kubectl(GAMES, "delete", "persistentvolumeclaims", f"--selector=overworld/server={server_id}")
    (save, *_) = json_of(site.api.get(f"/servers/{server_id}/saves"))["items"]
    ended(site, site.api.post(f"/servers/{server_id}/restore", json={"save_id": save["id"]}))


def recovered(site: Whole, key: str) -> str:
    """What a recovery says that comes to its end; nothing while the database holds a dead one's place."""
    try:
        return in_worker(site, "recover", "--yes", typed=f"{key}\n")
    except CommandFailed as error:
        if "is at work already" in str(error):
            return ""
        raise
