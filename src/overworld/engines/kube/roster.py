"""Who plays, as a game's keeper counts it: one line for whoever connects to its port in the pod."""

from __future__ import annotations

import asyncio

import msgspec

from overworld.engines.kube.launches import READY_PORT

TIMEOUT_SECONDS = 2.0
LONGEST_LINE_BYTES = 1 << 20


class _Told(msgspec.Struct, frozen=True):
    roster: tuple[str, ...] | None


async def ask_roster(pod_ip: str) -> tuple[str, ...] | None:
    """The players by the join and leave lines of the game's output; None where it has none, is not ready, or cannot be
    reached from here (a policy of the cluster, an Overworld outside of it): not known, never nobody."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(pod_ip, READY_PORT, limit=LONGEST_LINE_BYTES)
            try:
                line = await reader.readuntil(b"\n")
            finally:
                writer.close()
        return msgspec.json.decode(line, type=_Told).roster
    except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError, msgspec.DecodeError, ValueError):
        return None
