"""Setting a Backblaze B2 bucket up, so that whoever steals a key of Overworld's cannot destroy what was saved.

Overworld reaches B2 by its S3 API with a key that may list, read and write, but not delete (no ``deleteFiles``). With
such a key a "delete" only *hides* a file, and an overwrite keeps the version before; the bucket's lifecycle removes
what is hidden or overwritten after ``history_days``, which is also what makes room after a prune. Nothing but the
account's master key can remove a version earlier. After a theft ``bring_back`` makes every file what it was at a
moment.

b2sdk (the extra ``b2``) is imported when a function is called. Blocking; call with ``asyncio.to_thread``. Every
function raises ``SaveStoreRefused`` for what somebody has to mend and ``SaveStoreUnavailable`` for what passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from overworld.domain.errors import SaveStoreRefused, SaveStoreUnavailable

if TYPE_CHECKING:
    from b2sdk.v3 import B2Api, Bucket, FileVersion

CAPABILITIES = ("listBuckets", "listFiles", "readFiles", "writeFiles")
Account: TypeAlias = "B2Api"
"""Somebody's session with B2."""
_UNFINISHED_DAYS = 7
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class StoreKey:
    """A key for Overworld. B2 shows the secret this one time; printing the object does not."""

    key_id: str
    secret: str = field(repr=False)


def sign_in(key_id: str, secret: str) -> B2Api:
    """A session with the account's master key, or one that may make buckets and keys. It is kept in memory alone."""
    from b2sdk.v3 import B2Api, InMemoryAccountInfo  # noqa: PLC0415 - half a second, and an extra

    api = B2Api(InMemoryAccountInfo())
    with _errors():
        api.authorize_account(key_id, secret)
    return api


def prepare_bucket(api: B2Api, name: str, *, history_days: int = 30) -> bool:
    """The bucket is there, private, and keeps what is hidden or overwritten for ``history_days`` (1-3650), then
    removes it. Whether anything had to be changed; safe to call twice.

    Rules that somebody made for prefixes stay. Raises ``SaveStoreRefused`` (``PublicBucket``) for a bucket that
    everybody can read: nobody makes it private without knowing what else is in it.
    """
    if not 1 <= history_days <= 3650:
        raise SaveStoreRefused("HistoryDays", "Hidden files must be kept for 1 to 3650 days.")
    rule = {
        "fileNamePrefix": "",
        "daysFromHidingToDeleting": history_days,
        "daysFromUploadingToHiding": None,
        "daysFromStartingToCancelingUnfinishedLargeFiles": _UNFINISHED_DAYS,
    }
    with _errors():
        found = [bucket for bucket in api.list_buckets() if bucket.name == name]
        if not found:
            api.create_bucket(name, "allPrivate", lifecycle_rules=[rule])
            return True
        (bucket,) = found
        if bucket.type_ != "allPrivate":
            raise SaveStoreRefused("PublicBucket", f"The bucket {name} is public: use another, or make it private.")
        rules = [dict(each) for each in bucket.lifecycle_rules or []]
        if any(_same_rule(each, rule) for each in rules):
            return False
        others = [each for each in rules if each["fileNamePrefix"] != ""]
        bucket.update(lifecycle_rules=[rule, *others], if_revision_is=bucket.revision)
        return True


def make_key(api: B2Api, bucket_name: str, *, prefix: str = "", key_name: str = "overworld") -> StoreKey:
    """A new key that can do in this bucket, below this prefix, what Overworld needs, and destroy nothing.

    Each call makes another: give Overworld the new one, then delete the old one.
    """
    with _errors():
        bucket = _bucket(api, bucket_name)
        key = api.create_key(
            list(CAPABILITIES),
            key_name,
            bucket_ids=[bucket.id_],
            name_prefix=f"{prefix.strip('/')}/" if prefix else None,
        )
    return StoreKey(key.id_, key.application_key)


def delete_key(api: B2Api, key_id: str) -> None:
    """The key opens nothing any more. Raises ``SaveStoreRefused`` for one that is not there."""
    with _errors():
        api.delete_key_by_id(key_id)


def s3_host(api: B2Api) -> str:
    """The host of the account's S3 API, which has the region in its name."""
    return str(api.account_info.get_s3_api_url()).partition("://")[2]


def bring_back(api: B2Api, bucket_name: str, *, prefix: str, moment: datetime) -> int:
    """Every file below the prefix is what it was at that moment: what was hidden or overwritten since is back, and
    what is newer is gone. How many files were changed. Needs the master key; safe to call twice, and after a crash.

    For after a theft, with Overworld stopped: saves that were honestly taken since then are gone too. What was hidden
    longer ago than the bucket's history cannot be brought back.
    """
    after = moment.timestamp() * 1000
    changed = 0
    with _errors():
        bucket = _bucket(api, bucket_name)
        for versions in _versions_by_name(bucket, prefix):
            newer = [version for version in versions if (version.upload_timestamp or 0) > after]
            for version in newer:  # newest first: killed in between, an older state shows, and the next call goes on
                version.delete()
            changed += bool(newer)
    return changed


def _versions_by_name(bucket: Bucket, prefix: str) -> Iterator[list[FileVersion]]:
    """All versions of each file, newest first."""
    name: str | None = None
    versions: list[FileVersion] = []
    for version, _ in bucket.ls(prefix, latest_only=False, recursive=True):
        if version.file_name != name and versions:
            yield versions
            versions = []
        name = version.file_name
        versions.append(version)
    if versions:
        yield versions


def _bucket(api: B2Api, name: str) -> Bucket:
    for bucket in api.list_buckets():
        if bucket.name == name:
            return bucket
    raise SaveStoreRefused("NoBucket", f"The account has no bucket {name}.")


def _same_rule(one: dict[str, object], other: dict[str, object]) -> bool:
    return {key: value for key, value in one.items() if value is not None} == {
        key: value for key, value in other.items() if value is not None
    }


@contextmanager
def _errors() -> Iterator[None]:
    from b2sdk.v3.exception import B2Error, TransientErrorMixin  # noqa: PLC0415

    try:
        yield
    except B2Error as error:
        if isinstance(error, TransientErrorMixin) or error.should_retry_http():
            raise SaveStoreUnavailable(f"B2 does not answer: {error}") from error
        raise SaveStoreRefused("B2", f"B2 refused: {error}") from error
