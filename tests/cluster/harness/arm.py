"""Azure's resource manager, as far as public IPs and a balancer need it, over HTTP on loopback.

Knows resources by their ARM path, gives public IPs addresses of 203.0.113.0/24 that they keep, holds the rules that
Overworld may run into (DNS labels unique in the region, quota, an address in use is not deleted, etags), answers writes
as long-running operations, and fails on command. The real SDK talks to it with ``base_url=arm.url``.
"""

from __future__ import annotations

import copy
import ipaddress
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cluster.harness.names import LOAD_BALANCER_RANGE

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
LOCATION = "eastus"
NETWORK = "Microsoft.Network"
LABEL = re.compile(r"[a-z][a-z0-9-]{1,61}[a-z0-9]")

_GROUP = re.compile(r"/subscriptions/[^/]+/resourcegroups/([^/]+)", re.IGNORECASE)
_RESOURCE = re.compile(_GROUP.pattern + r"/providers/microsoft\.network/([^/]+)/([^/]+)(/.+)?", re.IGNORECASE)
_LIST = re.compile(
    r"/subscriptions/[^/]+(?:/resourcegroups/([^/]+))?/providers/microsoft\.network/([^/]+)", re.IGNORECASE
)
_LOCATION = re.compile(
    r"/subscriptions/[^/]+/providers/microsoft\.network/locations/([^/]+)/(\w+)(?:/([^/]+))?", re.IGNORECASE
)


class ArmError(Exception):
    """A refusal, with the status and the code that Azure gives it."""

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class _Fault:
    left: int
    error: ArmError


def group_path(group: str) -> str:
    """The ARM id of a resource group."""
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}"


def resource_path(group: str, kind: str, name: str) -> str:
    """The ARM id of a network resource, as ``kind`` spells it: ``publicIPAddresses``, ``loadBalancers``, ..."""
    return f"{group_path(group)}/providers/{NETWORK}/{kind}/{name}"


class Arm:
    """The stand-in. ``write_seconds`` is how long a write takes until it is done; ``public_ip_quota`` how many public
    IPs the subscription allows. Both may be changed at any time. Every request is kept in ``requests``; ``changes``
    counts what has become of them."""

    def __init__(self, *, write_seconds: float = 0.0, public_ip_quota: int = 200) -> None:
        self.write_seconds = write_seconds
        self.public_ip_quota = public_ip_quota
        self.requests: list[tuple[str, str]] = []
        self.changes = 0
        self._lock = threading.RLock()
        self._groups: set[str] = set()
        self._resources: dict[str, dict[str, Any]] = {}
        self._done_at: dict[str, float] = {}
        self._going: dict[str, float] = {}
        self._fault: _Fault | None = None
        self._addresses = [str(address) for address in ipaddress.ip_network(LOAD_BALANCER_RANGE).hosts()][9:]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="arm", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # --- For tests and for the balancer's data plane ---------------------------------------------------------------

    def fail(self, count: int, status: int, code: str, *, retry_after: float | None = None) -> None:
        """The next ``count`` requests of anybody are refused."""
        with self._lock:
            self._fault = _Fault(count, ArmError(status, code, f"{code}: as the test wanted", retry_after))

    def create_group(self, name: str) -> None:
        """A resource group. Safe to call twice."""
        with self._lock:
            self._groups.add(name.lower())

    def create_public_ip(self, group: str, name: str, *, label: str | None = None) -> str:
        """A static public IP as Overworld would make it; its address. Raises ArmError."""
        properties: dict[str, Any] = {"publicIPAllocationMethod": "Static"}
        if label is not None:
            properties["dnsSettings"] = {"domainNameLabel": label}
        body = {"location": LOCATION, "sku": {"name": "Standard"}, "properties": properties}
        answer = self.answer("PUT", resource_path(group, "publicIPAddresses", name), {}, {}, body)
        return str(answer.body["properties"]["ipAddress"])

    def find(self, path: str) -> dict[str, Any] | None:
        """A copy of the resource with this ARM id."""
        with self._lock:
            self._end_deletions()
            found = self._resources.get(path.lower())
            return None if found is None else copy.deepcopy(self._shown(path.lower(), found))

    def count_writes(self) -> int:
        """How many requests were not reads."""
        with self._lock:
            return sum(method != "GET" for method, _ in self.requests)

    # --- Answering --------------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Any) -> Answer:
        """The answer to one request. Raises ArmError."""
        with self._lock:
            self.requests.append((method, path))
            if self._fault is not None and self._fault.left > 0:
                self._fault.left -= 1
                raise self._fault.error
            self._end_deletions()
            if match := _LOCATION.fullmatch(path):
                return self._answer_location(match, query)
            if match := _RESOURCE.fullmatch(path):
                return self._answer_resource(method, path, match, headers, body)
            if method == "GET" and (match := _LIST.fullmatch(path)):
                return self._answer_list(match)
            if match := _GROUP.fullmatch(path):
                return self._answer_group(method, match)
            raise ArmError(404, "InvalidResourceType", f"no such thing here: {method} {path}")

    def _answer_group(self, method: str, match: re.Match[str]) -> Answer:
        name = match[1]
        if method == "PUT":
            self.create_group(name)
        self._check_group(name)
        return Answer(200, {"id": group_path(name), "name": name, "location": LOCATION})

    def _check_group(self, name: str) -> None:
        if name.lower() not in self._groups:
            raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")

    def _answer_list(self, match: re.Match[str]) -> Answer:
        group, kind = match[1], match[2].lower()
        if group:
            self._check_group(group)
        wanted = f"/resourcegroups/{group.lower()}/" if group else "/"
        suffix = f"/providers/microsoft.network/{kind}/"
        found = [
            self._shown(key, value)
            for key, value in sorted(self._resources.items())
            if suffix in key and wanted in key and "/" not in key.partition(suffix)[2]
        ]
        return Answer(200, {"value": copy.deepcopy(found)})

    def _answer_location(self, match: re.Match[str], query: dict[str, str]) -> Answer:
        what = match[2].lower()
        if what == "operations":
            is_done = self._done_at.get(match[3], 0.0) <= time.monotonic()
            return Answer(200, {"status": "Succeeded" if is_done else "InProgress"}, {"Retry-After": "0"})
        if what == "checkdnsnameavailability":
            return Answer(200, {"available": self._owner_of(query.get("domainNameLabel", "")) is None})
        if what == "usages":
            used = sum("/publicipaddresses/" in key for key in self._resources)
            name = {"value": "PublicIPAddresses", "localizedValue": "Public IP Addresses"}
            usage = {"currentValue": used, "limit": self.public_ip_quota, "unit": "Count", "name": name}
            return Answer(200, {"value": [usage]})
        raise ArmError(404, "NotFound", f"no {what} of a location here")

    def _answer_resource(
        self, method: str, path: str, match: re.Match[str], headers: dict[str, str], body: Any
    ) -> Answer:
        key, kind = path.lower(), match[2].lower()
        self._check_group(match[1])
        current = self._resources.get(key)
        if current is None and (method in {"GET", "PATCH"}):
            name = f"{NETWORK}/{match[2]}/{match[3]}"
            raise ArmError(404, "ResourceNotFound", f"The Resource '{name}' was not found.")
        wanted_etag = headers.get("if-match")
        if wanted_etag not in {None, "*"} and (current is None or current["etag"] != wanted_etag):
            raise ArmError(412, "PreconditionFailed", "The etag is not the current one.")
        if method == "GET":
            assert current is not None
            return Answer(200, copy.deepcopy(self._shown(key, current)))
        if method == "DELETE":
            return self._delete(key, kind)
        if method == "PATCH":
            body = {**(current or {}), "tags": (body or {}).get("tags") or {}}
        return self._put(path, kind, body)

    def _put(self, path: str, kind: str, body: dict[str, Any]) -> Answer:
        key = path.lower()
        current = self._resources.get(key)
        stored = copy.deepcopy(body)
        properties = stored.setdefault("properties", {})
        if kind == "publicipaddresses":
            self._check_public_ip(key, stored, current)
            address = current["properties"]["ipAddress"] if current else self._free_address()
            properties["ipAddress"] = address
            if label := (properties.get("dnsSettings") or {}).get("domainNameLabel"):
                properties["dnsSettings"] = {
                    "domainNameLabel": label,
                    "fqdn": f"{label}.{stored.get('location', LOCATION)}.cloudapp.azure.com",
                }
            else:
                properties.pop("dnsSettings", None)
        if kind == "loadbalancers":
            _check_rules(properties)
        stored |= {"id": path, "name": path.rpartition("/")[2], "etag": f'W/"{uuid.uuid4()}"'}
        self._resources[key] = stored
        self.changes += 1
        self._going.pop(key, None)
        headers = self._begin_operation(key)
        return Answer(200 if current else 201, copy.deepcopy(self._shown(key, stored)), headers)

    def _delete(self, key: str, kind: str) -> Answer:
        if key not in self._resources:
            return Answer(204)
        if kind == "publicipaddresses" and (user := self._user_of(key)):
            raise ArmError(
                400, "PublicIPAddressCannotBeDeleted", f"Public IP address {key} is still allocated to resource {user}."
            )
        headers = self._begin_operation(key)
        self._going[key] = self._done_at[key]
        return Answer(202, None, {**headers, "Location": headers["Azure-AsyncOperation"]})

    def _begin_operation(self, key: str) -> dict[str, str]:
        identity = str(uuid.uuid4())
        self._done_at[key] = self._done_at[identity] = time.monotonic() + self.write_seconds
        location = f"/subscriptions/{SUBSCRIPTION}/providers/{NETWORK}/locations/{LOCATION}"
        return {"Azure-AsyncOperation": f"{self.url}{location}/operations/{identity}?api-version=x", "Retry-After": "0"}

    def _end_deletions(self) -> None:
        for key in [key for key, done_at in self._going.items() if done_at <= time.monotonic()]:
            del self._going[key], self._resources[key]
            self.changes += 1

    def _shown(self, key: str, resource: dict[str, Any]) -> dict[str, Any]:
        """A resource with what Azure fills in when it is read."""
        is_done = self._done_at.get(key, 0.0) <= time.monotonic()
        state = "Deleting" if key in self._going else "Succeeded" if is_done else "Updating"
        properties = {**resource["properties"], "provisioningState": state}
        if user := self._user_of(key):
            properties["ipConfiguration"] = {"id": user}
        return {**resource, "properties": properties}

    # --- Rules ------------------------------------------------------------------------------------------------------

    def _check_public_ip(self, key: str, body: dict[str, Any], current: dict[str, Any] | None) -> None:
        properties = body["properties"]
        sku = (body.get("sku") or {}).get("name", "Basic")
        if sku == "Standard" and properties.get("publicIPAllocationMethod") != "Static":
            raise ArmError(400, "StandardSkuPublicIPAddressesMustBeStatic", "A Standard public IP must be static.")
        label = (properties.get("dnsSettings") or {}).get("domainNameLabel")
        if label and not LABEL.fullmatch(label):
            raise ArmError(400, "InvalidDomainNameLabel", f"The domain name label {label} is invalid.")
        if label and self._owner_of(label) not in {None, key}:
            message = f"DNS record {label}.{LOCATION}.cloudapp.azure.com is already used by another public IP."
            raise ArmError(400, "DnsRecordInUse", message)
        used = sum("/publicipaddresses/" in other for other in self._resources)
        if current is None and used >= self.public_ip_quota:
            message = f"Cannot create more than {self.public_ip_quota} public IP addresses for this subscription."
            raise ArmError(400, "PublicIPCountLimitReached", message)

    def _owner_of(self, label: str) -> str | None:
        for key, resource in self._resources.items():
            if ((resource["properties"].get("dnsSettings") or {}).get("domainNameLabel")) == label:
                return key
        return None

    def _user_of(self, key: str) -> str | None:
        if "/publicipaddresses/" not in key:
            return None
        for other, resource in self._resources.items():
            for frontend in resource["properties"].get("frontendIPConfigurations", ()):
                if frontend["properties"]["publicIPAddress"]["id"].lower() == key:
                    return f"{other}/frontendIPConfigurations/{frontend['name']}"
        return None

    def _free_address(self) -> str:
        used = {resource["properties"].get("ipAddress") for resource in self._resources.values()}
        return next(address for address in self._addresses if address not in used)


def _check_rules(properties: dict[str, Any]) -> None:
    """An address has each port of a protocol once."""
    addresses = {
        frontend["name"]: frontend["properties"]["publicIPAddress"]["id"].lower()
        for frontend in properties.get("frontendIPConfigurations", ())
    }
    taken: dict[tuple[str, str, int], str] = {}
    for rule in properties.get("loadBalancingRules", ()):
        details = rule["properties"]
        address = addresses[details["frontendIPConfiguration"]["id"].rpartition("/")[2]]
        other = taken.setdefault((address, details["protocol"].lower(), details["frontendPort"]), rule["name"])
        if other != rule["name"]:
            message = f"Load balancing rules {other} and {rule['name']} use the same frontend port and protocol."
            raise ArmError(400, "RulesUseSameFrontendPortProtocolAndIPConfig", message)


def _handler(arm: Arm) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _respond(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            content = self.rfile.read(int(headers.get("content-length", 0)))
            try:
                answer = arm.answer(
                    self.command, parts.path.rstrip("/"), query, headers, json.loads(content) if content else None
                )
            except ArmError as error:
                retry = {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:g}"}
                answer = Answer(error.status, {"error": {"code": error.code, "message": str(error)}}, retry)
            encoded = b"" if answer.body is None else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_PUT = do_PATCH = do_DELETE = _respond

        def log_message(self, *_: object) -> None:
            """The requests are kept in ``Arm.requests``."""

    return Handler
