"""A live copy of all objects of one kind: list, watch, and list again when the watch has lost its thread.

What goes wrong with watches, and what is done:

- it falls silent on a dead connection: the API server sends a bookmark a minute, so a longer silence ends it;
- it is told 410 (as a status, or as an ERROR event inside a 200 stream): everything is listed anew;
- a deletion is missed while disconnected: what a list no longer has is removed, and its owner is woken;
- the API server is down: pauses double up to 30 s, with jitter, so that a thousand clients do not come back as one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

import msgspec
import structlog

from overworld.domain.errors import EngineError, EngineUnavailable
from overworld.domain.servers import ServerId
from overworld.engines.kube.client import Expired, KubeClient, Missing, explain
from overworld.engines.kube.models import Event, Failure, Object, Page
from overworld.engines.kube.names import SELECTOR

T = TypeVar("T", bound=Object)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WatchTimes:
    """How long things may take. ``silence_seconds`` must be above the API server's minute between two bookmarks."""

    watch_seconds: int = 300
    silence_seconds: float = 100.0
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 30.0


class Cache(Generic[T]):
    """Objects by name and by server. Knows nothing of where they come from. A change of nothing that is read here wakes
    nobody: a Deployment is written five times on its way to one pod.

    Kept in step by two writers: the list-watch, in the order of changes, and ``remember`` with the answers to our own
    writes. ``version`` is that of the newest change that the list-watch has brought.
    """

    def __init__(self, wake: Callable[[ServerId], None]) -> None:
        self._wake = wake
        self._objects: dict[str, T] = {}
        self._by_server: dict[ServerId, dict[str, T]] = {}
        self.version = 0

    def of(self, server_id: ServerId) -> Mapping[str, T]:
        """Every object of a server, by name."""
        return self._by_server.get(server_id, {})

    def find(self, name: str) -> T | None:
        """The object of that name."""
        return self._objects.get(name)

    def server_ids(self) -> Iterator[ServerId]:
        """Every server that has at least one."""
        return iter(list(self._by_server))

    def remember(self, found: T) -> None:
        """The answer to a write of our own. One that the watch has gone past is old news: the object may even have
        been removed since."""
        if found.version > self.version:
            self._put(found)

    def replace(self, found: list[T], version: int) -> None:
        """Everything there is, as of ``version``; what is not in it is gone, unless we were told of it later."""
        names = {one.metadata.name for one in found}
        for old in [one for one in self._objects.values() if one.metadata.name not in names]:
            if old.version <= version:
                self._remove(old)
        for one in found:
            self._put(one)
        self.version = version

    def take(self, kind: str, found: T) -> None:
        """One event of the watch."""
        self.version = max(self.version, found.version)
        if kind == "DELETED":
            self._remove(found)
        else:
            self._put(found)

    def _put(self, found: T) -> None:
        old = self._objects.get(found.metadata.name)
        if old is not None and old.version >= found.version:
            return
        if old is not None and old.server_id != found.server_id:
            self._remove(old)
        self._objects[found.metadata.name] = found
        self._by_server.setdefault(found.server_id, {})[found.metadata.name] = found
        if old is None or old.server_id != found.server_id or old.essence != found.essence:
            self._wake(found.server_id)

    def _remove(self, gone: T) -> None:
        old = self._objects.pop(gone.metadata.name, None)
        if old is None:
            return
        siblings = self._by_server[old.server_id]
        del siblings[old.metadata.name]
        if not siblings:
            del self._by_server[old.server_id]
        self._wake(old.server_id)


class ListWatch(Generic[T]):
    """Keeps one cache true, for as long as ``run`` runs. One for each kind, whatever the number of servers."""

    def __init__(
        self,
        client: KubeClient,
        path: str,
        kind: type[T],
        cache: Cache[T],
        times: WatchTimes | None = None,
        *,
        selector: str | None = SELECTOR,
    ) -> None:
        self._client = client
        self._path = path
        self._selection = {} if selector is None else {"labelSelector": selector}
        self._decoder = msgspec.json.Decoder(kind)
        self._cache = cache
        self._times = times or WatchTimes()
        self._is_complete = asyncio.Event()
        self._last_error = EngineUnavailable("The Kubernetes API was not reached yet.")

    async def until_complete(self, within_seconds: float) -> None:
        """Returns once everything was listed. Raises EngineUnavailable with what went wrong last."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._is_complete.wait()
        except TimeoutError as error:
            raise EngineUnavailable(f"{self._path} could not be listed: {self._last_error.detail}") from error

    @property
    def is_complete(self) -> bool:
        """Whether the cache has been full once."""
        return self._is_complete.is_set()

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        must_list = True
        while True:
            began = monotonic()
            try:
                if must_list:
                    await self._list()
                    must_list = False
                await self._watch()
                failures = 0 if monotonic() - began > 1.0 else failures + 1  # ended at once: no hot loop
            except Expired:
                must_list = True
                failures += 1
            except Exception as error:
                must_list = must_list or not isinstance(error, EngineUnavailable)
                failures = 1 if monotonic() - began > self._times.longest_pause_seconds else failures + 1
                self._tell(error, failures)
            await asyncio.sleep(self._pause(failures))

    def _pause(self, failures: int) -> float:
        if failures == 0:
            return 0.0
        times = self._times
        longest = min(times.longest_pause_seconds, times.first_pause_seconds * 2.0 ** min(failures - 1, 16))
        return random.uniform(longest / 2, longest)  # noqa: S311 (jitter, no secret)

    def _tell(self, error: Exception, failures: int) -> None:
        detail = error.detail if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        self._last_error = EngineUnavailable(detail)
        if failures in {2, 5} or failures % 20 == 0:  # a watch that is cut once in a while is no news
            log.warning("watching the cluster fails", path=self._path, error=detail, failures=failures)

    async def _list(self) -> None:
        found: list[T] = []
        params = {**self._selection, "limit": "500"}
        while True:
            page = msgspec.json.decode(await self._client.get(self._path, params), type=Page)
            found += [self._decoder.decode(item) for item in page.items]
            if not page.metadata.next_page:
                break
            params["continue"] = page.metadata.next_page
        self._cache.replace(found, int(page.metadata.resource_version))
        self._is_complete.set()

    async def _watch(self) -> None:
        times = self._times
        params = {
            **self._selection,
            "watch": "true",
            "resourceVersion": str(self._cache.version),
            "allowWatchBookmarks": "true",
            # Not all at once after a restart of everything.
            "timeoutSeconds": str(random.randint(times.watch_seconds * 3 // 4, times.watch_seconds)),  # noqa: S311
        }
        async with self._client.stream(self._path, params, silence_seconds=times.silence_seconds) as lines:
            async for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        event = msgspec.json.decode(line, type=Event)
        match event.type:
            case "ADDED" | "MODIFIED" | "DELETED":
                self._cache.take(event.type, self._decoder.decode(event.object))
            case "BOOKMARK":
                bookmark = msgspec.json.decode(event.object, type=Object)
                self._cache.version = max(self._cache.version, bookmark.version)
            case _:
                failure = msgspec.json.decode(event.object, type=Failure)
                error = explain(failure.code, bytes(event.object))
                raise Expired(failure.message) if isinstance(error, Missing) else error
