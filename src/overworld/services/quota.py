"""The account's quota, checked in the transaction that uses it up."""

from __future__ import annotations

from overworld.domain.accounts import Account
from overworld.domain.errors import NotFound, QuotaExceeded
from overworld.store import accounts as rows
from overworld.store.database import Transaction


def lock(tx: Transaction, account_id: str) -> Account:
    """The account, its row locked: whoever else adds to it waits until this transaction ends. NotFound."""
    account = rows.lock_account(tx, account_id)
    if account is None:
        raise NotFound("There is no such account.")
    return account


def check_room(tx: Transaction, account_id: str, *, servers: int, memory_mib: int) -> None:
    """Lock the account and make sure that it may own that much more (MiB; less than nothing always fits).

    Stopped servers count, and deleted ones until they are purged. Raises QuotaExceeded with what is used and allowed.
    """
    account = lock(tx, account_id)
    used_servers, used_memory_mib = rows.count_usage(tx, account_id)
    if servers > 0 and used_servers + servers > account.quota.servers:
        raise QuotaExceeded(
            f"This would be server {used_servers + servers}; the account may have {account.quota.servers}, "
            "deleted ones included until their retention has passed.",
        )
    if memory_mib > 0 and used_memory_mib + memory_mib > account.quota.memory_mib:
        raise QuotaExceeded(
            f"The account's servers would have {used_memory_mib + memory_mib} MiB of memory; "
            f"it may have {account.quota.memory_mib} MiB, deleted servers included until their retention has passed.",
        )
