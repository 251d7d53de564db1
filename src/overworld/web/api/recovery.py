"""Whether the installation could be brought back, for admins; to others there is no such page."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from overworld.domain.recovery import Preparedness
from overworld.services import recovery as service
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import Shown

routes = Routes("recovery", "Whether the installation could be brought back (admins only).")


class RecoveryEntry(Shown):
    """How well the installation is prepared for the loss of its machine."""

    state: Preparedness = Field(
        description="off: no recovery key; waiting: no dump yet; ready; late: no recent dump; fenced: lives elsewhere."
    )
    message: str = Field(description="What is so, and what to do, in a sentence.")
    key_made_at: datetime | None = Field(description="When the recovery key was made that opens the dumps.")
    dumped_at: datetime | None = Field(description="When the database was last dumped to the save store.")
    dump_bytes: int = Field(description="Size of that dump.")


@routes.route("GET", "/recovery", Answer(200, "How well it is prepared.", RecoveryEntry), problems=(404,))
def show(call: Call) -> Reply:
    """Show whether the installation could be brought back (admins only)."""
    health, found = service.show(call.tx, call.actor, call.installation.settings.dump_every, call.now)
    return Reply(
        200,
        RecoveryEntry(
            state=health.state,
            message=health.message,
            key_made_at=None if found is None else found.key_made_at,
            dumped_at=None if found is None else found.dumped_at,
            dump_bytes=0 if found is None else found.dump_bytes,
        ),
    )
