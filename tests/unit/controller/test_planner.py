"""What the planner decides, case by case; that it holds together is proved in test_histories.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from controlling import BEGINNING, ENDPOINT, GAME, make_server, make_subject
from overworld.controller.planner import Plan, plan
from overworld.controller.subject import Subject
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth, find_condition
from overworld.domain.exits import Exit
from overworld.domain.observed import Observed, Phase, ProcessSeen, Removal
from overworld.domain.servers import Desired, RetiredWorld, Server, Status

NOW = BEGINNING + timedelta(hours=1)
RUNNING = make_server()
STOPPED = make_server(desired=Desired.STOPPED)
DELETED = make_server(
    desired=Desired.DELETED, deleted_at=BEGINNING, purge_at=NOW + timedelta(days=1), generation=2, desired_generation=2
)
OVERDUE = replace(DELETED, purge_at=NOW)
HASH = make_subject().want.spec_hash


def see(
    phase: Phase | None = None,
    *,
    since: datetime = NOW,
    spec_hash: str = HASH,
    restarts: int = 0,
    crashes: int = 0,
    last_exit: Exit | None = None,
    next_start_at: datetime | None = None,
    pending: str | None = None,
    worlds: frozenset[int] = frozenset({1}),
    exists: bool = True,
) -> Observed:
    """An observation; no phase means no process."""
    process = None
    if phase is not None:
        process = ProcessSeen(phase, since, spec_hash, restarts, crashes, last_exit, next_start_at, pending)
    return Observed("chess1", True, process, worlds, exists)


NOTHING = see(worlds=frozenset(), exists=False)
ASKED = Exit(NOW, 0, None, asked=True, save_seen=True)
CRASH = Exit(NOW, 1, None, asked=False, save_seen=False, lines=("loading", "no \x00map", " "))


def decide(server: Server, observed: Observed, status: Status | None = None, **changes: object) -> Plan:
    """The plan for a usual subject."""
    subject = make_subject(server) if status is None else make_subject(server, status=status)
    return plan(replace(subject, **changes), observed, NOW)  # type: ignore[arg-type]


def condition(decided: Plan, kind: ConditionType) -> Condition:
    """That condition of a plan."""
    found = find_condition(decided.conditions or (), kind)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("server", "observed", "applies"),
    [
        pytest.param(RUNNING, NOTHING, True, id="new: make and start"),
        pytest.param(RUNNING, see(Phase.STOPPED, last_exit=ASKED), True, id="stopped: start anew"),
        pytest.param(RUNNING, see(Phase.STARTING), False, id="starting: wait"),
        pytest.param(RUNNING, see(Phase.READY), False, id="ready: nothing"),
        pytest.param(
            RUNNING, see(Phase.READY, spec_hash="other"), False, id="edited: left alone until it is restarted"
        ),
        pytest.param(RUNNING, see(Phase.READY, restarts=1), True, id="another token: restart"),
        pytest.param(RUNNING, see(Phase.STARTING, restarts=1), True, id="another token while starting: restart"),
        pytest.param(RUNNING, see(Phase.WAITING, last_exit=CRASH), False, id="crashed: the engine starts it again"),
        pytest.param(RUNNING, see(Phase.WAITING, spec_hash="other"), True, id="crashed and edited: take the edit"),
        pytest.param(RUNNING, see(Phase.WAITING, restarts=1), True, id="crashed and restarted: now"),
        pytest.param(RUNNING, see(Phase.STOPPING), False, id="stopping: its end comes first"),
        pytest.param(STOPPED, NOTHING, True, id="new and stopped: make only"),
        pytest.param(STOPPED, see(), False, id="made: nothing"),
        pytest.param(STOPPED, see(Phase.READY), True, id="stop what is ready"),
        pytest.param(STOPPED, see(Phase.STARTING), True, id="stop what starts"),
        pytest.param(STOPPED, see(Phase.WAITING), True, id="stop what crashed"),
        pytest.param(STOPPED, see(Phase.STOPPING), False, id="asked already"),
        pytest.param(STOPPED, see(Phase.STOPPED), False, id="ended: nothing"),
        pytest.param(DELETED, see(Phase.READY), True, id="deleted: stop"),
        pytest.param(DELETED, see(Phase.STOPPED), False, id="deleted and stopped: nothing"),
        pytest.param(DELETED, NOTHING, False, id="deleted before it was made: make nothing"),
        pytest.param(OVERDUE, see(Phase.READY), True, id="retention over, still running: stop first"),
    ],
)
def test_what_is_applied(server: Server, observed: Observed, applies: bool) -> None:
    """One wish for the engine, or none."""
    decided = decide(server, observed)
    assert (decided.apply is not None) is applies
    assert not decided.delete
    if decided.apply is not None:
        assert decided.apply.running is (server.desired is Desired.RUNNING)
        assert decided.apply.endpoints == (ENDPOINT,)


def test_a_cache_that_still_fills_decides_nothing() -> None:
    """Nothing is done, nothing written, and it is looked at again soon."""
    decided = decide(RUNNING, Observed("chess1", complete=False))
    assert decided.is_idle
    assert decided.conditions is None
    assert decided.requeue_after == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("server", "observed", "truth", "reason"),
    [
        (RUNNING, NOTHING, Truth.FALSE, Reason.STARTING),
        (RUNNING, see(Phase.STARTING), Truth.FALSE, Reason.STARTING),
        (RUNNING, see(Phase.STARTING, since=NOW - timedelta(minutes=2)), Truth.FALSE, Reason.NOT_READY_IN_TIME),
        (RUNNING, see(Phase.READY), Truth.TRUE, Reason.ANSWERING),
        (RUNNING, see(Phase.READY, spec_hash="other"), Truth.TRUE, Reason.ANSWERING),
        (RUNNING, see(Phase.READY, restarts=1), Truth.FALSE, Reason.STOPPING),
        (RUNNING, see(Phase.STOPPING), Truth.FALSE, Reason.STOPPING),
        (RUNNING, see(Phase.WAITING, last_exit=CRASH), Truth.FALSE, Reason.CRASHED),
        (RUNNING, see(Phase.WAITING, last_exit=replace(CRASH, out_of_memory=True)), Truth.FALSE, Reason.OUT_OF_MEMORY),
        (STOPPED, see(Phase.READY), Truth.FALSE, Reason.STOPPING),
        (STOPPED, see(Phase.STOPPING), Truth.FALSE, Reason.STOPPING),
        (STOPPED, see(Phase.STOPPED, last_exit=ASKED), Truth.FALSE, Reason.STOPPED),
        (STOPPED, see(), Truth.FALSE, Reason.STOPPED),
        (DELETED, see(Phase.STOPPED), Truth.FALSE, Reason.STOPPED),
    ],
)
def test_ready(server: Server, observed: Observed, truth: Truth, reason: Reason) -> None:
    """Whether players can join, and why not."""
    ready = condition(decide(server, observed), ConditionType.READY)
    assert (ready.status, ready.reason) == (truth, reason)
    assert ready.observed_generation == server.generation
    assert ready.message.endswith(".")


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.READY])
def test_what_is_waited_for_besides_the_game_is_told_in_its_words(phase: Phase) -> None:
    """A node, a volume, an image; or, for a game that is ready already, its address. Never as being slow."""
    says = "Waiting for a node with room for it."
    ready = condition(decide(RUNNING, see(phase, since=NOW - timedelta(hours=1), pending=says)), ConditionType.READY)
    assert (ready.status, ready.reason, ready.message) == (Truth.FALSE, Reason.STARTING, says)


def test_a_crash_is_told_with_its_last_words_and_its_next_start() -> None:
    """Exit status, last line without control characters, and when it is tried again; never the time that is left."""
    observed = see(Phase.WAITING, last_exit=CRASH, crashes=3, next_start_at=NOW + timedelta(seconds=5))
    assert condition(decide(RUNNING, observed), ConditionType.READY).message == (
        "The game ended with exit status 1 at 2030-01-01 13:00:00 UTC without being asked to. Its last line was: "
        '"no  map". It is started again at 2030-01-01 13:00:05 UTC, after 3 crashes in a row. Its console tells more.'
    )


def test_a_game_that_never_becomes_ready_is_left_running() -> None:
    """Nothing is applied; the sentence names the time it was given and what to do."""
    decided = decide(RUNNING, see(Phase.STARTING, since=NOW - timedelta(minutes=5)))
    assert decided.apply is None
    assert "within 2 minutes" in condition(decided, ConditionType.READY).message
    assert "restart it" in condition(decided, ConditionType.READY).message


def test_a_start_is_looked_at_again_when_its_time_is_over() -> None:
    """The deadline of readiness is a timer of its own, and no hot loop after it."""
    soon = decide(RUNNING, see(Phase.STARTING, since=NOW - timedelta(seconds=110)))
    assert soon.requeue_after == timedelta(seconds=10)
    late = decide(RUNNING, see(Phase.STARTING, since=NOW - timedelta(seconds=130)))
    assert late.requeue_after == timedelta(seconds=30)


def test_settled_servers_need_no_timer() -> None:
    """What is as it should be comes back by wakes and edits only."""
    assert decide(RUNNING, see(Phase.READY)).requeue_after is None
    assert decide(STOPPED, see(Phase.STOPPED)).requeue_after is None


@pytest.mark.parametrize(
    ("end", "truth", "reason", "words"),
    [
        (ASKED, Truth.TRUE, Reason.SAVE_SEEN, "seen to be written"),
        (replace(ASKED, save_seen=False), Truth.FALSE, Reason.SAVE_NOT_SEEN, "may be lost"),
        (replace(ASKED, save_seen=None), Truth.UNKNOWN, Reason.SAVE_NOT_SEEN, "is not known"),
        (
            Exit(NOW, None, "SIGKILL", asked=True, save_seen=None),
            Truth.FALSE,
            Reason.SAVE_NOT_SEEN,
            "did not quit within 30 seconds",
        ),
        (CRASH, Truth.FALSE, Reason.SAVE_NOT_SEEN, "as the game last saved it"),
        (
            Exit(NOW, None, None, asked=False, save_seen=None, lost_with="pool-1"),
            Truth.FALSE,
            Reason.SAVE_NOT_SEEN,
            "was lost with its node pool-1",
        ),
    ],
)
def test_saved(end: Exit, truth: Truth, reason: Reason, words: str) -> None:
    """What the last end says of the world."""
    saved = condition(decide(STOPPED, see(Phase.STOPPED, last_exit=end)), ConditionType.SAVED)
    assert (saved.status, saved.reason) == (truth, reason)
    assert words in saved.message


def test_an_old_save_is_remembered() -> None:
    """The engine forgets the last end; the condition does not."""
    before = decide(STOPPED, see(Phase.STOPPED, last_exit=ASKED)).conditions
    assert before is not None
    after = decide(STOPPED, see(), Status(1, before, (ENDPOINT,)))
    assert condition(after, ConditionType.SAVED).reason == Reason.SAVE_SEEN
    assert condition(decide(STOPPED, see()), ConditionType.SAVED).reason == Reason.NEVER_STOPPED


@pytest.mark.parametrize(
    ("observed", "truth", "reason"),
    [
        (see(Phase.READY), Truth.TRUE, Reason.UP_TO_DATE),
        (see(Phase.READY, spec_hash="other"), Truth.FALSE, Reason.RESTART_NEEDED),
        (see(Phase.READY, restarts=1), Truth.UNKNOWN, Reason.RESTART_NEEDED),
        (see(Phase.STOPPED), Truth.TRUE, Reason.UP_TO_DATE),
    ],
)
def test_current(observed: Observed, truth: Truth, reason: Reason) -> None:
    """Whether what runs is what the spec says."""
    current = condition(decide(RUNNING, observed), ConditionType.CURRENT)
    assert (current.status, current.reason) == (truth, reason)


def test_missing_ports_come_first() -> None:
    """Nothing is started without an address."""
    decided = decide(RUNNING, NOTHING, endpoints=())
    assert decided.lease_ports
    assert decided.apply is None
    assert condition(decided, ConditionType.PLACED).reason == Reason.INSTALLING


def test_a_stop_waits_for_nothing() -> None:
    """Neither missing ports nor a missing game keep a game from being stopped."""
    for changes in ({"endpoints": ()}, {"game": None}):
        decided = decide(STOPPED, see(Phase.READY), **changes)
        assert decided.apply is not None
        assert decided.is_stop
        assert not decided.lease_ports


def test_a_game_that_left_the_catalogue_is_left_alone() -> None:
    """What runs keeps running, what does not cannot be started; the owner reads why."""
    running = decide(RUNNING, see(Phase.READY, restarts=5), game=None)
    assert running.is_idle
    assert condition(running, ConditionType.READY).is_true
    assert condition(running, ConditionType.PLACED).reason == Reason.GAME_UNKNOWN
    stopped = decide(RUNNING, see(Phase.STOPPED), game=None)
    assert stopped.is_idle
    assert condition(stopped, ConditionType.READY).reason == Reason.BLOCKED


def test_since_stays_while_nothing_turns() -> None:
    """A condition keeps the time at which it last turned."""
    first = decide(RUNNING, see(Phase.READY)).conditions
    assert first is not None
    subject = make_subject(RUNNING, status=Status(1, first, (ENDPOINT,)))
    again = plan(subject, see(Phase.READY), NOW + timedelta(hours=1))
    assert again.conditions == first


def test_a_deleted_server_keeps_its_world_until_its_retention_has_passed() -> None:
    """Nothing is removed a second before; the timer stands at the second."""
    decided = decide(DELETED, see(Phase.STOPPED))
    assert decided.is_idle
    assert decided.requeue_after == timedelta(days=1)


def test_a_purge_is_marked_removed_and_then_forgotten() -> None:
    """Three steps: the mark is stored; everything is removed; what is seen to be gone is forgotten."""
    marking = decide(OVERDUE, see(Phase.STOPPED, worlds=frozenset({1, 7})))
    assert marking.is_idle
    assert marking.requeue_after == timedelta()
    assert marking.conditions is not None
    status = Status(OVERDUE.generation, marking.conditions, ())
    removing = decide(OVERDUE, see(Phase.STOPPED, worlds=frozenset({1, 7})), status)
    assert removing.delete == (Removal("chess1", 1), Removal("chess1", 7), Removal("chess1"))
    assert removing.confirm
    assert not removing.purge
    forgetting = decide(OVERDUE, NOTHING, status)
    assert forgetting.purge
    assert forgetting.confirm


def test_a_mark_of_an_older_spec_does_not_count() -> None:
    """Undeleted and deleted again: the new retention counts."""
    marked = decide(OVERDUE, see(Phase.STOPPED)).conditions
    assert marked is not None
    again = replace(DELETED, generation=DELETED.generation + 2)
    decided = decide(again, see(Phase.STOPPED), Status(OVERDUE.generation, marked, ()))
    assert not decided.delete


RETIRED = replace(
    RUNNING,
    world_generation=3,
    retired_worlds=(RetiredWorld(1, NOW), RetiredWorld(2, NOW + timedelta(hours=1)), RetiredWorld(3, NOW)),
)
WORLDS = frozenset({1, 2, 3, 9})


def test_a_retired_world_is_removed_when_its_time_for_undo_has_passed() -> None:
    """Not the one whose time has not come, never the current one, never one that no row speaks of."""
    its_hash = make_subject(RETIRED).want.spec_hash
    decided = decide(RETIRED, see(Phase.READY, spec_hash=its_hash, worlds=WORLDS))
    assert decided.delete == (Removal("chess1", 1),)
    assert decided.requeue_after == timedelta(hours=1)


def test_a_retired_world_that_a_game_may_still_use_is_kept() -> None:
    """Until it runs with the newest settings, which name the newest world."""
    decided = decide(RETIRED, see(Phase.READY, spec_hash="older", worlds=WORLDS))
    assert not decided.delete
    assert decided.requeue_after == timedelta(hours=1)


def test_subjects_know_their_ports() -> None:
    """By name and protocol."""
    other = replace(ENDPOINT, name="query")
    assert not make_subject().lacks_ports
    assert make_subject(endpoints=(other,)).lacks_ports
    assert not Subject(DELETED, make_subject().status, (), GAME).lacks_ports


def test_a_server_on_a_node_in_trouble_says_so() -> None:
    """What its pod says is old, whether it is wanted running or not; once it has ended, its end is told."""
    for server in (RUNNING, STOPPED):
        decided = decide(server, see(Phase.READY), trouble="Its node pool-1 is silent.")
        ready = condition(decided, ConditionType.READY)
        assert (ready.status, ready.reason, ready.message) == (
            Truth.FALSE,
            Reason.NODE_LOST,
            "Its node pool-1 is silent.",
        )
    ended = decide(STOPPED, see(Phase.STOPPED, last_exit=ASKED), trouble="Its node pool-1 is silent.")
    assert condition(ended, ConditionType.READY).reason == Reason.STOPPED
