"""Each game of the catalogue runs from the project's real image, in a pod without any rights, on a real cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.image_builds import REGISTRY, TAG, build_images
from cluster.kube_stage import KubeStage
from contract.test_engine import last_exit, process_of
from overworld.domain.games import Game
from overworld.domain.observed import Phase, Want
from overworld.domain.servers import Desired, Endpoint, Server
from overworld.engines.base import Engine
from overworld.games.catalogue import Catalogue
from overworld.games.launch import render_launch
from overworld.games.query import QueryFailed, probe
from waiting import eventually

GAMES = Catalogue.load().games()
LONG = 90.0

pytestmark = pytest.mark.timeout(900)  # the first time the images are built, if scripts/setup-cluster did not

LOOK = """
import json, os
def refusal(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.strerror
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines())
print(json.dumps({
    "uids": status["Uid"].split(), "gids": status["Gid"].split(),
    "capabilities": [status[name].strip("0") for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "may gain": status["NoNewPrivs"] != "1",
    "refusals": sorted({refusal(f"{path}/x") for path in ("", "/etc", "/usr/bin", "/var/lib", "/config")}),
    "world": refusal("/world/written"),
    "user": os.popen("id -un").read().strip(),
}))
"""


@pytest.fixture(scope="session")
def have(prepared: Cluster) -> Callable[[str], None]:
    """Gives a game's image to the cluster, once."""
    given: set[str] = set()

    def give(name: str) -> None:
        if name not in given:
            (archive,) = build_images(name)
            prepared.import_images(archive)
            given.add(name)

    return give


def server_of(game: Game, want: Want) -> Server:
    """A server of that game, as its owner left everything at its default."""
    now = datetime.now(UTC)
    return Server(
        id=want.server_id,
        number=want.number,
        account_id="a",
        name="Castle",
        game=game.slug,
        generation=1,
        desired=Desired.RUNNING,
        desired_generation=1,
        restarts=0,
        variables={},
        memory_mib=want.memory_mib,
        world_generation=1,
        retired_worlds=(),
        created_at=now,
        updated_at=now,
    )


async def reaches(engine: Engine, want: Want, phase: Phase) -> None:
    """Wait until the game is in that phase."""

    def look() -> bool:
        seen = process_of(engine, want)
        return seen is not None and seen.phase is phase

    await eventually(look, LONG, f"{want.server_id} is {phase}: {process_of(engine, want)}")


async def run_game(stage: KubeStage, engine: Engine, game: Game) -> Want:
    """A server of that game, started; what was wanted, once it says that players can join."""
    endpoints = tuple(Endpoint(port.name, port.protocol, "", port.default) for port in game.ports)
    want = replace(stage.want(endpoints=endpoints), memory_mib=game.memory.default_mib)
    launch = render_launch(game, server_of(game, want), engine.layout(want.server_id, 1), endpoints)
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)
    return want


@pytest.mark.parametrize("game", GAMES, ids=[game.slug for game in GAMES])
async def test_a_games_image_runs_its_game(stage: KubeStage, have: Callable[[str], None], game: Game) -> None:
    """In a pod that may do nothing but write its world: players are answered from outside the cluster, a stop saves,
    and what was saved is there at the next start."""
    have(game.image)
    engine = await stage.engine()
    want = await run_game(stage, engine, game)
    pod = json.loads(stage.kubectl("get", "pods", "--output=json"))["items"][0]
    assert pod["spec"]["containers"][0]["image"] == f"{REGISTRY}/{game.slug}:{TAG}"

    async def answers() -> bool:
        try:
            await probe(game, want.endpoints, 2, host=pod["status"]["podIP"])
        except QueryFailed:
            return False
        return True

    await eventually(answers, 30, f"{game.title} answers at {pod['status']['podIP']}")

    seen = json.loads(stage.kubectl("exec", pod["metadata"]["name"], "--", "/usr/bin/python3", "-c", LOOK))
    assert seen == {
        "uids": ["10000"] * 4,
        "gids": ["10000"] * 4,
        "capabilities": [""] * 4,
        "may gain": False,
        "refusals": ["Read-only file system"],
        "world": None,
        "user": "game",
    }

    launch = render_launch(game, server_of(game, want), engine.layout(want.server_id, 1), want.endpoints)
    stopped = replace(want, running=False)
    await engine.apply(stopped, launch)
    await reaches(engine, stopped, Phase.STOPPED)
    ended = last_exit(engine, want)
    assert (ended.asked, ended.save_seen) == (True, True if game.stop.saved else None)
    await engine.apply(want, launch)
    await reaches(engine, want, Phase.READY)


async def test_two_games_run_from_one_image(stage: KubeStage, have: Callable[[str], None]) -> None:
    """A game of its own slug and settings that names another's image: an entry of the catalogue, and no copy."""
    have("luanti")
    luanti = next(game for game in GAMES if game.slug == "luanti")
    want = await run_game(stage, await stage.engine(), replace(luanti, slug="luanti-creative", title="Creative"))
    image = "--output=jsonpath={.spec.template.spec.containers[0].image}"
    assert stage.kubectl("get", "deployment", want.server_id, image) == f"{REGISTRY}/luanti:{TAG}"
