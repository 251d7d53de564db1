"""Old rows go, young ones stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from integration.controller.conftest import Site
from overworld.controller.housekeeping import KEEP_ANSWERS, KEEP_EVENTS, KEEP_OPERATIONS, clean
from overworld.domain.events import NewEvent
from overworld.domain.operations import Outcome, Verdict
from overworld.services import servers as services
from overworld.store import idempotency
from overworld.store.events import insert_events
from overworld.store.operations import end_operation, find_operation, list_operations

MOMENT = timedelta(seconds=1)


def test_old_rows_go_and_young_ones_stay(site: Site) -> None:
    """Events, ended operations and remembered answers are kept for their time; an open operation is kept for ever."""
    now = datetime.now(UTC)
    server_id = site.create()
    saved = idempotency.Saved(201, {}, "{}")
    with site.database.transaction() as tx:
        (created,) = list_operations(tx, scope=None, server_id=server_id).items
        end_operation(tx, created.id, Verdict(Outcome.SUCCEEDED, "", ""), now)
        insert_events(tx, [NewEvent(server_id, "Ancient", "")], now - KEEP_EVENTS - MOMENT)
        insert_events(tx, [NewEvent(server_id, "Old", "")], now - KEEP_EVENTS + MOMENT)
        for key, age in (("ancient", KEEP_ANSWERS + MOMENT), ("old", KEEP_ANSWERS - MOMENT)):
            idempotency.remember(tx, site.owner.account_id, "/r", key, "f", saved, now - age)
    still_open = site.ask(services.restart, server_id)

    clean(site.database, now)

    reasons = site.reasons(server_id)
    assert "Ancient" not in reasons
    assert "Old" in reasons
    with site.database.transaction() as tx:
        assert idempotency.recall(tx, site.owner.account_id, "/r", "ancient", "f", now) is None
        assert idempotency.recall(tx, site.owner.account_id, "/r", "old", "f", now) == saved
        assert find_operation(tx, created.id, None) is not None

    clean(site.database, now + KEEP_OPERATIONS + MOMENT)

    with site.database.transaction() as tx:
        assert find_operation(tx, created.id, None) is None
        assert find_operation(tx, still_open, None) is not None
