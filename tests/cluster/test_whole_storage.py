"""Storage and direct servers on a real cluster, asked for by the API of a whole installation."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.names import SHARES_FOLDER
from cluster.test_whole import (
    NAMESPACE,
    answers,
    api,  # noqa: F401 - a fixture
    condition,
    create,
    installation,  # noqa: F401 - a fixture
    until,
    until_state,
)
from installation import json_of
from waiting import wait_until


@pytest.fixture
def direct(prepared: Cluster) -> Iterator[None]:
    """The games' namespace allows ports of nodes."""
    enforce = "pod-security.kubernetes.io/enforce"
    label = ("label", "--overwrite", "namespace", NAMESPACE)
    prepared.kubectl(*label, f"{enforce}=privileged")
    yield
    prepared.kubectl(*label, f"{enforce}=restricted")


def purge(api: httpx.Client, server_id: str) -> None:  # noqa: F811
    """Gone for good when this returns."""
    json_of(api.delete(f"/servers/{server_id}", params={"retention_seconds": 0}))
    wait_until(lambda: api.get(f"/servers/{server_id}").status_code == 404, 60, "it is purged")


def test_a_world_in_a_share(prepared: Cluster, api: httpx.Client) -> None:  # noqa: F811
    """Folder, volume and claim, made in this order by whoever has the right to; the game writes there; all of it is
    gone after a purge, and the share stays."""
    server_id = create(api, storage="share")
    server = until_state(api, server_id, "running")
    assert (server["storage"], server["disk_mib"]) == ("share", None)
    folder = SHARES_FOLDER / "worlds" / f"{server_id}-world-1"
    assert len((folder / "starts").read_text().splitlines()) == 1
    volume = f"{NAMESPACE}-{server_id}-world-1"
    spec = json.loads(prepared.kubectl("get", "pv", volume, "-o", "json"))["spec"]
    assert spec["csi"]["volumeAttributes"]["storageAccount"] == "gameserversa"
    assert {"nobrl", "mfsymlinks", "uid=10000"} <= set(spec["mountOptions"])
    purge(api, server_id)
    assert not folder.exists()
    wait_until(lambda: volume not in prepared.kubectl("get", "pv", "-o", "name"), 20, "its volume is gone")
    assert folder.parent.is_dir()


def test_a_disk_grows_while_people_play(prepared: Cluster, api: httpx.Client) -> None:  # noqa: F811
    """From the edit to the larger volume without a restart; the way is told, and its end."""
    server_id = create(api, disk_mib=1024)
    before = until_state(api, server_id, "running")
    assert json_of(api.patch(f"/servers/{server_id}", json={"disk_mib": 2048}))["disk_mib"] == 2048

    def capacity() -> str:
        claim = ("get", "pvc", f"{server_id}-world-1", "-n", NAMESPACE, "-o", "jsonpath={.status.capacity.storage}")
        return prepared.kubectl(*claim)

    wait_until(lambda: capacity() == "2Gi", 30, "the disk has grown")
    after = until(
        api,
        server_id,
        lambda one: (
            one["observed_generation"] == one["generation"] and condition(one, "Placed")["reason"] == "Installed"
        ),
        "has settled",
    )
    assert condition(after, "Ready")["since"] == condition(before, "Ready")["since"]
    assert condition(after, "Current")["status"] == "True"
    told = [event["reason"] for event in json_of(api.get(f"/servers/{server_id}/events"))["items"]]
    assert "Growing" in told
    assert api.patch(f"/servers/{server_id}", json={"disk_mib": 1024}).status_code == 422


def test_direct_servers(prepared: Cluster, direct: None, api: httpx.Client) -> None:  # noqa: F811
    """Each at a port of its own at its node, reached from outside, without Service or public IP; stopped it has no
    address, and started again the same port."""
    ids = [create(api, network="direct") for _ in range(2)]
    servers = [until_state(api, server_id, "running") for server_id in ids]
    endpoints = [server["endpoints"][0] for server in servers]
    assert len({endpoint["port"] for endpoint in endpoints}) == 2
    for endpoint in endpoints:
        assert 31000 <= endpoint["port"] <= 31499  # the tests' OVERWORLD_PORT_RANGE
        assert endpoint["host"] in {node.address for node in prepared.nodes.values()}
        wait_until(lambda: answers(endpoint["host"], endpoint["port"]), 20, f"{endpoint} answers")  # noqa: B023
    assert "follows the node" in condition(servers[0], "Addressed")["message"]
    services = prepared.kubectl("get", "services", "-n", NAMESPACE, "-o", "name")
    assert not [server_id for server_id in ids if server_id in services]
    assert not [name for name in prepared.azure.standin.network.addresses if ids[0] in name or ids[1] in name]
    json_of(api.post(f"/servers/{ids[0]}/stop"))
    stopped = until_state(api, ids[0], "stopped")
    assert (stopped["endpoints"], stopped["connect"]) == ([], None)
    json_of(api.post(f"/servers/{ids[0]}/start"))
    assert until_state(api, ids[0], "running")["endpoints"][0]["port"] == endpoints[0]["port"]
