"""Whatever answers on a game's port, asking ends in time, in little memory, and never says "nobody"."""

from __future__ import annotations

import asyncio
import json
import random
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from overworld.domain.activity import Answer
from overworld.domain.games import Game, Protocol
from overworld.domain.servers import Endpoint
from overworld.games.catalogue import Catalogue
from overworld.games.query import QueryFailed, ask, can_probe, has_query, probe

CATALOGUE = Catalogue.load()
SECONDS = 0.3
GAMES = [game.slug for game in CATALOGUE.games()]
ASKED = [game.slug for game in CATALOGUE.games() if has_query(game)]
MEGABYTE = b"\xff" * 2**20

Reply = Callable[[bytes], list[bytes]]


def the(slug: str) -> Game:
    """A built-in game."""
    game = CATALOGUE.find(slug)
    assert game is not None
    return game


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        for answer in self._reply(data):
            self._transport.sendto(answer[:60_000], addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def impostor(protocol: Protocol, reply: Reply) -> AsyncIterator[int]:
    """Something on a port that answers each request with those chunks; the port."""
    loop = asyncio.get_running_loop()
    if protocol is Protocol.UDP:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(reply), local_addr=("127.0.0.1", 0))
        try:
            yield transport.get_extra_info("sockname")[1]
        finally:
            transport.close()
        return

    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            for chunk in reply(await reader.read(1000)):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def endpoints_of(game: Game, port: int) -> tuple[Endpoint, ...]:
    """That port on loopback."""
    return (Endpoint(game.ports[0].name, game.ports[0].protocol, "127.0.0.1", port),)


async def asked(slug: str, reply: Reply) -> Answer:
    """The answer of that game's protocol to such an impostor."""
    game = the(slug)
    async with impostor(game.ports[0].protocol, reply) as port:
        return await ask(game, endpoints_of(game, port), SECONDS)


REPLIES: dict[str, Reply] = {
    "silence": lambda _: [],
    "nothing": lambda _: [b""],
    "one byte": lambda _: [b"\x00"],
    "an echo": lambda data: [data],
    "ones": lambda _: [b"\xff" * 40_000],
    "zeros": lambda _: [b"\x00" * 40_000],
    "a flood": lambda _: [MEGABYTE] * 50,
    "digits": lambda _: [b"9" * 5000],
    "noise": lambda data: [random.Random(len(data)).randbytes(3000)],
    "quake, empty": lambda _: [b"\xff\xff\xff\xffinfoResponse\n"],
    "quake, negative": lambda _: [b"\xff\xff\xff\xffinfoResponse\n\\clients\\-1\\sv_maxclients\\8"],
    "quake, no number": lambda _: [b"\xff\xff\xff\xffinfoResponse\n\\clients\\x\\sv_maxclients\\8"],
    "quake, many": lambda _: [b"\xff\xff\xff\xffinfoResponse\n\\clients\\99999999\\sv_maxclients\\8"],
    "quake, digits": lambda _: [b"\xff\xff\xff\xffinfoResponse\n\\clients\\" + b"9" * 6000],
    "openttd, another packet": lambda _: [struct.pack("<HB", 3, 9)],
    "openttd, too short": lambda _: [struct.pack("<HBB", 4, 6, 6)],
    "openttd, size of nothing": lambda _: [struct.pack("<HB", 0, 6)],
    "openttd, old": lambda _: [struct.pack("<HBB", 4, 6, 1)],
    "openttd, endless name": lambda _: [struct.pack("<HB", 60000, 6) + b"\x06" + b"\x01" * 60000],
    "minecraft, no json": lambda _: [b"\x05\x00\x03abc"],
    "minecraft, another json": lambda _: [b"\x04\x00\x02[]"],
    "minecraft, deep": lambda _: [b"\xa5\x8d\x06\x00\xa0\x8d\x06" + b"[" * 100_000],
    "minecraft, endless number": lambda _: [b"\x80" * 10_000],
    "minecraft, huge": lambda _: [b"\xff\xff\xff\xff\x07\x00\xff\xff\xff\xff\x07", *[MEGABYTE] * 50],
}


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("slug", ASKED)
async def test_a_bad_answer_is_a_failure_in_time(slug: str, reply: str) -> None:
    """QueryFailed and nothing else, within the time that was given."""
    clock = asyncio.get_running_loop().time
    began_at = clock()
    with pytest.raises(QueryFailed):
        await asked(slug, REPLIES[reply])
    assert clock() - began_at < SECONDS + 2


@pytest.mark.parametrize("reply", REPLIES)
async def test_a_bad_handshake_proves_no_luanti(reply: str) -> None:
    """Only a peer id does."""
    game = the("luanti")
    async with impostor(Protocol.UDP, REPLIES[reply]) as port:
        with pytest.raises(QueryFailed):
            await probe(game, endpoints_of(game, port), SECONDS)


@pytest.mark.parametrize("slug", ASKED)
async def test_a_flood_costs_little_memory(slug: str) -> None:
    """50 MiB that nobody asked for are not kept."""
    tracemalloc.start()
    try:
        with pytest.raises(QueryFailed):
            await asked(slug, lambda _: [b"\xff\xff\x03" + MEGABYTE] + [MEGABYTE] * 50)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("slug", GAMES)
async def test_a_closed_port_fails_at_once(slug: str) -> None:
    """On this machine a closed port is told, and the time is not waited out; the sentence says where."""
    game = the(slug)
    async with impostor(game.ports[0].protocol, REPLIES["silence"]) as port:
        pass
    clock = asyncio.get_running_loop().time
    began_at = clock()
    with pytest.raises(QueryFailed, match=rf"cannot be reached at (udp|tcp)/127\.0\.0\.1:{port}"):
        await probe(game, endpoints_of(game, port), 10)
    assert clock() - began_at < 5


async def test_a_host_that_is_no_host_is_a_failure() -> None:
    """Names are looked up within the time as well."""
    game = the("openttd")
    with pytest.raises(QueryFailed):
        await ask(game, endpoints_of(game, 1), 5, host="no host")


async def test_a_game_without_a_question_has_no_answer() -> None:
    """Luanti proves that it lives, and tells no players; a game without a protocol not even that."""
    luanti = the("luanti")
    assert (has_query(luanti), can_probe(luanti)) == (False, True)
    with pytest.raises(QueryFailed, match="no way to be asked"):
        await ask(luanti, endpoints_of(luanti, 1), 1)
    silent = replace(luanti, query=None)
    assert (has_query(silent), can_probe(silent)) == (False, False)
    with pytest.raises(QueryFailed, match="no protocol"):
        await probe(silent, endpoints_of(luanti, 1), 1)
    with pytest.raises(QueryFailed, match="no endpoint"):
        await probe(luanti, (), 1)


async def test_quake_names_lose_colours_bots_and_tricks() -> None:
    """People are those with a ping; colour codes and control characters are taken out of their names."""

    def reply(request: bytes) -> list[bytes]:
        if b"getinfo" in request:
            return [b"noise", b"\xff\xff\xff\xffinfoResponse\n\\g_humanplayers\\2\\clients\\3\\sv_maxclients\\8"]
        players = b'5 0 "Bot"\n7 48 "^1Red^7 \x1bcap"\n0 999 "Sp ace "quote"'
        return [b"\xff\xff\xff\xffstatusResponse\n\\mapname\\x\n" + players]

    assert await asked("openarena", reply) == Answer(2, 8, ("Red  cap", 'Sp ace "quote'))


async def test_minecraft_names_are_bounded() -> None:
    """A sample as long as a server likes is cut."""
    status = {"players": {"online": 300, "max": 500, "sample": [{"name": f"§a{'x' * 100}"}] * 300}}
    text = json.dumps(status).encode()

    def number(value: int) -> bytes:
        return bytes([value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14])

    body = b"\0" + number(len(text)) + text
    answer = await asked("minecraft", lambda _: [number(len(body)) + body])
    assert (answer.players, answer.max_players, len(answer.names), set(answer.names)) == (300, 500, 256, {"x" * 64})


async def test_a_datagram_that_is_lost_is_sent_again() -> None:
    """The first never arrives: the game answers the second, and counts as one that answers."""
    asked_for = []

    def deaf_once(data: bytes) -> list[bytes]:
        asked_for.append(data)
        return [b"\xff\xff\xff\xffinfoResponse\n\\clients\\0\\sv_maxclients\\8"] if len(asked_for) > 1 else []

    game = the("openarena")
    async with impostor(Protocol.UDP, deaf_once) as port:
        answer = await ask(game, endpoints_of(game, port), 10)
    assert (answer.players, answer.max_players) == (0, 8)
    assert len(set(asked_for)) == 1
