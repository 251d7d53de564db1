"""The cloud controller's way to ARM: it waits for long operations, and out refusals that pass."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpx

from azure_standin.installation import AzureStage
from azure_standin.server import ARM
from cluster.harness.cloud_settings import CloudSettings

_PASSING = {429, 500, 502, 503, 504}
_ATTEMPTS = 4
_VERSION = {"api-version": "2024-05-01"}


class ArmRefused(Exception):
    """ARM said no; ``code`` is Azure's word for it."""

    def __init__(self, method: str, path: str, status: int, code: str, message: str) -> None:
        super().__init__(f"{method} {path}: {status} {code}: {message}")
        self.code = code


class ArmClient:
    """Waits for each write, and for a refusal that may pass, as long as ``settings`` say or ARM does."""

    def __init__(self, azure: AzureStage, settings: CloudSettings) -> None:
        self._http = httpx.AsyncClient(
            base_url=azure.standin.url,
            headers={"Authorization": f"Bearer {azure.standin.issue_token(ARM)}"},
            timeout=30,
            trust_env=False,
            verify=ssl.create_default_context(cafile=azure.ca_file),
        )
        self._settings = settings

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str) -> dict[str, Any] | None:
        """A resource; None when there is none. Raises ArmRefused."""
        response = await self._send("GET", path, None)
        if response.status_code == 404 and _code(response) == "ResourceNotFound":
            return None
        found: dict[str, Any] = _checked(response)
        return found

    async def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Write a resource and wait until it is done; the resource. Raises ArmRefused."""
        await asyncio.sleep(self._settings.write_seconds)
        response = await self._send("PUT", path, body)
        _checked(response)
        await self._wait(response)
        written: dict[str, Any] = _checked(await self._send("GET", path, None))
        return written

    async def delete(self, path: str) -> None:
        """Delete a resource and wait until it is gone. Raises ArmRefused."""
        await asyncio.sleep(self._settings.write_seconds)
        response = await self._send("DELETE", path, None)
        _checked(response)
        await self._wait(response)

    async def _wait(self, response: httpx.Response) -> None:
        operation = response.headers.get("Azure-AsyncOperation")
        while operation:
            answer = _checked(await self._send("GET", operation, None))
            if answer["status"] == "Failed":
                error = answer["error"]
                raise ArmRefused("GET", operation, 200, error["code"], error["message"])
            if answer["status"] != "InProgress":
                return
            await asyncio.sleep(0.05)

    async def _send(self, method: str, path: str, body: Any) -> httpx.Response:
        for attempt in range(_ATTEMPTS):
            params = None if path.startswith("https:") else _VERSION  # the path of an operation is whole
            response = await self._http.request(method, path, json=body, params=params)
            if response.status_code not in _PASSING or attempt == _ATTEMPTS - 1:
                break
            await asyncio.sleep(float(response.headers.get("Retry-After", self._settings.throttled_seconds)))
        return response


def _code(response: httpx.Response) -> str:
    return str((response.json().get("error") or {}).get("code")) if response.content else ""


def _checked(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json() if response.content else {}
    message = str((response.json().get("error") or {}).get("message"))
    request = response.request
    raise ArmRefused(request.method, request.url.path, response.status_code, _code(response), message)
