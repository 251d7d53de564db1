"""What an engine with nodes offers about them: which answer, what is on them, and the few things to do about them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from overworld.domain.nodes import Guest, NodeSeen


class Nodes(ABC):
    """The machines that servers run on. asyncio; the decisions are the caller's (``controller.nodes``).

    Every method that changes something raises ``EngineUnavailable`` for a passing fault and ``EngineRefused`` for what
    somebody has to mend, may be repeated at any time, and writes nothing where all is as it should be.
    """

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """Whether all nodes and all pods were seen: before that, what is not seen may be there."""

    @abstractmethod
    def seen(self) -> tuple[NodeSeen, ...]:
        """Every node, from the cache; never blocks."""

    @abstractmethod
    def guests(self) -> tuple[Guest, ...]:
        """Every pod of a server that is on a node and not over, from the cache; never blocks."""

    @abstractmethod
    async def until_changed(self) -> None:
        """Returns when a node changed since the last call (spurious returns are fine)."""

    @abstractmethod
    async def mark_lost(self, node: NodeSeen) -> None:
        """The cluster knows that the node is lost: what is on it is driven off, and its volumes are detached at once.
        Refused (``EngineUnavailable``) if the node changed since it was seen: it may have answered."""

    @abstractmethod
    async def clear_lost(self, node: NodeSeen) -> None:
        """The mark of ``mark_lost`` is gone, and nothing else of the node changed."""

    @abstractmethod
    async def release(self, guest: Guest, node: NodeSeen | None) -> None:
        """The pod is gone without its node's word, so that its world can be used elsewhere.

        The caller knows that the node, silent as it was seen, cannot write any more (None: that it was removed). It is
        looked at once more before: one that answers, has answered in between, or is there after all, is refused
        (``EngineUnavailable``)."""

    @abstractmethod
    async def move(self, guest: Guest) -> None:
        """The pod was asked to end, by the stop of its own start, its world saved; the cluster then starts another
        one on a node that takes pods. That is neither a crash nor a restart that somebody asked for."""

    @abstractmethod
    async def announce(self, guest: Guest, command: str) -> None:
        """The line was handed to the game's console. Raises ``EngineRefused`` if it takes none or does not run."""

    @abstractmethod
    async def occupy(self, guest: Guest, *, occupied: bool, held: bool) -> None:
        """The pod carries these marks: ``occupied``, so that nobody evicts it (one disruption budget selects them),
        and ``held``, so that the autoscaler does not take its node."""
