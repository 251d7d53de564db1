"""Routes as data: what a route accepts and answers is said once, and both the dispatcher and the OpenAPI document
read it there, so that neither can say anything else.

A route's view is a function ``view(call, **path values, query=…, body=…) -> Reply`` (``query`` and ``body`` only where
the route declares their models). A view that still has to wait for something returns a function instead, which is
called after the transaction has ended: no database connection is held while a file or a game is waited for. What it
then has to store is a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel

from overworld.domain.accounts import Actor
from overworld.web.wire import ID_PATTERN, Asked, Given

if TYPE_CHECKING:
    from overworld.engines.base import Console
    from overworld.games.catalogue import Catalogue
    from overworld.settings import Settings
    from overworld.store.database import Database, Transaction
    from overworld.web.worker_link import Pieces, WorkerLink


@dataclass(frozen=True, slots=True)
class Installation:
    """What every route works with; one per app."""

    database: Database
    console: Console
    catalogue: Catalogue
    settings: Settings
    worker: WorkerLink


@dataclass(frozen=True, slots=True)
class Call:
    """One request of somebody known, inside its transaction."""

    tx: Transaction
    actor: Actor
    now: datetime
    installation: Installation
    credentials: str
    """The bearer token itself, only for asking again whether it still holds."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a view answers. ``version`` is the part of the ETag that an edit changes: what ``If-Match`` is compared
    with. Either ``body``, or ``text``, or ``stream``, or ``pieces`` (with headers that say what they are), or none of
    them."""

    status: int
    body: BaseModel | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    text: str | None = None
    stream: Iterator[str] | None = None
    pieces: Pieces | None = None


class Media(StrEnum):
    """What a response can be, besides JSON."""

    JSON = "application/json"
    TEXT = "text/plain"
    EVENTS = "text/event-stream"
    BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """A success, as documented. ``names`` says which path values its body holds (as JSON pointers), so that the
    document can link to what can be done next."""

    status: int
    description: str
    model: type[BaseModel] | None = None
    headers: tuple[str, ...] = ()
    also: tuple[Media, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


View = Callable[..., Reply | Callable[[], Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one address. ``problems`` are statuses beyond those that its shape implies. ``raw_body`` is what a
    body is that the view itself reads, as it comes."""

    method: str
    rule: str
    view: View
    tag: str
    answer: Answer
    query: type[Asked] | None
    body: type[Given] | None
    problems: frozenset[int]
    takes_if_match: bool
    shows_secret: bool
    raw_body: Media | None

    @property
    def name(self) -> str:
        """Unique among all routes; the ``operationId``."""
        return f"{self.tag}.{self.view.__name__}"


class Routes:
    """The routes of one noun, in the order in which they are documented."""

    def __init__(self, tag: str, description: str) -> None:
        self.tag = tag
        self.description = description
        self.declared: list[Route] = []

    def route(
        self,
        method: str,
        rule: str,
        answer: Answer,
        *,
        query: type[Asked] | None = None,
        body: type[Given] | None = None,
        problems: tuple[int, ...] = (),
        takes_if_match: bool = False,
        shows_secret: bool = False,
        raw_body: Media | None = None,
    ) -> Callable[[View], View]:
        """Declare the decorated function as the view of ``method`` on ``rule``.

        ``shows_secret``: the answer must never be stored nor repeated.
        """

        def declare(view: View) -> View:
            self.declared.append(
                Route(
                    method=method,
                    rule=rule,
                    view=view,
                    tag=self.tag,
                    answer=answer,
                    query=query,
                    body=body,
                    problems=frozenset(problems),
                    takes_if_match=takes_if_match,
                    shows_secret=shows_secret,
                    raw_body=raw_body,
                )
            )
            return view

        return declare


@dataclass(frozen=True, slots=True)
class PathValue:
    """What may stand at a place in a rule: a regular expression for the whole of it."""

    pattern: str
    description: str


PATH_VALUES: Mapping[str, PathValue] = {
    "server_id": PathValue(ID_PATTERN, "Id of a server."),
    "save_id": PathValue(ID_PATTERN, "Id of a save."),
    "revision": PathValue("[1-9][0-9]{0,8}", "Number of a revision of a server's configuration."),
    "operation_id": PathValue(ID_PATTERN, "Id of an operation."),
    "account_id": PathValue(f"{ID_PATTERN}|me", "Id of an account, or `me`."),
    "token_id": PathValue(ID_PATTERN, "Id of a token (not the token itself)."),
    "node_name": PathValue("[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "Name of a node in the cluster."),
    "slug": PathValue("[a-z0-9][a-z0-9-]{0,62}", "A game's short name."),
}
