"""The test cluster is what it says: a real Kubernetes whose balancer, disks and failures behave like Azure's."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azure_standin.server import Fault
from cluster import echoes
from cluster.harness import programs
from cluster.harness.cluster import Cluster
from cluster.harness.names import RUN_FOLDER
from overworld.domain.errors import CloudUnavailable
from waiting import eventually, wait_until

UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM
ON_PAPER = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node-1", "node-2"]}]}
    ]
}


@pytest.fixture
def games(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with an empty games namespace, and everything as it was afterwards."""
    echoes.prepare(cluster)
    yield cluster
    cluster.cloud.retry_seconds, cluster.cloud.write_seconds = 5.0, 0.0
    for node in cluster.nodes.values():
        if not node.machine.is_alive:
            cluster.start_node(node.name)
    echoes.remove_all(cluster)
    cluster.stand_ins.check()


def serve(cluster: Cluster, name: str, **options: str) -> str:
    """An echo server at a static address of its own; the address, once it answers there."""
    address = cluster.azure.standin.make_public_ip(echoes.GROUP, name)
    echoes.apply(cluster, echoes.service(name, pip=name), echoes.deployment(name, **options))
    wait_until(lambda: echoes.ask(UDP, address, "hello"), 30, f"{name} answers at {address}")
    return address


def test_two_nodes_are_ready(cluster: Cluster) -> None:
    """Both nodes of a fresh cluster are Ready."""
    assert cluster.ready_nodes() == {"node-1", "node-2"}


def test_a_pod_is_reached_at_its_static_address(games: Cluster) -> None:
    """UDP and TCP from the host reach the pod through the address that was made in ARM."""
    address = serve(games, "reached")
    assert address.startswith("198.18.113.")
    wait_until(lambda: echoes.address_of(games, "reached") == address, 5, "the status shows the address")
    for kind in (UDP, TCP):
        assert echoes.ask(kind, address, "who is there").endswith("who is there")


def test_a_killed_node_is_not_ready_and_loses_the_route(games: Cluster) -> None:
    """Node loss is real: the route goes, the node becomes NotReady, the pod comes up elsewhere at the same address."""
    address = serve(games, "moved")
    lost = next(node for node in games.nodes.values() if node.address == games.balancer.routes[address])
    games.kill_node(lost.name)
    wait_until(lambda: address not in games.balancer.routes, 10, "the route is withdrawn")
    wait_until(lambda: lost.name not in games.ready_nodes(), 30, f"{lost.name} is NotReady")
    wait_until(lambda: echoes.ask(UDP, address, "hello"), 60, "the server answers again")
    assert games.balancer.routes[address] != lost.address


def test_a_world_follows_its_server_to_another_node(games: Cluster) -> None:
    """A ReadWriteOncePod volume is bound for the first pod, belongs to its group, and is there on another node."""
    echoes.apply(games, echoes.claim("world"))
    address = serve(games, "keeper", node="node-1", world="world")
    assert echoes.ask(TCP, address, "remember a castle")
    echoes.apply(games, echoes.deployment("keeper", node="node-2", world="world"))
    other = games.nodes["node-2"].address
    wait_until(lambda: games.balancer.routes.get(address) == other, 30, "the server is on the other node")
    assert wait_until(lambda: echoes.ask(TCP, address, "recall"), 10, "it answers").endswith(" a castle")


def test_a_volume_grows_and_is_kept(games: Cluster) -> None:
    """A claim that asks for more gets it; a deleted claim leaves its volume; with policy Delete the volume goes too."""
    echoes.apply(games, echoes.claim("grows"), echoes.deployment("grows", world="grows"))
    path = "jsonpath={.spec.volumeName} {.status.capacity.storage}"
    get = ("--namespace", echoes.NAMESPACE, "get", "persistentvolumeclaim", "grows", "--output", path)
    wait_until(lambda: games.kubectl(*get).endswith(" 1Gi"), 20, "the claim is bound")
    echoes.apply(games, echoes.claim("grows", "2Gi"))
    wait_until(lambda: games.kubectl(*get).endswith(" 2Gi"), 10, "the claim has grown")
    volume = games.kubectl(*get).split()[0]
    games.kubectl("--namespace", echoes.NAMESPACE, "delete", "deployment,persistentvolumeclaim", "grows")
    phase = ("get", "persistentvolume", volume, "--output", "jsonpath={.status.phase}")
    wait_until(lambda: games.kubectl(*phase) == "Released", 20, "the volume is released and kept")
    patch = '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}'
    games.kubectl("patch", "persistentvolume", volume, "--patch", patch)
    wait_until(lambda: volume not in games.kubectl("get", "persistentvolume"), 10, "the volume is gone")
    assert not (RUN_FOLDER / "volumes" / volume).exists()


def test_a_missing_address_is_told_and_tried_again_when_an_annotation_changes(games: Cluster) -> None:
    """No IP: an event and no address. IP made and an annotation of ours touched: the address within 3 seconds."""
    games.cloud.retry_seconds = 300
    echoes.apply(games, echoes.service("late", pip="late"))
    wait_until(lambda: echoes.warnings_of(games, "late"), 10, "the cloud controller complains")
    assert "PublicIP from annotation azure-pip-name" in echoes.warnings_of(games, "late")[0]
    assert echoes.address_of(games, "late") == ""
    address = games.azure.standin.make_public_ip(echoes.GROUP, "late")
    echoes.apply(games, echoes.service("late", pip="late", **{"overworld.test/touched": "1"}))
    wait_until(lambda: echoes.address_of(games, "late") == address, 3, "the address is there")


def test_a_label_belongs_to_one(games: Cluster) -> None:
    """A DNS label that another IP has is refused with Azure's word, no address comes until it changes."""
    games.azure.standin.make_public_ip(echoes.GROUP, "first", label="castle")
    address = games.azure.standin.make_public_ip(echoes.GROUP, "second")
    echoes.apply(games, echoes.service("second", pip="second", label="castle"))
    wait_until(lambda: echoes.warnings_of(games, "second"), 10, "the cloud controller complains")
    assert "DnsRecordInUse" in echoes.warnings_of(games, "second")[0]
    assert echoes.address_of(games, "second") == ""
    echoes.apply(games, echoes.service("second", pip="second", label="tower"))
    wait_until(lambda: echoes.address_of(games, "second") == address, 3, "the address is there")


def test_services_wait_for_one_another(games: Cluster) -> None:
    """Changes are serial: with 0.2 s a write, three Services of three writes take at least 1.8 s."""
    games.cloud.write_seconds = 0.2
    names = ("one", "two", "three")
    for name in names:
        games.azure.standin.make_public_ip(echoes.GROUP, f"serial-{name}")
    began = time.monotonic()
    echoes.apply(games, *(echoes.service(name, pip=f"serial-{name}") for name in names))
    wait_until(lambda: all(echoes.address_of(games, name) for name in names), 20, "all have their address")
    assert time.monotonic() - began >= 1.8


def test_a_deleted_service_leaves_its_address(games: Cluster) -> None:
    """The finalizer goes after the work; our IP and its address stay, and can be deleted then."""
    address = games.azure.standin.make_public_ip(echoes.GROUP, "stays", label="stays")
    echoes.apply(games, echoes.service("stays", pip="stays", label="stays"))
    wait_until(lambda: echoes.address_of(games, "stays") == address, 10, "the address is there")
    games.kubectl("--namespace", echoes.NAMESPACE, "delete", "service", "stays", "--timeout=20s")
    (kept,) = echoes.public_ips(games)
    assert (kept["name"], kept["properties"]["ipAddress"]) == ("stays", address)
    assert "ipConfiguration" not in kept["properties"]
    games.azure.standin.remove_public_ip(echoes.GROUP, "stays")
    assert not echoes.public_ips(games)


def test_without_a_name_the_controller_makes_an_address_of_its_own_and_deletes_it(games: Cluster) -> None:
    """No azure-pip-name: an IP tagged as the controller's, which goes with its Service."""
    echoes.apply(games, echoes.service("own"))
    wait_until(lambda: echoes.address_of(games, "own"), 10, "it has an address")
    tagged = f"{echoes.NAMESPACE}/own"
    assert [ip["tags"]["k8s-azure-service"] for ip in echoes.public_ips(games) if "tags" in ip] == [tagged]
    games.kubectl("--namespace", echoes.NAMESPACE, "delete", "service", "own", "--timeout=20s")
    assert not [ip for ip in echoes.public_ips(games) if "tags" in ip]


async def test_an_address_made_by_overworld_is_found_and_outlives_its_service(games: Cluster) -> None:
    """AzureCloud makes the IP, the cloud controller serves it, and it can be released once its Service is gone."""
    cloud = games.azure.cloud()
    try:
        address = await cloud.ensure_address("bcdf23456789", "castle-bcdf23456789")
        wishes = dict(address.annotations)
        manifest = echoes.service(
            "ours", group=wishes.pop(f"{echoes.ANNOTATION}load-balancer-resource-group"), **wishes
        )
        echoes.apply(games, manifest)
        await eventually(lambda: echoes.address_of(games, "ours") == address.ip, 10, "the status shows the address")
        assert [(seen.label, seen.attached) for seen in await cloud.addresses()] == [("castle-bcdf23456789", True)]
        with pytest.raises(CloudUnavailable, match="its Service is not gone"):
            await cloud.release_address("bcdf23456789")
        games.kubectl("--namespace", echoes.NAMESPACE, "delete", "service", "ours", "--timeout=20s")
        await cloud.release_address("bcdf23456789")
        assert await cloud.addresses() == ()
    finally:
        await cloud.close()


def test_throttling_blocks_every_service_and_passes(games: Cluster) -> None:
    """A 429 of ARM holds everything for as long as it says; then work goes on without an event."""
    games.azure.standin.make_public_ip(echoes.GROUP, "throttled")
    games.azure.standin.faults.append(Fault(status=429, code="TooManyRequests", retry_after="1"))
    began = time.monotonic()
    echoes.apply(games, echoes.service("throttled", pip="throttled"))
    wait_until(lambda: echoes.address_of(games, "throttled"), 10, "it has an address")
    assert time.monotonic() - began >= 1.0
    assert echoes.warnings_of(games, "throttled") == []


def test_servers_run_on_while_the_control_plane_is_away(games: Cluster) -> None:
    """API server gone, etcd killed: the game answers all the time, and the cluster is itself again afterwards."""
    address = serve(games, "steady")
    games.stop_apiserver()
    assert echoes.ask(UDP, address, "still there")
    games.start_apiserver()
    games.restart_etcd()
    assert echoes.ask(UDP, address, "still there")
    games.await_nodes()
    echoes.apply(games, echoes.service("steady-2", pip="steady"))


def test_nothing_is_built_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full cache the programs are there at once, and no build is even begun."""
    programs.build()

    def refuse(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(programs, "_build_module", refuse)
    began = time.monotonic()
    assert Path(programs.build()["kubelet"]).is_file()
    assert time.monotonic() - began < 2


def test_pods_on_paper_run_in_numbers(games: Cluster) -> None:
    """Fake nodes of kwok take pods that tolerate them and call them ready, for benchmarks."""
    games.add_fake_nodes(3)
    many = echoes.deployment("many")
    many["spec"]["replicas"] = 50
    pod = many["spec"]["template"]["spec"]
    pod["tolerations"].append({"key": "fake", "operator": "Exists"})
    pod["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": ON_PAPER}}
    echoes.apply(games, many)
    ready = (
        "--namespace",
        echoes.NAMESPACE,
        "get",
        "deployment",
        "many",
        "--output",
        "jsonpath={.status.readyReplicas}",
    )
    wait_until(lambda: games.kubectl(*ready) == "50", 30, "50 pods are ready")
    games.kubectl("delete", "deployment", "many", "--namespace", echoes.NAMESPACE, "--cascade=foreground")
    games.kubectl("delete", "node", "fake-1", "fake-2", "fake-3")


def test_an_image_that_does_not_exist_is_told_at_once(games: Cluster) -> None:
    """No registry is reached from a node: the pod waits with ErrImagePull or ImagePullBackOff within seconds."""
    wrong = echoes.deployment("wrong")
    wrong["spec"]["template"]["spec"]["containers"][0]["image"] = "gameregistry.azurecr.io/nobody:1"
    echoes.apply(games, wrong)
    path = "jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}"
    reason = ("--namespace", echoes.NAMESPACE, "get", "pods", "--selector", "server=wrong", "--output", path)
    wait_until(lambda: "ImagePull" in games.kubectl(*reason), 10, "the pod says that it has no image")


def test_logs_and_usage_come_through_the_kubelet(games: Cluster) -> None:
    """Logs of a pod and its memory, as the API server fetches them from the kubelet."""
    serve(games, "seen", node="node-1")
    assert "listening" in games.kubectl("--namespace", echoes.NAMESPACE, "logs", "deployment/seen")
    metrics = ("get", "--raw", "/api/v1/nodes/node-1/proxy/metrics/resource")
    wait_until(lambda: 'pod="seen-' in games.kubectl(*metrics), 20, "the kubelet tells the pod's memory")
