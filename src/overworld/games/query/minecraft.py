"""Minecraft's status (Server List Ping, 1.7 and newer): https://minecraft.wiki/w/Java_Edition_protocol/Server_List_Ping."""

from __future__ import annotations

import json
import re
import struct

from overworld.domain.activity import Answer
from overworld.games.query.exchange import Stream, stream_to
from overworld.games.query.failure import QueryFailed
from overworld.games.query.names import clean_names, count

_MAX_STATUS_BYTES = 262_144  # 32,767 characters of JSON; an icon of 64 × 64 pixels is most of it
_STYLE = re.compile("§.")
_ANY_PROTOCOL = 47
_STATUS = 1


async def ask(host: str, port: int) -> Answer:
    """Who plays; the game names at most a sample of them."""
    async with stream_to(host, port, limit_bytes=_MAX_STATUS_BYTES) as game:
        address = host.encode()[:255]
        hello = _varint(_ANY_PROTOCOL) + _varint(len(address)) + address + struct.pack(">H", port) + _varint(_STATUS)
        game.send(_packet(hello) + _packet(b""))
        await _read_varint(game)  # size of the packet
        if await _read_varint(game) != 0:
            raise QueryFailed("The game answered with something else than its status.")
        text = await game.receive(await _read_varint(game))
    return _parse(text)


async def probe(host: str, port: int) -> None:
    """Returns once the server described itself."""
    await ask(host, port)


def _parse(text: bytes) -> Answer:
    try:
        players = json.loads(text)["players"]
        sample = players.get("sample") or []
        names = [_STYLE.sub("", entry["name"]) for entry in sample]
        return Answer(count(players["online"]), count(players["max"]), clean_names(names))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise QueryFailed("The game's status is not what the protocol says.") from error


def _packet(body: bytes) -> bytes:
    """A packet of type 0 in the clear: the hello and the question are both of that type."""
    return _varint(len(body) + 1) + b"\0" + body


def _varint(number: int) -> bytes:
    """A small non-negative number in groups of seven bits, the lowest first."""
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


async def _read_varint(game: Stream) -> int:
    number = 0
    for shift in range(0, 35, 7):
        byte = (await game.receive(1))[0]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number
    raise QueryFailed("A number in the game's answer is too long.")
