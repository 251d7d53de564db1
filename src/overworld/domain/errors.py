"""Every error that Overworld raises on purpose.

    OverworldError
    ├── BadInput              422  what was asked can never work; says what would
    ├── NotAuthenticated      401
    ├── NotAllowed            403  only for things the actor may see; else NotFound
    ├── NotFound              404
    ├── Conflict              409  true today, may be false in a minute
    ├── PreconditionFailed    412  somebody else edited first
    ├── QuotaExceeded         403
    ├── Unavailable           503  try again
    ├── CapacityExhausted     503  the installation is full; says what the operator has to raise
    ├── EngineError
    │   ├── EngineRefused          the engine cannot do it and says what the owner can do about it
    │   └── EngineUnavailable      a passing fault: retried with back-off
    └── CloudError
        ├── CloudRefused           the cloud says no until somebody acts
        └── CloudUnavailable       a passing fault; says when to try again, if the cloud did

A class carries its slug (the page under docs/problems), HTTP status and title; an instance carries one sentence
for the person who has to act and the context as ``extra`` members (RFC 9457, section 3.2).
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar


class OverworldError(Exception):
    """Base of all errors raised on purpose; ``detail`` is a sentence that is safe to show to the caller."""

    slug: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong inside Overworld"

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class BadInput(OverworldError):
    """What was asked can never work. ``errors`` in extra: a list of ``{"at": JSON pointer, "says": sentence}``."""

    slug = "bad-input"
    status = 422
    title = "The request says something that cannot be"


class NotAuthenticated(OverworldError):
    """No token, or one that is unknown, expired or revoked (never says which)."""

    slug = "not-authenticated"
    status = 401
    title = "Who are you?"


class NotAllowed(OverworldError):
    """The actor may see the thing but not do this to it."""

    slug = "not-allowed"
    status = 403
    title = "Not allowed"


class NotFound(OverworldError):
    """Does not exist, or the actor may not know that it does."""

    slug = "not-found"
    status = 404
    title = "Not found"


class Conflict(OverworldError):
    """Cannot be done in the thing's present state; the detail says which state and what would be possible."""

    slug = "conflict"
    status = 409
    title = "Not possible right now"


class PreconditionFailed(OverworldError):
    """``If-Match`` does not name the present version: somebody else edited first."""

    slug = "precondition-failed"
    status = 412
    title = "Changed by somebody else in the meantime"


class QuotaExceeded(OverworldError):
    """The account would own more servers or memory than it may."""

    slug = "quota-exceeded"
    status = 403
    title = "Over the account's quota"


class Unavailable(OverworldError):
    """A part that is needed (the database, the engine) does not answer; trying again later is right."""

    slug = "unavailable"
    status = 503
    title = "A part of Overworld does not answer"


class EngineError(OverworldError):
    """Something went wrong where servers run."""

    slug = "engine"
    status = 503
    title = "The engine could not do it"


class EngineRefused(EngineError):
    """The engine cannot do it until somebody acts. ``reason`` is a CamelCase word for the condition, the detail
    tells the owner what to do, ``retry_after`` is when trying again makes sense (None: after the next edit)."""

    slug = "engine-refused"
    title = "The engine refused"

    def __init__(self, reason: str, detail: str, *, retry_after: timedelta | None = timedelta(seconds=10)) -> None:
        super().__init__(detail, reason=reason)
        self.reason = reason
        self.retry_after = retry_after


class EngineUnavailable(EngineError):
    """A passing fault (a lost connection, a time-out). The reconciler retries with back-off and jitter."""

    slug = "engine-unavailable"
    title = "The engine does not answer"


class CapacityExhausted(OverworldError):
    """Everything the installation has of something is used; the detail says of what and how the operator gets more."""

    slug = "capacity-exhausted"
    status = 503
    title = "The installation is full"


class CloudError(OverworldError):
    """Something went wrong in the cloud that gives servers their addresses and shares."""

    slug = "cloud"
    status = 503
    title = "The cloud could not do it"


class CloudRefused(CloudError):
    """The cloud says no until somebody acts. ``reason`` is a CamelCase word for the condition, the detail says what to
    do, ``retry_after`` is when trying again makes sense (None: after the next edit)."""

    slug = "cloud-refused"
    title = "The cloud refused"

    def __init__(self, reason: str, detail: str, *, retry_after: timedelta | None = timedelta(minutes=5)) -> None:
        super().__init__(detail, reason=reason)
        self.reason = reason
        self.retry_after = retry_after


class CloudUnavailable(CloudError):
    """A passing fault: too many requests, a lost connection, something else still at work on the same resource.

    ``retry_after`` is how long the cloud asked to be left alone (None: it did not say).
    """

    slug = "cloud-unavailable"
    title = "The cloud does not answer"

    def __init__(self, detail: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
