"""Who games run as: a user id for each server that no other server of this machine has."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

FIRST_UID = 1_879_048_192
"""Ids from here to 2,147,483,647 are given to nobody by Linux distributions (systemd.io/UIDS-GIDS)."""

BLOCK = 100_000
BLOCKS = (2_147_483_647 - FIRST_UID) // BLOCK


@dataclass(frozen=True, slots=True)
class User:
    """Who a game runs as: numbers of a user and a group that exist for this one server only."""

    uid: int
    gid: int


class Users:
    """The users of one installation: a block of ids chosen by chance at its first start and remembered in its folder,
    so that two installations on one machine do not meet (but by a chance of 1 in 2,684). Moves with the folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._first: int | None = None

    def of(self, number: int) -> User | None:
        """The user of the server with that number; None where Overworld is not root: games then run as its own user.

        A number is never used again; only the 100,001st server of an installation gets the first one's id. Raises
        OSError.
        """
        if os.geteuid() != 0:
            return None
        if self._first is None:
            self._first = self._read_or_choose()
        uid = self._first + number % BLOCK
        return User(uid, uid)

    def _read_or_choose(self) -> int:
        path = self._root / ".first-uid"
        if not path.exists():
            self._root.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".first-uid.{secrets.token_hex(4)}")
            beside.write_text(f"{FIRST_UID + secrets.randbelow(BLOCKS) * BLOCK}\n")
            try:
                os.link(beside, path)  # all of it or nothing, and only one of two engines succeeds
            except FileExistsError:
                pass
            finally:
                beside.unlink()
        return int(path.read_text())
