"""Which part of the stand-in answers which path of ARM. A new resource type is a file of rules and a case here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from azure_standin import balancers
from azure_standin.operations import Operation, Refusal

if TYPE_CHECKING:
    from azure_standin.server import AzureStandIn

Json = dict[str, Any]
SUBSCRIPTION = "subscription-1"
PAGE = 2  # items of a list, so that paging is met everywhere


@dataclass(frozen=True)
class Request:
    """One request. ``path`` keeps its spelling, ``segments`` are its parts in lower case."""

    method: str
    path: str
    query: dict[str, str]
    body: Json

    @property
    def segments(self) -> list[str]:
        """The parts of the path, for telling what is meant."""
        return self.path.strip("/").lower().split("/")

    @property
    def name(self) -> str:
        """The last part, as it was spelt."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Answer:
    """What goes back: JSON, XML (a string) or nothing."""

    status: int
    body: Json | str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def resource_id(group: str, kind: str, name: str) -> str:
    """The ARM id of a network resource; ``kind`` as it is spelt there: ``publicIPAddresses``, ``loadBalancers``."""
    place = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}"
    return f"{place}/providers/Microsoft.Network/{kind}/{name}"


def answer(standin: AzureStandIn, request: Request) -> Answer:
    """The answer of ARM. Raises Refusal."""
    segments = request.segments
    if segments[1] != SUBSCRIPTION:
        raise Refusal(404, "SubscriptionNotFound")
    match segments[2:]:
        case ["providers", "microsoft.network", "locations", *rest]:
            return _location(standin, request, rest)
        case ["resourcegroups", group]:
            return _group(standin, request, group)
        case ["resourcegroups", group, *_] if group not in standin.groups:
            raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
        case ["resourcegroups", _, "providers", *_]:
            return _resource(standin, request)
    raise Refusal(404, "InvalidResourceType")


def _resource(standin: AzureStandIn, request: Request) -> Answer:
    match request.segments[2:]:
        case ["resourcegroups", group, "providers", "microsoft.network", "publicipaddresses"]:
            return Answer(200, _page(standin, request, standin.network.in_group(group)))
        case ["resourcegroups", _, "providers", "microsoft.network", "publicipaddresses", _]:
            return _public_ip(standin, request)
        case ["resourcegroups", _, "providers", "microsoft.network", kind, _, *_] if kind in balancers.KINDS:
            return _balancer(standin, request)
        case ["resourcegroups", _, "providers", "microsoft.compute", *_, "virtualmachines", _, action]:
            return _machine(standin, request, action)
        case ["resourcegroups", _, "providers", "microsoft.storage", "storageaccounts", account, *_, "shares", _] if (
            request.method == "PUT"
        ):
            return _share(standin, request, account)
    raise Refusal(404, "InvalidResourceType")


def _location(standin: AzureStandIn, request: Request, rest: list[str]) -> Answer:
    match rest:
        case [_, "usages"]:
            return Answer(200, {"value": standin.network.usages()})
        case [_, "operations", _]:
            return Answer(200, _operation_body(standin.operations.look_at(request.name)))
        case [_, "checkdnsnameavailability"]:
            return Answer(200, {"available": standin.network.is_label_free(request.query["domainNameLabel"])})
    raise Refusal(404, "InvalidResourceType")


def _group(standin: AzureStandIn, request: Request, group: str) -> Answer:
    if request.method == "PUT":
        standin.groups.add(group)
    if group not in standin.groups:
        raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
    return Answer(200, {"id": request.path, "name": request.name, "location": standin.network.region})


def _page(standin: AzureStandIn, request: Request, ids: list[str]) -> Json:
    start = int(request.query.get("$skiptoken", "0"))
    page: Json = {"value": [standin.network.get(one) for one in ids[start : start + PAGE]]}
    if start + PAGE < len(ids):
        version = request.query["api-version"]
        page["nextLink"] = f"{standin.url}{request.path}?api-version={version}&$skiptoken={start + PAGE}"
    return page


def _public_ip(standin: AzureStandIn, request: Request) -> Answer:
    network = standin.network
    match request.method:
        case "GET":
            return Answer(200, network.get(request.path))
        case "PATCH":
            return Answer(200, network.patch_tags(request.path, request.body["tags"]))
        case "PUT":
            return _put_answer(standin, *network.put(request.path, request.body))
    deletion = network.delete(request.path)
    if deletion is None:
        return Answer(204)
    headers = operation_headers(standin, deletion)
    return Answer(202, None, headers | {"Location": headers["Azure-AsyncOperation"]})


def _balancer(standin: AzureStandIn, request: Request) -> Answer:
    match request.method:
        case "GET":
            return Answer(200, standin.balancers.get(request.path))
        case "PUT":
            return _put_answer(standin, *standin.balancers.put(request.path, request.body))
    raise Refusal(405, "MethodNotAllowed")


def _machine(standin: AzureStandIn, request: Request, action: str) -> Answer:
    identity = request.path.rpartition("/")[0]
    match request.method, action:
        case "GET", "instanceview":
            return Answer(200, standin.machines.view(identity))
        case "POST", "poweroff":
            headers = operation_headers(standin, standin.machines.power_off(identity, request.query))
            return Answer(202, None, headers | {"Location": headers["Azure-AsyncOperation"]})
    raise Refusal(405, "MethodNotAllowed")


def _share(standin: AzureStandIn, request: Request, account: str) -> Answer:
    if account not in standin.accounts:
        raise Refusal(404, "ResourceNotFound")
    standin.share_bodies.append(request.body)
    new = standin.shares.make(request.name, request.body["properties"]["shareQuota"])
    return Answer(201 if new else 200, {"name": request.name, "properties": request.body["properties"]})


def _put_answer(standin: AzureStandIn, resource: Json, operation: Operation, new: bool) -> Answer:
    return Answer(201 if new else 200, resource, operation_headers(standin, operation))


def operation_headers(standin: AzureStandIn, operation: Operation) -> dict[str, str]:
    """Where the end of an operation is waited for."""
    place = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Network/locations/{standin.network.region}"
    return {"Azure-AsyncOperation": f"{standin.url}{place}/operations/{operation.id}?api-version=2024-05-01"}


def _operation_body(operation: Operation) -> Json:
    body: Json = {"status": operation.status}
    if operation.status == "Failed":
        body["error"] = {"code": operation.error, "message": f"{operation.error}: the operation failed."}
    return body
