"""Facts are told at once, words once a second."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from overworld.domain.observed import Observed, Phase, ProcessSeen
from overworld.engines.kube.news import News
from waiting import eventually

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def starting(**changes: object) -> Observed:
    process = replace(ProcessSeen(Phase.STARTING, NOW, "hash", restarts=0), **changes)  # type: ignore[arg-type]
    return Observed("meadow", complete=True, exists=True, process=process, worlds=frozenset({1}))


class World:
    """What is observed, and who was told of it."""

    def __init__(self) -> None:
        self.seen = starting()
        self.woken: list[str] = []
        self.news = News(lambda _: self.seen)
        self.news.tell(self.woken.append)

    def change(self, seen: Observed) -> None:
        self.seen = seen
        self.news.take("meadow")


async def test_facts_are_told_at_once() -> None:
    """Each change of what is decided from has a wake of its own, before anything else happens."""
    world = World()
    world.change(starting())
    world.change(starting(phase=Phase.READY))
    world.change(replace(world.seen, worlds=frozenset({1, 2})))
    world.change(replace(world.seen, begun=frozenset({3})))
    world.change(replace(world.seen, given_up=frozenset({3}), begun=frozenset()))
    world.change(Observed("meadow", complete=True))
    world.change(starting())
    assert len(world.woken) == 7


async def test_words_are_told_later_and_once() -> None:
    """However many sentences come in a second, the last of them is told."""
    world = World()
    world.change(starting())
    for number in range(10):
        world.change(starting(pending=f"Waiting for {number}.", since=NOW + timedelta(seconds=number)))
    assert len(world.woken) == 1
    await eventually(lambda: len(world.woken) == 2, 10, "the words were told")
    world.change(starting(pending="Waiting for more."))
    assert len(world.woken) == 2
    await eventually(lambda: len(world.woken) == 3, 10, "the words were told again")


async def test_a_fact_takes_the_words_along() -> None:
    """Nothing is told a second time for the words that were there before it."""
    world = World()
    world.change(starting())
    world.change(starting(pending="Waiting."))
    world.change(starting(phase=Phase.READY))
    assert len(world.woken) == 2
    world.change(starting(phase=Phase.READY, pending="Waiting."))
    await eventually(lambda: len(world.woken) == 3, 10, "only what came after it")


async def test_nobody_is_told_after_the_end() -> None:
    """Neither of what is new, nor of what waited."""
    world = World()
    world.change(starting())
    world.change(starting(pending="Waiting."))
    world.news.tell(None)
    world.change(starting(phase=Phase.READY))
    assert len(world.woken) == 1
