"""Azure's many ways to say no, as the port's two: it passes by itself, or somebody has to act."""

from __future__ import annotations

from datetime import timedelta

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)
from structlog import get_logger

from overworld.cloud.azure.arm import Throttled
from overworld.domain.errors import CloudError, CloudRefused, CloudUnavailable

log = get_logger(__name__)

STILL_USED = frozenset({"PublicIPAddressCannotBeDeleted", "PublicIPAddressInUse", "SharingViolation", "DeletePending"})
BUSY = frozenset(
    {
        "AnotherOperationInProgress",
        "OperationNotFound",
        "RetryableError",
        "OperationNotAllowedInCurrentState",
        "OperationNotAllowed",
        "OperationPreempted",
        "ConflictingUserInput",
        "ShareBeingDeleted",
    }
)
GONE = frozenset({"ResourceGroupNotFound", "SubscriptionNotFound", "ParentResourceNotFound"})


def as_cloud_error(error: AzureError, doing: str) -> CloudError:
    """The error to raise for what a library of Azure's raised while ``doing`` ("make the public IP x").

    The detail names Azure's code, not its text (that names subscriptions); the log has both.
    """
    if isinstance(error, ClientAuthenticationError) and not _is_storages(error) and not _passes(error.status_code or 0):
        return no_token(error, doing)
    if isinstance(error, Throttled):
        return CloudUnavailable(f"Azure asked for a pause before it will {doing}.", retry_after=error.rest)
    if isinstance(error, HttpResponseError):
        return _from_answer(error, doing)
    if isinstance(error, ServiceRequestError | ServiceResponseError | IncompleteReadError):
        log.warning("azure does not answer", doing=doing, error=str(error))
        return CloudUnavailable(f"Azure did not answer the request to {doing}.")
    log.warning("azure library failed", doing=doing, error=repr(error))
    return CloudUnavailable(f"The request to {doing} failed inside Azure's library: {type(error).__name__}.")


def _is_storages(error: HttpResponseError) -> bool:
    """Whether the storage account said no. The class alone does not tell: Entra's refusal of a token has it too."""
    return hasattr(error, "error_code")


def _passes(status: int) -> bool:
    """Whether a status is about the moment, not about the request."""
    return status in {408, 429} or status >= 500


def no_token(error: Exception, doing: str) -> CloudError:
    """The error to raise if Overworld cannot sign in: Entra refuses, or the token to show it is not there."""
    log.warning("no token from entra", doing=doing, error=str(error))
    return CloudRefused(
        "NotSignedIn",
        f"No token could be had from Entra ID to {doing}: check the workload identity (client id, tenant, the service "
        "account's federated credential, the mounted token file).",
        retry_after=timedelta(minutes=1),
    )


def _from_answer(error: HttpResponseError, doing: str) -> CloudError:
    status = error.status_code or 0
    code = code_of(error)
    log.warning("azure refused", doing=doing, status=status, code=code, error=error.message)
    if code == "DnsRecordInUse":
        return CloudRefused(
            "DnsLabelTaken",
            f"Somebody else in this region has the DNS label that is wanted to {doing}: choose another label.",
        )
    if code.endswith("IPCountLimitReached"):
        return CloudRefused(
            "AddressQuota",
            f"The subscription has no public IP left in this region to {doing} ({code}): raise the quota of Standard "
            "public IPv4 addresses (Azure portal: Quotas, Networking), or delete public IPs that nobody needs.",
        )
    if code in STILL_USED:
        return CloudUnavailable(f"Something still uses it: cannot {doing} yet ({code}).")
    # Below 400: the request was fine, but the operation that it began failed for a reason that is none of the above.
    if status < 400 or _passes(status) or code in BUSY:
        return CloudUnavailable(f"Azure cannot {doing} now ({status} {code}).", retry_after=retry_after_of(error))
    return CloudRefused(*_mendable(status, code, doing))


def _mendable(status: int, code: str, doing: str) -> tuple[str, str]:
    """Reason and sentence for what a person has to mend."""
    if code in GONE or status == 404:
        return (
            "PlaceMissing",
            f"There is nothing to {doing} in ({code}): check subscription, resource group and account.",
        )
    if code == "ScopeLocked":
        return "Locked", f"A lock of the resource group or the resource forbids to {doing}: take the lock away."
    if code == "RequestDisallowedByPolicy":
        return "Policy", f"An Azure policy forbids to {doing}: ask for an exemption of the resource group."
    if status == 401:
        return "NotSignedIn", f"Azure did not believe the token to {doing} ({code}): check tenant and audience."
    if status == 403:
        return "NotAuthorized", (
            f"Overworld's identity may not {doing} ({code}): give it Network Contributor on the resource group (for "
            "shares: Storage File Data Privileged Contributor and Storage Account Contributor on the account)."
        )
    return "Refused", f"Azure refused to {doing} ({status} {code})."


def code_of(error: HttpResponseError) -> str:
    """Azure's own word for what is wrong: ARM's ``error.code``, storage's ``x-ms-error-code``; "" without any."""
    code = getattr(error, "error_code", None) or getattr(error.error, "code", None)
    return str(getattr(code, "value", code) or "")


def retry_after_of(error: HttpResponseError) -> timedelta | None:
    """The pause that Azure asked for, if it said so in seconds (ARM does; the other form is a date)."""
    text = (getattr(error.response, "headers", None) or {}).get("Retry-After") or ""
    return timedelta(seconds=int(text)) if text.isdecimal() else None
