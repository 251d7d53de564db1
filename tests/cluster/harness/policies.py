"""NetworkPolicies are enforced on every node, by the code of sigs.k8s.io/kube-network-policies.

Its own nftables rules need CONFIG_NFT_QUEUE, which this project's build machines lack. Equal rules of iptables do not:
each new connection of a pod, after its Service was resolved and before its address is masked, waits for the verdict
of a program that holds the cluster's policies. The bridge of a node shows iptables what pods of one node send to
each other (bridge-nf-call-iptables). With no program at the queue nothing new passes: it fails closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.harness.machines import Machine
from cluster.harness.names import POD_RANGE
from cluster.harness.node import Node
from cluster.harness.processes import Process
from cluster.harness.programs import POLICIES, build
from waiting import wait_until

_QUEUE = 100
_CHAIN = ["iptables", "--wait", "--table", "mangle"]


@contextmanager
def enforced(nodes: list[Node], kubeconfig: Path) -> Iterator[None]:
    """NetworkPolicies hold on these nodes for as long as the block lasts."""
    program = build(POLICIES)["network-policies"]
    running: list[Process] = []
    try:
        for node in nodes:
            command = [program, f"--kubeconfig={kubeconfig}", f"--node={node.name}", f"--queue={_QUEUE}"]
            process = node.machine.start_process(f"{node.name}-policies", command)
            running.append(process)
            wait_until(lambda machine=node.machine: _listens(machine), 20, "it listens")  # type: ignore[misc]
            node.machine.run(["sh", "-c", "echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables"])
            _change_rules(node.machine, "--append")
        yield
        for process in running:
            process.check()
    finally:
        for node, process in zip(nodes, running, strict=False):
            _change_rules(node.machine, "--delete")
            process.kill()


def _listens(machine: Machine) -> bool:
    return machine.run(["cat", "/proc/net/netfilter/nfnetlink_queue"]).strip() != ""


def _change_rules(machine: Machine, what: str) -> None:
    """As kube-network-policies has them: what is known or the node's own passes, all else of a pod is judged."""
    for rule in (
        ["--match", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "--jump", "ACCEPT"],
        ["--match", "owner", "--uid-owner", "0", "--jump", "ACCEPT"],
        ["--source", POD_RANGE, "--jump", "NFQUEUE", "--queue-num", str(_QUEUE)],
        ["--destination", POD_RANGE, "--jump", "NFQUEUE", "--queue-num", str(_QUEUE)],
    ):
        machine.run([*_CHAIN, what, "POSTROUTING", *rule])
