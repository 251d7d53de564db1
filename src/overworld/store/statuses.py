"""Status rows: written by the controller only, in batches, fenced by its lease."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text

from overworld.domain.events import NewEvent
from overworld.domain.operations import Verdict
from overworld.domain.servers import Place, ServerId, Status
from overworld.domain.state import State
from overworld.store.codecs import clean_text, read_place, write_condition, write_endpoint, write_place
from overworld.store.database import Database, Transaction
from overworld.store.events import insert_events
from overworld.store.lease import CONTROLLER, check_epoch
from overworld.store.tables import server_status


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """What the controller saw of one server. ``state`` is ``derive_state`` of the spec that it looked at;
    ``verdicts`` pairs ids of open operations with their end."""

    server_id: ServerId
    status: Status
    state: State
    events: tuple[NewEvent, ...] = ()
    verdicts: tuple[tuple[str, Verdict], ...] = ()


# FOR KEY SHARE: a server that is being purged right now is waited for and then left out, instead of violating the
# foreign key. Always in the order of ids, so that two batches never wait for each other.
_UPSERT = text("""
    INSERT INTO server_status (server_id, observed_generation, state, conditions, endpoints, world_seen,
        place, node, updated_at)
    SELECT server.id, given.observed_generation, given.state, given.conditions, given.endpoints, given.world_seen,
        given.place, given.node, :now
    FROM jsonb_to_recordset(CAST(:statuses AS jsonb))
        AS given (server_id text, observed_generation bigint, state text, conditions jsonb, endpoints jsonb,
            world_seen integer, place jsonb, node text)
    JOIN server ON server.id = given.server_id
    ORDER BY server.id
    FOR KEY SHARE OF server
    ON CONFLICT (server_id) DO UPDATE SET
        observed_generation = excluded.observed_generation,
        state = excluded.state,
        conditions = excluded.conditions,
        endpoints = excluded.endpoints,
        world_seen = excluded.world_seen,
        place = excluded.place,
        node = excluded.node,
        updated_at = excluded.updated_at
""")

_END_OPERATIONS = text("""
    UPDATE operation
    SET outcome = given.outcome, reason = given.reason, message = given.message, ended_at = :now
    FROM jsonb_to_recordset(CAST(:verdicts AS jsonb))
        AS given (id text, outcome text, reason text, message text)
    WHERE operation.id = given.id AND operation.outcome = 'running'
""")


def load_place(database: Database, server_id: ServerId) -> Place:
    """Where a console finds the server, as the controller saw it last; nowhere for one that it has not seen."""
    statement = select(server_status.c.place).where(server_status.c.server_id == server_id)
    with database.transaction() as tx:
        found = read_place(tx.execute(statement).scalar_one_or_none())
    return found or Place(pod=None, takes_commands=False, runs=False, last_exit=None)


def write_statuses(tx: Transaction, epoch: int, writes: Sequence[StatusWrite], now: datetime) -> None:
    """Store what was seen of many servers, with their events and the ends of their operations: at most four
    statements, whatever the number.

    Raises ``LeaseLost``, before anything is written, unless ``epoch`` is that of the controller's lease; and no other
    controller can take the lease before the transaction ends. Of two writes for one server the later one counts.
    Servers that were purged in the meantime are left out; operations that ended already keep their verdict. Safe to
    repeat, but for the events.
    """
    check_epoch(tx, CONTROLLER, epoch)
    if not writes:
        return
    statuses = {write.server_id: _write_status(write) for write in writes}
    tx.execute(_UPSERT, {"statuses": json.dumps(list(statuses.values())), "now": now})
    insert_events(tx, [event for write in writes for event in write.events], now)
    verdicts = [
        {
            "id": operation_id,
            "outcome": verdict.outcome,
            "reason": clean_text(verdict.reason),
            "message": clean_text(verdict.message),
        }
        for write in writes
        for operation_id, verdict in write.verdicts
    ]
    if verdicts:
        tx.execute(_END_OPERATIONS, {"verdicts": json.dumps(verdicts), "now": now})


def _write_status(write: StatusWrite) -> dict[str, object]:
    return {
        "server_id": write.server_id,
        "observed_generation": write.status.observed_generation,
        "state": write.state,
        "conditions": [write_condition(condition) for condition in write.status.conditions],
        "endpoints": [write_endpoint(endpoint) for endpoint in write.status.endpoints],
        "world_seen": write.status.world_seen,
        "place": write_place(write.status.place),
        "node": write.status.node,
    }
