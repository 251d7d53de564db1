"""Conditions, presence, rights, back-off and the spec hash."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controlling import BEGINNING, ENDPOINT, GAME, make_server
from overworld.domain.accounts import Action, Actor, Role, may
from overworld.domain.activity import Answer, Presence, derive_presence
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth, carry_since, find_condition
from overworld.domain.errors import BadInput, EngineRefused, OverworldError
from overworld.domain.observed import restart_delay
from overworld.domain.servers import spec_hash

READY = Condition(ConditionType.READY, Truth.TRUE, Reason.ANSWERING, "Fine.", 1, BEGINNING)
LATER = BEGINNING + timedelta(minutes=1)


def test_a_condition_is_found_by_its_type() -> None:
    """Or is None where it was never seen."""
    assert find_condition([READY], ConditionType.READY) is READY
    assert find_condition([READY], ConditionType.SAVED) is None


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({"message": "Still fine.", "observed_generation": 2}, BEGINNING),
        ({"reason": Reason.STARTING}, LATER),
        ({"status": Truth.FALSE}, LATER),
    ],
)
def test_since_is_when_status_or_reason_turned(changes: dict[str, object], since: object) -> None:
    """Other words for the same thing are no turn."""
    new = replace(READY, since=LATER, **changes)  # type: ignore[arg-type]
    assert carry_since([new], [READY])[0].since == since
    assert carry_since([new], [])[0].since == LATER


@pytest.mark.parametrize(
    ("has_query", "answer", "roster", "presence"),
    [
        (True, Answer(2, 10), None, Presence.ACTIVE),
        (True, Answer(0, 10), ("ada",), Presence.ACTIVE),
        (True, None, ("ada",), Presence.ACTIVE),
        (True, Answer(0, 10), (), Presence.IDLE),
        (True, Answer(0, 10), None, Presence.IDLE),
        (False, None, (), Presence.IDLE),
        (True, None, (), Presence.UNKNOWN),
        (True, None, None, Presence.UNKNOWN),
        (False, None, None, Presence.UNKNOWN),
    ],
)
def test_nobody_needs_every_signal_and_a_failed_query_is_unknown(
    has_query: bool, answer: Answer | None, roster: tuple[str, ...] | None, presence: Presence
) -> None:
    """Never "query failed" read as "0 players"."""
    assert derive_presence(has_query=has_query, answer=answer, roster=roster) is presence


def test_admins_may_everything_and_users_what_is_theirs() -> None:
    """Every action, by role and owner."""
    admin, user = Actor("a", "admin", Role.ADMIN), Actor("u", "user", Role.USER)
    assert all(may(admin, action, "somebody") for action in Action)
    assert may(user, Action.USE_SERVERS, "u")
    assert may(user, Action.USE_SERVERS)
    assert not may(user, Action.USE_SERVERS, "a")
    assert may(user, Action.MANAGE_TOKENS_OF, "u")
    assert not may(user, Action.MANAGE_TOKENS_OF, "a")
    assert not may(user, Action.MANAGE_ACCOUNTS, "u")
    assert (admin.scope, user.scope) == (None, "u")


def test_crashes_in_a_row_wait_longer_each_time_up_to_five_minutes() -> None:
    """From one second on, never less for more crashes."""
    delays = [restart_delay(crashes) for crashes in range(30)]
    assert delays[1] == timedelta(seconds=1)
    assert delays == sorted(delays)
    assert delays[-1] == timedelta(minutes=5)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"variables": {"size": 2}},
        {"memory_mib": 256},
        {"world_generation": 2},
    ],
)
def test_the_spec_hash_changes_with_what_a_process_was_started_with(changes: dict[str, Any]) -> None:
    """Each of them needs a restart to take effect."""
    before = spec_hash(make_server(), GAME, (ENDPOINT,))
    assert spec_hash(make_server(**changes), GAME, (ENDPOINT,)) != before


def test_the_spec_hash_ignores_what_does_not_run() -> None:
    """Neither generation, wish, restarts nor the host that players are told."""
    before = spec_hash(make_server(), GAME, (ENDPOINT,))
    assert spec_hash(make_server(generation=9, restarts=3), GAME, (ENDPOINT,)) == before
    assert spec_hash(make_server(), GAME, (replace(ENDPOINT, host="elsewhere"),)) == before
    assert spec_hash(make_server(), replace(GAME, revision="2"), (ENDPOINT,)) != before
    assert spec_hash(make_server(), GAME, (replace(ENDPOINT, port=30001),)) != before
    assert spec_hash(make_server(variables={"a": 1, "b": 2}), GAME, ()) == spec_hash(
        make_server(variables={"b": 2, "a": 1}), GAME, ()
    )


def test_errors_carry_a_sentence_and_their_context() -> None:
    """What a problem document is made of."""
    error: OverworldError = BadInput("No.", errors=[{"at": "/name", "says": "too long"}])
    assert (error.detail, error.status, error.slug) == ("No.", 422, "bad-input")
    assert error.extra["errors"]
    refused = EngineRefused("DiskFull", "Make room.", retry_after=None)
    assert (refused.reason, refused.retry_after, str(refused)) == ("DiskFull", None, "Make room.")
