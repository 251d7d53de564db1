"""API tokens: issued once in clear, then known only by their hash.

A token reads ``ow_<prefix>_<secret>``: the prefix (8 characters) is public and finds the row, the secret has 256 random
bits, so that a plain SHA-256 is as good as a slow hash and costs a request nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass
from datetime import datetime, timedelta

from overworld.domain.accounts import Account, Action, Actor, Token, may
from overworld.domain.errors import NotAllowed, NotAuthenticated, NotFound
from overworld.services import accounts
from overworld.services.names import clean_name
from overworld.store import tokens as rows
from overworld.store.database import Transaction
from overworld.store.ids import new_id

_PREFIX_ALPHABET = string.ascii_lowercase + string.digits
_FORM = re.compile(r"ow_([a-z0-9]{8})_[A-Za-z0-9_-]{43}", re.ASCII)
MAX_LIFETIME = timedelta(days=3650)
TOUCH_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token and, only here, its plain text."""

    token: Token
    plain: str


def issue(
    tx: Transaction, actor: Actor, account_id: str, *, label: str, lifetime: timedelta | None, now: datetime
) -> IssuedToken:
    """A new token of the account; without a ``lifetime`` it never expires. Raises NotFound, NotAllowed, BadInput."""
    account = accounts.find(tx, actor, account_id)
    _check_may_manage(actor, account_id)
    return issue_for(tx, account, label=clean_name(label, at="/label"), lifetime=lifetime, now=now)


def issue_for(
    tx: Transaction, account: Account, *, label: str, lifetime: timedelta | None, now: datetime
) -> IssuedToken:
    """The same for nobody in particular: only for the owner of the machine (services.bootstrap)."""
    prefix = "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(8))
    plain = f"ow_{prefix}_{secrets.token_urlsafe(32)}"
    token = Token(
        id=new_id(),
        account_id=account.id,
        label=label,
        prefix=prefix,
        created_at=now,
        expires_at=None if lifetime is None else now + lifetime,
        last_used_at=None,
        revoked_at=None,
    )
    rows.insert_token(tx, token, _hash(plain))
    return IssuedToken(token, plain)


def revoke(tx: Transaction, actor: Actor, account_id: str, token_id: str, now: datetime) -> Token:
    """The token, which from now on opens nothing. Safe to repeat. Raises NotFound, NotAllowed."""
    accounts.find(tx, actor, account_id)
    _check_may_manage(actor, account_id)
    token = rows.revoke_token(tx, account_id, token_id, now)
    if token is None:
        raise NotFound("There is no such token.")
    return token


def authenticate(tx: Transaction, plain: str, now: datetime) -> tuple[Actor, Token]:
    """Who holds the token. Raises NotAuthenticated, in the same words whether it is malformed, unknown, expired,
    revoked or its account disabled: the answer helps nobody to guess."""
    form = _FORM.fullmatch(plain)
    found = rows.find_token_by_prefix(tx, form.group(1)) if form else None
    if found is None:
        raise refusal()
    token, known_hash, account = found
    is_right = hmac.compare_digest(_hash(plain), known_hash)
    is_current = token.revoked_at is None and (token.expires_at is None or token.expires_at > now)
    if not (is_right and is_current and account.disabled_at is None):
        raise refusal()
    return Actor(account_id=account.id, name=account.name, role=account.role, token_id=token.id), token


def needs_touch(token: Token, now: datetime) -> bool:
    """Whether "last used" is a minute old, so that most requests write nothing."""
    return token.last_used_at is None or token.last_used_at <= now - TOUCH_AFTER


def refusal() -> NotAuthenticated:
    """The one answer to every wrong token."""
    return NotAuthenticated("Send a valid token: Authorization: Bearer ow_….")


def _check_may_manage(actor: Actor, account_id: str) -> None:
    if not may(actor, Action.MANAGE_TOKENS_OF, account_id):
        raise NotAllowed("Only the account itself and admins may do this.")


def _hash(plain: str) -> str:
    return hashlib.sha256(plain.encode()).hexdigest()
