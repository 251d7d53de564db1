"""The stand-in for Azure's driver of file shares, told as the real one is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cluster import echoes
from cluster.harness.cluster import Cluster
from cluster.harness.names import SHARES_FOLDER
from cluster.harness.provisioner import FILE
from waiting import wait_until

FOLDER = SHARES_FOLDER / "worlds" / "castle"


@pytest.fixture
def games(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with an empty games namespace, and everything as it was afterwards."""
    echoes.prepare(cluster)
    yield cluster
    echoes.remove_all(cluster)


def volume(folder: str) -> list[dict[str, Any]]:
    """A folder of the share as a volume, and the claim on it."""
    spec = {
        "accessModes": ["ReadWriteOncePod"],
        "capacity": {"storage": "1Gi"},
        "persistentVolumeReclaimPolicy": "Retain",
        "mountOptions": ["nobrl", "uid=1000", "gid=1000", "dir_mode=0750"],
        "csi": {
            "driver": FILE,
            "volumeHandle": folder,
            "volumeAttributes": {"storageAccount": "x", "shareName": "worlds", "folderName": folder},
        },
    }
    claim = echoes.claim(folder)
    claim["spec"] |= {"storageClassName": "", "volumeName": folder}
    return [{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": folder}, "spec": spec}, claim]


def test_a_folder_of_a_share_is_mounted_on_either_node(games: Cluster) -> None:
    """What a pod on one node wrote, a pod on the other one reads, and so does the host."""
    FOLDER.mkdir(parents=True)
    address = games.azure.standin.make_public_ip(echoes.GROUP, "shared")
    echoes.apply(games, *volume("castle"), echoes.service("shared", pip="shared"))
    for node in ("node-1", "node-2"):
        echoes.apply(games, echoes.deployment("shared", node=node, world="castle"))
        route = games.nodes[node].address
        wait_until(lambda: games.balancer.routes.get(address) == route, 40, f"the server is on {node}")  # noqa: B023
        assert echoes.ask(socket.SOCK_STREAM, address, f"remember {node}")
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert [path.read_text().split() for path in files] == [["node-1", "node-2"]]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (FOLDER, *files)} == {(1000, 1000)}


def test_a_folder_that_is_not_there_is_not_mounted(games: Cluster) -> None:
    """As over SMB: the pod waits and says why, until the folder was made."""
    echoes.apply(games, *volume("missing"), echoes.deployment("missing", world="missing"))
    events = ("--namespace", echoes.NAMESPACE, "get", "events", "--output", "jsonpath={.items[*].message}")
    wait_until(lambda: "No such file or directory: //worlds/missing" in games.kubectl(*events), 30, "it is told")
