"""OpenTTD's game info over TCP (network_game_info.cpp, version 6 of the packet; 4 and newer are read)."""

from __future__ import annotations

import struct

from overworld.domain.activity import Answer
from overworld.games.query.exchange import stream_to
from overworld.games.query.failure import QueryFailed
from overworld.games.query.names import count

_ASK_GAME_INFO = 7
_GAME_INFO = 6
_HEADER = struct.Struct("<HB")  # size of the whole packet, its type


async def ask(host: str, port: int) -> Answer:
    """How many play, spectators included; it tells no names."""
    async with stream_to(host, port) as game:
        game.send(_HEADER.pack(_HEADER.size, _ASK_GAME_INFO))
        size, kind = _HEADER.unpack(await game.receive(_HEADER.size))
        if kind != _GAME_INFO:
            raise QueryFailed(f"The game answered with a packet of type {kind}, not with its game info.")
        return _parse(_Packet(await game.receive(size - _HEADER.size)))


async def probe(host: str, port: int) -> None:
    """Returns once the server described itself."""
    await ask(host, port)


class _Packet:
    """A packet read from its beginning. Raises QueryFailed where it is too short."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def number(self, size: int) -> int:
        """The next unsigned number of that many bytes."""
        return int.from_bytes(self.skip(size), "little")

    def skip(self, size: int) -> bytes:
        """The next bytes."""
        part = self._content[self._at : self._at + size]
        if len(part) < size:
            raise QueryFailed("The game's answer ends too early.")
        self._at += size
        return part

    def text(self) -> None:
        """Pass over the next text, which ends with a zero byte."""
        end = self._content.find(b"\0", self._at)
        if end < 0:
            raise QueryFailed("A text in the game's answer has no end.")
        self._at = end + 1


def _parse(packet: _Packet) -> Answer:
    version = packet.number(1)
    if version < 4:
        raise QueryFailed(f"The game's answer is of version {version}; 4 is the oldest that is understood.")
    names_mods = packet.number(1) == 1 if version >= 6 else False
    if version >= 5:
        packet.skip(4)  # version of the game script
        packet.text()  # its name
    for _ in range(packet.number(1)):
        packet.skip(4 + 16)  # id and checksum of a NewGRF
        if names_mods:
            packet.text()
    packet.skip(4 + 4)  # date now, date of the beginning
    packet.skip(1 + 1)  # companies: most, now
    if version < 6:
        packet.skip(1)  # most spectators
    packet.text()  # name of the server
    packet.text()  # revision of the program
    if version < 6:
        packet.skip(1)  # language
    packet.skip(1)  # whether it has a password
    max_players = count(packet.number(1))
    return Answer(count(packet.number(1)), max_players)
