"""What would be lost with a server's world, and the save that comes before something risky."""

from __future__ import annotations

from datetime import datetime, timedelta

from overworld.domain.conditions import ConditionType, Reason, find_condition
from overworld.domain.operations import Operation, OperationKind, Outcome
from overworld.domain.saves import SaveReason
from overworld.domain.servers import Desired
from overworld.services.jobs import open_job
from overworld.store import operations, saves
from overworld.store import servers as rows
from overworld.store.database import Transaction
from overworld.store.server_rows import ServerView


def is_saved(tx: Transaction, view: ServerView) -> bool:
    """Whether nothing would be lost with the world: it was never played nor changed, or saved since its game ended and
    its files were changed."""
    server = view.server
    last = saves.last_kept(tx, server.id)
    if server.files_changed_at is not None and (last is None or last.created_at <= server.files_changed_at):
        return False
    ready = find_condition(view.status.conditions, ConditionType.READY)
    saved = find_condition(view.status.conditions, ConditionType.SAVED)
    if ready is None or ready.reason != Reason.STOPPED or server.desired is not Desired.STOPPED:
        return view.status.world_seen == 0
    if saved is None or saved.reason == Reason.NEVER_STOPPED:
        return True
    return last is not None and last.created_at >= ready.since


def save_before_edit(tx: Transaction, view: ServerView, within: timedelta, now: datetime) -> Operation | None:
    """The save that an edit of the world's files waits for, None where it need not: one was taken, or tried, not
    longer than ``within`` ago, or there is nothing that is not saved. So an editing session begins with one save, and
    a store that is down does not hold up every edit. Raises Conflict while too many jobs of the server wait."""
    rows.lock_server(tx, view.server.id, None)  # of several edits at once one asks
    newest = operations.newest_of(tx, view.server.id, OperationKind.SAVE)
    if newest is not None and newest.outcome is Outcome.RUNNING:
        return newest
    last = saves.last_kept(tx, view.server.id)
    if any(each is not None and each.created_at > now - within for each in (newest, last)):
        return None
    if is_saved(tx, view):
        return None
    arguments = {"reason": SaveReason.BEFORE_EDIT.value, "label": "", "pinned": False}
    return open_job(tx, view.server, OperationKind.SAVE, arguments, now)
