"""The three ports of an engine. One contract suite (tests/contract) holds for all of them.

``Engine`` is asyncio and level-triggered: the controller says what it wants and reads what was seen; it is never told
what changed, only that something did. ``Console`` is synchronous, for web. ``WorldAccess`` is asyncio, for the worker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from typing import Protocol as TypingProtocol

from overworld.domain.games import Protocol
from overworld.domain.observed import Launch, Layout, Observed, Removal, Usage, Want
from overworld.domain.servers import ServerId
from overworld.domain.worlds import WantedFolder
from overworld.engines.nodes import Nodes

Wake = Callable[[ServerId], None]


class Engine(ABC):
    """Makes processes and worlds exist. One instance per role; everything it knows can be seen again after a crash.

    No call waits for a game: ``apply`` returns when the wish is handed over (at most a few seconds), and what comes
    of it shows in ``observed``. Every method raises ``EngineUnavailable`` for a passing fault and ``EngineRefused``
    for what somebody has to mend; nothing else.
    """

    @abstractmethod
    async def start(self, wake: Wake) -> None:
        """Begin to watch; returns once the cache is complete. ``wake`` is then called, on the event loop, with the id
        of every server whose observation changed (spurious calls are fine, a missed one is not)."""

    @abstractmethod
    async def close(self) -> None:
        """Stop watching. Games keep running. Safe to call twice."""

    @abstractmethod
    def layout(self, server_id: ServerId, world_generation: int) -> Layout:
        """The folders that the game will see. Pure: nothing is created."""

    @abstractmethod
    def observed(self, server_id: ServerId) -> Observed:
        """The newest observation, from the cache; never blocks. For an unknown id: complete, and nothing there."""

    @abstractmethod
    def server_ids(self) -> Iterable[ServerId]:
        """Every server of which anything is seen, so that what has no row can be found."""

    @abstractmethod
    async def apply(self, want: Want, launch: Launch) -> None:
        """Make the world agree with ``want``: world and configuration exist, and a process runs or does not.

        Running under the same ``restarts`` token: left alone, whatever its spec hash. Under another token: stopped
        gracefully (``launch.stop`` of its own start), and a later ``apply`` starts it anew. Crashes are started again
        by the engine itself, after ``restart_delay``. Not wanted running: asked to save and quit, then killed after
        its grace. Idempotent; equal wants write nothing. Never starts a second process on a world, and never makes a
        world that was seen before (``want.may_make_world``) anew. A world on a disk grows to ``want.disk_mib``,
        whatever runs, and never shrinks; where it cannot (EngineRefused, ``CannotGrow``), all else is done.
        """

    @abstractmethod
    async def delete(self, removal: Removal) -> None:
        """Remove it for good. The planner has seen that nothing runs on it; refused (``EngineUnavailable``) if
        something does. Safe to call twice."""

    async def place_world(self, server_id: ServerId, world_generation: int, folder: WantedFolder) -> None:
        """The generation that a worker has begun in a share (``Observed.begun``) lies in that folder, and the worker
        goes on. One that nobody waits for any more: nothing is made. Safe to call twice."""
        raise NotImplementedError("nothing is begun in a share where there are none")

    @abstractmethod
    async def usage(self, server_id: ServerId) -> Usage | None:
        """What the running process uses now; None if nothing runs."""

    @property
    def nodes(self) -> Nodes | None:
        """The nodes that servers run on; None where there is but this machine."""
        return None

    @property
    def most_applied_at_once(self) -> int | None:
        """How many servers should be in ``apply`` at once; None where any number may."""
        return None

    @abstractmethod
    async def port_is_free(self, protocol: Protocol, port: int) -> bool:
        """Whether a server could listen there now. Always true where servers have their own IP."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a server's output. ``id`` is opaque and ordered within a server: a stream resumes after it."""

    id: str
    at: datetime
    text: str


class Console(TypingProtocol):
    """A server's output and input, for web. Holds no state between calls."""

    def lines(self, server_id: ServerId, *, after: str | None, limit: int) -> list[Line]:
        """The newest ``limit`` (1-1000) lines after the id ``after`` (None, or an id that is gone: the newest of all),
        oldest first. Empty for a server that never ran; works for a stopped one."""
        ...

    def follow(self, server_id: ServerId, *, after: str | None) -> Iterator[Line | None]:
        """The lines after ``after`` (None: the last 200), then new ones as they come, across restarts. Yields None at
        least every 15 s, so that the caller can notice that its client went away. Close the iterator to end it."""
        ...

    def send(self, server_id: ServerId, command: str) -> None:
        """Hand one line (no line ends inside) to the game's standard input. Raises ``Conflict`` if it does not run or
        takes no commands."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer: everything before it is whole, and what was asked for is done."""

    content: Mapping[str, Any]


WorldAnswer = AsyncGenerator[dict[str, Any] | bytes | Done, None]


class WorldAccess(ABC):
    """The files of worlds, through an agent that runs where the world is, as the server's own user, with no other
    right. Whether a game runs on the world makes no difference."""

    @abstractmethod
    def run(
        self,
        server_id: ServerId,
        generation: int,
        request: Mapping[str, Any],
        body: AsyncIterator[bytes] | None = None,
    ) -> WorldAnswer:
        """Answer one request of ``engines/agent.py`` (``verb``, and what it takes; ``seconds`` bounds it, 60 if left
        out): items and pieces of bytes as they come, ``Done`` last. Close it (``contextlib.aclosing``) to end the agent
        at once. A consumer that is slow slows the agent; so does a ``body`` that is.

        Raises NotFound, Conflict, PreconditionFailed, BadInput, CapacityExhausted (disk full) and Unavailable with the
        agent's ``reason``; Conflict with ``WorldMissing`` if there is no such world, EngineUnavailable for a passing
        fault. A ``body`` that raises leaves the world as it was.
        """

    @abstractmethod
    async def make_world(self, server_id: ServerId, generation: int, *, like: int) -> None:
        """That generation of the world exists and belongs to who the generation ``like`` belongs to; one that is there
        already is left as it is. Raises Conflict with ``WorldMissing`` if ``like`` is not there, and EngineError."""


async def gather_answer(answer: WorldAnswer) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
    """All items of an answer without bytes, and its end. Raises what the answer raises."""
    items: list[dict[str, Any]] = []
    done: Mapping[str, Any] = {}
    async for part in answer:
        if isinstance(part, Done):
            done = part.content
        elif isinstance(part, dict):
            items.append(part)
    return items, done
