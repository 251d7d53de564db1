"""Dumps of a real database into a real repository: when they are due, what they hold, what is said when they fail."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

import postgres
from integration.worker.saving import needs_restic, restic
from overworld.domain.errors import Conflict, SaveError, SaveStoreRefused
from overworld.domain.recovery import Claim, Preparedness, Recovery, derive_health
from overworld.saves import dump_marks
from overworld.saves.installation import InstallationStore
from overworld.saves.locations import StoreLocation
from overworld.saves.secrets import Keyring, new_key
from overworld.store import dumps, save_keys, schema
from overworld.store import recovery as rows
from overworld.store.database import Database
from overworld.store.save_keys import SaveKey
from overworld.store.save_tables import recovery as table
from overworld.worker.alone import alone
from overworld.worker.dumping import Dumping
from overworld.worker.facts import DATABASE_FILE, FILE_NAME, Facts, parse_facts
from waiting import eventually

pytestmark = needs_restic

EVERY = timedelta(minutes=15)


@dataclass
class Stage:
    """An installation, as far as its dumps see it."""

    database: Database
    folder: Path
    keyring: Keyring = field(default_factory=lambda: Keyring((new_key("first"),)))
    games: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> InstallationStore:
        """The real thing."""
        program = restic()
        assert program is not None
        return InstallationStore(program, self.folder / "cache")

    def dumping(self, holder: str = "one") -> Dumping:
        """A worker's."""
        location = StoreLocation(folder=self.folder / "store")
        return Dumping(self.database, self.store, location, self.keyring, self.facts, holder=holder)

    def facts(self) -> Facts:
        """What belongs to a dump."""
        return Facts(self.keyring.format(), {"OVERWORLD_LISTEN_PORT": "1"}, dict(self.games))


@pytest.fixture(scope="module")
def keyed(
    postgres_url: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Stage, Recovery]:
    """One with a recovery key, to copy: restic takes seconds to choose how hard a password is to guess."""
    url = postgres.create_database(postgres_url, migrated_template)
    made = Stage(Database(url, application_name="tests"), tmp_path_factory.mktemp("keyed"))
    asyncio.run(made.dumping().make_recovery_key())
    with made.database.transaction() as tx:
        recovery = rows.find_recovery(tx)
    assert recovery is not None
    made.database.close()
    postgres.drop_database(url, postgres_url)
    return made, recovery


@pytest.fixture
def stage(database: Database, tmp_path: Path, keyed: tuple[Stage, Recovery]) -> Stage:
    """With a recovery key, and no dump yet."""
    made, recovery = keyed
    shutil.copytree(made.folder / "store", tmp_path / "store")
    with database.transaction() as tx:
        rows.insert_recovery(tx, recovery)
        rows.write_recovery(tx, {"key_made_at": recovery.key_made_at})
    return Stage(database, tmp_path, made.keyring)


async def health(dumping: Dumping) -> Preparedness:
    """What an operator would be told."""
    return derive_health(await dumping.claims.read(), EVERY, datetime.now(UTC)).state


async def test_nothing_is_dumped_before_there_is_a_key(database: Database, tmp_path: Path) -> None:
    """Nobody could open it; the store is not even asked."""
    dumping = Stage(database, tmp_path).dumping()
    assert await dumping.dump_if_due(EVERY) is None
    assert await health(dumping) is Preparedness.OFF
    await dumping.claims.check()
    assert not (tmp_path / "store").exists()


async def test_a_dump_is_due_at_once_then_by_the_clock_and_after_a_first_save(stage: Stage) -> None:
    """A server's first save makes a password that only the database has: it does not wait for the clock."""
    dumping = stage.dumping()
    assert await dumping.dump_if_due(EVERY) is not None
    assert await health(dumping) is Preparedness.READY
    assert await dumping.dump_if_due(EVERY) is None
    two_minutes_ago = datetime.now(UTC) - timedelta(minutes=2)
    await dumping.claims.write(dumped_at=two_minutes_ago)
    assert await dumping.dump_if_due(EVERY) is None
    with stage.database.transaction() as tx:
        save_keys.insert_key(tx, SaveKey("server", "first", "wrapped"), "account", datetime.now(UTC))
    assert await dumping.dump_if_due(EVERY) is not None
    await dumping.claims.write(dumped_at=datetime.now(UTC) - EVERY)
    assert await dumping.dump_if_due(EVERY) is not None


async def test_a_dump_comes_back_with_the_facts_of_its_time(stage: Stage, empty_database_url: str) -> None:
    """Facts are written once for many dumps, and again when they changed."""
    dumping = stage.dumping()
    await dumping.dump()
    await dumping.dump()
    stage.games["1/mine.toml"] = "title = 'mine'"
    await dumping.dump()
    recovery = await dumping.claims.read()
    assert recovery is not None
    repository = dumping.claims.repository(recovery)
    snapshots = await stage.store.snapshots(repository)
    assert len([each for each in snapshots if dump_marks.FACTS in each.tags]) == 2
    first, *_, last = dump_marks.dumps(snapshots)
    for dump, games in ((first, {}), (last, stage.games)):
        facts = dump_marks.facts_of(snapshots, dump)
        assert facts is not None
        content = b"".join([chunk async for chunk in stage.store.dump(repository, facts.snapshot_id, f"/{FILE_NAME}")])
        assert parse_facts(content).games == games
        assert parse_facts(content).save_keys == stage.keyring.format()
    await dumps.load_dump(empty_database_url, stage.store.dump(repository, last.snapshot_id, f"/{DATABASE_FILE}"))
    assert schema.is_current(empty_database_url)


async def test_two_workers_do_not_dump_at_once(stage: Stage) -> None:
    """Who comes second leaves it to the first, and an operator is told to wait."""
    dumping, other = stage.dumping("one"), stage.dumping("two")
    assert await dumping.dump_if_due(EVERY) is not None
    await dumping.claims.write(dumped_at=None)
    async with alone(stage.database, "recovery", "one"):
        assert await other.dump_if_due(EVERY) is None
        with pytest.raises(Conflict, match="Somebody else"):
            await other.make_recovery_key()
    assert await stage.dumping("three").dump_if_due(EVERY) is not None


async def test_a_dump_that_fails_says_why(stage: Stage) -> None:
    """The operator reads the reason; it is tried again, and forgotten when it succeeds."""
    (stage.folder / "store").rename(stage.folder / "away")
    dumping = stage.dumping()
    assert await dumping.dump_if_due(EVERY) is None
    recovery = await dumping.claims.read()
    assert recovery is not None
    assert "repository is not in the save store" in recovery.problem
    assert await health(dumping) is Preparedness.WAITING
    (stage.folder / "away").rename(stage.folder / "store")
    assert await stage.dumping().dump_if_due(EVERY) is not None
    assert await health(dumping) is Preparedness.READY


async def test_a_lock_that_a_killed_prune_left_holds_nothing_up(stage: Stage) -> None:
    """The next dump holds the lease, which proves that nobody is at work, and removes it."""
    dumping = stage.dumping()
    await dumping.dump()
    recovery = await dumping.claims.read()
    assert recovery is not None
    folder = stage.folder / "store" / "installation" / "locks"

    def locks() -> list[Path]:
        return list(folder.glob("?" * 64))  # what restic has not finished writing has another name, and locks nothing

    pruning = asyncio.create_task(stage.store.prune(dumping.claims.repository(recovery)))
    await eventually(locks, 30, "the prune has its lock")
    for child in psutil.Process().children(recursive=True):
        if "prune" in child.cmdline():
            child.kill()
    with pytest.raises(SaveError):
        await pruning
    assert locks()
    await dumping.dump()
    assert not locks()


async def test_a_new_repository_is_begun_only_when_a_person_asks(stage: Stage) -> None:
    """Dumps never make one, for an emptied store must not look like a new one; another recovery key does."""
    dumping = stage.dumping()
    await dumping.dump()
    shutil.rmtree(stage.folder / "store" / "installation")
    with pytest.raises(SaveStoreRefused, match="repository is not in the save store"):
        await dumping.dump()
    await dumping.make_recovery_key()
    assert (await dumping.dump()).result.bytes_new > 10_000


async def test_old_dumps_are_let_go_and_the_repository_is_looked_through(stage: Stage) -> None:
    """Once a day it is pruned and a part of it read."""
    dumping = stage.dumping()
    for _ in range(3):
        await dumping.dump()
    recovery = await dumping.claims.read()
    assert recovery is not None
    assert (recovery.prunes, recovery.problem) == (1, "")


async def test_a_greater_claim_ends_it(stage: Stage) -> None:
    """The fence holds in every process of the old installation, and until a person lifts it."""
    dumping = stage.dumping()
    await dumping.dump()
    recovery = await dumping.claims.read()
    assert recovery is not None
    claim = Claim(recovery.claim.epoch + 1, "elsewhere")
    tags = dump_marks.claim_tags(claim)
    await stage.store.save_bytes(dumping.claims.repository(recovery), FILE_NAME, b"{}", tags=tags)
    with pytest.raises(SaveStoreRefused, match="recovered on another machine"):
        await dumping.dump()
    for work in (stage.dumping().claims.check, stage.dumping().dump, stage.dumping().make_recovery_key):
        with pytest.raises(SaveStoreRefused, match="recovered on another machine"):
            await work()
    await dumping.claims.write(dumped_at=datetime.now(UTC) - 2 * EVERY)
    assert await dumping.dump_if_due(EVERY) is None
    assert await health(dumping) is Preparedness.FENCED
    assert (await dumping.claim()).epoch == claim.epoch + 1
    assert await dumping.dump_if_due(EVERY) is not None


async def test_another_installations_store_is_not_taken(stage: Stage, tmp_path: Path) -> None:
    """An installation that is given the folder of another one makes no key there."""
    stage.keyring = Keyring((new_key("other"),))
    with stage.database.transaction() as tx:
        tx.execute(table.delete())
    with pytest.raises(Conflict, match="another installation already"):
        await stage.dumping().make_recovery_key()
