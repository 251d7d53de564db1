"""What restic's words mean: pure functions from an exit status and sentences to the error that says what to do.

The statuses are restic 0.17's and newer; the sentences were read off real faults, and tests/integration/saves makes
each of them again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

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

INCOMPLETE, NO_REPOSITORY, LOCKED, WRONG_PASSWORD, INTERRUPTED = 3, 10, 11, 12, 130

_TRIES_AGAIN = re.compile(r"returned error, retrying after")
_BEFORE_THE_WHY = re.compile(r"^.*? returned error, retrying after [^:]+: ")
_RECOVERED = re.compile(r"successful after \d+ retr")
_VANISHED = re.compile(r"^(?P<path>.*?): .*no such file or directory$")
_REFUSALS = (
    (
        re.compile(
            r"signature we calculated|Access Key Id you provided|InvalidAccessKeyId|SignatureDoesNotMatch", re.I
        ),
        "WrongKey",
        "The save store does not know the key that Overworld has for it: give it the right key id and secret.",
    ),
    (
        re.compile(r"specified bucket does not exist|NoSuchBucket", re.I),
        "NoBucket",
        "The bucket of the save store is gone: bring it back, or give Overworld the right name.",
    ),
    (
        re.compile(r"cap(acity)? exceeded|storage_cap|quota ?exceeded", re.I),
        "StoreCap",
        "The account of the save store has reached a limit: raise it with the provider, or keep fewer saves.",
    ),
    (
        re.compile(r"Access ?Denied|not entitled|unauthorized|403 Forbidden|not authorized", re.I),
        "NotAllowed",
        "The key of the save store may not do this: it needs listBuckets, listFiles, readFiles and writeFiles for the"
        " bucket and the prefix.",
    ),
    (
        re.compile(r"x509|certificate", re.I),
        "Certificate",
        "The certificate of the save store is not trusted: check the endpoint, or install its authority.",
    ),
    (
        re.compile(r"permission denied|operation not permitted|read-only file system", re.I),
        "NotAllowed",
        "Overworld may not use the folder of the save store: give it to the user that Overworld runs as.",
    ),
)
_FULL = re.compile(r"no space left on device|disk quota exceeded|file too large", re.I)
_DAMAGED = re.compile(
    r"ciphertext verification failed|decrypting blob <|file is too short|invalid data returned|not found in repository"
    r"|is damaged|could be damaged"
    r"|repository contains errors|unable to load index|pack \w+ (does not exist|contains)|Fatal: config cannot be"
    r"|(data|index|keys?)/\w+>.*(no such file|key does not exist)|ReadFull.*no such file",
    re.I,
)
_UNAVAILABLE = re.compile(
    r"connection re(fused|set)|time-?out|no such host|network is unreachable|no route to host|\bEOF\b|broken pipe"
    r"|SlowDown|Service ?Unavailable|Internal ?(Server ?)?Error|Bad Gateway|Too Many Requests"
    r"|try again|deadline exceeded",
    re.I,
)
_NO_SUCH = re.compile(
    r"no matching ID found|not found in snapshot|no snapshot found"
    r"|snapshot.*(no such file or directory|key does not exist)",
    re.I,
)
_STORES_OWN = re.compile(
    r"\b(Save|Load|Stat|Remove|List)\(|unable to save snapshot|create repository|unable to create lock"
)


def says_that_it_tries_again(words: str) -> bool:
    """Whether restic says that a request failed and will be repeated."""
    return _TRIES_AGAIN.search(words) is not None


def says_that_it_recovered(words: str) -> bool:
    """Whether restic says that a repeated request went through."""
    return _RECOVERED.search(words) is not None


def is_refusal(words: str) -> bool:
    """Whether no repetition will help."""
    return any(pattern.search(words) for pattern, _, _ in _REFUSALS)


def says_damage(words: str) -> bool:
    """Whether restic says that what it reads is not what it once wrote."""
    return _DAMAGED.search(words) is not None


def vanished_path(words: str) -> str | None:
    """The path that a save could not read because somebody had removed it; None for any other trouble."""
    found = _VANISHED.match(words)
    return found["path"] if found and not _DAMAGED.search(words) else None


def derive_error(status: int, words: Iterable[str]) -> SaveError:
    """The error for a program that ended with a status that is not 0."""
    sentences = [sentence for sentence in words if sentence]
    everything = "\n".join(sentences)
    refusal = derive_refusal(everything)
    by_status = _by_status(status)
    if by_status is not None:
        error = by_status
    elif _FULL.search(everything):
        error = _disk_full(sentences)
    elif _NO_SUCH.search(everything) and not says_damage(everything):
        error = NoSuchSave("The save store has no such save, or the save has no such file or folder.")
    elif refusal is not None:
        error = refusal
    elif says_damage(everything):
        error = derive_damage(sentences)
    elif _UNAVAILABLE.search(everything):
        error = derive_unavailable(sentences)
    else:
        error = SaveError(f"The program that saves ended with status {status}: {last_words(sentences)}")
    return error


def derive_refusal(words: str) -> SaveStoreRefused | None:
    """The error that says who has to mend what, if words say that the store refused."""
    for pattern, reason, detail in _REFUSALS:
        if pattern.search(words):
            return SaveStoreRefused(reason, detail)
    return None


def derive_unavailable(words: Iterable[str]) -> SaveStoreUnavailable:
    """The error for a store that fails in passing."""
    sentences = list(words)
    why = [sentence for sentence in sentences if _UNAVAILABLE.search(sentence)] or sentences
    return SaveStoreUnavailable(f"The save store does not answer; it is tried again later ({last_words(why)}).")


def derive_damage(words: Iterable[str]) -> RepositoryDamaged:
    """The error for a repository that is not what was written."""
    shown = [sentence for sentence in words if _DAMAGED.search(sentence)] or list(words)
    return RepositoryDamaged(
        "The store lost or changed a part of this server's saves. Take a save now, which sends again what the world"
        " still has after `restic repair index`; the operator's page on saves says how to repair the older ones"
        f" ({shorten(shown[0] if shown else 'no more is known')})."
    )


def last_words(words: Iterable[str]) -> str:
    """The last sentence, short enough for a person."""
    sentences = list(words)
    return shorten(sentences[-1]) if sentences else "it said nothing"


def shorten(sentence: str) -> str:
    """One line of at most 300 characters, without what only restic's programmers need."""
    first = _BEFORE_THE_WHY.sub("", sentence.removeprefix("Fatal: ").strip().partition("\n")[0])
    return first if len(first) <= 300 else first[:299] + "…"


def _by_status(status: int) -> SaveError | None:
    if status == NO_REPOSITORY:
        return SaveStoreRefused(
            "NoRepository",
            "The saves of this server are not where they were: the bucket or folder was emptied, or Overworld was given"
            " another bucket, folder or prefix. Give it the right one, or bring the files back.",
        )
    if status == LOCKED:
        return RepositoryLocked("Another save of this server is at work, or one that was killed left its lock.")
    if status == WRONG_PASSWORD:
        return SaveStoreRefused(
            "WrongPassword",
            "The password that Overworld has for this server's saves does not open them: they were made by another"
            " installation, or the database was restored from before they were made.",
        )
    if status in {INTERRUPTED, -2, -9, -15}:
        return SaveCancelled("The program that saves was ended by somebody. Nothing was kept of what it was doing.")
    return None


def _disk_full(sentences: list[str]) -> DiskFull:
    line = next(sentence for sentence in sentences if _FULL.search(sentence))
    if _STORES_OWN.search(line):
        return DiskFull("The disk that keeps the saves is full: make room there, or keep fewer saves.")
    return DiskFull("The disk is full: make room on it, and try again. What was there before is untouched.")
