"""The bucket's set-up on B2, against b2sdk's simulator of the service."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO

import pytest
from b2sdk.v3 import B2Api, B2HttpApiConfig, Bucket, InMemoryAccountInfo, RawSimulator
from b2sdk.v3.exception import Unauthorized

from overworld.domain.errors import SaveStoreRefused
from overworld.saves.b2 import CAPABILITIES, bring_back, make_key, prepare_bucket


@pytest.fixture
def owner() -> B2Api:
    """The account's owner, with the master key."""
    api = B2Api(InMemoryAccountInfo(), api_config=B2HttpApiConfig(_raw_api_class=RawSimulator))
    simulator = api.session.raw_api
    assert isinstance(simulator, RawSimulator)
    api.authorize_account(*simulator.create_account())
    return api


def thief_of(owner: B2Api) -> B2Api:
    """Somebody with a key of the same capabilities. It is bound to no bucket, because the simulator lets no key that
    is bound to one write; B2 itself does."""
    key = owner.create_key(list(CAPABILITIES), "stolen")
    api = B2Api(InMemoryAccountInfo(), api_config=B2HttpApiConfig(_raw_api_class=lambda _: owner.session.raw_api))
    api.authorize_account(key.id_, key.application_key)
    return api


def bucket_of(api: B2Api, name: str) -> Bucket:
    """The bucket as the service has it now, with its rules."""
    return next(bucket for bucket in api.list_buckets() if bucket.name == name)


def contents(bucket: Bucket) -> dict[str, bytes]:
    """What a reader sees of the bucket."""
    found = {}
    for version, _ in bucket.ls(recursive=True):
        downloaded = bucket.download_file_by_name(version.file_name)
        buffer = BytesIO()
        downloaded.save(buffer)
        found[version.file_name] = buffer.getvalue()
    return found


def test_a_bucket_is_made_with_its_history(owner: B2Api) -> None:
    """Private, and what is hidden is removed after the days asked for; a second call finds nothing to do."""
    assert prepare_bucket(owner, "saves", history_days=20)
    bucket = bucket_of(owner, "saves")
    assert bucket.type_ == "allPrivate"
    (rule,) = bucket.lifecycle_rules
    assert rule["daysFromHidingToDeleting"] == 20
    assert rule.get("daysFromUploadingToHiding") is None
    assert not prepare_bucket(owner, "saves", history_days=20)
    assert prepare_bucket(owner, "saves", history_days=40)
    (rule,) = bucket_of(owner, "saves").lifecycle_rules
    assert rule["daysFromHidingToDeleting"] == 40


def test_a_public_bucket_is_refused(owner: B2Api) -> None:
    """And stays as it is."""
    owner.create_bucket("open", "allPublic")
    with pytest.raises(SaveStoreRefused, match="public"):
        prepare_bucket(owner, "open")
    assert bucket_of(owner, "open").type_ == "allPublic"


def test_rules_of_other_prefixes_stay(owner: B2Api) -> None:
    """Somebody's own lifecycle rule for another part of the bucket is not touched."""
    other = {"fileNamePrefix": "other/", "daysFromHidingToDeleting": 1, "daysFromUploadingToHiding": None}
    owner.create_bucket("saves", "allPrivate", lifecycle_rules=[other])
    prepare_bucket(owner, "saves")
    prefixes = [rule["fileNamePrefix"] for rule in bucket_of(owner, "saves").lifecycle_rules]
    assert sorted(prefixes) == ["", "other/"]


def test_the_key_is_bound_and_may_not_delete(owner: B2Api) -> None:
    """To one bucket and prefix, with four capabilities; printing it shows no secret."""
    prepare_bucket(owner, "saves")
    key = make_key(owner, "saves", prefix="worlds")
    assert key.secret not in repr(key)
    (seen,) = [each for each in owner.list_keys() if each.id_ == key.key_id]
    assert set(seen.capabilities) == {"listBuckets", "listFiles", "readFiles", "writeFiles"}
    assert seen.bucket_ids == [bucket_of(owner, "saves").id_]
    assert seen.name_prefix == "worlds/"


def test_such_a_key_can_work_and_not_destroy(owner: B2Api) -> None:
    """It lists, reads, writes and hides; it deletes no version, changes no bucket and makes no key."""
    prepare_bucket(owner, "saves")
    thief = thief_of(owner)
    bucket = thief.get_bucket_by_name("saves")
    version = bucket.upload_bytes(b"pack", "worlds/server/data/pack")
    with pytest.raises(Unauthorized):
        version.delete()
    with pytest.raises(Unauthorized):
        bucket.update(bucket_type="allPublic")
    with pytest.raises(Unauthorized):
        thief.create_key(["deleteFiles"], "more")
    with pytest.raises(Unauthorized):
        thief.delete_bucket(bucket)
    assert contents(bucket_of(owner, "saves")) == {"worlds/server/data/pack": b"pack"}


def test_what_a_thief_hid_and_overwrote_is_brought_back(owner: B2Api) -> None:
    """With everything hidden, overwritten or added to, the bucket below the prefix is what it was at the moment."""
    prepare_bucket(owner, "saves")
    mine = bucket_of(owner, "saves")
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"3")):
        last = mine.upload_bytes(content, f"worlds/{name}")
    before = contents(mine)
    moment = datetime.fromtimestamp(last.upload_timestamp / 1000, UTC)
    thief = thief_of(owner).get_bucket_by_name("saves")
    thief.hide_file("worlds/a")
    thief.upload_bytes(b"zero", "worlds/b")
    thief.hide_file("worlds/b")
    thief.upload_bytes(b"new", "worlds/d")
    assert contents(mine) == {"worlds/c": b"3", "worlds/d": b"new"}
    assert bring_back(owner, "saves", prefix="worlds", moment=moment) == 3
    assert contents(mine) == before
    assert bring_back(owner, "saves", prefix="worlds", moment=moment) == 0


def test_a_missing_bucket_is_named(owner: B2Api) -> None:
    """A key is made only for a bucket that is there."""
    with pytest.raises(SaveStoreRefused, match="no bucket nowhere"):
        make_key(owner, "nowhere")
