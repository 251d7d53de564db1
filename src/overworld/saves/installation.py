"""The installation's own repository: dumps of the database, what opens the saves, and two passwords.

One password is Overworld's own, random, kept as a server's is. The other is the recovery key, which only the operator
has. Both open the same repository, because restic locks its master key once for each: so Overworld writes dumps
without the recovery key, and nothing that it keeps can tell it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from overworld.domain.programs import Program
from overworld.saves import answers, patterns
from overworld.saves.answers import Heard
from overworld.saves.base import LONG, QUICK, Repository, SaveResult
from overworld.saves.faults import NO_REPOSITORY, WRONG_PASSWORD, derive_refusal
from overworld.saves.restic import HOST, Restic

INSTALLATION = "installation"
"""Its folder beside those of servers: no server's id has a vowel."""

_RECOVERY = "recovery"
_FROM_PIPE = ["backup", "--no-scan", "--host", HOST, "--group-by", "", "--stdin-filename"]


class InstallationStore(Restic):
    """``Restic`` with what only that repository needs. Raises what the port of the store raises."""

    async def reach(self, repository: Repository, *, is_there: bool, deadline: timedelta = QUICK) -> None:
        """*Reads.* The store answers and takes its key, and if it ``is_there`` has that repository; whichever password
        opens it."""
        ended, _ = await self._run(repository, ["cat", "config", "--no-lock"], deadline)
        fine = {WRONG_PASSWORD} if is_there else {NO_REPOSITORY, WRONG_PASSWORD}
        if ended.deadline_passed or ended.store_failed or ended.status not in fine:
            self._raise_if_failed(ended, deadline)
        elif refusal := derive_refusal("\n".join(ended.words)):
            raise refusal

    async def save_bytes(
        self,
        repository: Repository,
        name: str,
        content: bytes,
        *,
        tags: Sequence[str],
        deadline: timedelta = QUICK,
        holds_lease: bool = False,
    ) -> SaveResult:
        """*Writes*, beside others who add. A snapshot holds that one file; its content was on no disk."""
        arguments = [*_FROM_PIPE, name, "--stdin", *_tagged(tags)]
        return await self._save(repository, arguments, deadline, holds_lease, given=content)

    async def save_output(
        self,
        repository: Repository,
        name: str,
        program: Program,
        *,
        tags: Sequence[str],
        deadline: timedelta = LONG,
        holds_lease: bool = False,
    ) -> SaveResult:
        """*Writes*, beside others who add. A snapshot holds what the program printed, as one file that was on no disk.
        If the program fails there is no snapshot, and the error has its words."""
        arguments = [*_FROM_PIPE, name, "--stdin-from-command", *_tagged(tags), "--", *program.arguments]
        return await self._save(
            repository,
            arguments,
            deadline,
            holds_lease,
            read=[Path(each) for each in program.reads],
            more=program.environment,
        )

    async def replace_recovery_key(self, repository: Repository, key: str) -> None:
        """*Writes*, and the caller holds the lease. That recovery key opens the repository, and no other one does;
        killed in between, both may.

        Whoever had an earlier one *and* read the store with it can go on reading what is in the repository: the master
        key inside stays the same.
        """
        former = [each for each in await self._keys(repository) if each["userName"] == _RECOVERY]
        # By standard input: a file would have the key on a disk, an argument in everybody's list of processes.
        arguments = ["key", "add", "--new-password-file", "/dev/stdin", "--user", _RECOVERY, "--host", HOST]
        ended = await self._run_locking(repository, arguments, QUICK, True, given=f"{key}\n".encode())
        self._raise_if_failed(ended, QUICK)
        for each in former:
            ended = await self._run_locking(repository, ["key", "remove", patterns.checked_id(each["id"])], QUICK, True)
            self._raise_if_failed(ended, QUICK)

    async def _keys(self, repository: Repository) -> list[dict[str, Any]]:
        return (await self._ask(repository, ["key", "list", "--no-lock"], QUICK)).rows

    async def _save(
        self, repository: Repository, arguments: Sequence[str], deadline: timedelta, holds_lease: bool, **paths: Any
    ) -> SaveResult:
        heard = Heard()
        ended = await self._run_locking(repository, arguments, deadline, holds_lease, heard, **paths)
        self._raise_if_failed(ended, deadline)
        return answers.save_result(heard.summary, [], heard.summary["total_duration"])


def _tagged(tags: Sequence[str]) -> list[str]:
    return [word for tag in tags for word in ("--tag", patterns.checked_tag(tag))]
