"""What to do about one server, decided purely from what is wanted and what was seen. Execution makes no choices.

A plan is safe on a stale observation: everything in it is idempotent, the engine refuses to remove what still runs,
and a world is only ever named in ``delete`` by the one rule of ``_worlds_to_remove`` and ``_plan_purge``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from overworld.controller.growth import must_grow
from overworld.controller.seen import is_ended, is_purge_marked, say_purging, see_all
from overworld.controller.subject import Subject
from overworld.domain.conditions import Condition, ConditionType, carry_since, find_condition
from overworld.domain.observed import Observed, Phase, ProcessSeen, Removal, Want
from overworld.domain.servers import Desired
from overworld.domain.worlds import Storage

LOOK_AGAIN_SOON = timedelta(seconds=1)
LOOK_AGAIN_UNSETTLED = timedelta(seconds=30)
"""Wakes tell of every change; this is for the one that was lost while somebody waits for it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now: ``apply``, then each of ``delete`` in order, then (only if all succeeded) ``purge`` the rows.

    ``is_stop`` means that ``apply`` only stops what runs: it goes by the stop of its own start, so no launch has to be
    rendered and nothing that is wrong with the game's entry, variables or ports can be in its way.
    ``conditions`` None means that nothing was learned: write nothing. ``lease_ports`` means that ports are missing:
    lease them, then plan again. ``confirm`` means that the spec must be read again under a lock, and be unchanged,
    before anything is deleted. ``ensure_folder`` means that the world's folder must be there before ``apply``;
    ``folders_last`` are generations whose folders in the share go after ``delete``.
    ``place`` are generations in the share that workers wait for the folder of, ``clear`` those that nobody needs any
    more, folder and all: seen to whatever becomes of the rest, which is the game's.
    ``ensure_address`` means that the address of its own has to be made, or looked after: do that, then plan again.
    ``release_address`` comes after every removal. ``requeue_after`` None means that nothing is due; a wake or an edit
    brings it back.
    """

    conditions: tuple[Condition, ...] | None = None
    apply: Want | None = None
    is_stop: bool = False
    delete: tuple[Removal, ...] = ()
    confirm: bool = False
    purge: bool = False
    lease_ports: bool = False
    ensure_folder: bool = False
    folders_last: tuple[int, ...] = ()
    place: tuple[int, ...] = ()
    clear: tuple[Removal, ...] = ()
    ensure_address: bool = False
    release_address: bool = False
    requeue_after: timedelta | None = None

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        does = (self.apply, self.delete, self.purge, self.lease_ports, self.ensure_address, self.place, self.clear)
        return not any(does)


def plan(subject: Subject, observed: Observed, now: datetime) -> Plan:
    """The plan for one server. Pure. Once it was carried out and the world has settled, the next plan is idle and has
    the same conditions."""
    if not observed.complete:
        return Plan(requeue_after=LOOK_AGAIN_SOON)
    server = subject.server
    has_ended = is_ended(observed.process)
    is_due = server.purge_at is not None and server.purge_at <= now and server.desired is Desired.DELETED
    if is_due and has_ended and not subject.is_being_saved:
        return _plan_purge(subject, observed, now)
    conditions = carry_since(see_all(subject, observed, now), subject.status.conditions)
    # A stop never waits for ports.
    if subject.lacks_ports and (subject.wants_running or has_ended):
        return Plan(conditions=conditions, lease_ports=True)
    apply = _plan_apply(subject, observed)
    retired = _worlds_to_remove(subject, observed, now)
    shared = tuple(removal for removal in retired if removal.storage is Storage.SHARE)
    clear = (*shared, *_worlds_given_up(subject, observed, now))
    check_at = _next_address_check(subject, conditions)
    return Plan(
        conditions=conditions,
        apply=apply,
        is_stop=not subject.wants_running and not has_ended,
        ensure_folder=apply is not None and _must_make_folder(subject, observed),
        delete=tuple(removal for removal in retired if removal.storage is not Storage.SHARE),
        place=_worlds_to_place(subject, observed),
        clear=clear,
        # After what the game needs, for it takes seconds and the game can load in the meantime.
        ensure_address=apply is None and check_at is not None and check_at <= now,
        requeue_after=LOOK_AGAIN_SOON if clear else _next_look(subject, observed, check_at, now),
    )


def _plan_apply(subject: Subject, observed: Observed) -> Want | None:
    must_apply = _must_run(subject, observed) if subject.wants_running else _must_stop_or_make(subject, observed)
    return subject.want if must_apply or _must_mend_way_in(subject, observed) or must_grow(subject, observed) else None


def _must_run(subject: Subject, observed: Observed) -> bool:
    process = observed.process
    if subject.game is None:
        return False  # what runs is left alone, what does not cannot be started
    if process is None or process.phase is Phase.STOPPED:
        return True
    if process.phase is Phase.STOPPING:
        return False  # its end wakes us
    if process.restarts != subject.server.restarts:
        return True
    # An edit takes effect at the next start, and the next start after a crash is one.
    return process.phase is Phase.WAITING and process.spec_hash != subject.want.spec_hash


def _must_stop_or_make(subject: Subject, observed: Observed) -> bool:
    process = observed.process
    if process is not None and not is_ended(process):
        return process.phase is not Phase.STOPPING
    # A server that is stopped from its beginning is still put in place.
    is_missing = subject.server.world_generation not in observed.worlds
    return is_missing and subject.game is not None and subject.server.desired is Desired.STOPPED


def _must_make_folder(subject: Subject, observed: Observed) -> bool:
    """Whether the world is to be made, and to lie in a share."""
    is_missing = subject.server.world_generation not in observed.worlds
    return is_missing and subject.want.may_make_world and subject.server.storage is Storage.SHARE


def _must_mend_way_in(subject: Subject, observed: Observed) -> bool:
    """Whether its way in is missing or lacks something. More than is wanted may be on it: others' annotations."""
    wanted = subject.wanted_address
    if wanted is None or subject.game is None or subject.server.desired is Desired.DELETED:
        return False
    return observed.way_in is None or not wanted.annotations.items() <= observed.way_in.annotations.items()


def _next_address_check(subject: Subject, conditions: tuple[Condition, ...]) -> datetime | None:
    """When the cloud has to be asked for the server's address: at once if it was never made, now and then while it
    does not lead to the server, never if all is well."""
    lease, addressed = subject.address, find_condition(conditions, ConditionType.ADDRESSED)
    if lease is None or addressed is None or addressed.is_true or subject.server.desired is Desired.DELETED:
        return None
    return lease.leased_at if subject.lacks_address else lease.next_check(addressed.since)


def _worlds_to_remove(subject: Subject, observed: Observed, now: datetime) -> tuple[Removal, ...]:
    """The retired generations whose time for undo has passed, unless something may still run on one of them. A
    generation that no row speaks of is kept."""
    server, process = subject.server, observed.process
    retired = tuple(
        Removal(server.id, world.generation, server.storage)
        for world in server.retired_worlds
        if world.generation != server.world_generation
        and world.keep_until <= now
        and world.generation in observed.worlds
    )
    if retired and process is not None and not is_ended(process) and process.spec_hash != subject.want.spec_hash:
        return ()
    return retired


def _worlds_to_place(subject: Subject, observed: Observed) -> tuple[int, ...]:
    """The generations that workers have begun in the share; a row speaks of each before that."""
    server = subject.server
    if server.storage is not Storage.SHARE or server.desired is Desired.DELETED:
        return ()
    return tuple(sorted(observed.begun & {world.generation for world in server.retired_worlds}))


def _worlds_given_up(subject: Subject, observed: Observed, now: datetime) -> tuple[Removal, ...]:
    """What workers have begun in the share and given up. No worker's word removes the present world, nor one that its
    owner can still go back to."""
    server = subject.server
    kept = {world.generation for world in server.retired_worlds if not world.is_incoming and world.keep_until > now}
    gone = sorted(observed.given_up - kept - {server.world_generation})
    return tuple(Removal(server.id, generation, Storage.SHARE) for generation in gone)


def _folders(removals: tuple[Removal, ...]) -> tuple[int, ...]:
    """The generations among these that lie in the share."""
    return tuple(
        removal.world_generation
        for removal in removals
        if removal.storage is Storage.SHARE and removal.world_generation is not None
    )


def _plan_purge(subject: Subject, observed: Observed, now: datetime) -> Plan:
    """Mark, then remove: the mark is stored before anything is removed, so that an undelete that comes in between
    either finds the mark, or is found by the second look at the spec (``confirm``)."""
    server, status = subject.server, subject.status
    conditions = carry_since(say_purging(subject, observed, now), status.conditions)
    if not is_purge_marked(server, status):
        return Plan(conditions=conditions, requeue_after=timedelta())
    generations = observed.worlds | observed.begun | observed.given_up | {server.world_generation}
    generations |= {world.generation for world in server.retired_worlds}
    if server.storage is Storage.SHARE:  # a folder is not among what is observed
        generations |= {*range(1, server.world_generation + 1)}
    worlds = tuple(Removal(server.id, generation, server.storage) for generation in sorted(generations))
    return Plan(
        conditions=conditions,
        delete=(*worlds, Removal(server.id)),
        # When the cluster has let go of them for certain; all are tried again until the server is forgotten.
        folders_last=_folders(worlds),
        confirm=True,
        # Only what is seen to be gone is forgotten; the removals are repeated in case that sight was stale.
        purge=not observed.exists,
        release_address=subject.address is not None and not observed.exists,
        requeue_after=LOOK_AGAIN_SOON,
    )


def _next_look(
    subject: Subject, observed: Observed, check_address_at: datetime | None, now: datetime
) -> timedelta | None:
    server, process = subject.server, observed.process
    dues = [world.keep_until for world in server.retired_worlds if world.generation in observed.worlds]
    if server.purge_at is not None:
        dues.append(server.purge_at)
    if process is not None and process.phase is Phase.STARTING and subject.game is not None:
        dues.append(process.since + subject.game.ready.within)
    if check_address_at is not None:
        dues.append(max(check_address_at, now + timedelta(milliseconds=1)))  # once what is due before it is done
    # What is due already was dealt with above; counting it would be a hot loop.
    looks = [due - now for due in dues if due > now]
    if subject.is_being_saved:
        looks.append(LOOK_AGAIN_SOON)
    if not _is_settled(subject, process):
        looks.append(LOOK_AGAIN_UNSETTLED)
    return min(looks, default=None)


def _is_settled(subject: Subject, process: ProcessSeen | None) -> bool:
    if not subject.wants_running:
        return is_ended(process)
    if subject.game is None:
        return True
    return (
        process is not None
        and process.phase in {Phase.READY, Phase.WAITING}
        and process.restarts == subject.server.restarts
    )
