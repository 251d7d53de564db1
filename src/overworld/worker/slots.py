"""How much is done at once: for one account, and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from overworld.domain.errors import Unavailable


class Slots:
    """Places for work. Nobody waits for one: whoever finds none is told to come back, and an account that holds all of
    its own leaves the others theirs."""

    def __init__(self, *, in_all: int, per_account: int) -> None:
        self._in_all = in_all
        self._per_account = per_account
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, account_id: str) -> Iterator[None]:
        """Hold a place for the block. Raises Unavailable if the account or everybody together hold all."""
        if self._held[account_id] >= self._per_account:
            raise Unavailable(f"You work on {self._per_account} files already. Try again when one is done.")
        if self._held.total() >= self._in_all:
            raise Unavailable("Too many files are worked on at the moment. Try again soon.")
        self._held[account_id] += 1
        try:
            yield
        finally:
            self._held[account_id] -= 1
            if not self._held[account_id]:
                del self._held[account_id]
