"""Tickets: by one the worker does a single thing to the files of a single world, for whom web has checked it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from overworld.domain.errors import NotAuthenticated
from overworld.domain.servers import ServerId

LIFETIME = timedelta(seconds=30)
"""Until it has to be used. What it began goes on for as long as it takes."""
LEAST_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Ticket:
    """What its bearer may have done: ``request`` (a verb of the world agent, a path, bounds) and nothing else."""

    account_id: str
    server_id: ServerId
    generation: int
    request: Mapping[str, Any]
    expires_at: datetime


def seal_ticket(ticket: Ticket, key: bytes) -> str:
    """The ticket as text (URL-safe), signed. Raises ValueError for a key under 32 bytes."""
    content = json.dumps(
        {
            "account": ticket.account_id,
            "server": ticket.server_id,
            "generation": ticket.generation,
            "request": dict(ticket.request),
            "expires": ticket.expires_at.timestamp(),
        },
        separators=(",", ":"),
    ).encode()
    return f"{_text(content)}.{_text(_sign(content, key))}"


def open_ticket(text: str, key: bytes, now: datetime) -> Ticket:
    """The ticket, if it was signed with this key and has not expired. Raises NotAuthenticated."""
    content, _, signature = text.partition(".")
    try:
        raw, given = _bytes(content), _bytes(signature)
    except ValueError:
        raise _refusal() from None
    if not hmac.compare_digest(_sign(raw, key), given):
        raise _refusal()
    read = json.loads(raw)  # ours: the signature says so
    expires_at = datetime.fromtimestamp(read["expires"], UTC)
    if not now <= expires_at <= now + 2 * LIFETIME:
        raise _refusal()
    return Ticket(read["account"], read["server"], read["generation"], read["request"], expires_at)


def _sign(content: bytes, key: bytes) -> bytes:
    if len(key) < LEAST_KEY_BYTES:
        raise ValueError(f"the key of tickets must have {LEAST_KEY_BYTES} bytes")
    return hmac.digest(key, b"overworld file ticket 1\n" + content, hashlib.sha256)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _refusal() -> NotAuthenticated:
    return NotAuthenticated("This ticket is not valid, or not any more.")
