"""A change of a world's files: permitted, made once the world is saved as it was before, and told as an event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any

from overworld.services import files as service
from overworld.services.files import Permit
from overworld.web.routes import Call

SAVE_SECONDS = 20.0
"""That a change waits for the save before it: less than a ticket lasts."""
LOOK_SECONDS = 0.2


def permit_change(call: Call, server_id: str, asked: Mapping[str, Any], phrase: str, *, unsaved: bool) -> Permit:
    """The permit for a request to the world agent by which the caller does what ``phrase`` says. ``unsaved``: whatever
    may not be saved. Raises NotFound and Conflict."""
    settings = call.installation.settings
    must_save = settings.has_workers and settings.save_before_edits and not unsaved
    within = settings.save_before_edits if must_save else None
    return service.permit_changing(call.tx, call.actor, server_id, asked, call.now, phrase=phrase, save_within=within)


def carry_out(call: Call, permit: Permit, body: Iterator[bytes] | None = None) -> Mapping[str, Any]:
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
    _, done = call.installation.worker.ask(permit.ticket, body)
    with database.transaction() as tx:
        service.record_change(tx, permit, datetime.now(UTC))
    return done
