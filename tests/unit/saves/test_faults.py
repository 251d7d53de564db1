"""What restic's words mean. The sentences are restic 0.18's own."""

from __future__ import annotations

import pytest

from overworld.domain.errors import (
    DiskFull,
    NoSuchSave,
    RepositoryDamaged,
    RepositoryLocked,
    SaveCancelled,
    SaveError,
    SaveStoreRefused,
    SaveStoreUnavailable,
)
from overworld.saves import faults

RETRY = "Stat(<config/>) returned error, retrying after 1.06s: Stat: "
CASES = [
    (10, "Fatal: repository does not exist: unable to open config file", SaveStoreRefused),
    (11, "Fatal: unable to create lock in backend: repository is already locked", RepositoryLocked),
    (12, "Fatal: wrong password or no key found", SaveStoreRefused),
    (130, "signal interrupt received, cleaning up", SaveCancelled),
    (-9, "", SaveCancelled),
    (1, "Save(<data/6f>) failed: write /s/data/6f/x-tmp-70: no space left on device", DiskFull),
    (1, "/hard: write /again/hard: no space left on device", DiskFull),
    (1, 'Fatal: failed to find snapshot: no matching ID found for prefix "deadbeef"', NoSuchSave),
    (1, 'Fatal: cannot dump file: path "/nope" not found in snapshot', NoSuchSave),
    (1, "Fatal: failed to find snapshot: failed to load snapshot 7d: LoadRaw(<snapshot/7d>): invalid data returned",
     RepositoryDamaged),
    (1, "Load(<snapshot/75c90a>, 0, 0) failed: open /s/snapshots/75c90a: no such file or directory", NoSuchSave),
    (1, "Fatal: failed to find snapshot: failed to load snapshot 49: The specified key does not exist.", NoSuchSave),
    (1, "LoadRaw(<index/b11a8aa910>): invalid data returned", RepositoryDamaged),
    (1, "/hard: decrypting blob <data/a3b52794> from 93ba failed: ciphertext verification failed", RepositoryDamaged),
    (1, "/large: decrypting blob <data/2361e5cc> from 5955d81c failed: nonce is invalid", RepositoryDamaged),
    (1, "/large: ReadFull(<data/0827f1cde0>): file is too short", RepositoryDamaged),
    (1, "/: id 0dcef45f not found in repository", RepositoryDamaged),
    (1, "/hard: ReadFull(<data/93ba327719>): open /s/data/93/93ba: no such file or directory", RepositoryDamaged),
    (1, "Load(<data/93ba327719>, 44, 19) failed: The specified key does not exist.", RepositoryDamaged),
    (1, "Fatal: config or key 90d32c is damaged: ciphertext verification failed", RepositoryDamaged),
    (1, RETRY + "The Access Key Id you provided does not exist in our records.", SaveStoreRefused),
    (1, RETRY + "The specified bucket does not exist", SaveStoreRefused),
    (1, RETRY + "Cannot upload files, storage cap exceeded. See the Caps & Alerts page", SaveStoreRefused),
    (1, RETRY + "dial tcp 127.0.0.1:19006: connect: connection refused", SaveStoreUnavailable),
    (1, RETRY + "dial tcp: lookup nohost.invalid on 10.0.0.1:53: no such host", SaveStoreUnavailable),
    (1, "Fatal: something that nobody has seen", SaveError),
]  # fmt: skip


@pytest.mark.parametrize(("status", "words", "kind"), CASES)
def test_each_fault_has_its_error(status: int, words: str, kind: type[SaveError]) -> None:
    """And a sentence that a person can read."""
    error = faults.derive_error(status, [words])
    assert type(error) is kind
    assert error.detail.endswith((".", words.removeprefix("Fatal: ")))


def test_a_full_disk_says_which() -> None:
    """The store's, or the one that is restored to."""
    assert "keeps the saves" in faults.derive_error(1, ["Save(<data/6f>) failed: no space left on device"]).detail
    assert "keeps the saves" not in faults.derive_error(1, ["/f: write /a/f: no space left on device"]).detail


def test_what_is_tried_again_is_known() -> None:
    """restic says so, and when it went through."""
    assert faults.says_that_it_tries_again(RETRY)
    assert faults.says_that_it_recovered("Save(<data/6f>) operation successful after 2 retries")
    assert not faults.is_refusal(RETRY + "connection refused")
    assert faults.is_refusal(RETRY + "The specified bucket does not exist")


def test_a_vanished_file_is_told_from_a_lost_pack() -> None:
    """The one is no fault, the other is damage."""
    assert faults.vanished_path("/w/a.dat: lstat /w/a.dat: no such file or directory") == "/w/a.dat"
    assert faults.vanished_path("/: ReadFull(<data/c1>): open /s/data/c1/c1: no such file or directory") is None
    assert faults.vanished_path("/w/a.dat: read /w/a.dat: input/output error") is None


def test_details_are_short() -> None:
    """A stack of Go's functions is not for people."""
    error = faults.derive_error(1, ["Fatal: " + "x" * 1000 + "\ngithub.com/restic\n\tgo:38"])
    assert len(error.detail) < 400
    assert "github" not in error.detail


def test_when_restic_itself_tries_again_is_nobody_elses_business() -> None:
    """Overworld says when the next attempt is; the reason is what follows."""
    error = faults.derive_unavailable([f"{RETRY}dial tcp 127.0.0.1:9: connect: connection refused"])
    assert "(Stat: dial tcp 127.0.0.1:9: connect: connection refused)" in error.detail
    assert "retrying" not in error.detail
