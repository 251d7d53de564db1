"""Where an installation is brought back to: one machine, or a cluster. What differs between the two is here alone."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from pathlib import PurePosixPath
from typing import ClassVar

from overworld import wiring, worker_wiring
from overworld.domain.errors import BadInput, Conflict, EngineUnavailable
from overworld.engines.base import Engine
from overworld.saves.base import SaveStore
from overworld.saves.secrets import parse_keyring, write_keyring
from overworld.settings import Settings
from overworld.store import recovery_mark
from overworld.up.lock import sole_owner
from overworld.upkeep.plan import DatabaseMark, FileMark, Mark
from overworld.worker.facts import Facts
from overworld.worker.role import has_seen
from overworld.worker.snapshots import Snapshots

GAMES_FOLDER = "recovered-games"
SEEN_WITHIN_SECONDS = 60.0


class Site(ABC):
    """One of them, by the settings. What is not ``async`` blocks; each raises Conflict with what is in the way."""

    start: ClassVar[str]
    """How all of it is started once it is back."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        url = settings.database_url
        self.mark: Mark = FileMark(settings.data_folder) if url is None else DatabaseMark(url)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else recovers here, and no part of Overworld works here, while the block lasts."""
        with ExitStack() as stack:
            stack.enter_context(sole_owner(self.settings.data_folder))
            if self.settings.database_url is not None:
                stack.enter_context(recovery_mark.only_recovery(self.settings.database_url))
            yield

    def check_empty(self) -> None:
        """Nobody has made anything here yet that a recovery would overwrite."""
        url = self.settings.database_url
        if url is not None and recovery_mark.has_content(url):
            raise occupied("the database of OVERWORLD_DATABASE_URL")

    @abstractmethod
    def check_keys(self, facts: Facts) -> None:
        """The keys that lock the saves are those of Overworld here, or can be made so."""

    @abstractmethod
    def take(self, facts: Facts) -> None:
        """What Overworld reads from files is in them. Safe to repeat."""

    @abstractmethod
    def snapshots(self, store: SaveStore) -> AbstractAsyncContextManager[Snapshots]:
        """The way of worlds out of the store, for as long as the block lasts."""

    @abstractmethod
    def left_to_do(self, facts: Facts) -> list[str]:
        """What of the facts only the operator can put in place, in sentences."""

    def lacks_keys(self, facts: Facts) -> list[str]:
        """Ids of the keys that lock the saves and are not in OVERWORLD_SAVE_KEYS."""
        given = self.settings.save_keys
        ours = () if given is None else parse_keyring(given.get_secret_value()).keys
        return [key.key_id for key in parse_keyring(facts.save_keys).keys if key not in ours]


class Machine(Site):
    """Worlds are folders of this machine."""

    start = "`overworld up`"

    def check_empty(self) -> None:
        folder = self.settings.data_folder
        found = [path for name in ("postgres/data", "save-keys", "servers") if (path := folder / name).exists()]
        if found:
            raise occupied(str(found[0]))
        super().check_empty()

    def check_keys(self, facts: Facts) -> None:
        if self.settings.save_keys is not None and self.lacks_keys(facts):
            raise Conflict(
                "OVERWORLD_SAVE_KEYS has other keys than those that lock the saves: unset it, and the recovery puts the"
                " right ones into the data folder."
            )

    def take(self, facts: Facts) -> None:
        folder = self.settings.data_folder
        folder.mkdir(parents=True, exist_ok=True)
        if self.settings.save_keys is None:
            write_keyring(folder / "save-keys", parse_keyring(facts.save_keys))
        for name, content in facts.games.items():
            path = folder / GAMES_FOLDER / _checked(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")

    @asynccontextmanager
    async def snapshots(self, store: SaveStore) -> AsyncIterator[Snapshots]:
        yield worker_wiring.open_local_snapshots(self.settings, store)

    def left_to_do(self, facts: Facts) -> list[str]:
        folder = self.settings.data_folder / GAMES_FOLDER
        games = sorted({str(folder / name.split("/")[0]) for name in facts.games})
        if not games:
            return []
        return [f"Its own game files are in {':'.join(games)}: name that in OVERWORLD_CATALOGUE_FOLDERS."]


class Cluster(Site):
    """Worlds are volumes. This is the worker's pod, with all that it has; of what is written here nothing stays."""

    start = "`helm upgrade` without `recovering`"

    def check_keys(self, facts: Facts) -> None:
        if lacking := self.lacks_keys(facts):
            raise Conflict(
                f"The worker's Secret has not the keys that lock the saves ({', '.join(lacking)}), and without them the"
                " servers that come back could not be saved. Nothing was changed. Put them there under save-keys: your"
                " copy, or what `overworld recovery save-keys` prints. Then restart this pod; docs/recovery.md has the"
                " commands."
            )

    def take(self, facts: Facts) -> None:
        """There is nothing: settings, keys and game files are the chart's."""

    @asynccontextmanager
    async def snapshots(self, store: SaveStore) -> AsyncIterator[Snapshots]:
        engine = wiring.open_engine(self.settings, observe_only=True)
        try:
            await engine.start(lambda _: None)
            await _until_seen(engine)
            yield worker_wiring.open_snapshots(self.settings, engine, store, is_tidied=False)
        finally:
            await engine.close()

    def left_to_do(self, facts: Facts) -> list[str]:
        if not facts.games:
            return []
        return [f"Its own game files are not part of a recovery here: {', '.join(sorted(facts.games))}."]


def open_site(settings: Settings) -> Site:
    """The one of these settings. Raises BadInput for an engine whose worlds are nowhere."""
    if settings.engine == "memory":
        raise BadInput("With OVERWORLD_ENGINE=memory there is nothing to bring back.")
    return Cluster(settings) if settings.engine == "kube" else Machine(settings)


async def _until_seen(engine: Engine) -> None:
    try:
        async with asyncio.timeout(SEEN_WITHIN_SECONDS):
            await has_seen(engine, asyncio.Event())
    except TimeoutError as error:
        raise EngineUnavailable("The cluster does not tell this pod what is in it.") from error


def occupied(what: str) -> Conflict:
    """There is something already."""
    return Conflict(
        f"There is an installation here already ({what}), and a recovery overwrites nothing. Move it away, or choose an"
        " empty folder by OVERWORLD_DATA_FOLDER (and an empty database)."
    )


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise BadInput(f"The installation's facts name a file {name!r}, which leads out of its folder.")
    return path
