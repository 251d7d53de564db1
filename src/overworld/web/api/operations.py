"""The handles of long work."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from overworld.domain.errors import NotFound
from overworld.domain.operations import Operation, OperationKind, Outcome, derive_progress
from overworld.domain.servers import NOT_YET_SEEN, Status
from overworld.services import operations as service
from overworld.store import operations as rows
from overworld.store import servers as server_rows
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import ID_PATTERN, PageAsked, Shown

routes = Routes("operations", "Long work: its progress, its outcome, and calling it off.")


class OperationProgress(Shown):
    """How far it is."""

    done: int
    of: int
    message: str


class OperationEntry(Shown):
    """One asked-for change of one server."""

    id: str
    server_id: str
    kind: OperationKind
    outcome: Outcome
    reason: str = Field(description="One word for the outcome; empty while it runs.")
    message: str = Field(description="The sentence that explains the outcome; empty while it runs.")
    progress: OperationProgress
    created_at: datetime
    ended_at: datetime | None


class OperationList(Shown):
    """A page of operations."""

    items: list[OperationEntry]
    next_page_token: str | None


class OperationsAsked(PageAsked):
    """Which operations."""

    server: str | None = Field(default=None, pattern=f"^{ID_PATTERN}$", description="Only those of this server (id).")


def show_operation(operation: Operation, status: Status) -> OperationEntry:
    """The operation as clients see it."""
    progress = derive_progress(operation, status)
    return OperationEntry(
        id=operation.id,
        server_id=operation.server_id,
        kind=operation.kind,
        outcome=operation.outcome,
        reason=operation.reason,
        message=operation.message,
        progress=OperationProgress(done=progress.done, of=progress.of, message=progress.message),
        created_at=operation.created_at,
        ended_at=operation.ended_at,
    )


def accepted(operation: Operation) -> Reply:
    """The answer to a wish: 202 and where to follow it."""
    return Reply(202, show_operation(operation, NOT_YET_SEEN), headers=operation_location(operation))


def operation_location(operation: Operation) -> dict[str, str]:
    """The header that names the operation."""
    return {"Operation-Location": f"/api/v1/operations/{operation.id}"}


@routes.route("GET", "/operations", Answer(200, "A page, newest first.", OperationList), query=OperationsAsked)
def list_operations(call: Call, query: OperationsAsked) -> Reply:
    """List operations."""
    page = rows.list_operations(
        call.tx,
        scope=call.actor.scope,
        server_id=query.server,
        page_size=query.page_size,
        page_token=query.page_token,
    )
    running = {item.server_id for item in page.items if item.outcome is Outcome.RUNNING}
    records = server_rows.load_many(call.tx, sorted(running)) if running else {}
    items = [
        show_operation(item, records[item.server_id].status if item.server_id in records else NOT_YET_SEEN)
        for item in page.items
    ]
    return Reply(200, OperationList(items=items, next_page_token=page.next_token))


@routes.route("GET", "/operations/<operation_id>", Answer(200, "The operation.", OperationEntry))
def show(call: Call, operation_id: str) -> Reply:
    """Show one operation, with its progress."""
    operation = rows.find_operation(call.tx, operation_id, call.actor.scope)
    if operation is None:
        raise NotFound("There is no such operation.")
    if operation.outcome is not Outcome.RUNNING:
        return Reply(200, show_operation(operation, NOT_YET_SEEN))
    view = server_rows.load_server(call.tx, operation.server_id, call.actor.scope)
    return Reply(200, show_operation(operation, view.status if view is not None else NOT_YET_SEEN))


@routes.route("POST", "/operations/<operation_id>/cancel", Answer(200, "The operation, called off.", OperationEntry))
def cancel(call: Call, operation_id: str) -> Reply:
    """Call an operation off.

    Only a create or a start that has not ended (its server is then wanted stopped), and what is done with saves: that
    ends as soon as its worker has tidied up.
    """
    operation = service.cancel(call.tx, call.actor, operation_id, call.now)
    return Reply(200, show_operation(operation, NOT_YET_SEEN))
