"""A world that somebody brought, made a save: unpacked where nothing runs, sent to the store, and gone again.

The archive lies in a generation of its own (services/uploads.py). Whatever dies, the next attempt goes on with it.
"""

from __future__ import annotations

import asyncio

from overworld.domain.errors import Conflict, NotFound
from overworld.domain.games import Game
from overworld.domain.saves import Save
from overworld.domain.servers import Server
from overworld.engines.base import gather_answer
from overworld.games.launch import render_home
from overworld.store import saves
from overworld.store import worlds as world_rows
from overworld.worker.job import Job
from overworld.worker.runner import Done
from overworld.worker.save_rows import MIB
from overworld.worker.snapshots import STAGING, NothingToSave, Staged, World
from overworld.worker.taking import NOTHING, Taking
from overworld.worker.terms import Terms, Tools

MOST_SECONDS = 86_400.0
"""Of one request to an agent."""


class Uploading:
    """Uploads of one worker."""

    def __init__(self, tools: Tools, terms: Terms, taking: Taking) -> None:
        self._tools = tools
        self._terms = terms
        self._taking = taking

    async def run(self, job: Job) -> Done:
        """The job of kind upload. Raises BadInput for an archive that is refused."""
        server = await asyncio.to_thread(self._taking.load, job)
        world = World(server.id, server.number, int(job.operation.arguments["generation"]))
        save = await job.write(lambda tx: saves.kept_by(tx, job.operation.id))
        if save is None:
            await self._unpack(job, server, world)
            try:
                save = await self._taking.take_uploaded(job, server, world, await self._find_copies(world))
            except NothingToSave:
                raise Conflict(NOTHING, reason="NothingToSave") from None
        await self.tidy(job, "")
        return Done(_sentence(save), "Uploaded")

    async def tidy(self, job: Job, _why: str) -> None:
        """Nothing is left of the archive, nor of what it held."""
        generation = int(job.operation.arguments["generation"])
        await self._tools.snapshots.remove(World(job.server_id, 0, generation))
        await job.write(lambda tx: world_rows.unretire(tx, job.server_id, generation))

    async def _unpack(self, job: Job, server: Server, world: World) -> None:
        job.say(0, 4, "Unpacking the archive.")
        game = self._tools.catalogue.find(server.game)
        request = {
            "verb": "unpack",
            "most_bytes": self._terms.unpacked_bytes,
            "seconds": min(self._terms.deadline.total_seconds(), MOST_SECONDS),
            **({} if game is None else _marks_of(game, server)),
        }
        try:
            await gather_answer(self._tools.worlds.run(world.server_id, world.generation, request))
        except NotFound:
            return  # an attempt that died had come as far
        except Conflict as error:
            if error.extra.get("reason") == "WorldMissing":
                raise Conflict("What was uploaded is not there any more. Upload it again.", reason="Gone") from error
            raise

    async def _find_copies(self, world: World) -> Staged:
        """Copies of databases that came with a save which was downloaded whole."""
        request = {"verb": "tree", "path": STAGING, "seconds": 300}
        try:
            items, _ = await gather_answer(self._tools.worlds.run(world.server_id, world.generation, request))
        except NotFound:
            return Staged((), {})
        return Staged(tuple(item["path"] for item in items if item["type"] == "file"), {})


def _marks_of(game: Game, server: Server) -> dict[str, object]:
    return {"markers": list(game.world.markers), "home": render_home(game, server.variables)}


def _sentence(save: Save) -> str:
    size = (save.bytes_total or 0) / MIB
    return f"A world of {size:.1f} MiB in {save.files} files is the save {save.id}: restore or clone it."
