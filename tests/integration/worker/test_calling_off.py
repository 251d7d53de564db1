"""A restore that is called off in its last moment: nothing was changed, or it is too late and says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from kept_saves import make_kept_save
from overworld.domain.accounts import Actor, Role
from overworld.domain.operations import Operation, OperationKind, Outcome
from overworld.services import operations as service
from overworld.store import operations
from overworld.store.database import Database
from overworld.store.servers import load_server
from overworld.worker.restoring import Restoring
from overworld.worker.runner import Handler, Runner
from overworld.worker.snapshots import World
from overworld.worker.taking import Taking
from overworld.worker.terms import Terms, Tools
from owned_servers import OWNER, make_owned_server

ID = "restore-1"


class LastMoment:
    """The worlds, where whoever asked for the restore calls it off once all of it is there."""

    works_here = True

    def __init__(self, database: Database, actor: Actor) -> None:
        self.database, self.actor = database, actor
        self.worlds: set[int] = {1}

    async def restore(self, world: World, *_: object, **__: object) -> None:
        """Whole, and called off before anybody else can say or do anything."""
        self.worlds.add(world.generation)
        with self.database.transaction() as tx:
            service.cancel(tx, self.actor, ID, datetime.now(UTC))

    async def remove(self, world: World) -> None:
        """It is gone."""
        self.worlds.remove(world.generation)


async def test_what_was_called_off_before_the_swap_changes_nothing(database: Database) -> None:
    """Though nobody has told the worker yet: it ends as cancelled, the server has its old world, the new is gone."""
    server = make_owned_server(database)
    arguments = {"save_id": make_kept_save(database, server.id).id, "saved_first": True}
    with database.transaction() as tx:
        asked = Operation(
            ID, server.id, server.account_id, OperationKind.RESTORE, 1, server.created_at, arguments=arguments
        )
        operations.insert_operation(tx, asked)
    snapshots = LastMoment(database, Actor(server.account_id, OWNER, Role.USER))

    async def find(_server_id: str) -> object:
        return object()

    tools = SimpleNamespace(database=database, snapshots=snapshots, repositories=SimpleNamespace(find=find))
    terms: Any = SimpleNamespace(undo=timedelta(days=3), deadline=timedelta(minutes=1))
    restoring = Restoring(cast(Tools, tools), cast(Terms, terms), cast(Taking, None))
    handlers = {OperationKind.RESTORE: Handler(restoring.run, restoring.tidy, "RestoreFailed")}
    await Runner(database, handlers, "worker", at_most=8, here=2).work(ID)
    with database.transaction() as tx:
        ended, view = operations.find_operation(tx, ID, None), load_server(tx, server.id)
    assert ended is not None
    assert view is not None
    assert (ended.outcome, view.server.world_generation, view.server.retired_worlds) == (Outcome.CANCELLED, 1, ())
    assert snapshots.worlds == {1}
