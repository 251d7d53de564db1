"""Requests to the Kubernetes API, with errors in the words of the engine port. No limit on their rate: the API server
has its own (priority and fairness), and a client's default of a few a second made others' thousand starts take minutes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
from lightkube import KubeConfig
from lightkube.config.client_adapter import AsyncClient, ConnectionParams

from overworld.domain.errors import EngineError, EngineRefused, EngineUnavailable
from overworld.engines.kube.models import Failure
from overworld.engines.kube.names import FIELD_MANAGER

TIMEOUT_SECONDS = 10.0

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class Missing(Exception):
    """404: the object is not there. Never leaves the engine."""


class Expired(Exception):
    """410: what was asked to be continued is too long ago. Never leaves the engine."""


class KubeClient:
    """One per engine. Every method raises ``Missing``, ``EngineUnavailable`` or ``EngineRefused``; nothing is tried
    twice here. Paths begin with ``/api`` or ``/apis``."""

    def __init__(self, config: KubeConfig) -> None:
        chosen = config.get()
        if chosen is None:
            raise EngineRefused("NoCluster", "The kubeconfig names no current context: set current-context in it.")
        # The environment's proxies are for the internet, not for the cluster.
        self._http = AsyncClient(chosen, ConnectionParams(timeout=httpx2.Timeout(TIMEOUT_SECONDS), trust_env=False))

    async def close(self) -> None:
        """Close every connection. Safe to call twice."""
        await self._http.aclose()

    async def apply(self, path: str, manifest: Mapping[str, Any]) -> bytes:
        """Server-side apply of one object; the object as it is now. Equal content changes nothing in the cluster."""
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._send("PATCH", path, manifest, params, content_type=APPLY)

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
    ) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of an answer that does not end. A silence longer than that is a dead connection: it raises
        EngineUnavailable."""
        timeout = httpx2.Timeout(TIMEOUT_SECONDS, read=silence_seconds)
        try:
            async with self._http.stream("GET", path, params=dict(params), timeout=timeout) as response:
                if response.status_code >= 400:
                    raise explain(response.status_code, await response.aread())
                yield response.aiter_lines()
        except (httpx2.HTTPError, httpx2.StreamError) as error:
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
        headers = {"Content-Type": content_type} if content_type else {}
        content = msgspec.json.encode(body) if body is not None else None
        try:
            response = await self._http.request(method, path, params=dict(params), content=content, headers=headers)
        except httpx2.HTTPError as error:
            raise _no_answer(error) from error
        if response.status_code >= 400:
            raise explain(response.status_code, response.content)
        return response.content


def _no_answer(error: Exception) -> EngineUnavailable:
    said = str(error) or type(error).__name__
    return EngineUnavailable(f"The Kubernetes API does not answer: {said}.")


def explain(status: int, body: bytes) -> EngineError | Missing | Expired:
    """What a failed request means. The API server's own sentence is kept: it names the quota, the policy, the field."""
    try:
        message = msgspec.json.decode(body, type=Failure).message
    except msgspec.DecodeError:
        message = body[:500].decode("utf-8", "replace")
    message = message or f"status {status}"
    match status:
        case 404:
            return Missing(message)
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
