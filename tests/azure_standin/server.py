"""The stand-in's HTTP: one server on loopback that is ARM, Entra and a storage account, with faults on demand."""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from azure_standin.network import Network, Operation, Refusal
from azure_standin.shares import Shares

Json = dict[str, Any]
TENANT = "tenant-1"
SUBSCRIPTION = "subscription-1"
PAGE = 2  # items of a list, so that paging is met everywhere


@dataclass
class Fault:
    """What happens to one request (each fault is used once, by the first request that matches).

    ``status``/``code``/``retry_after``: this answer, and nothing is done. ``drop``: no answer, and nothing is done.
    ``drop_after``: done, but the answer is lost.
    """

    method: str = ""
    path: str = ""  # a part of it
    status: int = 0
    code: str = ""
    retry_after: str | None = None
    drop: bool = False
    drop_after: bool = False

    def matches(self, method: str, path: str) -> bool:
        """Whether it is meant for this request."""
        return self.method in {"", method} and self.path in path


@dataclass
class AzureStandIn:
    """State and behaviour. ``requests`` is every request that was answered or dropped, as ``METHOD path``.

    With ``signed_in`` every request needs a token that Entra's endpoint here gave for that audience.
    """

    network: Network = field(default_factory=Network)
    shares: Shares = field(default_factory=Shares)
    groups: set[str] = field(default_factory=lambda: {"games"})
    accounts: set[str] = field(default_factory=lambda: {"gameserversa"})
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    signed_in: bool = False
    tokens: dict[str, str] = field(default_factory=dict)  # token -> audience
    assertions: list[str] = field(default_factory=list)  # what was presented to Entra
    share_bodies: list[Json] = field(default_factory=list)  # what ARM was told to make a share with
    url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def writes(self) -> list[str]:
        """The requests that change something on Azure."""
        return [one for one in self.requests if not one.startswith("GET") and "oauth2" not in one]

    def take_fault(self, method: str, path: str) -> Fault | None:
        """The fault for this request, used up."""
        for fault in self.faults:
            if fault.matches(method, path):
                self.faults.remove(fault)
                return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, sent at once: else each answer waits 40 ms for an acknowledgement
    disable_nagle_algorithm = True
    standin: AzureStandIn

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.standin.lock:
            self.standin.requests.append(f"{self.command} {path}")
            fault = self.standin.take_fault(self.command, path)
            if fault is not None and fault.drop:
                self.close_connection = True
                return
            try:
                if fault is not None and fault.status:
                    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
                    raise Refusal(fault.status, fault.code, headers=headers)
                status, answer, headers = self._route(path, query, body)
            except Refusal as refusal:
                error = {"error": {"code": refusal.code, "message": refusal.message}}
                status, answer = refusal.status, error
                headers = {"x-ms-error-code": refusal.code, **refusal.headers}
        if fault is not None and fault.drop_after:
            self.close_connection = True
            return
        self._answer(status, answer, headers)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _handle

    def _answer(self, status: int, answer: Json | str | None, headers: dict[str, str]) -> None:
        as_xml = isinstance(answer, str)
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode() if answer else b""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if content:
            self.send_header("Content-Type", "application/xml" if as_xml else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _route(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, Json | str | None, dict[str, str]]:
        segments = path.strip("/").split("/")
        if path.endswith("/oauth2/v2.0/token"):
            return self._token(segments[0], body)
        if segments[0] == "subscriptions":
            self._check_token("https://management.azure.com")
            if "api-version" not in query:
                raise Refusal(400, "MissingApiVersionParameter")
            return self._arm(path, segments, query, json.loads(body) if body else {})
        self._check_token("https://storage.azure.com")
        return self._files(segments, query)

    def _token(self, tenant: str, body: bytes) -> tuple[int, Json, dict[str, str]]:
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        if tenant != TENANT or form["grant_type"] != "client_credentials" or "client_assertion" not in form:
            return 400, {"error": "invalid_request", "error_description": "AADSTS90002: no such tenant"}, {}
        self.standin.assertions.append(form["client_assertion"])
        token = secrets.token_urlsafe()
        self.standin.tokens[token] = form["scope"].removesuffix("/.default").rstrip("/")
        return 200, {"token_type": "Bearer", "expires_in": 3599, "access_token": token}, {}

    def _check_token(self, audience: str) -> None:
        if not self.standin.signed_in:
            return
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.standin.tokens.get(token) != audience:
            raise Refusal(401, "AuthenticationFailed", headers={"WWW-Authenticate": "Bearer"})

    def _arm(
        self, path: str, segments: list[str], query: dict[str, str], body: Json
    ) -> tuple[int, Json | None, dict[str, str]]:
        if segments[1] != SUBSCRIPTION:
            raise Refusal(404, "SubscriptionNotFound")
        network = self.standin.network
        match [segment.lower() for segment in segments[2:]]:
            case ["providers", "microsoft.network", "locations", _, "usages"]:
                return 200, {"value": network.usages()}, {}
            case ["providers", "microsoft.network", "locations", _, "operations", _]:
                return 200, _operation_body(network.look_at(segments[-1])), {}
            case ["resourcegroups", _, *_] if segments[3] not in self.standin.groups:
                raise Refusal(404, "ResourceGroupNotFound")
            case ["resourcegroups", _, "providers", "microsoft.network", "publicipaddresses"]:
                return 200, self._page(path, sorted(network.addresses), query), {}
            case ["resourcegroups", _, "providers", "microsoft.network", "publicipaddresses", _]:
                return self._public_ip(path, segments[-1], body)
            case ["resourcegroups", _, "providers", "microsoft.storage", "storageaccounts", _, *_, "shares", _] if (
                self.command == "PUT"
            ):
                if segments[7] not in self.standin.accounts:
                    raise Refusal(404, "ResourceNotFound")
                self.standin.share_bodies.append(body)
                new = self.standin.shares.make(segments[-1], body["properties"]["shareQuota"])
                return 201 if new else 200, {"name": segments[-1], "properties": body["properties"]}, {}
        raise Refusal(404, "InvalidResourceType")

    def _page(self, path: str, names: list[str], query: dict[str, str]) -> Json:
        start = int(query.get("$skiptoken", "0"))
        page: Json = {"value": [self.standin.network.get(name) for name in names[start : start + PAGE]]}
        if start + PAGE < len(names):
            version = query["api-version"]
            page["nextLink"] = f"{self.standin.url}{path}?api-version={version}&$skiptoken={start + PAGE}"
        return page

    def _public_ip(self, path: str, name: str, body: Json) -> tuple[int, Json | None, dict[str, str]]:
        network = self.standin.network
        if self.command == "GET":
            return 200, network.get(name), {}
        if self.command == "PATCH":
            return 200, network.patch_tags(name, body["tags"]), {}
        if self.command == "PUT":
            resource, operation, new = network.put(path, name, body)
            return 201 if new else 200, resource, self._operation_headers(operation)
        deletion = network.delete(name)
        if deletion is None:
            return 204, None, {}
        headers = self._operation_headers(deletion)
        return 202, None, headers | {"Location": headers["Azure-AsyncOperation"]}

    def _operation_headers(self, operation: Operation) -> dict[str, str]:
        place = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Network/locations/{self.standin.network.region}"
        url = f"{self.standin.url}{place}/operations/{operation.id}?api-version=2024-05-01"
        return {"Azure-AsyncOperation": url}

    def _files(self, segments: list[str], query: dict[str, str]) -> tuple[int, Json | str | None, dict[str, str]]:
        if self.standin.signed_in and self.headers.get("x-ms-file-request-intent") != "backup":
            raise Refusal(400, "MissingRequiredHeader")
        share, path = segments[0], "/".join(segments[1:])
        shares = self.standin.shares
        match self.command, query.get("restype"):
            case "PUT", "directory":
                shares.make_folder(share, path)
                return 201, None, {}
            case "GET", "directory":
                return 200, shares.entries(share, path), {}
            case "DELETE", "directory":
                shares.delete_folder(share, path)
                return 202, None, {}
            case "DELETE", None:
                shares.delete_file(share, path)
                return 202, None, {}
        raise Refusal(400, "UnsupportedHttpVerb")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # 5 by default: the sixth connection at once would wait a second


def _operation_body(operation: Operation) -> Json:
    body: Json = {"status": operation.status}
    if operation.status == "Failed":
        body["error"] = {"code": operation.error, "message": f"{operation.error}: the operation failed."}
    return body


@contextmanager
def run_standin(standin: AzureStandIn, tls: ssl.SSLContext | None = None) -> Iterator[AzureStandIn]:
    """The stand-in answers at ``standin.url`` (https with ``tls``) while the block runs."""
    handler = type("Handler", (_Handler,), {"standin": standin})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    standin.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield standin
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
