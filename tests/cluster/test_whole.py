"""The whole product on a real cluster with Azure's balancer: ``overworld up`` with engine=kube, asked by its API."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from cluster.harness.cluster import Cluster
from cluster.kube_stage import STORAGE_CLASS
from cluster.scripted_image import CATALOGUE, REGISTRY, TAG
from installation import Installation, folder_for_everybody, json_of
from overworld.engines.kube.objects import KEEPER_MEMORY_MIB
from waiting import wait_until

NAMESPACE = "overworld-games"


@pytest.fixture(scope="module")
def installation(prepared: Cluster) -> Iterator[Installation]:
    """One Overworld for the tests of this file, on the cluster and its Azure."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    prepared.kubectl("apply", "--filename=-", stdin=json.dumps(namespace))
    azure = {name.removeprefix("OVERWORLD_").lower(): value for name, value in prepared.azure.settings().items()}
    azure["azure_resource_group"] = prepared.cloud.own_group
    with (
        folder_for_everybody() as folder,
        Installation(
            folder / "data",
            engine="kube",
            kubeconfig=str(prepared.kubeconfig),
            kube_registry=REGISTRY,
            kube_image_tag=TAG,
            kube_disk_class=STORAGE_CLASS,
            kube_cpu_request_millis="10",
            disk_mib="64",
            catalogue_folders=str(CATALOGUE),
            **azure,
        ) as it,
    ):
        yield it
        print(it.last_log_lines(200))


@pytest.fixture
def api(installation: Installation) -> Iterator[httpx.Client]:
    """The admin's client; what a test made is gone for good after it."""
    with installation.api() as client:
        yield client
        for server in json_of(client.get("/servers"))["items"]:
            client.delete(f"/servers/{server['id']}", params={"retention_seconds": 0})
        wait_until(
            lambda: not json_of(client.get("/servers", params={"deleted": "true"}))["items"], 60, "all are purged"
        )


def create(api: httpx.Client, game: str = "good", **more: object) -> str:
    """A new server's id."""
    body = {"name": f"{game}-{os.urandom(3).hex()}", "game": game, **more}
    return str(json_of(api.post("/servers", json=body))["id"])


def until(api: httpx.Client, server_id: str, is_so: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """The server, once that is so."""

    seen: list[dict[str, Any]] = [{}]

    def look() -> dict[str, Any] | None:
        seen[0] = json_of(api.get(f"/servers/{server_id}"))
        return seen[0] if is_so(seen[0]) else None

    try:
        return wait_until(look, 60, f"{server_id} {what}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen[0]}") from None


def until_state(api: httpx.Client, server_id: str, state: str) -> dict[str, Any]:
    """The server, once it is in that state."""
    return until(api, server_id, lambda server: server["state"] == state, f"is {state}")


def condition(server: dict[str, Any], kind: str) -> dict[str, str]:
    """One of its conditions."""
    return next(found for found in server["conditions"] if found["type"] == kind)


def answers(host: str, port: int) -> bool:
    """Whether somebody out here who dials that address reaches a game."""
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def test_a_request_becomes_a_server_at_a_static_address(prepared: Cluster, api: httpx.Client) -> None:
    """Deployment with its resources, Service with the leased IP and label, volume mounted, reached from outside, its
    use and players seen; stopped with the save seen; gone for good with nothing left in cluster or cloud."""
    server_id = create(api)
    server = until_state(api, server_id, "running")
    (endpoint,) = server["endpoints"]
    assert endpoint["port"] == 4000
    wait_until(lambda: answers(endpoint["host"], 4000), 20, "the game is reached through its address")

    kubectl = prepared.kubectl
    deployment = json.loads(kubectl("get", "deployment", server_id, "-n", NAMESPACE, "-o", "json"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": f"{server['memory_mib'] + KEEPER_MEMORY_MIB}Mi"}
    service = json.loads(kubectl("get", "service", server_id, "-n", NAMESPACE, "-o", "json"))
    annotations = service["metadata"]["annotations"]
    name = "service.beta.kubernetes.io/azure-"
    assert annotations[f"{name}pip-name"] == f"overworld-prod-{server_id}"
    assert annotations[f"{name}dns-label-name"].endswith(server_id)
    assert annotations[f"{name}load-balancer-ip-allocation-method"] == "static"
    assert [one["ip"] for one in service["status"]["loadBalancer"]["ingress"]] == [endpoint["host"]]
    claim = json.loads(kubectl("get", "pvc", f"{server_id}-world-1", "-n", NAMESPACE, "-o", "json"))
    assert claim["status"]["phase"] == "Bound"
    volume = claim["spec"]["volumeName"]

    seen = until(api, server_id, lambda one: (one["activity"] or {}).get("memory_mib") is not None, "tells its use")
    assert seen["activity"]["memory_mib"] > 0
    lines = json_of(api.get(f"/servers/{server_id}/console"))["lines"]
    assert any("ready" in line["text"] for line in lines)
    assert api.post(f"/servers/{server_id}/console", json={"command": "say hello"}).is_success
    wait_until(
        lambda: any(line["text"] == "hello" for line in json_of(api.get(f"/servers/{server_id}/console"))["lines"]),
        10,
        "the command was obeyed",
    )

    json_of(api.post(f"/servers/{server_id}/stop"))
    stopped = until_state(api, server_id, "stopped")
    assert condition(stopped, "Saved")["reason"] == "SaveSeen"
    assert stopped["endpoints"] == server["endpoints"]

    json_of(api.delete(f"/servers/{server_id}", params={"retention_seconds": 0}))
    wait_until(lambda: api.get(f"/servers/{server_id}").status_code == 404, 60, "it is purged")
    everything = kubectl("get", "deployments,services,pvc,secrets,pods", "-n", NAMESPACE, "-o", "name")
    assert server_id not in everything
    wait_until(lambda: volume not in kubectl("get", "pv", "-o", "name"), 20, "its disk is gone")
    assert not [name for name in prepared.azure.standin.network.addresses if server_id in name]
