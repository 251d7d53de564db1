"""A world that is gone is never taken for one that was never made, and one that is being removed is not promised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.controller.conftest import Site
from overworld.domain.conditions import ConditionType, Reason, find_condition
from overworld.domain.errors import Conflict, EngineUnavailable
from overworld.domain.state import State
from overworld.services import servers as services
from waiting import eventually


async def test_a_world_that_vanished_blocks_the_start(site: Site) -> None:
    """Its disk is not mounted, say: the owner is told, and no empty world is made in its place."""
    async with site.controller():
        key = site.create()
        await site.until_state(key, State.RUNNING)
        await site.until_ended(site.ask(services.stop, key))
    site.world.machines[key].worlds -= {1}
    async with site.controller():  # a controller that was not there when it vanished
        await site.until_ended(site.ask(services.start, key))
        record = await site.until_state(key, State.FAILED)
        placed = find_condition(record.status.conditions, ConditionType.PLACED)
        assert placed is not None
        assert placed.reason == Reason.WORLD_MISSING
        assert site.world.observe(key).worlds == frozenset()
        site.world.machines[key].worlds |= {1}
        site.ask(services.restart, key)
        await site.until_state(key, State.RUNNING)


async def test_a_world_that_is_being_removed_is_not_promised_to_anybody(site: Site) -> None:
    """Once the removal has begun, neither undelete nor a longer retention is accepted; a second delete is."""

    def cannot_remove(*_: object) -> None:
        raise EngineUnavailable("not now")

    async with site.controller() as engine:
        key = site.create()
        await site.until_state(key, State.RUNNING)
        engine.delete = cannot_remove  # type: ignore[method-assign,assignment]
        site.ask(services.delete, key, timedelta())

        def is_marked() -> bool:
            record = site.record(key)
            assert record is not None
            placed = find_condition(record.status.conditions, ConditionType.PLACED)
            return placed is not None and placed.reason == Reason.PURGED

        await eventually(is_marked, 10, "it is marked")
        with pytest.raises(Conflict, match="Too late"):
            site.ask(services.undelete, key)
        with site.database.transaction() as tx, pytest.raises(Conflict, match="Too late"):
            services.delete(tx, site.owner, key, timedelta(days=1), datetime.now(UTC))
        site.ask(services.delete, key, timedelta())
