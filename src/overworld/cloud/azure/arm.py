"""Azure Resource Manager through Azure's own pipeline: signing in, retries, long-running operations.

Not the generated client: importing azure-mgmt-network costs 2 s and 235 MiB for the three kinds of request that are
sent from here (docs/decisions/0009).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import (
    AsyncRetryPolicy,
    ContentDecodePolicy,
    RequestIdPolicy,
    RetryMode,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.polling import AsyncLROPoller
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.mgmt.core import AsyncARMPipelineClient
from azure.mgmt.core.exceptions import ARMErrorFormat
from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy
from azure.mgmt.core.polling.async_arm_polling import AsyncARMPolling

from overworld.cloud.azure.place import Endpoints, Patience
from overworld.cloud.azure.public_ip import Json

NETWORK_VERSION = "2024-05-01"
STORAGE_VERSION = "2024-01-01"
COMPUTE_VERSION = "2024-07-01"

Transport = AsyncHttpTransport[Any, Any]


class Throttled(AzureError):
    """ARM asked to be left alone; nothing was sent. ``rest``: how much longer."""

    def __init__(self, rest: timedelta) -> None:
        super().__init__(f"throttled for another {rest}")
        self.rest = rest


class Retries(AsyncRetryPolicy):  # type: ignore[type-arg]
    """Azure's retries, but for a ``Retry-After`` that is longer than we care to sit and wait."""

    def __init__(self, patience: Patience) -> None:
        super().__init__(
            retry_total=patience.tries - 1,
            retry_backoff_factor=patience.first_pause.total_seconds(),
            retry_backoff_max=patience.longest_pause.total_seconds(),
            retry_mode=RetryMode.Exponential,
        )
        self._longest_pause_seconds = patience.longest_pause.total_seconds()

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Whether to ask again, and soon."""
        asked_for = self.get_retry_after(response)
        if asked_for is not None and asked_for > self._longest_pause_seconds:
            return False
        return bool(super().is_retry(settings, response))


class Arm:
    """Requests to ARM as JSON. Raises Azure's own errors (``AzureError``); paths begin with ``/subscriptions/``.

    ARM counts by subscription: when it throttles one request, all wait, since each that is sent meanwhile makes the
    pause longer, and the cluster's own controllers share it.
    """

    def __init__(
        self, endpoints: Endpoints, credential: AsyncTokenCredential, patience: Patience, transport: Transport
    ) -> None:
        self._poll_seconds = patience.poll_interval.total_seconds()
        self._retries = Retries(patience)
        self._quiet_until = 0.0  # on the event loop's clock
        self._client: AsyncARMPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncARMPipelineClient(
            endpoints.arm,
            policies=[
                RequestIdPolicy(),
                UserAgentPolicy(user_agent="overworld", user_agent_overwrite=True),
                ContentDecodePolicy(),
                self._retries,
                AsyncARMChallengeAuthenticationPolicy(credential, f"{endpoints.audience}/.default"),
            ],
            transport=transport,
        )

    async def get(self, path: str, version: str) -> Json | None:
        """The resource; None if it does not exist (but an error if its resource group does not)."""
        try:
            return _json(await self._send("GET", path, version))
        except HttpResponseError as error:
            if error.status_code == 404 and getattr(error.error, "code", None) in {"ResourceNotFound", "NotFound"}:
                return None
            raise

    async def items(self, path: str, version: str) -> list[Json]:
        """All items of all pages."""
        items: list[Json] = []
        answer = _json(await self._send("GET", path, version))
        items += answer["value"]
        while following := answer.get("nextLink"):
            answer = _json(await self._send("GET", following))
            items += answer["value"]
        return items

    async def put(self, path: str, version: str, body: Json) -> Json:
        """Make or replace the resource, wait for the end of the operation, and return the resource as it is then."""
        answer = await self._send("PUT", path, version, body)
        resource: Json = await self._finished(answer)
        return resource

    async def write(self, method: Literal["PUT", "PATCH"], path: str, version: str, body: Json) -> None:
        """Write what Azure finishes before it answers (shares, tags)."""
        await self._send(method, path, version, body)

    async def delete(self, path: str, version: str) -> None:
        """Remove the resource and wait until it is gone; returns as well if it was."""
        await self._finished(await self._send("DELETE", path, version))

    async def act(self, path: str, version: str, **query: str) -> None:
        """Do to a resource what the end of the path names, and wait until it is done."""
        await self._finished(await self._send("POST", path, version, query=query))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _send(
        self,
        method: str,
        url: str,
        version: str | None = None,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        now = asyncio.get_running_loop().time()
        if now < self._quiet_until:
            raise Throttled(timedelta(seconds=self._quiet_until - now))
        absolute = self._client.format_url(url)
        params = {**({"api-version": version} if version else {}), **(query or {})}
        request = HttpRequest(method, absolute, params=params or None, json=body)
        # The flag by which generated clients hand the answer on to the poller; its effect on the type is not declared.
        sent: Any = await self._client.send_request(request, _return_pipeline_response=True)
        answer: PipelineResponse[HttpRequest, AsyncHttpResponse] = sent
        if answer.http_response.status_code == 429:
            self._quiet_until = asyncio.get_running_loop().time() + (self._retries.get_retry_after(answer) or 0)
        if answer.http_response.status_code >= 400:
            raise HttpResponseError(response=answer.http_response, error_format=ARMErrorFormat)
        return answer

    async def _finished(self, answer: PipelineResponse[HttpRequest, AsyncHttpResponse]) -> Any:
        if answer.http_response.status_code == 204:
            return None
        polling = AsyncARMPolling(self._poll_seconds)
        return await AsyncLROPoller(self._client, answer, _body, polling).result()


def _json(answer: PipelineResponse[HttpRequest, AsyncHttpResponse]) -> Json:
    body: Json = answer.http_response.json()
    return body


def _body(answer: PipelineResponse[HttpRequest, AsyncHttpResponse]) -> Json | None:
    """The final answer of an operation: a resource, or (a deletion) nothing."""
    return _json(answer) if answer.http_response.text() else None
