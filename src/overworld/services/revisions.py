"""Every change of a server's configuration is written down: of its settings in the transaction that makes it, of text
files of its world when they are written."""

from __future__ import annotations

from datetime import datetime

from overworld.domain.accounts import Actor
from overworld.domain.events import NewEvent
from overworld.domain.revisions import Revision, compare_settings, settings_of
from overworld.domain.servers import Server
from overworld.store import events
from overworld.store import revisions as rows
from overworld.store import servers as server_rows
from overworld.store.database import Transaction

MOST_TEXT_BYTES = 64 * 1024
"""Of a file whose text is kept: what is larger is nothing that people write."""
_MOST_NAMED = 8


def record_first(tx: Transaction, actor: Actor, server: Server, now: datetime) -> Revision:
    """The first revision of a new server."""
    return rows.insert_revision(tx, server, by=actor.name, content=settings_of(server), now=now)


def record_edit(
    tx: Transaction, actor: Actor, before: Server, after: Server, now: datetime, *, restored_from: int | None
) -> Revision:
    """The revision that the edit has made, and its event. Values are in none of its words: some are secret."""
    old, new = settings_of(before), settings_of(after)
    changed = [change.name for change in compare_settings(old, new)]
    made = rows.insert_revision(
        tx, after, by=actor.name, content=new, now=now, changed=changed, restored_from=restored_from
    )
    named = ", ".join(changed[:_MOST_NAMED]) + (" and more" if len(changed) > _MOST_NAMED else "")
    if restored_from is None:
        event = NewEvent(after.id, "ConfigurationChanged", f"{actor.name} changed {named} (revision {made.number}).")
    else:
        message = f"{actor.name} restored revision {restored_from}, which changed {named} (revision {made.number})."
        event = NewEvent(after.id, "ConfigurationRestored", message)
    events.insert_events(tx, [event], now)
    return made


def record_file(
    tx: Transaction,
    actor: Actor,
    server_id: str,
    path: str,
    *,
    before: str | None,
    after: bytes,
    now: datetime,
    restored_from: int | None = None,
) -> Revision | None:
    """The revision of a text file of the world that was written; None if its text is not one that is kept. Where
    ``before`` (None: there was no such text) is not what the last revision says, somebody else had changed it: that is
    a revision of its own, by nobody."""
    view = server_rows.lock_server(tx, server_id, None)
    text = _read_kept(after)
    if view is None or text is None:
        return None
    path = "/".join(part for part in path.split("/") if part)
    last = rows.newest_of(tx, server_id, path)
    is_other = before is not None and (last is None or last.content["text"] != before)
    if is_other and before is not None and _read_kept(before.encode()) is not None:
        rows.insert_revision(tx, view.server, by="", content={"text": before}, now=now, path=path, changed=[path])
    return rows.insert_revision(
        tx,
        view.server,
        by=actor.name,
        content={"text": text},
        now=now,
        path=path,
        changed=[path],
        restored_from=restored_from,
    )


def _read_kept(data: bytes) -> str | None:
    """The text, if it is one that is kept: small, UTF-8, and without the one character that PostgreSQL cannot hold."""
    if len(data) > MOST_TEXT_BYTES or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
