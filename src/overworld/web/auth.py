"""Who is asking: the seam through which every way to authenticate goes. It yields an ``Actor`` and nothing else, and
rights are asked of ``domain.accounts.may``; OIDC comes in here, as another reading of the same header."""

from __future__ import annotations

from datetime import datetime

import structlog
from flask import Request, request

from overworld.domain.accounts import Actor, Token
from overworld.domain.errors import Unavailable
from overworld.services import tokens
from overworld.store import tokens as token_rows
from overworld.store.database import Database, Transaction

log = structlog.get_logger(__name__)


def read_credentials(source: Request = request) -> str:
    """The bearer token of the request, unchecked. Raises NotAuthenticated if there is none (RFC 6750, section 2.1)."""
    scheme, _, credentials = source.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip():
        raise tokens.refusal()
    return credentials.strip()


def authenticate(tx: Transaction, credentials: str, now: datetime) -> tuple[Actor, Token]:
    """The actor, also bound to the log lines of this request. Raises NotAuthenticated."""
    actor, token = tokens.authenticate(tx, credentials, now)
    structlog.contextvars.bind_contextvars(account_id=actor.account_id, token_prefix=token.prefix)
    return actor, token


def touch(database: Database, token: Token, now: datetime) -> None:
    """Remember that the token was used, in a transaction of its own: inside the request's, concurrent requests with
    one token would queue for its row. Never fails: the request itself is done by now."""
    if not tokens.needs_touch(token, now):
        return
    try:
        with database.transaction() as tx:
            token_rows.touch_token(tx, token.id, now)
    except Unavailable as error:
        log.warning("could not note that a token was used", token_prefix=token.prefix, detail=error.detail)
