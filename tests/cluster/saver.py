"""A worker's save, restore or drill in a process of its own, so that it can be killed:

python -m cluster.saver      what to do is one line of JSON on standard input; "done" on standard output
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cluster.scripted_image import CATALOGUE
from overworld.domain.games import Game
from overworld.domain.servers import Desired, Server
from overworld.engines.kube.access import read_kubeconfig
from overworld.engines.kube.engine import KubeEngine
from overworld.engines.kube.options import KubeOptions
from overworld.games.catalogue import Catalogue
from overworld.saves.base import Repository
from overworld.saves.options import ResticOptions
from overworld.worker.errands import render_repository
from overworld.worker.snapshots import Boot, Compared, Size, World
from overworld.worker.steward_snapshots import StewardSnapshots

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Errand:
    """A world to be saved; with a snapshot one to be restored, with a game too one to be proven."""

    world: World
    snapshot_id: str | None = None
    game: str | None = None


def find_game(slug: str) -> Game:
    """A game that there is, or a scripted one."""
    found = Catalogue.load([CATALOGUE]).find(slug)
    assert found is not None
    return found


async def drill(
    snapshots: StewardSnapshots, repository: Repository, world: World, snapshot_id: str, game: Game | None, size: Size
) -> Compared:
    """A save proven against the present world, with that game of a server at its defaults started on it."""
    return await snapshots.drill(
        world, repository, snapshot_id, saved_at=0, is_still=True, progress=lambda _: None, deadline=MINUTE, size=size,
        boot=None if game is None else Boot(_server(game, world), game),
    )  # fmt: skip


def _server(game: Game, world: World) -> Server:
    now = datetime.now(UTC)
    return Server(
        id=world.server_id,
        number=world.number,
        account_id="a",
        name="Castle",
        game=game.slug,
        generation=1,
        desired=Desired.STOPPED,
        desired_generation=1,
        restarts=0,
        variables={},
        memory_mib=game.memory.default_mib,
        world_generation=world.generation,
        retired_worlds=(),
        created_at=now,
        updated_at=now,
    )


def render(kubeconfig: Path, options: KubeOptions, repository: Repository, errand: Errand) -> bytes:
    """What the program reads."""
    content: dict[str, Any] = {
        "kubeconfig": str(kubeconfig),
        "options": asdict(options),
        "repository": render_repository(repository),
        "ca_file": str(repository.ca_file),
        **asdict(errand),
    }
    return json.dumps(content).encode() + b"\n"


async def main() -> None:
    """Do it."""
    content = json.loads(sys.stdin.readline())
    engine = KubeEngine(
        read_kubeconfig(Path(content["kubeconfig"])), KubeOptions(**content["options"]), observe_only=True
    )
    wanted = content["repository"]
    repository = Repository(wanted["url"], wanted["password"], wanted["environment"], Path(content["ca_file"]))
    world, snapshot_id, slug = World(**content["world"]), content["snapshot_id"], content["game"]
    snapshots = StewardSnapshots(engine.stewards, ResticOptions())
    await engine.start(lambda _: None)
    if snapshot_id is None:
        await snapshots.save(
            world, repository, excludes=(), staged=(), parent=None, tags=["t"], progress=lambda _: None, deadline=MINUTE
        )
    elif slug is None:
        await snapshots.restore(world, repository, snapshot_id, progress=lambda _: None, deadline=MINUTE)
    else:
        game = find_game(slug)
        patient = replace(game, ready=replace(game.ready, within=10 * MINUTE))
        await drill(snapshots, repository, world, snapshot_id, patient, Size(0, 0))
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
