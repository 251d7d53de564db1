"""A want and a launch for rendering."""

from __future__ import annotations

from datetime import timedelta

from overworld.domain.games import Protocol, Ready, Roster, Stop
from overworld.domain.observed import Launch, Want
from overworld.domain.servers import Endpoint

WANT = Want(
    server_id="b7k2m9q4t6w8",
    number=12,
    running=True,
    restarts=3,
    spec_hash="0123456789abcdef",
    world_generation=2,
    memory_mib=1024,
    endpoints=(
        Endpoint("game", Protocol.UDP, "203.0.113.10", 30000),
        Endpoint("query", Protocol.TCP, "203.0.113.10", 30001),
    ),
)
LAUNCH = Launch(
    programs=("luantiserver", "/usr/games/minetestserver"),
    arguments=("--world", "/world", "--config", "/config/minetest.conf", "--port", "30000"),
    environment={"MINETEST_USER_PATH": "/world"},
    files={"minetest.conf": "server_name = Täglich\nname = admin\n", "extra.txt": ""},
    stop=Stop(command="/shutdown", grace=timedelta(seconds=45), saved="Shutting down"),
    ready=Ready("listening on"),
    roster=Roster(joins="(?P<name>.+) joins", leaves="(?P<name>.+) leaves"),
    accepts_commands=True,
    log_file="/world/debug.txt",
    install="",
    image="luanti",
)
