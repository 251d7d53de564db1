"""A worker's save or restore in a process of its own, so that it can be killed:

python -m cluster.saver      what to do is one line of JSON on standard input; "done" on standard output
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from overworld.engines.kube.access import read_kubeconfig
from overworld.engines.kube.engine import KubeEngine
from overworld.engines.kube.options import KubeOptions
from overworld.saves.base import Repository
from overworld.saves.options import ResticOptions
from overworld.worker.errands import render_repository
from overworld.worker.snapshots import World
from overworld.worker.steward_snapshots import StewardSnapshots

MINUTE = timedelta(minutes=1)


def render(kubeconfig: Path, options: KubeOptions, repository: Repository, world: World, restored: str | None) -> bytes:
    """What the program reads."""
    content: dict[str, Any] = {
        "kubeconfig": str(kubeconfig),
        "options": asdict(options),
        "repository": render_repository(repository),
        "ca_file": str(repository.ca_file),
        "world": asdict(world),
        "restored": restored,
    }
    return json.dumps(content).encode() + b"\n"


async def main() -> None:
    """Save the world, or restore that snapshot into it."""
    content = json.loads(sys.stdin.readline())
    engine = KubeEngine(
        read_kubeconfig(Path(content["kubeconfig"])), KubeOptions(**content["options"]), observe_only=True
    )
    wanted = content["repository"]
    repository = Repository(wanted["url"], wanted["password"], wanted["environment"], Path(content["ca_file"]))
    world = World(**content["world"])
    snapshots = StewardSnapshots(engine.stewards, ResticOptions())
    await engine.start(lambda _: None)
    if content["restored"] is None:
        await snapshots.save(
            world, repository, excludes=(), staged=(), parent=None, tags=["t"], progress=lambda _: None, deadline=MINUTE
        )
    else:
        await snapshots.restore(world, repository, content["restored"], progress=lambda _: None, deadline=MINUTE)
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
