"""A change of a world's files: permitted, made once the world is saved as it was before, and told as an event."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any

from overworld.domain.errors import BadInput
from overworld.domain.revisions import Revision
from overworld.services import files as service
from overworld.services import revisions
from overworld.services.files import Permit
from overworld.store.database import Transaction
from overworld.web.routes import Call

SAVE_SECONDS = 20.0
"""That a change waits for the save before it: less than a ticket lasts."""
LOOK_SECONDS = 0.2
WRITE_SECONDS = 60

Record = Callable[[Transaction, Sequence[Mapping[str, Any]]], None]
"""What is stored with the event of a change, of what the agent told."""


def permit_change(call: Call, server_id: str, asked: Mapping[str, Any], phrase: str, *, unsaved: bool) -> Permit:
    """The permit for a request to the world agent by which the caller does what ``phrase`` says. ``unsaved``: whatever
    may not be saved. Raises NotFound and Conflict."""
    settings = call.installation.settings
    must_save = settings.has_workers and settings.save_before_edits and not unsaved
    within = settings.save_before_edits if must_save else None
    return service.permit_changing(call.tx, call.actor, server_id, asked, call.now, phrase=phrase, save_within=within)


def carry_out(
    call: Call, permit: Permit, body: Iterator[bytes] | None = None, *, record: Record | None = None
) -> Mapping[str, Any]:
    """What the change has made, once the world is saved as it was before. Raises Conflict if that takes longer than
    SAVE_SECONDS: nobody waits for minutes, and nothing is changed behind the save's back."""
    database = call.installation.database
    if permit.save is not None:
        give_up_at = monotonic() + SAVE_SECONDS
        while True:
            with database.transaction() as tx:
                if service.is_ready(tx, permit, datetime.now(UTC)):
                    break
                if monotonic() > give_up_at:
                    raise service.say_not_ready(tx, permit)
            sleep(LOOK_SECONDS)
    items, done = call.installation.worker.ask(permit.ticket, body)
    with database.transaction() as tx:
        service.record_change(tx, permit, datetime.now(UTC))
        if record is not None:
            record(tx, items)
    return done


def permit_writing(call: Call, server_id: str, path: str, phrase: str, *, unsaved: bool, **more: object) -> Permit:
    """The permit for ``write_file``, for a text file."""
    asked = {"verb": "write", "path": path, "seconds": WRITE_SECONDS, "tells_before": True, **more}
    return permit_change(call, server_id, asked, phrase, unsaved=unsaved)


def write_file(
    call: Call, permit: Permit, body: Iterable[bytes], *, restored_from: int | None = None
) -> tuple[Mapping[str, Any], Revision | None]:
    """What writing a text file has made, and the revision of the configuration that it is (None for a text that is not
    kept). Raises BadInput for what is no text in UTF-8: nobody could read it as one."""
    written: list[bytes] = []
    made: list[Revision | None] = []

    def pieces() -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for data in body:
                decoder.decode(data)
                written.append(data)
                yield data
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise BadInput("That is no text in UTF-8. Upload it as a file instead.") from error

    def record(tx: Transaction, items: Sequence[Mapping[str, Any]]) -> None:
        told = [str(item["before"]) for item in items]
        made.append(
            revisions.record_file(
                tx,
                call.actor,
                permit.ticket.server_id,
                str(permit.ticket.request["path"]),
                before="".join(told) if told else None,
                after=b"".join(written),
                now=datetime.now(UTC),
                restored_from=restored_from,
            )
        )

    done = carry_out(call, permit, pieces(), record=record)
    return done, made[0]
