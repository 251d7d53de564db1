"""Service accounts with the chart's rights and nothing else: what tests run the engine, the monitor and web with."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from lightkube import KubeConfig

from cluster.harness.cluster import Cluster
from cluster.harness.helm import Helm, Manifest
from cluster.harness.provisioner import DISK

CONTROLLER, MONITOR, WEB, WORKER = "controller", "monitor", "web", "worker"
ALL = "all"
"""The three at once: for who applies, measures and speaks in one process, as `overworld up` and most tests do."""

_HERE = "a-namespace"


class Accounts:
    """The chart's service accounts, in a namespace that is Overworld's own and the games' at once."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        text = json.dumps(_rendered()).replace(_HERE, namespace)
        cluster.kubectl("apply", "--filename=-", stdin=text)

    def config(self, role: str) -> KubeConfig:
        """A kubeconfig of that role."""
        return KubeConfig.from_dict(self._kubeconfig(role))

    def write(self, role: str, path: Path) -> Path:
        """The same as a file; its path."""
        path.write_text(yaml.safe_dump(self._kubeconfig(role)))
        return path

    def _kubeconfig(self, role: str) -> dict[str, Any]:
        account = f"{self._namespace}-{role}"
        ask = ("--namespace", self._namespace, "create", "token", account, "--duration=6h")
        content: dict[str, Any] = yaml.safe_load(self._cluster.kubeconfig.read_text())
        content["users"][0]["user"] = {"token": self._cluster.kubectl(*ask).strip()}
        return content


def granted(role: str) -> set[tuple[str, str, str]]:
    """API group, resource and verb of everything that the chart lets a role do."""
    mine = [one for one in _rendered()["items"] if one["metadata"]["name"] == f"{_HERE}-{role}" and "rules" in one]
    return {
        (group, resource, verb)
        for one in mine
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@cache
def _rendered() -> Manifest:
    """Accounts, roles and bindings of the chart as one list, and an account that has all of the roles."""
    values = {
        "fullnameOverride": _HERE,
        "games": {"namespace": _HERE},
        "storage": {"disk": {"provisioner": DISK}},
    }
    found = Helm().template("tests", _HERE, values, "accounts", "rights")
    name = f"{_HERE}-{ALL}"
    subject = {"kind": "ServiceAccount", "name": name, "namespace": _HERE}
    for one in found:
        if one["kind"].endswith("Binding"):
            one["subjects"].append(subject)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": _HERE}}
    return {"apiVersion": "v1", "kind": "List", "items": [account, *found]}
