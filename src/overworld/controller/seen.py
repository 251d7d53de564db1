"""What was seen of a server, as conditions: each guard returns the sentence that its owner will read.

Sentences hold nothing that changes while the world stands still, so that a settled server is never written again.
"""

from __future__ import annotations

from datetime import datetime

from overworld.controller.addressing import Seen, see_addressed
from overworld.controller.growth import say_growing
from overworld.controller.sentences import say_crash, say_duration, say_exit, say_time
from overworld.controller.subject import Subject
from overworld.domain.conditions import Condition, ConditionType, Reason, Truth, find_condition
from overworld.domain.exits import Exit
from overworld.domain.observed import Observed, Phase, ProcessSeen
from overworld.domain.servers import Server, Status

IN_PLACE = "World, ports and program are in place."


def is_ended(process: ProcessSeen | None) -> bool:
    """Whether no process runs or will be started again by the engine itself."""
    return process is None or process.phase is Phase.STOPPED


def is_purge_marked(server: Server, status: Status) -> bool:
    """Whether it is stored that this generation of the server is being removed for good."""
    placed = find_condition(status.conditions, ConditionType.PLACED)
    return placed is not None and placed.reason == Reason.PURGED and placed.observed_generation == server.generation


def see_all(subject: Subject, observed: Observed, now: datetime) -> tuple[Condition, ...]:
    """Every condition as seen now, ``since`` now; what cannot be seen any more (an old save) is kept."""
    addressed = see_addressed(subject, observed)
    ready = _see_ready(subject, observed.process, now)
    if addressed is not None and addressed.truth is not Truth.TRUE and ready.truth is Truth.TRUE:
        ready = Seen(Truth.FALSE, addressed.reason, f"The game is ready, and nobody can join: {addressed.message}")
    if observed.node is not None and ready.truth is Truth.TRUE:
        ready = ready._replace(message=f"{ready.message} It runs on the node {observed.node}.")
    return _conditions(
        subject,
        now,
        {
            ConditionType.PLACED: _see_placed(subject, observed),
            **({} if addressed is None else {ConditionType.ADDRESSED: addressed}),
            ConditionType.READY: ready,
            ConditionType.SAVED: _see_saved(subject, observed.process),
            ConditionType.CURRENT: _see_current(subject, observed.process),
        },
    )


def say_purging(subject: Subject, observed: Observed, now: datetime) -> tuple[Condition, ...]:
    """The conditions of a server whose retention has passed: stopped, and on its way out."""
    purge_at = subject.server.purge_at
    since = f" at {say_time(purge_at)}" if purge_at is not None else ""
    return _conditions(
        subject,
        now,
        {
            ConditionType.READY: _see_ready(subject, observed.process, now),
            ConditionType.SAVED: _see_saved(subject, observed.process),
            ConditionType.PLACED: Seen(  # last, as its event is
                Truth.FALSE,
                Reason.PURGED,
                f"Its retention ended{since}: the world and everything else of it is being removed for good.",
            ),
        },
    )


def _conditions(subject: Subject, now: datetime, seen: dict[ConditionType, Seen]) -> tuple[Condition, ...]:
    return tuple(
        Condition(kind, truth, reason, message, observed_generation=subject.server.generation, since=now)
        for kind, (truth, reason, message) in seen.items()
    )


def _see_placed(subject: Subject, observed: Observed) -> Seen:
    if subject.game is None:
        left_alone = "" if is_ended(observed.process) else " What runs is left alone and can be stopped."
        return Seen(
            Truth.FALSE,
            Reason.GAME_UNKNOWN,
            f"The catalogue no longer has a game named {subject.server.game}.{left_alone} "
            "Ask the operator to bring its game file back; the world is kept.",
        )
    if subject.lacks_ports:
        return Seen(Truth.UNKNOWN, Reason.INSTALLING, "Looking for free ports.")
    if is_ended(observed.process) and subject.server.world_generation not in observed.worlds:
        return Seen(Truth.UNKNOWN, Reason.INSTALLING, "Making the folder of the world.")
    growing = say_growing(subject, observed)
    if growing is not None:
        return Seen(Truth.TRUE, Reason.GROWING, f"{IN_PLACE} {growing}")
    return Seen(Truth.TRUE, Reason.INSTALLED, IN_PLACE)


def _see_ready(subject: Subject, process: ProcessSeen | None, now: datetime) -> Seen:
    if subject.trouble is not None and not is_ended(process):
        return Seen(Truth.FALSE, Reason.NODE_LOST, subject.trouble)
    if not subject.wants_running:
        return _see_stopping(process)
    if process is None or process.phase is Phase.STOPPED:
        if subject.game is None:
            return Seen(Truth.FALSE, Reason.BLOCKED, "It cannot be started: its game is not in the catalogue.")
        return Seen(Truth.FALSE, Reason.STARTING, "The game is about to be started.")
    if process.phase is Phase.STOPPING or (process.restarts != subject.server.restarts and subject.game is not None):
        return Seen(
            Truth.FALSE, Reason.STOPPING, "The game was asked to save and quit; it is started again after that."
        )
    return _see_running(subject, process, now)


def _see_running(subject: Subject, process: ProcessSeen, now: datetime) -> Seen:
    if process.phase is Phase.WAITING:
        is_memory = process.last_exit is not None and process.last_exit.out_of_memory
        reason = Reason.OUT_OF_MEMORY if is_memory else Reason.CRASHED
        return Seen(Truth.FALSE, reason, say_crash(process, memory_mib=subject.server.memory_mib))
    if process.pending is not None:
        return Seen(Truth.FALSE, Reason.STARTING, process.pending)
    if process.phase is Phase.READY:
        return Seen(Truth.TRUE, Reason.ANSWERING, "The game said that players can join.")
    started = f"The game was started at {say_time(process.since)}"
    if subject.game is None or now < process.since + subject.game.ready.within:
        return Seen(Truth.FALSE, Reason.STARTING, f"{started} and is loading.")
    return Seen(
        Truth.FALSE,
        Reason.NOT_READY_IN_TIME,
        f"{started} and did not say within {say_duration(subject.game.ready.within)} that players can join. It was "
        "left running, in case it is only slow. Its console tells what it waits for; change what is wrong and "
        "restart it.",
    )


def _see_stopping(process: ProcessSeen | None) -> Seen:
    if process is None or process.phase is Phase.STOPPED:
        ended = process.last_exit if process is not None else None
        return Seen(Truth.FALSE, Reason.STOPPED, "Nothing runs." if ended is None else f"The game {say_exit(ended)}.")
    return Seen(Truth.FALSE, Reason.STOPPING, "The game was asked to save and quit; it is killed if it takes too long.")


def _see_saved(subject: Subject, process: ProcessSeen | None) -> Seen:
    end = process.last_exit if process is not None else None
    if end is None:
        before = find_condition(subject.status.conditions, ConditionType.SAVED)
        if before is not None:
            return Seen(before.status, before.reason, before.message)
        return Seen(Truth.UNKNOWN, Reason.NEVER_STOPPED, "The game was never stopped, so no save was to be seen.")
    return _tell_save(end, subject)


def _tell_save(end: Exit, subject: Subject) -> Seen:
    """Whether the world was written at that end."""
    told = f"The game {say_exit(end)}"
    if end.lost_with is not None:
        told += ", and nobody saw whether it saved: the world is as the game last wrote it by itself."
        return Seen(Truth.FALSE, Reason.SAVE_NOT_SEEN, told)
    if end.save_seen:
        return Seen(Truth.TRUE, Reason.SAVE_SEEN, f"{told}; the world was seen to be written.")
    if not end.asked:
        told += " without being asked to: the world is as the game last saved it by itself."
        return Seen(Truth.FALSE, Reason.SAVE_NOT_SEEN, told)
    if end.signal == "SIGKILL":
        grace = f"within {say_duration(subject.game.stop.grace)}" if subject.game is not None else "in time"
        told += f" because it did not quit {grace}"
    elif end.save_seen is None:
        told += ". It never says that it saved, so whether the world was written is not known."
        return Seen(Truth.UNKNOWN, Reason.SAVE_NOT_SEEN, told)
    told += ", and was not seen to write the world: what came after its own last save may be lost. Look at its console."
    return Seen(Truth.FALSE, Reason.SAVE_NOT_SEEN, told)


def _see_current(subject: Subject, process: ProcessSeen | None) -> Seen:
    if process is None or process.phase in {Phase.STOPPED, Phase.WAITING}:
        return Seen(Truth.TRUE, Reason.UP_TO_DATE, "The next start takes the newest settings.")
    if subject.game is None:
        return Seen(Truth.UNKNOWN, Reason.GAME_UNKNOWN, "Its game is not in the catalogue: nothing to compare with.")
    if process.restarts != subject.server.restarts and subject.wants_running:
        return Seen(Truth.UNKNOWN, Reason.RESTART_NEEDED, "It is being restarted with the newest settings.")
    if process.spec_hash != subject.want.spec_hash:
        return Seen(
            Truth.FALSE, Reason.RESTART_NEEDED, "It was changed after it was started: restart it to apply that."
        )
    return Seen(Truth.TRUE, Reason.UP_TO_DATE, "It runs with the newest settings.")
