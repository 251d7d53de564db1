"""Who Overworld is towards Azure: the workload identity of its service account, named explicitly, never a chain of
guesses that finds something else on another machine."""

from __future__ import annotations

from dataclasses import dataclass

from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import WorkloadIdentityCredential

from overworld.cloud.azure.place import Endpoints, Patience


@dataclass(frozen=True, slots=True)
class WorkloadIdentity:
    """What Azure's webhook mounts into a pod whose service account is annotated; ``token_file`` is read anew for each
    sign-in, since Kubernetes replaces it every hour."""

    tenant_id: str
    client_id: str
    token_file: str


def sign_in(
    identity: WorkloadIdentity, endpoints: Endpoints | None = None, patience: Patience | None = None
) -> AsyncTokenCredential:
    """The credential for ``AzureCloud``. Asks nobody yet: a wrong identity shows at the first request."""
    where, patience = endpoints or Endpoints(), patience or Patience()
    return WorkloadIdentityCredential(
        tenant_id=identity.tenant_id,
        client_id=identity.client_id,
        token_file_path=identity.token_file,
        authority=where.entra,
        connection_verify=where.ca_file or True,
        retry_total=patience.tries - 1,
        retry_backoff_factor=patience.first_pause.total_seconds(),
        retry_backoff_max=patience.longest_pause.total_seconds(),
    )
