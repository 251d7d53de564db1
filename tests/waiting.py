"""Wait for a condition with a deadline: the tests' only way to let time pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

PAUSE_SECONDS = 0.02


def wait_until(look: Callable[[], T | None], deadline_seconds: float, what: str) -> T:
    """The first truthy value of ``look``; fails with ``what`` and the last value when the deadline passes."""
    give_up_at = time.monotonic() + deadline_seconds
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > give_up_at:
            raise AssertionError(f"not within {deadline_seconds} s: {what} (last seen: {value!r})")
        time.sleep(PAUSE_SECONDS)


@overload
async def eventually(look: Callable[[], Awaitable[T | None]], deadline_seconds: float, what: str) -> T: ...
@overload
async def eventually(look: Callable[[], T | None], deadline_seconds: float, what: str) -> T: ...
async def eventually(look: Callable[[], object], deadline_seconds: float, what: str) -> object:
    """The same for asyncio; ``look`` may be a coroutine function."""
    give_up_at = time.monotonic() + deadline_seconds
    while True:
        value = look()
        seen = await value if isinstance(value, Awaitable) else value
        if seen:
            return seen
        if time.monotonic() > give_up_at:
            raise AssertionError(f"not within {deadline_seconds} s: {what} (last seen: {seen!r})")
        await asyncio.sleep(PAUSE_SECONDS)
