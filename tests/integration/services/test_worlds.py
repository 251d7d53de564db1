"""Generations of worlds: how many of them one server may have lying about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from overworld.domain.accounts import Actor, Role
from overworld.domain.errors import Conflict
from overworld.domain.servers import Server
from overworld.services import uploads, worlds
from overworld.store import worlds as world_rows
from overworld.store.database import Database
from overworld.store.servers import load_server
from owned_servers import make_owned_server

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
UNDO = timedelta(days=3)


@pytest.fixture
def server(database: Database) -> Server:
    """A stopped server on its first world."""
    return make_owned_server(database, name="gardens", now=NOW)


def restore(database: Database, server: Server, now: datetime) -> int:
    """The generation that a restore has put in place."""
    with database.transaction() as tx:
        _, generation = worlds.reserve_generation(tx, server.id, now + timedelta(days=2))
        worlds.swap(tx, server.id, generation, keep_until=now + UNDO, now=now)
    return generation


def kept(database: Database, server: Server, now: datetime) -> list[int]:
    """The earlier generations that stay."""
    with database.transaction() as tx:
        view = load_server(tx, server.id)
    assert view is not None
    return sorted(world.generation for world in view.server.retired_worlds if world.keep_until > now)


def test_restores_one_after_another_do_not_fill_the_disk(database: Database, server: Server) -> None:
    """Each leaves a whole world behind, for days; an undo only ever goes back to the last one, so the oldest go."""
    for number in range(6):
        now = NOW + timedelta(minutes=number)
        restore(database, server, now)
        present = number + 2
        assert kept(database, server, now) == list(range(max(1, present - worlds.MOST_KEPT), present))


def test_an_undo_still_goes_back_and_forth(database: Database, server: Server) -> None:
    """What it goes back to is never what goes."""
    for number in range(4):
        restore(database, server, NOW + timedelta(minutes=number))
    actor = Actor(server.account_id, "ann", Role.USER)
    later = NOW + timedelta(hours=1)
    for generation in (4, 5, 4):
        later += timedelta(minutes=1)
        with database.transaction() as tx:
            worlds.undo(tx, actor, server.id, later + UNDO, later)
            view = load_server(tx, server.id)
        assert view is not None
        assert view.server.world_generation == generation
        assert len(kept(database, server, later)) == worlds.MOST_KEPT


def test_where_nothing_is_kept_there_is_nothing_to_go_back_to(database: Database, server: Server) -> None:
    """Its time has passed at once."""
    with database.transaction() as tx:
        _, generation = worlds.reserve_generation(tx, server.id, NOW)
        worlds.swap(tx, server.id, generation, keep_until=NOW, now=NOW)
        with pytest.raises(Conflict, match="no earlier world"):
            worlds.undo(tx, Actor(server.account_id, "ann", Role.USER), server.id, NOW, NOW)


def test_uploads_that_break_off_count_until_they_are_removed(database: Database, server: Server) -> None:
    """Else any number of disks could be had by breaking off faster than they are removed."""
    actor = Actor(server.account_id, "ann", Role.USER)

    def break_off() -> int:
        with database.transaction() as tx:
            ticket = uploads.permit(tx, actor, server.id, most_bytes=10, bytes_said=10, now=NOW)
            uploads.drop(tx, server.id, ticket.generation, NOW)
        return ticket.generation

    generations = [break_off() for _ in range(uploads.MOST_AT_ONCE)]
    assert generations == [2, 3, 4]
    with pytest.raises(Conflict, match="under way"):
        break_off()
    with database.transaction() as tx:
        world_rows.unretire(tx, server.id, generations[0])
    assert break_off() == 5
