"""Disks that grow and worlds in shares, as the planner decides on them and as their owner is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controlling import BEGINNING, make_server, make_subject
from overworld.controller.outcomes import Done, Outcome, Refused, settle
from overworld.controller.planner import LOOK_AGAIN_SOON, Plan, plan
from overworld.controller.subject import Subject
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth, find_condition
from overworld.domain.events import Level
from overworld.domain.observed import Observed, Phase, ProcessSeen, Removal
from overworld.domain.servers import Desired, RetiredWorld, Server
from overworld.domain.worlds import DiskSeen, Storage
from overworld.store.statuses import StatusWrite

NOW = BEGINNING + timedelta(hours=1)
GROWN = make_server(storage=Storage.DISK, disk_mib=16384)
SHARED = make_server(storage=Storage.SHARE)
PURGED = replace(
    SHARED,
    desired=Desired.DELETED,
    deleted_at=BEGINNING,
    purge_at=BEGINNING,
    world_generation=3,
)


def see(disk: DiskSeen | None, *, runs: bool = True, worlds: frozenset[int] = frozenset({1})) -> Observed:
    """A server whose first world has that disk."""
    subject = make_subject()
    phase = Phase.READY if runs else Phase.STOPPED
    process = ProcessSeen(phase, BEGINNING, subject.want.spec_hash, 0)
    disks = {} if disk is None else {1: disk}
    return Observed("chess1", complete=True, process=process, worlds=worlds, exists=True, disks=disks)


def decide(server: Server, observed: Observed) -> tuple[Subject, Plan]:
    """The plan, and of what."""
    subject = make_subject(server)
    return subject, plan(subject, observed, NOW)


def after(server: Server, observed: Observed, outcome: Outcome) -> StatusWrite:
    """What is stored once the plan was carried out that way."""
    subject, decided = decide(server, observed)
    write = settle(subject, decided, outcome, observed, operations=(), failures=0, now=NOW)
    assert write is not None
    return write


def placed(conditions: tuple[Condition, ...] | None) -> Condition:
    """The condition that tells of the world."""
    found = find_condition(conditions or (), ConditionType.PLACED)
    assert found is not None
    return found


@pytest.mark.parametrize("runs", [True, False])
def test_a_larger_wish_is_applied_at_once(runs: bool) -> None:
    """Whether it runs or not; and nothing is stopped for it."""
    server = GROWN if runs else replace(GROWN, desired=Desired.STOPPED)
    subject, decided = decide(server, see(DiskSeen(8192, 8192), runs=runs))
    assert decided.apply == subject.want
    assert not decided.is_stop
    assert placed(decided.conditions).reason == Reason.GROWING
    assert "about to grow to 16 GiB" in placed(decided.conditions).message


@pytest.mark.parametrize(
    ("server", "disk"),
    [
        (GROWN, DiskSeen(16384, 16384)),
        (GROWN, DiskSeen(16384, 8192, "Its disk is growing.")),
        (GROWN, DiskSeen(20480, 20480)),
        (GROWN, DiskSeen(8192, None)),
        (GROWN, None),
        (replace(GROWN, disk_mib=None), DiskSeen(8192, 8192)),
        (replace(GROWN, storage=Storage.SHARE), DiskSeen(1024, 1024)),
    ],
    ids=["settled", "under way", "larger", "not made yet", "no disks", "no wish", "a share"],
)
def test_nothing_is_applied_where_nothing_can_be_done(server: Server, disk: DiskSeen | None) -> None:
    """A settled world is written to never again."""
    _, decided = decide(server, see(disk))
    assert decided.apply is None


def test_a_deleted_server_grows_no_more() -> None:
    """It may be undeleted, and grows then."""
    deleted = replace(GROWN, desired=Desired.DELETED, purge_at=NOW + timedelta(days=1))
    assert decide(deleted, see(DiskSeen(8192, 8192), runs=False))[1].apply is None


def test_what_a_growth_waits_for_is_told() -> None:
    """In place all the same: it plays."""
    waiting = DiskSeen(16384, 8192, "Its disk is growing from 8 GiB to 16 GiB.")
    condition = placed(decide(GROWN, see(waiting))[1].conditions)
    assert (condition.status, condition.reason) == (Truth.TRUE, Reason.GROWING)
    assert condition.message.endswith("Its disk is growing from 8 GiB to 16 GiB.")


def test_a_refused_growth_is_a_warning_and_stops_nothing() -> None:
    """The world is in place, the game is ready, and the sentence says what its owner cannot have, and why."""
    observed = see(DiskSeen(8192, 8192))
    refused = Refused(Reason.CANNOT_GROW, "Its disk cannot grow: the class forbids it.", timedelta(minutes=5))
    write = after(GROWN, observed, refused)
    condition = placed(write.status.conditions)
    assert (condition.status, condition.reason) == (Truth.TRUE, Reason.CANNOT_GROW)
    assert condition.message.endswith("Its disk cannot grow: the class forbids it.")
    ready = find_condition(write.status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.is_true
    assert [event.level for event in write.events if event.reason == Reason.CANNOT_GROW] == [Level.WARNING]


def test_a_world_in_a_share_is_made_after_its_folder() -> None:
    """Once; after that its folder is nobody's business, and one that was lost is not made anew."""
    new = see(None, runs=False, worlds=frozenset())
    assert decide(SHARED, new)[1].ensure_folder
    assert not decide(SHARED, see(None, runs=False))[1].ensure_folder
    assert not decide(make_server(storage=Storage.DISK), new)[1].ensure_folder
    subject = make_subject(SHARED, status=replace(make_subject().status, world_seen=1))
    assert not plan(subject, new, NOW).ensure_folder


def test_a_purge_removes_every_folder_that_there_can_be() -> None:
    """Also of generations that are not seen any more: killed between volume and folder, only the folder is left."""
    observed = Observed("chess1", complete=True, worlds=frozenset({3}), exists=True)
    marked = after(PURGED, observed, Done()).status
    decided = plan(make_subject(PURGED, status=marked), observed, NOW)
    assert decided.delete == (*(Removal("chess1", number, Storage.SHARE) for number in (1, 2, 3)), Removal("chess1"))
    assert (decided.clear, decided.folders_last) == ((), (1, 2, 3))


def test_a_retired_folder_goes_while_its_generation_can_be_seen() -> None:
    """Before its claim: what is left of a folder after a failed call would be nobody's."""
    retired = RetiredWorld(generation=1, keep_until=NOW)
    server = replace(SHARED, world_generation=2, retired_worlds=(retired,), desired=Desired.STOPPED)
    observed = see(None, runs=False, worlds=frozenset({1, 2}))
    decided = decide(server, observed)[1]
    assert (decided.clear, decided.delete) == ((Removal("chess1", 1, Storage.SHARE),), ())
    assert decided.requeue_after == LOOK_AGAIN_SOON
    on_disk = replace(server, storage=Storage.DISK)
    decided = decide(on_disk, observed)[1]
    assert (decided.clear, decided.delete) == ((), (Removal("chess1", 1, Storage.DISK),))


INCOMING = RetiredWorld(generation=2, keep_until=NOW + timedelta(days=2), is_incoming=True)
MAKING = replace(SHARED, retired_worlds=(INCOMING,))


def begun(*generations: int, given_up: tuple[int, ...] = ()) -> Observed:
    """A server that plays in a share, and what workers are at."""
    return replace(see(None), begun=frozenset(generations), given_up=frozenset(given_up))


def test_what_a_worker_has_begun_in_the_share_is_placed() -> None:
    """If a row speaks of it, or nobody would ever remove it; never for a deleted server, nor where worlds are disks."""
    decided = decide(MAKING, begun(2, 3))[1]
    assert (decided.place, decided.clear, decided.apply, decided.is_idle) == ((2,), (), None, False)
    assert decide(SHARED, begun(2))[1].is_idle
    assert decide(replace(MAKING, storage=Storage.DISK), begun(2))[1].is_idle
    deleted = replace(MAKING, desired=Desired.DELETED, purge_at=NOW + timedelta(days=1))
    assert decide(deleted, replace(begun(2), process=None))[1].place == ()


def test_what_a_worker_has_given_up_in_the_share_goes() -> None:
    """Whether a row still speaks of it or not; never the present world, nor one that can be gone back to."""
    gone = Removal("chess1", 2, Storage.SHARE)
    assert decide(MAKING, begun(given_up=(2,)))[1].clear == (gone,)
    assert decide(SHARED, begun(given_up=(1, 2)))[1].clear == (gone,)
    earlier = replace(INCOMING, is_incoming=False)
    assert decide(replace(SHARED, retired_worlds=(earlier,)), begun(given_up=(2,)))[1].is_idle
    over = replace(earlier, keep_until=NOW)
    assert decide(replace(SHARED, retired_worlds=(over,)), begun(given_up=(2,)))[1].clear == (gone,)


def test_a_purge_takes_what_workers_are_at_along() -> None:
    """Or something of the server would be there for ever."""
    observed = replace(begun(5, given_up=(6,)), process=None)
    marked = after(PURGED, observed, Done()).status
    assert plan(make_subject(PURGED, status=marked), observed, NOW).folders_last == (1, 2, 3, 5, 6)


def test_a_refused_folder_is_a_warning_and_stops_nothing() -> None:
    """The game plays on, and its owner reads why there is no restore. What is not in place is not called so."""
    refused = Refused(Reason.NO_FOLDER, "No folder can be made: the cloud forbids it.", timedelta(minutes=1))
    write = after(MAKING, begun(2), refused)
    condition = placed(write.status.conditions)
    assert (condition.status, condition.reason) == (Truth.TRUE, Reason.NO_FOLDER)
    assert condition.message.endswith("the cloud forbids it.")
    assert [event.level for event in write.events if event.reason == Reason.NO_FOLDER] == [Level.WARNING]
    unknown = replace(make_subject(MAKING), game=None)
    decided = plan(unknown, begun(2), NOW)
    written = settle(unknown, decided, refused, begun(2), operations=(), failures=0, now=NOW)
    assert written is not None
    assert placed(written.status.conditions).reason == Reason.GAME_UNKNOWN
