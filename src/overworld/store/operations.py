"""Operations: their verdicts are stored, their progress never."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select, text, update

from overworld.domain.operations import JOBS, Operation, OperationKind, Outcome, Verdict
from overworld.domain.servers import ServerId
from overworld.store.codecs import clean_text, read_operation
from overworld.store.database import Transaction
from overworld.store.pages import DEFAULT_PAGE_SIZE, Order, Page, fetch_page
from overworld.store.tables import operation

PRUNE_AT_MOST = 10_000

# Written out, not bound: so that the planner always knows that the partial index fits.
IS_OPEN = operation.c.outcome == text("'running'")

_NEWEST_FIRST = Order("operations", (operation.c.created_at, operation.c.id), (datetime, str), descending=True)


def insert_operation(tx: Transaction, new: Operation) -> None:
    """Remember an operation."""
    tx.execute(
        insert(operation).values(
            id=new.id,
            server_id=new.server_id,
            account_id=new.account_id,
            kind=new.kind,
            generation=new.generation,
            created_at=new.created_at,
            outcome=new.outcome,
            reason=new.reason,
            message=new.message,
            ended_at=new.ended_at,
            arguments=dict(new.arguments),
        )
    )


def find_operation(tx: Transaction, operation_id: str, scope: str | None) -> Operation | None:
    """The operation of that id among those on servers of the account ``scope`` (None: everybody's)."""
    statement = select(operation).where(operation.c.id == operation_id)
    if scope is not None:
        statement = statement.where(operation.c.account_id == scope)
    row = tx.execute(statement).mappings().one_or_none()
    return None if row is None else read_operation(row)


def newest_of(tx: Transaction, server_id: ServerId, kind: OperationKind) -> Operation | None:
    """The newest operation of that kind on the server."""
    statement = select(operation).where(operation.c.server_id == server_id, operation.c.kind == kind)
    newest = statement.order_by(operation.c.created_at.desc(), operation.c.id.desc()).limit(1)
    row = tx.execute(newest).mappings().one_or_none()
    return None if row is None else read_operation(row)


def list_operations(
    tx: Transaction,
    *,
    scope: str | None,
    server_id: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    page_token: str | None = None,
) -> Page[Operation]:
    """Operations, newest first; also those on servers that are gone."""
    statement = select(operation)
    if scope is not None:
        statement = statement.where(operation.c.account_id == scope)
    if server_id is not None:
        statement = statement.where(operation.c.server_id == server_id)
    return fetch_page(
        tx,
        statement,
        _NEWEST_FIRST,
        page_size=page_size,
        page_token=page_token,
        read=lambda row: read_operation(row._mapping),
        key=lambda found: (found.created_at, found.id),
    )


def end_operation(tx: Transaction, operation_id: str, verdict: Verdict, now: datetime) -> Operation | None:
    """The operation with its verdict, or None if it is not open (any more): the first verdict stays."""
    row = (
        tx.execute(
            update(operation)
            .where(operation.c.id == operation_id, IS_OPEN)
            .values(
                outcome=verdict.outcome,
                reason=verdict.reason,
                message=clean_text(verdict.message),
                ended_at=now,
            )
            .returning(operation)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else read_operation(row)


def abort_open_operations(
    tx: Transaction, server_id: str, message: str, now: datetime, *, jobs_too: bool = False
) -> int:
    """End every open wish for the server because a newer one took its place; how many there were. What a worker does
    goes on (``JOBS``), unless ``jobs_too``."""
    which = [operation.c.server_id == server_id, IS_OPEN]
    if not jobs_too:
        which.append(operation.c.kind.not_in(JOBS))
    return tx.execute(
        update(operation)
        .where(*which)
        .values(outcome=Outcome.ABORTED, reason="NewerIntent", message=message, ended_at=now)
    ).rowcount


def prune_operations(tx: Transaction, ended_before: datetime) -> int:
    """Remove up to 10,000 operations that ended before then; how many: call again while it is not 0."""
    old = select(operation.c.id).where(operation.c.ended_at < ended_before).limit(PRUNE_AT_MOST)
    return tx.execute(delete(operation).where(operation.c.id.in_(old))).rowcount
