"""A whole installation lost and brought back: real games, a real S3 store, a real database."""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx
import pytest

from installation import Installation, folder_for_everybody, json_of
from integration.upkeep.recovering import contents, lose, machine, make_key, put
from integration.worker.saving import (
    answers,
    create,
    events,
    needs_luanti,
    needs_restic,
    quick_check,
    save,
    saves,
    show,
    succeed,
    until_state,
    worlds,
)
from s3 import BUCKET, KEY_ID, S3, SECRET
from waiting import wait_until

pytestmark = [needs_restic, needs_luanti]

BUILT = {"world/tower.bin": os.urandom(300_000), "world/Brücke über 川.txt": b"gebaut"}


def store_of(s3: S3) -> dict[str, str]:
    """The settings of a save store behind S3."""
    where = f"s3:http://127.0.0.1:{s3.port}/{BUCKET}/overworld"
    return {"save_store": where, "save_store_key_id": KEY_ID, "save_store_key": SECRET}


def addresses(api: httpx.Client) -> dict[str, tuple[str, int]]:
    """Id, and port, of every server by name, those that are deleted too."""
    found = [
        *json_of(api.get("/servers"))["items"],
        *json_of(api.get("/servers", params={"deleted": "true"}))["items"],
    ]
    return {each["name"]: (each["id"], *(end["port"] for end in each["endpoints"])) for each in found}


@pytest.mark.timeout(400)
def test_every_server_comes_back_from_the_bucket_and_the_key(tmp_path: Path) -> None:
    """All state is deleted; ids, ports, tokens and worlds are as before, deleted ones stay so, and games answer."""
    with folder_for_everybody() as folder, S3(tmp_path / "s3") as s3, machine(folder / "data", **store_of(s3)) as it:
        it.start()
        wait_until(lambda: "Recovery is off" in it.last_log_lines(), 30, "the operator is told")
        with it.api() as api:
            ids = {name: create(api, "luanti", name=name) for name in ("meadow", "castle", "mine", "ruin")}
            for name in ("meadow", "castle"):
                for path, content in BUILT.items():
                    put(api, ids[name], path, content)
            succeed(api, api.post(f"/servers/{ids['mine']}/stop"))
            json_of(api.delete(f"/servers/{ids['ruin']}"))
            wait_until(lambda: saves(api, ids["mine"])[:1] and saves(api, ids["ruin"])[:1], 60, "both are saved")
            wait_until(lambda: saves(api, ids["mine"])[0]["state"] == "kept", 60, "its last save is kept")
            save(api, ids["meadow"])
            save(api, ids["castle"])
            mine = contents(worlds(it, ids["mine"])[1])
            before = addresses(api)
            key = make_key(it)
            put(api, ids["castle"], "world/after-the-dump.txt", b"the last thing that was built")
            late = save(api, ids["castle"])
        token = it.token
        lose(it)

        began = time.monotonic()
        done = it.overworld("recover", "--yes", typed=f"{key.lower().replace('-', ' ')}\n", timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        print(done.stdout, done.stderr, sep="\n")
        assert key not in done.stdout + done.stderr
        assert "4 of 4 servers are back" in done.stdout
        for name in ids:
            (line,) = [line for line in done.stdout.splitlines() if line.startswith(name)]
            assert " yes " in line, line
        assert " nothing " in next(line for line in done.stdout.splitlines() if line.startswith("mine"))
        back = contents(worlds(it, ids["mine"])[1])
        assert {path: mine[path] for path in back} == back
        assert {
            path for path in mine.keys() - back if not path.startswith((".minetest", ".cache", "luanti.log"))
        } == set()
        for name in ("meadow", "castle"):
            (world,) = worlds(it, ids[name]).values()
            assert {path: (world / path).read_bytes() for path in BUILT} == BUILT
            assert quick_check(world / "world" / "map.sqlite", tmp_path) == "ok"
        assert (worlds(it, ids["castle"])[1] / "world/after-the-dump.txt").read_bytes().startswith(b"the last thing")

        it.start()
        with httpx.Client(base_url=f"{it.url}/api/v1", headers={"Authorization": f"Bearer {token}"}) as api:
            for name in ("meadow", "castle"):
                answers(until_state(api, ids[name], "running"))
            print(f"From an empty machine to games that answer: {time.monotonic() - began:.1f} s")
            assert addresses(api) == before
            assert show(api, ids["mine"])["state"] == "stopped"
            assert show(api, ids["ruin"])["state"] == "deleted"
            assert late["id"] in {each["id"] for each in saves(api, ids["castle"])}
            assert all("Recovered" in events(api, server_id) for server_id in ids.values())
            wait_until(lambda: json_of(api.get("/recovery"))["state"] == "ready", 60, "the worker dumps again")
            assert save(api, ids["castle"])["quiet"] == "quieted"
            succeed(api, api.post(f"/servers/{ids['mine']}/start"))
        answers_of(it, ids["mine"])


def answers_of(it: Installation, server_id: str) -> None:
    """The server that was just started."""
    with it.api() as api:
        answers(until_state(api, server_id, "running"))
