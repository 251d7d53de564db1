"""``SaveStore`` by restic 0.18 or newer: one process a call, nothing kept between calls but its cache."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from overworld.domain.errors import BadInput, NoSuchSave, SaveDeadline
from overworld.saves import answers, faults, folders, half_made, patterns
from overworld.saves.answers import Heard
from overworld.saves.base import (
    LONG,
    MOST_LISTED,
    QUICK,
    OnProgress,
    Repository,
    RepositorySize,
    SavedFile,
    SaveResult,
    SaveStore,
    Snapshot,
)
from overworld.saves.cache import trim_cache
from overworld.saves.options import ResticOptions
from overworld.saves.process import Ended, Invocation, Running, run, start

HOST = "overworld"  # the machine that takes a save changes; what a save follows on does not
TRIM_EVERY_SECONDS = 3600.0
_CHUNKS_AHEAD = 2  # with the buffer: what a slow reader of a download costs in memory, about a MiB
_DUMP_BUFFER = 2**17


class Restic(SaveStore):
    """``program`` is restic's path; ``cache_folder`` is this store's own (mode 0700, made if missing)."""

    def __init__(self, program: Path, cache_folder: Path, options: ResticOptions | None = None) -> None:
        self._program = program
        self._cache = cache_folder
        self._options = options or ResticOptions()
        self._trim_at = 0.0

    async def ensure_repository(self, repository: Repository, *, may_make: bool, deadline: timedelta = QUICK) -> None:
        look = ["cat", "config", "--no-lock"]
        ended, _ = await self._run(repository, look, deadline)
        was_stopped = ended.deadline_passed or ended.store_failed
        if ended.status == faults.NO_REPOSITORY and may_make and not was_stopped:
            if repository.folder is not None:
                repository.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            ended = await self._make(repository, deadline)
            if _says(ended, "already contains keys") and await half_made.clear(repository):
                ended = await self._make(repository, deadline)
            if _says(ended, "already"):  # somebody else made it in the same moment
                ended, _ = await self._run(repository, look, deadline)
        self._raise_if_failed(ended, deadline)

    async def _make(self, repository: Repository, deadline: timedelta) -> Ended:
        ended, _ = await self._run(repository, ["init", "--repository-version", "2"], deadline)
        return ended

    async def save(
        self,
        repository: Repository,
        source: Path,
        *,
        tags: Sequence[str] = (),
        excludes: Sequence[str] = (),
        at: datetime | None = None,
        parent: str | None = None,
        progress: OnProgress | None = None,
        deadline: timedelta = LONG,
        holds_lease: bool = False,
    ) -> SaveResult:
        folder = await asyncio.to_thread(folders.find_source, source)
        arguments = ["backup", "--no-scan", "--host", HOST, "--group-by", "", "--read-concurrency"]
        arguments += [str(self._options.readers), "--pack-size", str(self._options.pack_mib)]
        arguments += ["--compression", self._options.compression]
        arguments += [word for tag in tags for word in ("--tag", patterns.checked_tag(tag))]
        arguments += [word for exclude in excludes for word in ("--exclude", patterns.exclude(exclude, folder))]
        if at is not None:
            arguments += ["--time", at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")]
        if parent is not None:
            arguments += ["--parent", parent]
        began = time.monotonic()
        heard = Heard(on_progress=progress)
        ended = await self._run_locking(
            repository, [*arguments, "."], deadline, holds_lease, heard, folder=folder, read=[folder]
        )
        if ended.status != faults.INCOMPLETE or not heard.summary:
            self._raise_if_failed(ended, deadline)
        return answers.save_result(heard.summary, ended.words, time.monotonic() - began)

    async def restore(
        self,
        repository: Repository,
        snapshot_id: str,
        target: Path,
        *,
        include: Sequence[str] = (),
        progress: OnProgress | None = None,
        deadline: timedelta = LONG,
    ) -> None:
        await asyncio.to_thread(folders.make_target, target)
        arguments = ["restore", patterns.checked_id(snapshot_id), "--target", str(target), "--sparse", "--no-lock"]
        arguments += [word for path in include for word in ("--include", patterns.include(path))]
        began = time.monotonic()
        heard = Heard(on_progress=progress)
        ended, _ = await self._run(repository, arguments, deadline, heard, write=[target])
        self._raise_if_failed(ended, deadline)
        await asyncio.to_thread(folders.check_included, target, include)
        left = deadline - timedelta(seconds=time.monotonic() - began)
        await folders.sync_target(target, left, deadline)

    async def list_files(
        self,
        repository: Repository,
        snapshot_id: str,
        folder: str = "/",
        *,
        most: int = MOST_LISTED,
        deadline: timedelta = QUICK,
    ) -> tuple[SavedFile, ...]:
        path = patterns.absolute(folder)
        found: list[SavedFile] = []

        def take(entry: SavedFile) -> None:
            found.append(entry)
            if len(found) > most + 1:  # the folder itself is told too
                raise BadInput(f"The folder has more than {most} entries, too many to list: download it instead.")

        await self._each_node(repository, snapshot_id, path, take, deadline)
        if path != "/" and not any(entry.path == path and entry.kind == "folder" for entry in found):
            raise NoSuchSave(f"The save has no folder {path}.")
        return tuple(sorted((entry for entry in found if entry.path != path), key=lambda entry: entry.path))

    async def find_file(
        self, repository: Repository, snapshot_id: str, path: str, *, deadline: timedelta = QUICK
    ) -> SavedFile | None:
        wanted = patterns.absolute(path)
        found: list[SavedFile] = []

        def take(entry: SavedFile) -> None:
            if entry.path == wanted:
                found.append(entry)

        await self._each_node(repository, snapshot_id, wanted, take, deadline)
        return found[0] if found else None

    async def _each_node(
        self,
        repository: Repository,
        snapshot_id: str,
        path: str,
        take: Callable[[SavedFile], None],
        deadline: timedelta,
    ) -> None:
        """``take`` is told of what is at ``path`` and directly in it, and may raise: a folder has as many entries as
        its game likes, so nothing here keeps them."""

        def read(row: Any) -> None:
            if isinstance(row, dict) and row.get("message_type") == "node":
                take(answers.saved_file(row))

        arguments = ["ls", "--no-lock", patterns.checked_id(snapshot_id), path]
        ended = await run(self._invocation(repository, arguments, deadline), read)
        self._raise_if_failed(ended, deadline)

    async def dump(
        self,
        repository: Repository,
        snapshot_id: str,
        path: str,
        *,
        archive: Literal["zip", "tar"] | None = None,
        deadline: timedelta = LONG,
    ) -> AsyncGenerator[bytes, None]:
        arguments = ["dump", "--no-lock", patterns.checked_id(snapshot_id), patterns.absolute(path)]
        arguments += ["--archive", archive] if archive else []
        invocation = self._invocation(repository, arguments, deadline, line_limit=_DUMP_BUFFER)
        # A task of its own, because the deadline must not strike whoever uses the bytes between two of them.
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_CHUNKS_AHEAD)
        pump = asyncio.create_task(_pump(invocation, queue))
        try:
            while (chunk := await queue.get()) is not None:
                yield chunk
            self._raise_if_failed(await pump, deadline)
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def snapshots(self, repository: Repository, *, deadline: timedelta = QUICK) -> tuple[Snapshot, ...]:
        ended, heard = await self._run(repository, ["snapshots", "--no-lock"], deadline)
        self._raise_if_failed(ended, deadline)
        if any("failed to load snapshot" in words for words in ended.words):
            raise faults.derive_damage(ended.words)
        return tuple(sorted((answers.snapshot(row) for row in heard.rows), key=lambda each: each.at))

    async def retag(
        self,
        repository: Repository,
        snapshot_id: str,
        tags: Sequence[str],
        *,
        deadline: timedelta = QUICK,
        holds_lease: bool = False,
    ) -> str:
        words = [word for tag in tags for word in ("--set", patterns.checked_tag(tag))]
        arguments = ["tag", *words, patterns.checked_id(snapshot_id)]
        ended = await self._run_locking(repository, arguments, deadline, holds_lease, heard := Heard())
        self._raise_if_failed(ended, deadline)
        return answers.retagged(heard.rows)

    async def forget(
        self,
        repository: Repository,
        snapshot_ids: Sequence[str],
        *,
        deadline: timedelta = QUICK,
        holds_lease: bool = False,
    ) -> None:
        if not snapshot_ids:
            return
        arguments = ["forget", *(patterns.checked_id(snapshot_id) for snapshot_id in snapshot_ids)]
        ended = await self._run_locking(repository, arguments, deadline, holds_lease)
        self._raise_if_failed(ended, deadline)

    async def prune(
        self,
        repository: Repository,
        *,
        waste_percent: int = 10,
        deadline: timedelta = LONG,
        holds_lease: bool = False,
    ) -> None:
        arguments = ["prune", "--max-unused", f"{waste_percent}%", "--pack-size", str(self._options.pack_mib)]
        ended = await self._run_locking(repository, arguments, deadline, holds_lease)
        self._raise_if_failed(ended, deadline)

    async def check(
        self,
        repository: Repository,
        *,
        subset: tuple[int, int] | None = None,
        deadline: timedelta = LONG,
        holds_lease: bool = False,
    ) -> None:
        arguments = ["check"] + ([f"--read-data-subset={subset[0]}/{subset[1]}"] if subset else [])
        ended = await self._run_locking(repository, arguments, deadline, holds_lease)
        self._raise_if_failed(ended, deadline)

    async def unlock_stale(self, repository: Repository, *, holds_lease: bool, deadline: timedelta = QUICK) -> None:
        await self._ask(repository, ["unlock", *(["--remove-all"] if holds_lease else [])], deadline)

    async def size(self, repository: Repository, *, deadline: timedelta = QUICK) -> RepositorySize:
        lines: list[str] = []
        invocation = self._invocation(repository, ["prune", "--dry-run", "--no-lock", "-v"], deadline, json=False)
        async with start(invocation) as running:
            async for line in running.lines():
                lines.append(line.decode(errors="replace"))
            await running.finish()
        self._raise_if_failed(running.ended, deadline)
        return answers.repository_size(lines)

    # --- Running it ---------------------------------------------------------------------------------------------

    async def _ask(self, repository: Repository, arguments: Sequence[str], deadline: timedelta) -> Heard:
        ended, heard = await self._run(repository, arguments, deadline)
        self._raise_if_failed(ended, deadline)
        return heard

    async def _run_locking(
        self,
        repository: Repository,
        arguments: Sequence[str],
        deadline: timedelta,
        holds_lease: bool,
        heard: Heard | None = None,
        **paths: Any,
    ) -> Ended:
        """Run what takes a lock. One that is in the way was left by somebody who is gone, if we hold the lease."""
        ended, _ = await self._run(repository, arguments, deadline, heard, **paths)
        if ended.status == faults.LOCKED and holds_lease:
            await self.unlock_stale(repository, holds_lease=True)
            ended, _ = await self._run(repository, arguments, deadline, heard, **paths)
        return ended

    async def _run(
        self,
        repository: Repository,
        arguments: Sequence[str],
        deadline: timedelta,
        heard: Heard | None = None,
        **paths: Any,
    ) -> tuple[Ended, Heard]:
        heard = heard or Heard()
        await self._keep_cache_small()
        return await run(self._invocation(repository, arguments, deadline, **paths), heard.take), heard

    async def _keep_cache_small(self) -> None:
        """It grows with every repository that is worked on; looked at once in a while."""
        now = time.monotonic()
        if now >= self._trim_at:
            self._trim_at = now + TRIM_EVERY_SECONDS
            await asyncio.to_thread(trim_cache, self._cache, self._options.cache_mib * 2**20)

    def _invocation(
        self,
        repository: Repository,
        arguments: Sequence[str],
        deadline: timedelta,
        *,
        folder: Path | None = None,
        read: Sequence[Path] = (),
        write: Sequence[Path] = (),
        json: bool = True,
        more: Mapping[str, str] | None = None,
        **rest: Any,
    ) -> Invocation:
        options = self._options
        temporary = self._cache / "temporary"
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.mkdir(mode=0o700, exist_ok=True)
        words = [str(self._program), *(["--json"] if json else []), "--cleanup-cache"]
        words += ["--stuck-request-timeout", f"{options.stuck_request.total_seconds():.0f}s"]
        for name, limit in (("--limit-upload", options.upload_kib_s), ("--limit-download", options.download_kib_s)):
            words += [name, str(limit)] if limit else []
        backend = "s3" if repository.folder is None else "local"
        words += ["-o", f"{backend}.connections={options.connections}"]
        # Its S3 client tries ten times before restic says that anything failed: our patience would begin minutes late.
        words += ["-o", "s3.bucket-lookup=path", "-o", "s3.retries=2"] if backend == "s3" else []
        authority = [repository.ca_file] if repository.ca_file is not None else []
        words += ["--cacert", str(repository.ca_file)] if authority else []
        return Invocation(
            arguments=[*words, *arguments],
            deadline=deadline,
            environment={
                **(more or {}),
                **repository.environment,
                "RESTIC_REPOSITORY": repository.url,
                "RESTIC_PASSWORD": repository.password,
                "RESTIC_CACHE_DIR": str(self._cache),
                "RESTIC_PROGRESS_FPS": "2",
                "GOMEMLIMIT": f"{options.memory_mib}MiB",
                "HOME": str(self._cache),
                "TMPDIR": str(temporary),
                "TZ": "UTC",
            },
            folder=folder,
            read=[*read, *authority],
            write=[*write, self._cache, *([repository.folder] if repository.folder else [])],
            patience=options.patience,
            **rest,
        )

    def _raise_if_failed(self, ended: Ended, deadline: timedelta) -> None:
        if ended.store_failed:
            raise faults.derive_refusal("\n".join(ended.words)) or faults.derive_unavailable(ended.words)
        if ended.deadline_passed:
            raise SaveDeadline(f"It took longer than {deadline.total_seconds():g} s and was ended; try again.")
        if ended.status != 0:
            raise faults.derive_error(ended.status, ended.words)


async def _pump(invocation: Invocation, queue: asyncio.Queue[bytes | None]) -> Ended:
    running: Running | None = None
    try:
        async with start(invocation) as running:
            async for chunk in running.chunks():
                await queue.put(chunk)
            await running.finish()
        return running.ended
    finally:
        with contextlib.suppress(asyncio.QueueFull):
            queue.put_nowait(None)


def _says(ended: Ended, what: str) -> bool:
    return ended.status != 0 and any(what in words for words in ended.words)
