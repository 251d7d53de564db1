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
    ├── CloudError
    │   ├── CloudRefused           the cloud says no until somebody acts
    │   └── CloudUnavailable       a passing fault; says when to try again, if the cloud did
    └── SaveError
        ├── SaveStoreUnavailable   a passing fault of the save store: tried again
        ├── SaveStoreRefused       the store says no until somebody acts (a wrong key, a bucket that is gone)
        ├── RepositoryDamaged      what a server's saves are kept in is not what was written
        ├── RepositoryLocked       another save, or one that was killed, has it
        ├── NoSuchSave             neither this save nor this path in it
        ├── SaveIncomplete         files of the world could not be read
        ├── SaveCancelled          somebody called it off
        ├── SaveDeadline           it took longer than it may
        └── DiskFull               says which disk

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


class SaveError(OverworldError):
    """Something went wrong with a save, or with where saves are kept."""

    slug = "save"
    status = 503
    title = "The save store could not do it"


class SaveStoreUnavailable(SaveError):
    """A passing fault of the save store (a lost connection, too many requests): trying again later is right."""

    slug = "save-store-unavailable"
    title = "The save store does not answer"


class SaveStoreRefused(SaveError):
    """The save store says no until somebody acts. ``reason`` is a CamelCase word for the condition, the detail says
    what to do."""

    slug = "save-store-refused"
    title = "The save store refused"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail, reason=reason)
        self.reason = reason


class RepositoryDamaged(SaveError):
    """A part of a server's saves is missing or not what was written; the detail says what can be done about it."""

    slug = "repository-damaged"
    title = "Saves are damaged"


class RepositoryLocked(SaveError):
    """Another save of this server is at work, or one that was killed left its lock behind."""

    slug = "repository-locked"
    status = 409
    title = "Another save is at work"


class NoSuchSave(SaveError):
    """The store has no such save, or the save has no such path."""

    slug = "no-such-save"
    status = 404
    title = "No such save"


class SaveIncomplete(SaveError):
    """Files of the world could not be read. What could be is kept as ``snapshot_id``, which is no save of the world."""

    slug = "save-incomplete"
    title = "The save lacks files"

    def __init__(self, detail: str, *, snapshot_id: str) -> None:
        super().__init__(detail)
        self.snapshot_id = snapshot_id


class SaveCancelled(SaveError):
    """Somebody called it off. Nothing was kept, and no lock is left."""

    slug = "save-cancelled"
    status = 409
    title = "Called off"


class SaveDeadline(SaveError):
    """It took longer than it was given. Nothing was kept; the next try goes on with what was already sent."""

    slug = "save-deadline"
    title = "It took too long"


class DiskFull(SaveError):
    """No room is left where it had to be written; the detail says which disk that is."""

    slug = "disk-full"
    status = 507
    title = "The disk is full"
