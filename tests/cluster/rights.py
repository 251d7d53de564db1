"""The rights that the engine and the console need, as RBAC rules: tests run with these and nothing else."""

from __future__ import annotations

import json
from typing import Any

import yaml
from lightkube import KubeConfig

from cluster.kube_stage import KubeStage

Rule = dict[str, list[str]]


def rule(group: str, resources: str, verbs: str) -> Rule:
    """One line of a role."""
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}


CONTROLLER = [
    rule("apps", "deployments", "list watch create patch delete"),
    rule("", "services persistentvolumeclaims", "list watch create patch delete"),
    rule("", "pods", "list watch patch delete"),
    rule("", "secrets", "create patch delete"),
    rule("", "pods/attach", "get create"),  # players are warned before their server moves
]
"""In the games' namespace."""

CONTROLLER_OF_CLUSTER = [
    rule("", "persistentvolumes", "create patch delete"),  # of folders in shares; the policy of a purged disk
    rule("", "nodes/metrics", "get"),  # usage, from the kubelets
    rule("", "nodes", "get list watch patch"),  # who is silent or to be emptied, the mark of the lost, addresses
]
"""In the whole cluster."""

CONSOLE = [rule("", "pods/log", "get"), rule("", "pods/attach", "get create")]
"""Of web, in the games' namespace."""


def sign_in(stage: KubeStage, name: str, rules: list[Rule], rules_of_cluster: list[Rule] | None = None) -> KubeConfig:
    """A kubeconfig of a new service account with these rights."""
    account = {"kind": "ServiceAccount", "name": name, "namespace": stage.namespace}
    _create(stage, "v1", "ServiceAccount", name, {})
    for kind, given in (("Role", rules), ("ClusterRole", rules_of_cluster or [])):
        full_name = name if kind == "Role" else f"{stage.namespace}-{name}"
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": full_name}
        _create(stage, "rbac.authorization.k8s.io/v1", kind, full_name, {"rules": given})
        binding = {"roleRef": reference, "subjects": [account]}
        _create(stage, "rbac.authorization.k8s.io/v1", f"{kind}Binding", full_name, binding)
    content: dict[str, Any] = yaml.safe_load(stage.cluster.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": stage.kubectl("create", "token", name).strip()}
    return KubeConfig.from_dict(content)


def _create(stage: KubeStage, version: str, kind: str, name: str, content: dict[str, Any]) -> None:
    metadata = {"name": name} if kind.startswith("Cluster") else {"name": name, "namespace": stage.namespace}
    manifest = {"apiVersion": version, "kind": kind, "metadata": metadata, **content}
    stage.cluster.kubectl("create", "--filename=-", stdin=json.dumps(manifest))
