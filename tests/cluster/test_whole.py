"""The whole product on a real cluster with Azure's balancer: ``overworld up`` with engine=kube and the
chart's rights, asked by its API."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.names import RUN_FOLDER
from cluster.kube_stage import STORAGE_CLASS
from cluster.rights import ALL, Accounts
from cluster.scripted_image import CATALOGUE, REGISTRY, STEWARD_IMAGE, TAG
from installation import Installation, folder_for_everybody, json_of
from overworld.engines.kube.names import FIELD_MANAGER
from overworld.engines.kube.objects import KEEPER_MEMORY_MIB
from waiting import wait_until

NAMESPACE = "overworld-games"


@contextmanager
def overworld_on(prepared: Cluster, **settings: str) -> Iterator[Installation]:
    """One Overworld on the cluster and its Azure."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    prepared.kubectl("apply", "--filename=-", stdin=json.dumps(namespace))
    accounts = Accounts(prepared, NAMESPACE)
    azure = {name.removeprefix("OVERWORLD_").lower(): value for name, value in prepared.azure.settings().items()}
    azure["azure_resource_group"] = prepared.cloud.own_group
    with (
        folder_for_everybody() as folder,
        Installation(
            folder / "data",
            engine="kube",
            kubeconfig=str(accounts.write(ALL, folder / "kubeconfig")),
            kube_registry=REGISTRY,
            kube_image_tag=TAG,
            kube_disk_class=STORAGE_CLASS,
            kube_cpu_request_millis="10",
            disk_mib="64",
            **{"kube_steward_image": STEWARD_IMAGE, "catalogue_folders": str(CATALOGUE), **azure, **settings},
        ) as it,
    ):
        yield it
        print(it.last_log_lines(200))


@pytest.fixture(scope="module")
def installation(prepared: Cluster) -> Iterator[Installation]:
    """For the tests of this file."""
    with overworld_on(prepared) as it:
        yield it


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


def until(
    api: httpx.Client, server_id: str, is_so: Callable[[dict[str, Any]], bool], what: str, within: float = 60
) -> dict[str, Any]:
    """The server, once that is so."""

    seen: list[dict[str, Any]] = [{}]

    def look() -> dict[str, Any] | None:
        seen[0] = json_of(api.get(f"/servers/{server_id}"))
        return seen[0] if is_so(seen[0]) else None

    try:
        return wait_until(look, within, f"{server_id} {what}")
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
    with suppress(OSError), socket.create_connection((host, port), timeout=5):
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
    assert (seen["activity"]["presence"], seen["activity"]["players"]) == ("idle", 0)
    lines = json_of(api.get(f"/servers/{server_id}/console"))["lines"]
    assert any("ready" in line["text"] for line in lines)
    assert api.post(f"/servers/{server_id}/console", json={"command": "say hello"}).is_success
    wait_until(
        lambda: any(line["text"] == "hello" for line in json_of(api.get(f"/servers/{server_id}/console"))["lines"]),
        10,
        "the command was obeyed",
    )
    assert api.post(f"/servers/{server_id}/console", json={"command": "say Anna joins"}).is_success
    until(api, server_id, lambda one: one["activity"]["names"] == ["Anna"], "tells who plays")

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


@pytest.mark.timeout(300)
def test_twenty_stops_and_starts_change_neither_address_nor_world(prepared: Cluster, api: httpx.Client) -> None:
    """The Service is the same object all the time, and the world remembers each start."""
    server_id = create(api)
    first = until_state(api, server_id, "running")
    uid = ["get", "service", server_id, "-n", NAMESPACE, "-o", "jsonpath={.metadata.uid}"]
    service = prepared.kubectl(*uid)
    for _ in range(20):
        json_of(api.post(f"/servers/{server_id}/stop"))
        stopped = until_state(api, server_id, "stopped")
        assert condition(stopped, "Saved")["reason"] == "SaveSeen"
        json_of(api.post(f"/servers/{server_id}/start"))
        assert until_state(api, server_id, "running")["endpoints"] == first["endpoints"]
    assert prepared.kubectl(*uid) == service
    claim = ["get", "pvc", f"{server_id}-world-1", "-n", NAMESPACE, "-o", "jsonpath={.spec.volumeName}"]
    world = RUN_FOLDER / "volumes" / prepared.kubectl(*claim)
    assert len((world / "starts").read_text().splitlines()) == 21
    assert not (world / "two-at-once").exists()


def test_a_settled_world_is_written_by_nobody(prepared: Cluster, installation: Installation, api: httpx.Client) -> None:
    """Overworld is started anew and looks at every server: neither the cluster nor the cloud is asked to change."""
    running, stopped = create(api), create(api, start=False)
    until_state(api, running, "running")
    until_state(api, stopped, "stopped")
    until(api, stopped, lambda server: condition(server, "Addressed")["status"] == "True", "has its address")

    def ours() -> dict[str, list[dict[str, Any]]]:
        """What Overworld last wrote into each object, and when; the cluster's own programs write into them as well."""
        kinds = "deployments,services,pvc,secrets,pods"
        asked = ("get", kinds, "-n", NAMESPACE, "-o", "json", "--show-managed-fields")
        found = [one["metadata"] for one in json.loads(prepared.kubectl(*asked))["items"]]
        return {
            one["uid"]: [field for field in one["managedFields"] if field["manager"].startswith(FIELD_MANAGER)]
            for one in found
            if one["name"].startswith((running, stopped))
        }

    def writes() -> list[str]:
        return [one for one in prepared.azure.standin.writes() if running in one or stopped in one]

    before = ours(), writes()
    assert len([fields for fields in before[0].values() if fields]) >= 7
    installation.stop()
    installation.start()
    until_state(api, create(api), "running")  # by now it has looked at all that were there before
    assert (ours(), writes()) == before


def test_an_address_that_was_lost_in_the_cloud_is_made_anew(prepared: Cluster, api: httpx.Client) -> None:
    """Somebody takes the public IP from the balancer and deletes it: the server says so, gets a new address by itself,
    and the cluster's controller uses it at once, because an annotation was touched."""
    server_id = create(api)
    (before,) = until_state(api, server_id, "running")["endpoints"]
    azure = prepared.azure.standin
    with azure.lock:
        for resource in azure.balancers.resources.values():
            resource["properties"] |= {"frontendIPConfigurations": [], "loadBalancingRules": [], "probes": []}
        azure.balancers.changes += 1
        azure.network.addresses.pop(f"overworld-prod-{server_id}")
    wiped = '--patch={"status": {"loadBalancer": {"ingress": null}}}'
    prepared.kubectl("patch", "service", server_id, "-n", NAMESPACE, "--subresource=status", "--type=merge", wiped)
    pending = until(api, server_id, lambda one: condition(one, "Addressed")["status"] == "False", "tells of its loss")
    assert condition(pending, "Addressed")["reason"] == "AddressPending"
    assert pending["state"] == "starting"
    until(api, server_id, lambda one: one["endpoints"][0]["host"] != before["host"], "has another address")
    wait_until(
        lambda: condition(json_of(api.get(f"/servers/{server_id}")), "Addressed")["status"] == "True",
        3,
        "the cluster's controller tried again at once",
    )
    (after,) = until_state(api, server_id, "running")["endpoints"]
    wait_until(lambda: answers(after["host"], 4000), 20, "the game is reached through its new address")
    reasons = [event["reason"] for event in json_of(api.get(f"/servers/{server_id}/events"))["items"]]
    assert "AddressChanged" in reasons


@pytest.mark.timeout(240)
def test_an_installation_without_room_refuses_before_it_accepts(prepared: Cluster, installation: Installation) -> None:
    """With the limit, the figures and what to raise; what was refused leaves nothing behind."""
    network = prepared.azure.standin.network
    with installation.api() as api:

        def is_full() -> bool:
            return any(quota["used"] == quota["limit"] for quota in json_of(api.get("/addresses"))["quotas"])

        limit, network.limit = network.limit, len(network.addresses)
        try:
            wait_until(is_full, 90, "the controller has heard of the quota")
            answer = api.post("/servers", json={"name": "late", "game": "good"})
            assert answer.status_code == 503
            assert answer.json()["type"].endswith("capacity-exhausted")
            assert "Raise the quota" in answer.json()["detail"]
            assert json_of(api.get("/servers", params={"name": "late"}))["items"] == []
        finally:
            network.limit = limit
            wait_until(lambda: not is_full(), 90, "the controller has heard of the mend")


@pytest.mark.timeout(300)
def test_an_api_server_that_is_gone_for_a_minute_disturbs_no_game(prepared: Cluster, api: httpx.Client) -> None:
    """Who plays goes on playing; what is asked for meanwhile is accepted, and done afterwards."""
    playing = create(api)
    (endpoint,) = until_state(api, playing, "running")["endpoints"]
    wait_until(lambda: answers(endpoint["host"], 4000), 20, "the game is reached")
    prepared.stop_apiserver()
    try:
        asked = [create(api) for _ in range(5)]
        gone_at = time.monotonic()
        for seconds in range(5, 65, 5):
            wait_until(lambda: time.monotonic() > gone_at + seconds, 10, "five more seconds")  # noqa: B023
            assert answers(endpoint["host"], 4000)
    finally:
        prepared.start_apiserver()
    for server_id in asked:
        until(api, server_id, lambda server: server["state"] == "running", "runs after all", within=150)
    events = json_of(api.get(f"/servers/{playing}/events"))["items"]
    assert not {event["reason"] for event in events} & {"Crashed", "Stopped"}
