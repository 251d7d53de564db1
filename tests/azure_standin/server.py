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

from azure_standin import arm
from azure_standin.arm import SUBSCRIPTION, Answer, Request, resource_id
from azure_standin.balancers import Balancers
from azure_standin.machines import NODE_GROUP, Machines
from azure_standin.network import Network
from azure_standin.operations import Operations, Refusal
from azure_standin.shares import Shares

__all__ = ["ARM", "SUBSCRIPTION", "TENANT", "AzureStandIn", "Fault", "run_standin"]

Json = dict[str, Any]
TENANT = "tenant-1"
ARM = "https://management.azure.com"
STORAGE = "https://storage.azure.com"


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

    With ``signed_in`` every request needs a token that Entra's endpoint here gave for that audience. ``groups`` are
    resource groups, in lower case.
    """

    operations: Operations = field(init=False)
    network: Network = field(init=False)
    balancers: Balancers = field(init=False)
    shares: Shares = field(init=False)
    machines: Machines = field(init=False)
    groups: set[str] = field(default_factory=lambda: {"games", NODE_GROUP.lower()})
    accounts: set[str] = field(default_factory=lambda: {"gameserversa"})
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    signed_in: bool = False
    tokens: dict[str, str] = field(default_factory=dict)  # token -> audience
    assertions: list[str] = field(default_factory=list)  # what was presented to Entra
    share_bodies: list[Json] = field(default_factory=list)  # what ARM was told to make a share with
    url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.begin_anew()

    def begin_anew(self, *, steps: int = 1) -> None:
        """Azure without any resource; operations take that many looks."""
        self.operations = Operations(steps)
        self.network = Network(self.operations)
        self.balancers = Balancers(self.network)
        self.shares = Shares()
        self.machines = Machines(self.operations)

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

    def issue_token(self, audience: str) -> str:
        """A token as Entra gives it (to tests: without asking who it is)."""
        token = secrets.token_urlsafe()
        self.tokens[token] = audience
        return token

    def make_public_ip(self, group: str, name: str, *, label: str | None = None) -> str:
        """A static public IP as somebody makes it by hand, ready at once; its address. Raises Refusal."""
        properties: Json = {"publicIPAllocationMethod": "Static"}
        if label is not None:
            properties["dnsSettings"] = {"domainNameLabel": label}
        body = {"location": self.network.region, "sku": {"name": "Standard"}, "properties": properties}
        path = resource_id(group, "publicIPAddresses", name)
        with self.lock:
            self.network.put(path, body)
            self.operations.finish_all(path)
            return str(self.network.addresses[name]["properties"]["ipAddress"])

    def remove_public_ip(self, group: str, name: str) -> None:
        """A public IP deleted by hand, gone at once. Raises Refusal."""
        path = resource_id(group, "publicIPAddresses", name)
        with self.lock:
            self.network.delete(path)
            self.operations.finish_all(path)


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
                answer = self._route(path, query, body)
            except Refusal as refusal:
                error = {"error": {"code": refusal.code, "message": refusal.message}}
                answer = Answer(refusal.status, error, {"x-ms-error-code": refusal.code, **refusal.headers})
        if fault is not None and fault.drop_after:
            self.close_connection = True
            return
        self._send(answer)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _handle

    def _send(self, answer: Answer) -> None:
        body = answer.body
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body else b""
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if content:
            self.send_header("Content-Type", "application/xml" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _route(self, path: str, query: dict[str, str], body: bytes) -> Answer:
        segments = path.strip("/").split("/")
        if path.endswith("/oauth2/v2.0/token"):
            return self._token(segments[0], body)
        if segments[0] == "subscriptions":
            self._check_token({ARM, self.standin.url})  # as in a sovereign cloud: its own endpoint
            if "api-version" not in query:
                raise Refusal(400, "MissingApiVersionParameter")
            request = Request(self.command, path.rstrip("/"), query, json.loads(body) if body else {})
            return arm.answer(self.standin, request)
        self._check_token({STORAGE})
        return self._files(segments, query)

    def _token(self, tenant: str, body: bytes) -> Answer:
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        if tenant != TENANT or form["grant_type"] != "client_credentials" or "client_assertion" not in form:
            return Answer(400, {"error": "invalid_request", "error_description": "AADSTS90002: no such tenant"})
        self.standin.assertions.append(form["client_assertion"])
        token = self.standin.issue_token(form["scope"].removesuffix("/.default").rstrip("/"))
        return Answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": token})

    def _check_token(self, audiences: set[str]) -> None:
        if not self.standin.signed_in:
            return
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.standin.tokens.get(token) not in audiences:
            raise Refusal(401, "AuthenticationFailed", headers={"WWW-Authenticate": "Bearer"})

    def _files(self, segments: list[str], query: dict[str, str]) -> Answer:
        if self.standin.signed_in and self.headers.get("x-ms-file-request-intent") != "backup":
            raise Refusal(400, "MissingRequiredHeader")
        share, path = segments[0], "/".join(segments[1:])
        shares = self.standin.shares
        match self.command, query.get("restype"):
            case "PUT", "directory":
                shares.make_folder(share, path)
                return Answer(201)
            case "GET", "directory":
                return Answer(200, shares.entries(share, path))
            case "DELETE", "directory":
                shares.delete_folder(share, path)
                return Answer(202)
            case "DELETE", None:
                shares.delete_file(share, path)
                return Answer(202)
        raise Refusal(400, "UnsupportedHttpVerb")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # 5 by default: the sixth connection at once would wait a second


@contextmanager
def run_standin(
    standin: AzureStandIn, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1"
) -> Iterator[AzureStandIn]:
    """The stand-in answers at ``standin.url`` (https with ``tls``) while the block runs."""
    handler = type("Handler", (_Handler,), {"standin": standin})
    server = _Server((host, 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    standin.url = f"{'https' if tls else 'http'}://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield standin
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
