"""A controller as a process of its own that kills itself, with SIGKILL, at its n-th write to the cluster or to Azure.

Forked from a server that has everything imported, so that enumerating every write of a provisioning takes seconds each.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from overworld.engines.kube.client import KubeClient
from overworld.settings import Settings

HOLDER_PREFIX = "doomed-"

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["cluster.doomed", "overworld.controller.role", "overworld.cloud.azure.cloud"])


class Doom:
    """Counts the writes of this process, and ends it at one: before it is sent, or before its answer is read."""

    def __init__(self, at: int, *, answered: bool) -> None:
        self._at, self._answered, self._seen = at, answered, 0

    def watch(self) -> None:
        """From now on."""
        from overworld.cloud.azure.arm import Arm

        for owner in (KubeClient, Arm):
            owner._send = self._watched(owner._send)  # type: ignore[method-assign]

    def _watched(self, send: Any) -> Any:
        async def watched(client: Any, method: str, *arguments: Any, **more: Any) -> Any:
            if method == "GET":
                return await send(client, method, *arguments, **more)
            self._seen += 1
            is_now = self._seen == self._at
            if is_now and not self._answered:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return await send(client, method, *arguments, **more)
            finally:
                if is_now:
                    os.kill(os.getpid(), signal.SIGKILL)

        return watched


def _control(values: dict[str, Any], doom: Doom | None) -> None:
    from overworld import wiring
    from overworld.controller.role import run_controller

    if doom is not None:
        doom.watch()
    settings = Settings(**values)

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        engine, cloud = wiring.open_engine(settings), wiring.open_cloud(settings)
        await run_controller(
            wiring.open_database(settings, "controller"),
            engine,
            wiring.load_catalogue(settings),
            settings,
            stop,
            cloud=cloud,
            public_host="unused.example",
            holder=f"{HOLDER_PREFIX}{secrets.token_hex(4)}",
        )

    asyncio.run(main())


@contextmanager
def controller(values: dict[str, Any], doom: Doom | None = None) -> Iterator[BaseProcess]:
    """A controller with these settings while the block runs; gone after it, by SIGKILL if it has not ended."""
    process = _context.Process(target=_control, args=(values, doom), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(10)
