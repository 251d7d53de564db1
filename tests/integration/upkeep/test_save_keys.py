"""Changing the keys that lock the passwords of saves, as an operator does it, on an installation with saves."""

from __future__ import annotations

import subprocess

from installation import Installation, folder_for_everybody, json_of
from integration.upkeep.recovering import machine, make_key
from integration.worker.saving import create, needs_restic, save, saves, succeed
from waiting import wait_until

pytestmark = needs_restic


def test_keys_are_rotated_and_every_save_stays_readable() -> None:
    """By one command while Overworld is stopped; the old key is gone, and the repository's password is the same."""
    with folder_for_everybody() as folder, machine(folder / "data") as it:
        it.start()
        with it.api() as api:
            server_id = create(api, "diary")
            save(api, server_id)
        refused = it.overworld("save-keys", "rotate")
        assert refused.returncode == 1
        assert "already runs" in refused.stderr
        it.stop()
        make_key(it)
        before = (it.folder / "save-keys").read_text()
        assert "first  2 passwords  in use" in it.overworld("save-keys", "status").stdout
        rotated = it.overworld("save-keys", "rotate")
        assert rotated.returncode == 0, rotated.stderr
        after = (it.folder / "save-keys").read_text()
        assert len(after.split()) == 1
        assert before.split()[0] not in after
        assert (it.folder / "save-keys").stat().st_mode & 0o777 == 0o600
        assert "first" not in it.overworld("save-keys", "status").stdout
        it.start()
        with it.api() as api:
            succeed(api, api.post(f"/servers/{server_id}/prove", json={"save_id": saves(api, server_id)[-1]["id"]}))
        assert "ready" in it.overworld("recovery", "status").stdout


def test_keys_of_a_setting_are_rotated_by_the_worker() -> None:
    """The command prints what to set; the worker locks anew; the status tells when the old key can go."""
    with folder_for_everybody() as folder, machine(folder / "data") as it:
        it.environment["OVERWORLD_SAVE_KEYS"] = "old:" + "A" * 43 + "="
        it.start()
        with it.api() as api:
            server_id = create(api, "diary")
            save(api, server_id)
        it.stop()
        printed = it.overworld("save-keys", "rotate")
        new, old = printed.stdout.split()
        assert old == it.environment["OVERWORLD_SAVE_KEYS"]
        assert new not in printed.stderr
        it.environment["OVERWORLD_SAVE_KEYS"] = printed.stdout.strip()
        it.start()
        with it.api() as api:
            save(api, server_id)
        assert "old  0 passwords" in until_says(it, "old  0 passwords")
        it.stop()
        it.environment["OVERWORLD_SAVE_KEYS"] = new
        it.start()
        with it.api() as api:
            assert json_of(api.get(f"/saves/{saves(api, server_id)[-1]['id']}/files"))["items"]


def until_says(it: Installation, words: str) -> str:
    """The status, once it says that."""

    def look() -> str | None:
        said: subprocess.CompletedProcess[str] = it.overworld("save-keys", "status")
        return said.stdout if words in said.stdout else None

    return wait_until(look, 60, words)
