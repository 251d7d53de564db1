"""Every object of a kind, and each change of it, for as long as the caller listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from lightkube import AsyncClient

_PAUSE_SECONDS = 0.2

Key = tuple[str, str]
"""Namespace (empty for what lives in none) and name."""


def key_of(thing: Any) -> Key:
    """The key of an object."""
    return (thing.metadata.namespace or "", thing.metadata.name)


async def follow(client: AsyncClient, kind: Any, *, is_namespaced: bool = True) -> AsyncIterator[tuple[Key, Any]]:
    """Yields each object that is there, then each that changes; ``None`` for one that is gone.

    Never ends by itself: whatever goes wrong, it lists again, and so misses no deletion.
    """
    namespace = "*" if is_namespaced else None
    known: set[Key] = set()
    while True:
        try:
            listing = client.list(kind, namespace=namespace)
            seen = {key_of(thing): thing async for thing in listing}
            for key in known - seen.keys():
                yield key, None
            known = set(seen)
            for key, thing in seen.items():
                yield key, thing
            async for event, thing in client.watch(kind, namespace=namespace, resource_version=listing.resourceVersion):
                key = key_of(thing)
                known.discard(key) if event == "DELETED" else known.add(key)
                yield key, None if event == "DELETED" else thing
        except httpx2.HTTPError:
            await asyncio.sleep(_PAUSE_SECONDS)
