"""Who asked the API server for what: its audit log of service accounts, and what kubelets were asked to allow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        # A kubelet asks whether its caller may: the only trace of nodes/metrics.
        {
            "level": "Request",
            "userGroups": ["system:nodes"],
            "resources": [{"group": "authorization.k8s.io", "resources": ["subjectaccessreviews"]}],
        },
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}
"""For kube-apiserver: nothing is written for administrators, so that benchmarks do not pay for it."""


def writes_of(users: Iterable[str]) -> dict[str, Any]:
    """The policy by which only what these users write is noted down."""
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    return {
        **POLICY,
        "omitManagedFields": True,
        "rules": [{"level": "Metadata", "users": [*users], "verbs": writes}, {"level": "None"}],
    }


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """One verb on one kind of resource (``pods/log``) by a service account (``namespace:name``)."""

    account: str
    group: str
    resource: str
    verb: str


def asked(log: Path) -> set[Asked]:
    """What service accounts have asked for so far, allowed or not."""
    return {one for line in log.read_text().splitlines() for one in _read(json.loads(line))}


def _read(event: dict[str, Any]) -> Iterator[Asked]:
    review = event.get("requestObject", {}).get("spec", {})
    user = review.get("user") or event["user"]["username"]
    about = review.get("resourceAttributes") or event.get("objectRef")
    if not user.startswith("system:serviceaccount:") or not about:
        return
    account = user.removeprefix("system:serviceaccount:")
    group = about.get("apiGroup") or about.get("group") or ""
    resource = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
    verb = about.get("verb") or event["verb"]
    yield Asked(account, group, resource, verb)
    code = event.get("responseStatus", {}).get("code")
    # The API server asks for "create" too, and does not tell: for an apply that creates, and for a websocket.
    if (verb, code) == ("patch", 201) or (verb, resource) in {("get", "pods/attach"), ("get", "pods/exec")}:
        yield Asked(account, group, resource, "create")
