"""The one way to the database: short transactions on a small pool, with PostgreSQL's faults told in domain errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeAlias

import psycopg
import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from overworld.domain.errors import BadInput, OverworldError, Unavailable

Transaction: TypeAlias = sqlalchemy.Connection

CONNECT_SECONDS = 5

_DRIVER_ERRORS = (exc.DBAPIError, psycopg.OperationalError)


class Database:
    """A pool of at most ``pool_size`` connections to one PostgreSQL. One per process; safe to share by threads.

    Does not connect before the first transaction. ``url`` is ``postgresql://…`` (any driver suffix is replaced by
    psycopg's); raises ``BadInput`` for anything else. A statement that takes longer than ``statement_timeout`` is
    cancelled by the server; whoever finds the pool empty waits that long at most.
    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        pool_size: int = 5,
        statement_timeout: timedelta = timedelta(seconds=10),
    ) -> None:
        self.url = url
        self.engine = sqlalchemy.create_engine(
            parse_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=statement_timeout.total_seconds(),
            # One round trip a checkout, so that the first request after a restart of PostgreSQL is not the victim.
            pool_pre_ping=True,
            connect_args={
                "application_name": application_name,
                "connect_timeout": CONNECT_SECONDS,
                "options": session_options(statement_timeout),
            },
        )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One READ COMMITTED transaction: committed when the block ends, rolled back when it raises.

        Raises ``Unavailable`` when PostgreSQL does not answer, goes away, cancels a statement, breaks a deadlock or
        has no room, and when the pool stays empty: nothing was committed, or (a connection lost during COMMIT) it is
        not known. Raises ``BadInput`` for a value that PostgreSQL cannot hold.
        """
        with translated_errors(), self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every idle connection. Safe to call twice."""
        self.engine.dispose()


def parse_url(url: str) -> URL:
    """The URL with psycopg as its driver. Raises ``BadInput`` (which never repeats the password) for any other
    database."""
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        raise BadInput(
            "The database URL cannot be read. It looks like postgresql://user:password@host/name."
        ) from error
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise BadInput(
            f"The database URL is for {parsed.get_backend_name()}; only PostgreSQL will do, as in "
            "postgresql://user:password@host/name."
        )
    return parsed.set(drivername="postgresql+psycopg")


def session_options(statement_timeout: timedelta, lock_timeout: timedelta | None = None) -> str:
    """What every session is told at its start: a limit for each statement, and UTC."""
    options = f"-c statement_timeout={round(statement_timeout.total_seconds() * 1000)} -c timezone=UTC"
    if lock_timeout is not None:
        options += f" -c lock_timeout={round(lock_timeout.total_seconds() * 1000)}"
    return options


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise domain errors instead of the driver's; those that tell of a fault of ours pass through."""
    try:
        yield
    except exc.TimeoutError as error:
        raise Unavailable("All connections to the database are in use; try again in a moment.") from error
    except exc.DBAPIError as error:
        raise _translate(error) from error
    except psycopg.OperationalError as error:
        raise _explain(error) from error
    except UnicodeEncodeError as error:
        raise BadInput("A text has a character that is not Unicode (half of a surrogate pair).") from error


def driver_words(error: OverworldError) -> str:
    """The first line of what the driver said (which host, which user, why), or nothing. For whoever operates this
    installation, never for callers of the API."""
    cause = error.__cause__
    said = str(cause.orig if isinstance(cause, exc.DBAPIError) else cause) if isinstance(cause, _DRIVER_ERRORS) else ""
    return next(iter(said.splitlines()), "")


def _translate(error: exc.DBAPIError) -> OverworldError | exc.DBAPIError:
    if isinstance(error.orig, psycopg.DataError):
        return BadInput("A text or number has something that the database cannot hold, such as a NUL character.")
    if isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError) or error.connection_invalidated:
        return _explain(error.orig)
    return error


def _explain(error: BaseException | None) -> Unavailable:
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
        return Unavailable("The database took too long to answer; try again in a moment.")
    if isinstance(error, psycopg.errors.DiskFull):
        return Unavailable("The disk of the database is full: make room, nothing can be stored before.")
    if isinstance(error, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure):
        return Unavailable("Two changes got in each other's way; try again.")
    return Unavailable("The database does not answer; try again in a moment.")
