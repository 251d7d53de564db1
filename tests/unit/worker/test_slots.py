"""Places for work on files."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from overworld.domain.errors import Unavailable
from overworld.worker.slots import Slots


def test_one_account_leaves_the_others_theirs() -> None:
    """Whoever holds all of its own is refused, another is not; a place given back is free again."""
    slots = Slots(in_all=10, per_account=2)
    with ExitStack() as held:
        held.enter_context(slots.hold("anna"))
        with slots.hold("anna"):
            with pytest.raises(Unavailable, match="2 files already"), slots.hold("anna"):
                pass
            with slots.hold("ben"):
                pass
        with slots.hold("anna"):
            pass


def test_there_are_so_many_in_all() -> None:
    """Whoever they belong to; also after a failure in one."""
    slots = Slots(in_all=1, per_account=2)
    with pytest.raises(RuntimeError), slots.hold("anna"):
        raise RuntimeError
    with slots.hold("anna"), pytest.raises(Unavailable, match="Too many"), slots.hold("ben"):
        pass
