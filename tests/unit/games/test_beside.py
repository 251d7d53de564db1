"""A game asked by a program beside it."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace

from overworld.domain.games import Game
from overworld.games.catalogue import Catalogue
from overworld.games.query.beside import read_verdict, render_question

PROGRAM = [sys.executable, "-I", "-m", "overworld.games.query.beside"]


def asked(game: Game) -> str | None:
    """What comes of asking that game."""
    question = render_question(game, seconds=0.2, tries=2)
    return read_verdict(subprocess.run(PROGRAM, input=question, stdout=subprocess.PIPE, check=True, timeout=60).stdout)


def luanti(port: int) -> Game:
    """A game at that port."""
    found = Catalogue.load().find("luanti")
    assert found is not None
    return replace(found, ports=tuple(replace(each, default=port) for each in found.ports))


def test_a_game_that_answers_nobody_is_told_with_why() -> None:
    """As from anywhere else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        assert asked(luanti(port)) == f"Luanti did not answer at udp/127.0.0.1:{port} within 0.2 s."


def test_nothing_is_asked_for_who_is_gone() -> None:
    """Standard input ends without a question."""
    told = subprocess.run(PROGRAM, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    assert told == b""
