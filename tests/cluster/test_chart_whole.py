"""Overworld itself in the cluster, from its image, as docs/kubernetes.md installs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.commands import CommandFailed
from cluster.whole import (
    BYTES,
    GAMES,
    RELEASE,
    SYSTEM,
    VALUES,
    Player,
    Whole,
    ended,
    name_the_worker,
    whole_site,
    worker_secret,
)
from installation import json_of
from s3 import KEY_ID
from waiting import wait_until


@pytest.fixture(scope="module")
def whole(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Overworld, installed by the real helm on a PostgreSQL by URL with saves to an S3 store."""
    with whole_site(cluster, tmp_path_factory.mktemp("store")) as site:
        site.prepare(worker_secret())
        site.install()
        yield site
        site.helm.uninstall(RELEASE, SYSTEM)
        cluster.kubectl("delete", "namespace", SYSTEM, "--timeout=60s")


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


@pytest.mark.timeout(600)
def test_worlds_are_saved_restored_cloned_and_looked_into(whole: Whole) -> None:
    """By the worker of the chart, with its rights and under its policies: a running game is saved quieted, its database
    by SQLite; its files are read and changed through web; a restore goes back and its undo forward; a stop is saved,
    and a server made of it. No key is in any object but the operator's Secret."""
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
