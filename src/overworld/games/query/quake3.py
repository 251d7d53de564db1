"""Quake 3's connectionless getinfo and getstatus, as ioquake3 answers them.

It answers ten datagrams of one address at once and then one a second: ask at most every 2 s.
"""

from __future__ import annotations

import re

from overworld.domain.activity import Answer
from overworld.games.query.exchange import Datagrams, datagrams_with
from overworld.games.query.names import clean_names, count

_MARK = b"\xff\xff\xff\xff"
_COLOUR = re.compile(r"\^[0-9A-Za-z]")
_PLAYER = re.compile(r'^(-?\d+) (\d+) "(.*)"$')


async def probe(host: str, port: int) -> None:
    """Returns once the server described itself."""
    async with datagrams_with(host, port) as game:
        await _ask(game, "getinfo overworld", "infoResponse")


async def ask(host: str, port: int) -> Answer:
    """Who plays. People are counted by the server itself; names are those of clients with a ping: a bot has none."""
    async with datagrams_with(host, port) as game:
        info = _parse_info(await _ask(game, "getinfo overworld", "infoResponse"))
        players = count(info["g_humanplayers"] if "g_humanplayers" in info else info["clients"])
        names: list[str] = []
        if players:
            _, *lines = (await _ask(game, "getstatus", "statusResponse")).split("\n")
            entries = [match for line in lines if (match := _PLAYER.match(line))]
            names = [_COLOUR.sub("", match[3]) for match in entries if match[2] != "0"]
    return Answer(players, count(info["sv_maxclients"]), clean_names(names)[:players])


async def _ask(game: Datagrams, request: str, response: str) -> str:
    """The body of the answer; other datagrams are passed over."""
    game.send(_MARK + request.encode())
    head = _MARK + response.encode() + b"\n"
    while True:
        answer = await game.receive()
        if answer.startswith(head):
            return answer[len(head) :].decode("latin-1")


def _parse_info(text: str) -> dict[str, str]:
    """``\\key\\value\\key\\value`` as a mapping."""
    parts = text.split("\n", 1)[0].removeprefix("\\").split("\\")
    return dict(zip(parts[::2], parts[1::2], strict=False))
