"""A game asked by a program beside it, where nobody else reaches it: ``python -m overworld.games.query.beside``. One
line of JSON on standard input is the question, one on standard output what came of it."""

from __future__ import annotations

import asyncio
import json
import sys

from overworld.domain.games import Game, Protocol
from overworld.domain.servers import Endpoint
from overworld.games.query import QueryFailed, probe_at

HOST = "127.0.0.1"


def render_question(game: Game, *, seconds: float, tries: int) -> bytes:
    """Whether the game answers at its own port: so often, each time within so many ``seconds``. Only for one that
    ``can_probe``."""
    assert game.query is not None
    port = next(port for port in game.ports if port.name == game.query.port)
    content = {
        "title": game.title,
        "protocol": game.query.protocol,
        "port": [port.name, port.protocol, port.default],
        "seconds": seconds,
        "tries": tries,
    }
    return json.dumps(content).encode() + b"\n"


def read_verdict(line: bytes) -> str | None:
    """None if the game answered, else why not, in a sentence. Raises ValueError for what is no verdict."""
    says = json.loads(line)["failed"]
    return None if says is None else str(says)


async def ask(question: str) -> str | None:
    """The same, by asking."""
    content = json.loads(question)
    name, protocol, number = content["port"]
    endpoint = Endpoint(name, Protocol(protocol), HOST, number)
    says = None
    for _ in range(content["tries"]):
        try:
            await probe_at(content["title"], content["protocol"], endpoint, content["seconds"])
            return None
        except QueryFailed as error:
            says = error.detail
    return says


def main() -> None:
    """Without a question, for whoever would have asked is gone, nothing is said."""
    if question := sys.stdin.readline():
        sys.stdout.write(json.dumps({"failed": asyncio.run(ask(question))}) + "\n")


if __name__ == "__main__":
    main()
