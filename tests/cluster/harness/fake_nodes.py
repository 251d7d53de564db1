"""Nodes and pods that exist on paper only, for benchmarks with more of them than a machine can run: kwok plays both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from cluster.harness.machines import Machine, write
from cluster.harness.processes import Process
from cluster.harness.programs import KWOK, KWOK_STAGES, build

_ANNOTATION = "kwok.x-k8s.io/node"
_PODS_PER_NODE = 200

_READY = """\
{{ $now := Now }}
conditions:
{{ range $type := list "PodReadyToStartContainers" "Initialized" "ContainersReady" "Ready" }}
- type: {{ $type }}
  status: "True"
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  started: true
  restartCount: 0
  state:
    running:
      startedAt: {{ $now | Quote }}
{{ end }}
{{ with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
{{ end }}
{{ with PodIPsWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace }}
podIP: {{ index . 0 | Quote }}
{{ end }}
phase: Running
startTime: {{ $now | Quote }}
"""

_ENDED = """\
{{ $now := Now }}
{{ $exit := dict "at" ( now | unixEpoch | float64 ) "status" 0 "signal" nil "asked" true "save_seen" true
  "out_of_memory" false "lines" list }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      exitCode: 0
      reason: Completed
      finishedAt: {{ $now | Quote }}
      message: {{ dict "exit" $exit "crashes" 0 "next_start_at" nil "asked" true | toJson | Quote }}
{{ end }}
phase: Succeeded
"""


def start_kwok(machine: Machine, kubeconfig: Path, folder: Path) -> Process:
    """Start kwok on the control plane's machine, its settings in ``folder``; it keeps every node of
    :func:`render_fake_nodes` Ready, and its pods run at once and end when they are deleted. Built at its first use.
    Raises BuildFailed."""
    programs = build(KWOK)
    node_stages = next(
        stage for stage in yaml.safe_load_all(Path(programs[KWOK_STAGES]).read_text()) if _is_of_nodes(stage)
    )
    stages = write(folder / "stages.yaml", yaml.safe_dump_all([node_stages, *_pod_stages()]))
    command = [programs["kwok"], f"--kubeconfig={kubeconfig}", "--manage-all-nodes=false"]
    command += [f"--manage-nodes-with-annotation-selector={_ANNOTATION}=fake", "--node-lease-duration-seconds=40"]
    return machine.start_process("kwok", [*command, f"--config={stages}"])


def _is_of_nodes(stage: dict[str, Any]) -> bool:
    return bool(stage["spec"]["resourceRef"]["kind"] == "Node")


def _pod_stages() -> list[dict[str, Any]]:
    """A pod's life as a kubelet tells it: ready; ended, with its keeper's last words, when it is to go; then gone,
    as soon as nobody's finalizer holds it."""
    stays, goes = ({"key": ".metadata.deletionTimestamp", "operator": one} for one in ("DoesNotExist", "Exists"))
    return [
        _stage("pod-ready", [stays, _is_in("Pending")], statusTemplate=_READY),
        _stage("pod-ended", [goes, _is_in("Running")], statusTemplate=_ENDED),
        _stage("pod-gone", [goes, _is_in("Pending", "Succeeded")], delete=True),
    ]


def _stage(name: str, when: list[dict[str, Any]], **following: object) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": when},
            "next": following,
        },
    }


def _is_in(*phases: str) -> dict[str, Any]:
    return {"key": ".status.phase", "operator": "In", "values": list(phases)}


def render_fake_nodes(count: int, *, tainted: bool = True) -> str:
    """The manifest of ``fake-1`` to ``fake-<count>``: game nodes that the balancer leaves out; ``tainted``: with
    ``fake``, so that only pods which tolerate it come."""
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
            "spec": {"taints": [{"key": "fake", "effect": "NoSchedule"}]} if tainted else {},
            "status": {"allocatable": size, "capacity": size},
        }
        for number in range(1, count + 1)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
