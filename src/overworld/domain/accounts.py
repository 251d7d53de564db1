"""Accounts, tokens, and the one question of who may do what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """What an account is."""

    ADMIN = "admin"  # sees and does everything
    USER = "user"  # sees and does what it owns


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that an account may own. Stopped servers count, deleted ones count until they are purged."""

    servers: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Account:
    """A person or an app."""

    id: str
    name: str
    role: Role
    quota: Quota
    created_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """An API token as it is remembered: its secret is stored only as a hash. ``prefix`` is what people see of it."""

    id: str
    account_id: str
    label: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is asking: an account by one of its tokens."""

    account_id: str
    name: str
    role: Role
    token_id: str | None = None

    @property
    def scope(self) -> str | None:
        """The account whose things this actor sees; None means everybody's. Goes into every query."""
        return None if self.role is Role.ADMIN else self.account_id


class Action(StrEnum):
    """What can be asked for; coarse on purpose, finer rights come with grants."""

    USE_SERVERS = "use servers"
    MANAGE_ACCOUNTS = "manage accounts"
    SEE_ADDRESSES = "see all addresses"
    MANAGE_NODES = "manage nodes"
    SEE_RECOVERY = "see how the installation is brought back"
    MANAGE_TOKENS_OF = "manage tokens of"


def may(actor: Actor, action: Action, owner_id: str | None = None) -> bool:
    """Whether ``actor`` may do ``action`` to a thing owned by ``owner_id`` (None: to nothing in particular)."""
    if actor.role is Role.ADMIN:
        return True
    if action in {Action.MANAGE_ACCOUNTS, Action.SEE_ADDRESSES, Action.MANAGE_NODES, Action.SEE_RECOVERY}:
        return False
    return owner_id is None or owner_id == actor.account_id
