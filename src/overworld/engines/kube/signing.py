"""Who the engine is towards the cluster: its TLS context and its Authorization header, as a kubeconfig says.

lightkube knows every form that a kubeconfig has for it, as authentication flows of httpx2. They are driven here without
httpx2's client, whose requests cost five times the CPU of aiohttp's.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator

import httpx2
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import SingleConfig


def tls_context(config: SingleConfig) -> ssl.SSLContext:
    """Trusts the cluster's authority, and shows the user's certificate where there is one."""
    assert config.user is not None  # lightkube puts an empty one where the kubeconfig names none
    return verify_cluster(config.cluster, config.user, config.abs_file, trust_env=False)


class Credential:
    """The Authorization header, kept until the cluster refuses it: Kubernetes replaces a service account's token every
    hour."""

    def __init__(self, config: SingleConfig) -> None:
        self._server = config.cluster.server
        self._auth = user_auth(config.user)
        self._headers: dict[str, str] | None = None

    async def headers(self) -> dict[str, str]:
        """For the next request; empty where a certificate is all."""
        if self._headers is None:
            self._headers = await self._ask(self._flow())
        return self._headers

    async def renewed(self, refused: dict[str, str]) -> dict[str, str] | None:
        """After a 401 to these headers: others, None if there are none."""
        if self._headers is refused:
            flow = self._flow()
            await self._ask(flow)
            self._headers = await self._ask(flow, httpx2.Response(401))
        return self._headers if self._headers != refused else None

    def _flow(self) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        request = httpx2.Request("GET", self._server)
        auth = self._auth or httpx2.Auth()
        return auth.async_auth_flow(request)

    async def _ask(
        self, flow: AsyncGenerator[httpx2.Request, httpx2.Response], refusal: httpx2.Response | None = None
    ) -> dict[str, str]:
        try:
            request = await (anext(flow) if refusal is None else flow.asend(refusal))
        except StopAsyncIteration:  # it has nothing else to offer
            return self._headers or {}
        header = request.headers.get("Authorization")
        return {} if header is None else {"Authorization": header}
