"""The chart's NetworkPolicies, enforced: what games and Overworld reach, who reaches them, and what nobody does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from cluster import echoes
from cluster.harness.cluster import Cluster
from cluster.harness.commands import CommandFailed, run
from cluster.harness.helm import Manifest
from cluster.harness.images import ECHO
from cluster.harness.names import BRIDGE, HOST_ADDRESS
from cluster.harness.policies import enforced
from cluster.test_chart import IDLE, Installed
from overworld.engines.kube.launches import READY_PORT
from waiting import wait_until

GAME, INTERNET, DATABASE, DNS, STORE, FILES = 30000, 8080, 5432, 53, 9000, 8471
METADATA, WIRE_SERVER = "169.254.169.254", "168.63.129.16"
LOCAL_DNS = "169.254.10.10"
PRIVATE = ("10.200.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1")
OUTSIDE = (METADATA, WIRE_SERVER, LOCAL_DNS, *PRIVATE)


STEWARD = "steward"
GAMES_LABELS = {STEWARD: {"overworld/steward-of": "castle"}}


class Pod(NamedTuple):
    """Where a pod is."""

    node: str
    address: str


class Net:
    """The chart, pods that stand for games and for Overworld's roles, and an outside with every kind of address."""

    def __init__(self, installed: Installed) -> None:
        self.cluster = installed.cluster
        self.installed = installed
        self.pods: dict[str, Pod] = {}

    def add(self, name: str, node: str, *, component: str | None = None) -> None:
        """A pod that listens like a game and its keeper; with a component it is one of Overworld's."""
        namespace = self.installed.system if component else self.installed.games
        labels = {"app.kubernetes.io/name": "overworld", "app.kubernetes.io/instance": self.installed.release}
        if component:
            labels["app.kubernetes.io/component"] = component
        listening = pod(name, node, labels if component else GAMES_LABELS.get(name, {"overworld/server": name}))
        self.cluster.kubectl("--namespace", namespace, "create", "--filename=-", stdin=json.dumps(listening))
        get = ("--namespace", namespace, "get", "pod", name, "--output")
        ready = "jsonpath={.status.containerStatuses[*].ready}"
        wait_until(lambda: "false" not in (said := self.cluster.kubectl(*get, ready)) and said, 30, f"{name} runs")
        self.pods[name] = Pod(node, self.cluster.kubectl(*get, "jsonpath={.status.podIP}"))

    def reaches(self, source: str, address: str, port: int) -> bool:
        """Whether a new TCP connection from inside of that pod is made."""
        pod = self.pods[source]
        script = f"""\
for space in /run/netns/*; do
    if nsenter --net="$space" ip -oneline address | grep -qF " {pod.address}/"; then
        exec nsenter --net="$space" timeout 1 bash -c ': </dev/tcp/{address}/{port}'
    fi
done
exit 9
"""
        try:
            self.cluster.nodes[pod.node].machine.run(["sh", "-c", script])
        except CommandFailed as error:
            if "status 9" in str(error):
                raise
            return False
        return True

    def is_reached(self, target: str, port: int) -> bool:
        """Whether a new TCP connection from outside of the cluster is made."""
        try:
            socket.create_connection((self.pods[target].address, port), 1).close()
        except OSError:
            return False
        return True


def pod(name: str, node: str, labels: dict[str, str]) -> Manifest:
    """Listens on a game's port, on the keeper's, and where Overworld's roles listen."""
    template = echoes.deployment(name, node=node)["spec"]["template"]["spec"]
    first = template["containers"][0]
    first.pop("readinessProbe")
    ports = (GAME, READY_PORT, 8470, FILES, 10250)
    containers = [{**first, "name": f"port-{port}", "image": ECHO, "args": [str(port)]} for port in ports]
    next(one for one in containers if one["args"] == ["8470"])["ports"] = [{"name": "http", "containerPort": 8470}]
    spec = {**template, "containers": containers}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


@pytest.fixture(scope="module")
def net(cluster: Cluster) -> Iterator[Net]:
    """Two games on each of the nodes' networks, one pod a role, and listeners outside."""
    with ExitStack() as stack:
        values = {**IDLE, "games": {"ports": [{"protocol": "TCP", "port": GAME}, {"protocol": "UDP", "port": GAME}]}}
        values["saves"] = {"store": f"s3:store.example.com:{STORE}/saves"}
        values["networkPolicies"] = {"saveStore": {"port": STORE}}
        installed = Installed(cluster, "net", values)
        stack.callback(installed.remove)
        for address in OUTSIDE:
            run(["ip", "address", "add", f"{address}/32", "dev", BRIDGE])
            stack.callback(run, ["ip", "address", "delete", f"{address}/32", "dev", BRIDGE])
        for port in (INTERNET, DATABASE, DNS, GAME, STORE, 6443):
            for address in (HOST_ADDRESS, *OUTSIDE):
                stack.enter_context(Listening(address, port))
        found = Net(installed)
        found.add("castle", "node-1")
        found.add("tower", "node-1")
        found.add("island", "node-2")
        found.add(STEWARD, "node-1")
        for component in ("web", "controller", "monitor", "worker", "database-schema"):
            found.add(component, "node-2", component=component)
        yield found


class Listening:
    """Something that accepts connections at an address."""

    def __init__(self, address: str, port: int) -> None:
        self._socket = socket.create_server((address, port))

    def __enter__(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                self._socket.accept()[0].close()
        except OSError:
            return

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


FORBIDDEN = [METADATA, WIRE_SERVER, *PRIVATE]


def test_only_what_is_named_passes(net: Net) -> None:
    """Everything of this list connects while nobody enforces the policies, so that a refusal is theirs alone."""
    pods = {name: pod.address for name, pod in net.pods.items()}
    allowed = {
        # the internet and names, for games
        ("castle", HOST_ADDRESS, INTERNET),
        ("castle", LOCAL_DNS, DNS),
        # Overworld's roles: database and API for those that need them, games and kubelets for the monitor
        *((role, HOST_ADDRESS, DATABASE) for role in ("web", "controller", "monitor", "database-schema")),
        *((role, LOCAL_DNS, DNS) for role in ("web", "controller", "monitor", "database-schema")),
        *((role, HOST_ADDRESS, 6443) for role in ("web", "controller", "monitor")),
        ("monitor", pods["castle"], GAME),
        ("monitor", pods["castle"], READY_PORT),
        ("monitor", HOST_ADDRESS, GAME),
        # saves: the store, for the worker and for who is at a world; the worker, for web
        *((name, HOST_ADDRESS, STORE) for name in ("worker", STEWARD)),
        *((name, LOCAL_DNS, DNS) for name in ("worker", STEWARD)),
        ("worker", HOST_ADDRESS, DATABASE),
        ("worker", HOST_ADDRESS, 6443),
        ("web", pods["worker"], FILES),
    }
    refused = {
        # games: neither the clouds' own services nor anything private, be it another game on the same node or not
        *(("castle", address, INTERNET) for address in FORBIDDEN),
        *(("castle", address, DNS) for address in FORBIDDEN),
        *(("castle", pods[name], GAME) for name in ("tower", "island", "web")),
        ("castle", pods["web"], 8470),
        ("castle", pods["island"], READY_PORT),
        # roles: each only its own
        *((role, HOST_ADDRESS, INTERNET) for role in ("web", "controller", "monitor", "database-schema")),
        ("database-schema", HOST_ADDRESS, 6443),
        ("web", pods["castle"], GAME),
        ("controller", pods["castle"], GAME),
        ("controller", pods["castle"], READY_PORT),
        ("monitor", pods["web"], READY_PORT),
        ("web", METADATA, INTERNET),
        ("web", HOST_ADDRESS, STORE),
        (STEWARD, HOST_ADDRESS, INTERNET),
        *((STEWARD, address, STORE) for address in FORBIDDEN),
        (STEWARD, pods["castle"], GAME),
        (STEWARD, pods["worker"], FILES),
        ("worker", HOST_ADDRESS, INTERNET),
        ("worker", pods["castle"], GAME),
        *((name, pods["worker"], FILES) for name in ("castle", "controller", "monitor")),
        ("controller", pods["web"], 10250),
    }
    from_outside = {("castle", GAME), ("island", GAME), ("web", 8470)}
    not_from_outside = {
        ("castle", READY_PORT),
        ("castle", 10250),
        (STEWARD, GAME),
        ("web", GAME),
        ("controller", 8470),
        ("monitor", GAME),
    }

    def seen() -> tuple[set[tuple[str, str, int]], set[tuple[str, int]]]:
        with ThreadPoolExecutor(16) as pool:
            ways, doors = list(allowed | refused), list(from_outside | not_from_outside)
            passed = pool.map(lambda way: net.reaches(*way), ways)
            entered = pool.map(lambda door: net.is_reached(*door), doors)
            return {way for way, is_open in zip(ways, passed, strict=True) if is_open}, {
                door for door, is_open in zip(doors, entered, strict=True) if is_open
            }

    assert seen() == (allowed | refused, from_outside | not_from_outside)
    with enforced(list(net.cluster.nodes.values()), net.cluster.kubeconfig):
        assert seen() == (allowed, from_outside)
