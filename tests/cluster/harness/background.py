"""Run asyncio loops that never end in a thread, beside tests that are not asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any


class Background:
    """Runs each of ``jobs`` until :meth:`stop`. A job that fails ends all of them, and ``stop`` raises its error."""

    def __init__(self, *jobs: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._jobs = jobs
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="stand-ins", daemon=True)

    def start(self) -> None:
        """Start; returns when the loop runs."""
        self._thread.start()
        self._ready.result(10)

    def stop(self) -> None:
        """Cancel the jobs and wait for them. Raises what a job has raised. Safe to call twice."""
        if self._thread.is_alive():
            loop, task = self._ready.result(10)
            loop.call_soon_threadsafe(task.cancel)
            self._thread.join(10)
        self.check()

    def check(self) -> None:
        """Raises what a job has raised."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # a thread has nobody to raise it to
            self._error = error

    async def _main(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        async with asyncio.TaskGroup() as group:
            for job in self._jobs:
                group.create_task(job())
            self._ready.set_result((asyncio.get_running_loop(), task))
