"""Requests to the Kubernetes API, with errors in the words of the engine port. No limit on their rate: the API server
has its own (priority and fairness), and a client's default of a few a second made others' thousand starts take minutes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from lightkube import KubeConfig

from overworld.domain.errors import EngineError, EngineRefused, EngineUnavailable
from overworld.engines.kube.models import Failure
from overworld.engines.kube.names import FIELD_MANAGER
from overworld.engines.kube.signing import Credential, tls_context

TIMEOUT_SECONDS = 10.0
MOST_CONNECTIONS = 40
"""Requests at once, watches included. More make no API server faster, only each answer later; the others wait here."""

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class Missing(Exception):
    """404: the object is not there. Never leaves the engine."""


class Expired(Exception):
    """410: what was asked to be continued is too long ago. Never leaves the engine."""


class Exists(Exception):
    """409: an object of that name was there already. Never leaves the engine."""


class KubeClient:
    """One per engine. Every method raises ``Missing``, ``EngineUnavailable`` or ``EngineRefused``; nothing is tried
    twice here. Paths begin with ``/api`` or ``/apis``."""

    def __init__(self, config: KubeConfig) -> None:
        chosen = config.get()
        if chosen is None:
            raise EngineRefused("NoCluster", "The kubeconfig names no current context: set current-context in it.")
        self._server = chosen.cluster.server.rstrip("/")
        self._credential = Credential(chosen)
        self._tls = tls_context(chosen)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection. Safe to call twice."""
        if self._session is not None:
            await self._session.close()

    async def apply(self, path: str, manifest: Mapping[str, Any]) -> bytes:
        """Server-side apply of one object; the object as it is now. Equal content changes nothing in the cluster."""
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._send("PATCH", path, manifest, params, content_type=APPLY)

    async def create(self, collection: str, manifest: Mapping[str, Any]) -> bytes:
        """Make one object, which takes less rights than to apply it; the object as it is now. Raises ``Exists``."""
        params = {"fieldManager": FIELD_MANAGER}
        return await self._send("POST", collection, manifest, params, content_type="application/json")

    async def merge(self, path: str, changes: Mapping[str, Any]) -> bytes:
        """Change some fields (RFC 7386); the object as it is now."""
        return await self._send("PATCH", path, changes, {"fieldManager": f"{FIELD_MANAGER}-seen"}, content_type=MERGE)

    async def delete(
        self, path: str, *, uid: str | None = None, at_once: bool = False, after_its_own: bool = False
    ) -> None:
        """Ask for an object's removal; only if it is that one, where a ``uid`` is given. Nothing there is fine.

        ``at_once``: without a grace, and without the word of a pod's kubelet. ``after_its_own``: it stays to be seen
        until everything that it owns is gone. An object of another uid is EngineUnavailable.
        """
        options: dict[str, Any] = {"propagationPolicy": "Foreground" if after_its_own else "Background"}
        if at_once:
            options["gracePeriodSeconds"] = 0
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._send("DELETE", path, options, {}, content_type="application/json")
        except Missing:
            return

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """What is at a path, or at a whole URL outside the API (a kubelet)."""
        return await self._send("GET", path, None, params or {})

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], *, silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an answer that does not end. A silence longer than that is a dead connection: it raises
        EngineUnavailable."""
        try:
            async with self._request("GET", path, params, silence_seconds=silence_seconds) as response:
                if response.status >= 400:
                    raise explain(response.status, await response.read())
                yield _lines(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _no_answer(error) from error

    @asynccontextmanager
    async def connect(
        self, path: str, params: Sequence[tuple[str, str]], protocol: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A websocket for the length of the block. Whoever reads from it bounds the time. Raises ``Missing`` and
        EngineRefused as the other methods do, EngineUnavailable for any other refusal."""
        # A session of its own, ended at once: a TLS connection that is closed politely outlives whoever closes it.
        async with self._make_session(1) as session:
            socket = await self._upgrade(session, path, params, protocol)
            try:
                yield socket
            finally:
                await session.close()
                await socket.close()

    async def _upgrade(
        self, session: aiohttp.ClientSession, path: str, params: Sequence[tuple[str, str]], protocol: str
    ) -> aiohttp.ClientWebSocketResponse:
        signed = await self._credential.headers()
        url = self._server + path
        while True:
            try:
                return await session.ws_connect(
                    url, params=params, headers=signed, protocols=(protocol,), max_msg_size=0
                )
            except aiohttp.WSServerHandshakeError as error:
                renewed = await self._credential.renewed(signed) if error.status == 401 else None
                if renewed is not None:
                    signed = renewed
                    continue
                if error.status == 404:
                    raise Missing(f"{path} is not there") from error
                if error.status == 403:
                    raise EngineRefused(
                        "NotAllowed", f"Overworld's service account lacks the right to {path}"
                    ) from error
                raise EngineUnavailable(f"The Kubernetes API answered {error.status} to {path}.") from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _no_answer(error) from error

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, str],
        *,
        content_type: str = "",
    ) -> bytes:
        content = msgspec.json.encode(body) if body is not None else None
        try:
            async with self._request(method, path, params, content=content, content_type=content_type) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _no_answer(error) from error
        if response.status >= 400:
            raise explain(response.status, answer)
        return answer

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        *,
        content: bytes | None = None,
        content_type: str = "",
        silence_seconds: float = TIMEOUT_SECONDS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, asked for once more with a new token if the cluster does not believe the old one."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_SECONDS, sock_read=silence_seconds)
        url = path if path.startswith("https://") else self._server + path
        plain = {"Content-Type": content_type} if content_type else {}
        signed = await self._credential.headers()
        while True:
            async with self._open_session().request(
                method, url, params=params, data=content, headers={**plain, **signed}, timeout=timeout
            ) as response:
                renewed = await self._credential.renewed(signed) if response.status == 401 else None
                if renewed is None:
                    yield response
                    return
                signed = renewed

    def _open_session(self) -> aiohttp.ClientSession:
        """One for all, made where a loop runs. The environment's proxies are for the internet, not for the cluster:
        they are not looked at."""
        if self._session is None:
            self._session = self._make_session(MOST_CONNECTIONS)
        if self._session.closed:
            raise EngineUnavailable("The engine was closed.")
        return self._session

    def _make_session(self, most_connections: int) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=most_connections)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: an object may be larger than what a reader of lines takes."""
    rest = bytearray()
    async for chunk in content.iter_any():
        *lines, last = chunk.split(b"\n")
        for line in lines:
            yield bytes(rest + line)
            rest.clear()
        rest += last


def _no_answer(error: Exception) -> EngineUnavailable:
    said = str(error) or type(error).__name__
    return EngineUnavailable(f"The Kubernetes API does not answer: {said}.")


def explain(status: int, body: bytes) -> EngineError | Missing | Exists | Expired:
    """What a failed request means. The API server's own sentence is kept: it names the quota, the policy, the field."""
    try:
        failure = msgspec.json.decode(body, type=Failure)
    except msgspec.DecodeError:
        failure = Failure(message=body[:500].decode("utf-8", "replace"))
    message = failure.message or f"status {status}"
    match status:
        case 404:
            return Missing(message)
        case 409 if failure.reason == "AlreadyExists":
            return Exists(message)
        case 410:
            return Expired(message)
        case 403:
            return _explain_forbidden(message)
        case 400 | 413 | 415 | 422:
            return EngineRefused("Invalid", f"The cluster does not accept what was sent: {message}", retry_after=None)
        case _:
            return EngineUnavailable(f"The Kubernetes API answered {status}: {message}")


def _explain_forbidden(message: str) -> EngineRefused:
    if "exceeded quota" in message:
        return EngineRefused(
            "QuotaExceeded", f"The cluster's quota is used up: delete or stop a server, or raise the quota. {message}"
        )
    if " cannot " in message and " in API group " in message:  # the words of RBAC
        return EngineRefused("NotAllowed", f"Overworld's service account lacks a right: {message}")
    return EngineRefused("AdmissionDenied", f"A policy of the cluster forbids it: {message}")
