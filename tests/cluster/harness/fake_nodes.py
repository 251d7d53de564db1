"""Nodes and pods that exist on paper only, for benchmarks with more of them than a machine can run: kwok plays both."""

from __future__ import annotations

import json
from pathlib import Path

from cluster.harness.machines import Machine
from cluster.harness.processes import Process
from cluster.harness.programs import KWOK, KWOK_STAGES, build

_ANNOTATION = "kwok.x-k8s.io/node"
_PODS_PER_NODE = 200


def start_kwok(machine: Machine, kubeconfig: Path) -> Process:
    """Start kwok on the control plane's machine; it keeps every node of :func:`render_fake_nodes` Ready and lets its
    pods run. Built at its first use. Raises BuildFailed."""
    programs = build(KWOK)
    command = [programs["kwok"], f"--kubeconfig={kubeconfig}", "--manage-all-nodes=false"]
    command += [f"--manage-nodes-with-annotation-selector={_ANNOTATION}=fake", "--node-lease-duration-seconds=40"]
    return machine.start_process("kwok", [*command, f"--config={programs[KWOK_STAGES]}"])


def render_fake_nodes(count: int) -> str:
    """The manifest of ``fake-1`` to ``fake-<count>``: game nodes that the balancer leaves out, tainted ``fake`` so that
    only pods which tolerate it come."""
    size = {"cpu": "64", "memory": "1Ti", "pods": str(_PODS_PER_NODE)}
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"fake-{number}",
                "annotations": {_ANNOTATION: "fake"},
                "labels": {
                    "workload": "gameserver",
                    "kubernetes.io/hostname": f"fake-{number}",
                    "node.kubernetes.io/exclude-from-external-load-balancers": "true",
                },
            },
            "spec": {"taints": [{"key": "fake", "effect": "NoSchedule"}]},
            "status": {"allocatable": size, "capacity": size},
        }
        for number in range(1, count + 1)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
