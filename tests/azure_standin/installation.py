"""The real ``AzureCloud`` on the stand-in: over TLS, signed in with a workload identity, and with a death on demand."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import trustme
from azure.core.pipeline.transport import AioHttpTransport

from azure_standin.machines import NODE_GROUP
from azure_standin.server import SUBSCRIPTION, TENANT, AzureStandIn, run_standin
from overworld.cloud.azure.cloud import AzureCloud
from overworld.cloud.azure.identity import WorkloadIdentity, sign_in
from overworld.cloud.azure.place import AzurePlace, Endpoints, Patience

PLACE = AzurePlace(
    installation="prod",
    subscription_id=SUBSCRIPTION,
    resource_group="games",
    region="eastus",
    node_resource_group=NODE_GROUP,
    storage_account="gameserversa",
    share="worlds",
)
AT_ONCE = Patience(
    first_pause=timedelta(0),
    longest_pause=timedelta(seconds=1),
    poll_interval=timedelta(0),
    deadline=timedelta(seconds=20),
)


class Killed(BaseException):
    """The process is gone at this point: nothing that handles errors may handle this."""


class Deadly(AioHttpTransport):  # type: ignore[misc] # found by name at run time: Any to mypy
    """The real transport, but the process dies at the n-th request: before it is sent, or before its answer is read."""

    def __init__(self, at: int, *, answered: bool, ca_file: str) -> None:
        super().__init__(connection_verify=ca_file)
        self._at, self._answered, self.sent = at, answered, 0

    async def send(self, request: Any, **config: Any) -> Any:
        """Count, and die when it is time."""
        self.sent += 1
        if self.sent == self._at and not self._answered:
            raise Killed
        answer = await super().send(request, **config)
        if self.sent == self._at:
            internal = getattr(answer, "internal_response", None) or answer._internal_response
            internal.close()  # a dead process has no open sockets
            raise Killed
        return answer


class AzureStage:
    """A stand-in, and as many clients of it as a test wants."""

    def __init__(self, standin: AzureStandIn, ca_file: Path, token_file: Path) -> None:
        self.standin = standin
        self.ca_file = str(ca_file)
        self.identity = WorkloadIdentity(TENANT, "client-1", str(token_file))
        self.endpoints = Endpoints(
            arm=standin.url, entra=standin.url, storage=standin.url.rstrip("/"), ca_file=self.ca_file
        )

    def settings(self, **settings: str) -> dict[str, str]:
        """The environment of a process of Overworld that is to use this Azure; ``settings`` are more of them, or other
        values: ``azure_resource_group="elsewhere"``."""
        chosen = {
            "cloud": "azure",
            "azure_installation": PLACE.installation,
            "azure_tenant_id": self.identity.tenant_id,
            "azure_client_id": self.identity.client_id,
            "azure_token_file": self.identity.token_file,
            "azure_subscription_id": PLACE.subscription_id,
            "azure_resource_group": PLACE.resource_group,
            "azure_region": self.standin.network.region,
            "azure_storage_account": str(PLACE.storage_account),
            "azure_share": PLACE.share,
            "azure_arm_url": self.endpoints.arm,
            "azure_entra_url": self.endpoints.entra,
            "azure_storage_url": self.endpoints.storage,
            "azure_ca_file": self.ca_file,
        } | settings
        return {f"OVERWORLD_{name.upper()}": value for name, value in chosen.items()}

    def cloud(
        self, transport: AioHttpTransport | None = None, patience: Patience = AT_ONCE, **place: object
    ) -> AzureCloud:
        """A new client: what a new process would have."""
        return AzureCloud(
            replace(PLACE, **place),  # type: ignore[arg-type]
            sign_in(self.identity, self.endpoints, patience),
            endpoints=self.endpoints,
            patience=patience,
            transport=transport,
        )


@contextmanager
def run_azure(folder: Path, standin: AzureStandIn | None = None, *, host: str = "127.0.0.1") -> Iterator[AzureStage]:
    """The stage stands on an address of this machine while the block runs; ``folder`` gets the authority's certificate
    and the service account's token."""
    authority = trustme.CA()
    ca_file, token_file = folder / "ca.pem", folder / "token"
    authority.cert_pem.write_to_path(str(ca_file))
    token_file.write_text("assertion-of-kubernetes")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    with run_standin(standin or AzureStandIn(signed_in=True), context, host=host) as running:
        yield AzureStage(running, ca_file, token_file)
