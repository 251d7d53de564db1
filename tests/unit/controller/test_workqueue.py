"""The promises of the work queue, one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.controller.workqueue import Backoff, WorkQueue

SECOND = timedelta(seconds=1)


class Time:
    """Seconds that move only when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    """A clock at zero."""
    return Time()


@pytest.fixture
def queue(time: Time) -> WorkQueue:
    """An empty queue on that clock."""
    return WorkQueue(clock=time, random=Random(1))


async def test_a_key_in_work_is_not_given_out_again(queue: WorkQueue) -> None:
    """Promise 1: however often it is added."""
    queue.add("a")
    assert queue.take_ready(10) == ["a"]
    queue.add("a")
    queue.add("a")
    assert queue.take_ready(10) == []


async def test_a_key_that_waits_is_given_out_once_in_the_order_of_the_first_add(queue: WorkQueue) -> None:
    """Promise 2."""
    for key in ("b", "a", "b", "c", "a"):
        queue.add(key)
    assert queue.take_ready(2) == ["b", "a"]
    assert queue.take_ready(2) == ["c"]


async def test_a_key_added_while_in_work_comes_again_after_done(queue: WorkQueue) -> None:
    """Promise 3: no news is lost, and several are one."""
    queue.add("a")
    queue.take_ready(1)
    queue.add("a")
    queue.add("a")
    queue.done("a")
    assert queue.take_ready(10) == ["a"]
    queue.done("a")
    queue.done("a")
    assert queue.take_ready(10) == []


async def test_a_delayed_add_comes_at_its_time_and_the_earliest_counts(queue: WorkQueue, time: Time) -> None:
    """Promise 4."""
    queue.add_after("a", 10 * SECOND)
    queue.add_after("a", 5 * SECOND)
    queue.add_after("a", 20 * SECOND)
    time.seconds = 4.9
    assert queue.take_ready(10) == []
    time.seconds = 5.0
    assert queue.take_ready(10) == ["a"]
    queue.done("a")
    time.seconds = 100.0
    assert queue.take_ready(10) == [], "the later times are fulfilled too"


async def test_an_add_fulfils_a_delayed_add(queue: WorkQueue, time: Time) -> None:
    """Promise 4: looked at now is looked at in time."""
    queue.add_after("a", 5 * SECOND)
    queue.add("a")
    assert queue.take_ready(10) == ["a"]
    queue.done("a")
    time.seconds = 10.0
    assert queue.take_ready(10) == []


async def test_a_delayed_add_of_a_key_in_work_comes_after_its_work(queue: WorkQueue, time: Time) -> None:
    """Promises 1 and 4 together."""
    queue.add("a")
    queue.take_ready(1)
    queue.add_after("a", SECOND)
    time.seconds = 2.0
    assert queue.take_ready(10) == []
    queue.done("a")
    assert queue.take_ready(10) == ["a"]


async def test_no_delay_is_now(queue: WorkQueue) -> None:
    """A delay that is not positive is an add."""
    queue.add_after("a", timedelta())
    assert queue.take_ready(10) == ["a"]


async def test_retries_wait_longer_each_time_until_forgotten(queue: WorkQueue) -> None:
    """Promise 5."""
    delays = [queue.retry("a").total_seconds() for _ in range(20)]
    for failures, delay in enumerate(delays):
        full = min(0.5 * 2**failures, 60.0)
        assert full / 2 <= delay <= full
    assert queue.failures("a") == 20
    queue.forget("a")
    assert queue.failures("a") == 0
    assert queue.retry("a") <= timedelta(seconds=0.5)


async def test_news_go_ahead_of_a_back_off(queue: WorkQueue) -> None:
    """Promise 5: an add is not held back by failures before it."""
    for _ in range(10):
        queue.retry("a")
    queue.add("a")
    assert queue.take_ready(10) == ["a"]


async def test_what_failed_together_does_not_come_back_together(queue: WorkQueue) -> None:
    """The back-off has jitter."""
    assert len({queue.retry(f"key{number}") for number in range(50)}) > 40


async def test_take_waits_for_a_key(queue: WorkQueue) -> None:
    """Promise 6: a taker sleeps until something is ready."""
    taking = asyncio.create_task(queue.take(5))
    await asyncio.sleep(0)
    assert not taking.done()
    queue.add("a")
    queue.add("b")
    assert await asyncio.wait_for(taking, 5) == ["a", "b"]


async def test_take_wakes_up_for_a_timer() -> None:
    """Promise 6, for a key whose time comes while nothing else happens."""
    queue = WorkQueue()
    queue.add_after("a", timedelta(milliseconds=20))
    assert await asyncio.wait_for(queue.take(5), 5) == ["a"]


async def test_close_wakes_every_taker_with_nothing(queue: WorkQueue) -> None:
    """Promise 6: after close there is nothing more, though keys wait."""
    takers = [asyncio.create_task(queue.take(5)) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    queue.close()
    assert await asyncio.wait_for(asyncio.gather(*takers), 5) == [[], [], []]
    queue.add("a")
    assert await queue.take(5) == []


async def test_depth_and_age_tell_of_what_waits(queue: WorkQueue, time: Time) -> None:
    """Keys in work count only when they were added again."""
    assert (queue.depth, queue.oldest_age) == (0, timedelta())
    queue.add("a")
    time.seconds = 2.0
    queue.add("b")
    time.seconds = 5.0
    assert (queue.depth, queue.oldest_age) == (2, 5 * SECOND)
    queue.take_ready(1)
    assert (queue.depth, queue.oldest_age) == (1, 3 * SECOND)
    queue.add("a")
    assert queue.depth == 2


async def test_far_timers_that_are_replaced_leave_nothing_behind(queue: WorkQueue, time: Time) -> None:
    """A server that is deleted waits a week for its purge and is looked at every ten minutes meanwhile."""
    for minute in range(10_000):
        time.seconds = minute * 600.0
        queue.add("a")
        queue.take_ready(1)
        queue.add_after("a", timedelta(days=100))
        queue.done("a")
    assert len(queue._timers) < 200


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "after", "retry", "take", "done", "time"]), st.sampled_from("abc")),
        max_size=60,
    )
)
def test_every_add_is_followed_by_a_take_and_never_two_at_once(steps: list[tuple[str, str]]) -> None:
    """Any order of calls: no key is in work twice, and whatever was added is given out after its last add."""
    time = Time()
    queue = WorkQueue(clock=time, random=Random(1), backoff=Backoff(first=SECOND, longest=10 * SECOND))
    in_work: Counter[str] = Counter()
    owed: set[str] = set()

    def take(most: int) -> None:
        for key in queue.take_ready(most):
            in_work[key] += 1
            assert in_work[key] == 1
            owed.discard(key)

    for step, key in steps:
        match step:
            case "add":
                queue.add(key)
                owed.add(key)
            case "after":
                queue.add_after(key, 3 * SECOND)
                owed.add(key)
            case "retry":
                queue.retry(key)
                owed.add(key)
            case "take":
                take(2)
            case "done" if in_work[key]:
                in_work[key] -= 1
                queue.done(key)
            case "time":
                time.seconds += 1.0
    for _ in range(30):
        time.seconds += 1.0
        take(10)
        for key in list(+in_work):
            in_work[key] -= 1
            queue.done(key)
    assert not owed
