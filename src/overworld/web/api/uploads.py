"""Worlds that somebody brings. Web hands the archive on as it comes; a worker makes a save of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from flask import request
from pydantic import Field

from overworld.domain.errors import Unavailable
from overworld.services import uploads as service
from overworld.web.api.files import body_pieces
from overworld.web.api.operations import accepted
from overworld.web.api.saves import Label, require_workers
from overworld.web.api.servers import WISH
from overworld.web.routes import Call, Media, Reply, Routes
from overworld.web.wire import Asked, Flag

routes = Routes("uploads", "Worlds that somebody brings.")


class UploadAsked(Asked):
    """What the save is to be."""

    label: Label = Field(default="", description="What it is, in your words.")
    pinned: Flag = Field(default=False, description="Retention never removes it.")


@routes.route("POST", "/servers/<server_id>/saves/upload", WISH, query=UploadAsked, raw_body=Media.BYTES)
def upload(call: Call, server_id: str, query: UploadAsked) -> Callable[[], Reply]:
    """Upload a world as a new save: the body is a zip, or a tar (plain, gzip, bzip2 or xz).

    It is accepted once all of it is there; the operation then tells what came of it. The world's own folder in the
    archive is found by the game's marks. Nothing of the server changes: restore or clone the save. One that breaks off
    leaves nothing.
    """
    require_workers(call)
    database, most = call.installation.database, call.installation.settings.upload_mib * 2**20
    said = min(request.content_length or 0, most)
    ticket = service.permit(call.tx, call.actor, server_id, most_bytes=most, bytes_said=said, now=call.now)

    def receive() -> Reply:
        try:
            call.installation.worker.ask(ticket, body_pieces(most))
            with database.transaction() as tx:
                operation = service.accept(
                    tx,
                    call.actor,
                    server_id,
                    ticket.generation,
                    label=query.label,
                    pinned=query.pinned,
                    now=datetime.now(UTC),
                )
        except BaseException:
            with suppress(Unavailable), database.transaction() as tx:  # else it goes when its time has passed
                service.drop(tx, server_id, ticket.generation, datetime.now(UTC))
            raise
        return accepted(operation)

    return receive
