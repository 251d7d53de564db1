"""Work in a thread whose end is awaited, also by whoever was cancelled meanwhile."""

from __future__ import annotations

import asyncio
import threading

import pytest

from overworld.worker.threads import in_thread


async def test_what_it_returns_and_raises() -> None:
    """As if it had been called."""
    assert await in_thread(pow, 2, 3) == 8
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


async def test_a_cancellation_waits_for_the_end_of_the_work() -> None:
    """Even if it is repeated: when the task has ended, so has the work."""
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait()
        ended.set()

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.wait([task], timeout=0.05)
    task.cancel()
    await asyncio.wait([task], timeout=0.05)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
