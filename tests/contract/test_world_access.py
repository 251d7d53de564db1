"""What every engine's way to the files of a world has to keep to, whatever runs in that world."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from contract.worlds import WorldStage
from overworld.domain.errors import BadInput, Conflict, NotFound, OverworldError, PreconditionFailed, Unavailable
from overworld.engines.base import Done, gather_answer
from waiting import eventually

MIB = 2**20


async def body_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body of these pieces."""
    for piece in pieces:
        yield piece


async def ask(stage: WorldStage, verb: str, *body: bytes, **request: Any) -> Any:
    """One request without bytes in its answer; its items if it has any, else its end."""
    given = body_of(*body) if body else None
    answer = stage.worlds.run(stage.server_id, 1, {"verb": verb, **request}, given)
    async with aclosing(answer):
        items, done = await gather_answer(answer)
    return items or done


async def read(stage: WorldStage, path: str, **request: Any) -> bytes:
    """The bytes of a file."""
    answer = stage.worlds.run(stage.server_id, 1, {"verb": "download", "path": path, **request})
    async with aclosing(answer):
        return b"".join([part async for part in answer if isinstance(part, bytes)])


async def test_files_come_and_go(world_stage: WorldStage) -> None:
    """Upload, list, read, edit, rename, delete: each is there for the next, and for the game."""
    await ask(world_stage, "mkdir", path="plugins")
    await ask(world_stage, "upload", b"x" * MIB, b"y", path="plugins/a.jar", most_bytes=2 * MIB)
    assert await read(world_stage, "plugins/a.jar") == b"x" * MIB + b"y"
    assert await read(world_stage, "plugins/a.jar", offset=MIB - 1, length=5) == b"xy"
    written = await ask(world_stage, "write", b"pvp=true\n", path="server.properties")
    assert await world_stage.play("print(open('server.properties').read())") == "pvp=true\n\n"
    await ask(world_stage, "write", b"pvp=false\n", path="server.properties", tags=[written["tag"]])
    with pytest.raises(PreconditionFailed):
        await ask(world_stage, "write", b"late", path="server.properties", tags=[written["tag"]])
    await ask(world_stage, "rename", path="plugins/a.jar", to="b.jar")
    assert [item["name"] for item in await ask(world_stage, "list")] == ["b.jar", "plugins", "server.properties"]
    await ask(world_stage, "delete", path="plugins")
    with pytest.raises(NotFound):
        await ask(world_stage, "stat", path="plugins")


async def test_what_is_made_belongs_to_the_game(world_stage: WorldStage) -> None:
    """The game can change and remove what was uploaded, and an agent what the game made."""
    await ask(world_stage, "upload", b"mine", path="file", most_bytes=100)
    await world_stage.play("open('file', 'a').write(' too'); open('other', 'w').write('x')")
    assert await read(world_stage, "file") == b"mine too"
    await ask(world_stage, "delete", path="other")


@pytest.mark.parametrize("path", ["link", "link/passwd", "inner/passwd", "../2", "pipe"])
async def test_the_game_cannot_lead_an_agent_out(world_stage: WorldStage, path: str) -> None:
    """Links, pipes and .. lead nowhere, for reading and for writing."""
    await world_stage.play(
        "import os; os.symlink('/etc', 'link'); os.mkdir('inner'); os.mkfifo('pipe');"
        "os.symlink('/etc/passwd', 'inner/passwd')"
    )
    with pytest.raises((Conflict, BadInput)):
        await read(world_stage, path)
    with pytest.raises((Conflict, BadInput)):
        await ask(world_stage, "upload", b"root::0:0::/:/bin/sh", path=path, most_bytes=1000)


async def test_an_agent_has_no_more_rights_than_its_game(world_stage: WorldStage) -> None:
    """What the game has closed to itself, an agent cannot open."""
    await world_stage.play("import os; open('closed', 'w').write('x'); os.chmod('closed', 0)")
    if not world_stage.drops_rights:
        pytest.skip("here the agent is whoever runs the tests")
    with pytest.raises(Conflict):
        await read(world_stage, "closed")


@pytest.mark.parametrize("error", [RuntimeError, ConnectionAbortedError])
async def test_a_body_that_fails_changes_nothing(world_stage: WorldStage, error: type[Exception]) -> None:
    """The sender dies in the middle: it is told at once, the file is as it was, and nothing lies beside it."""

    async def dying() -> AsyncIterator[bytes]:
        yield b"half"
        raise error("the sender died")

    await ask(world_stage, "upload", b"whole", path="file", most_bytes=100)
    request = {"verb": "upload", "path": "file", "most_bytes": 100}
    with pytest.raises(Unavailable):
        async with asyncio.timeout(20):
            await gather_answer(world_stage.worlds.run(world_stage.server_id, 1, request, dying()))
    assert await read(world_stage, "file") == b"whole"
    assert [item["name"] for item in await ask(world_stage, "list")] == ["file"]


async def test_whoever_goes_away_ends_the_agent(world_stage: WorldStage) -> None:
    """An answer that is closed early, and an upload that is cancelled, leave no process and no part of a file."""
    await ask(world_stage, "upload", *([b"x" * MIB] * 8), path="big", most_bytes=10 * MIB)
    async with aclosing(
        world_stage.worlds.run(world_stage.server_id, 1, {"verb": "download", "path": "big"})
    ) as answer:
        await anext(answer)

    async def endless() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    request = {"verb": "upload", "path": "new", "most_bytes": 100}
    uploading = asyncio.create_task(gather_answer(world_stage.worlds.run(world_stage.server_id, 1, request, endless())))
    await eventually(world_stage.has_agents, 20, "the agent works")
    uploading.cancel()
    await asyncio.gather(uploading, return_exceptions=True)

    async def is_alone() -> bool:
        return not await world_stage.has_agents()

    await eventually(is_alone, 20, "the agents have ended")
    assert [item["name"] for item in await ask(world_stage, "list")] == ["big"]


async def test_time_is_bounded(world_stage: WorldStage) -> None:
    """A body that never comes ends with the time that was given, as a passing fault."""

    async def endless() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    request = {"verb": "upload", "path": "new", "most_bytes": 100, "seconds": 0.5}
    with pytest.raises(Unavailable, match="too long"):
        await gather_answer(world_stage.worlds.run(world_stage.server_id, 1, request, endless()))


async def test_a_world_that_is_not_there(world_stage: WorldStage) -> None:
    """Is told by its reason, whatever was asked."""
    for server_id, generation in ((world_stage.server_id, 7), ("nosuchserver", 1)):
        with pytest.raises(OverworldError) as caught:
            await gather_answer(world_stage.worlds.run(server_id, generation, {"verb": "list"}))
        assert caught.value.extra["reason"] == "WorldMissing"


async def test_a_world_is_unpacked_into_a_new_generation(world_stage: WorldStage) -> None:
    """The new generation is made beside the old one, holds the archive's world, and belongs to the game; made twice it
    is left as it is."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in ("backup/level.dat", "backup/region/r.mca"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"data"))
    await world_stage.worlds.make_world(world_stage.server_id, 2, like=1)
    request = {"verb": "upload", "path": ".overworld-archive", "most_bytes": MIB}
    await gather_answer(world_stage.worlds.run(world_stage.server_id, 2, request, body_of(out.getvalue())))
    request = {"verb": "unpack", "most_bytes": MIB, "markers": ["level.dat"]}
    assert (await gather_answer(world_stage.worlds.run(world_stage.server_id, 2, request)))[1]["root"] == "backup"
    await world_stage.worlds.make_world(world_stage.server_id, 2, like=1)
    items, _ = await gather_answer(world_stage.worlds.run(world_stage.server_id, 2, {"verb": "tree"}))
    assert [item["path"] for item in items] == ["level.dat", "region", "region/r.mca"]
    assert await world_stage.play("open('level.dat', 'a').write('!')", generation=2) == ""


async def test_a_slow_reader_slows_the_agent(world_stage: WorldStage) -> None:
    """A gibibyte of holes is downloaded by somebody who takes one piece and waits: it does not pile up here."""
    await world_stage.play("open('sparse', 'w').truncate(2**30)")
    count = 0
    request = {"verb": "download", "path": "sparse", "seconds": 100}
    async with aclosing(world_stage.worlds.run(world_stage.server_id, 1, request)) as answer:
        async for part in answer:
            if isinstance(part, bytes):
                assert len(part) <= MIB
                count += len(part)
            elif isinstance(part, Done):
                break
    assert count == 2**30
