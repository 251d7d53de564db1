"""Luanti's low-level handshake: a newcomer is given a peer id. It proves a living server; who plays it never tells.

https://github.com/luanti-org/luanti/blob/master/src/network/mtp/internal.h describes the packets.
"""

from __future__ import annotations

from overworld.games.query.exchange import datagrams_with

_PROTOCOL = bytes.fromhex("4f457403")
# From peer 0 on channel 0: a reliable packet, first sequence number, with an empty original inside.
_HELLO = _PROTOCOL + bytes.fromhex("00000003ffdc01")
_SET_PEER_ID = bytes.fromhex("03ffdc0001")
_HEADER_BYTES = len(_PROTOCOL) + 3


async def probe(host: str, port: int) -> None:
    """Returns once the server gave out a peer id (which is handed back at once)."""
    async with datagrams_with(host, port) as game:
        game.send(_HELLO)
        while True:
            answer = await game.receive()
            if answer.startswith(_PROTOCOL) and answer[_HEADER_BYTES:].startswith(_SET_PEER_ID):
                peer_id = answer[_HEADER_BYTES + len(_SET_PEER_ID) :][:2]
                game.send(_PROTOCOL + peer_id + bytes.fromhex("000003"))
                return
