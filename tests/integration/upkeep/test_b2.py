"""``overworld b2`` against b2sdk's simulator of the service: what an operator types, and what a thief can do then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from b2sdk.v3 import B2Api, B2HttpApiConfig, Bucket, InMemoryAccountInfo, RawSimulator
from click.testing import CliRunner, Result

from overworld.cli.main import build_cli
from overworld.upkeep import COMMANDS

Run = Callable[..., Result]


@pytest.fixture
def owner() -> B2Api:
    """The account's owner, with the master key."""
    api = B2Api(InMemoryAccountInfo(), api_config=B2HttpApiConfig(_raw_api_class=RawSimulator))
    simulator = api.session.raw_api
    assert isinstance(simulator, RawSimulator)
    api.authorize_account(*simulator.create_account())
    return api


@pytest.fixture
def run(owner: B2Api, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command with the master key typed; every session goes to the simulated service."""
    info = owner.account_info
    typed = f"{info.get_application_key_id()}\n{info.get_application_key()}\n"

    def session(account: InMemoryAccountInfo) -> B2Api:
        return B2Api(account, api_config=B2HttpApiConfig(_raw_api_class=lambda _: owner.session.raw_api))

    monkeypatch.setattr("b2sdk.v3.B2Api", session)

    def run(*words: str, typed: str = typed) -> Result:
        return CliRunner().invoke(build_cli(COMMANDS), ["b2", *words], input=typed)

    return run


def bucket_of(api: B2Api, name: str) -> Bucket:
    """The bucket as the service has it now."""
    return next(bucket for bucket in api.list_buckets() if bucket.name == name)


def names(bucket: Bucket) -> set[str]:
    """What a reader sees of the bucket."""
    return {version.file_name for version, _ in bucket.ls(recursive=True)}


def test_one_command_sets_a_bucket_up(owner: B2Api, run: Run) -> None:
    """Private, with its history; a key that can list, read and write below the folder; the settings are printed."""
    done = run("setup", "my-saves", "--history-days", "45")
    assert done.exit_code == 0, done.output
    settings = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(settings) == {"OVERWORLD_SAVE_STORE", "OVERWORLD_SAVE_STORE_KEY_ID", "OVERWORLD_SAVE_STORE_KEY"}
    assert settings["OVERWORLD_SAVE_STORE"].endswith("/my-saves/overworld")
    bucket = bucket_of(owner, "my-saves")
    assert (bucket.type_, bucket.lifecycle_rules[0]["daysFromHidingToDeleting"]) == ("allPrivate", 45)
    (key,) = [each for each in owner.list_keys() if each.id_ == settings["OVERWORLD_SAVE_STORE_KEY_ID"]]
    assert set(key.capabilities) == {"listBuckets", "listFiles", "readFiles", "writeFiles"}
    assert (key.bucket_ids, key.name_prefix) == ([bucket.id_], "overworld/")
    assert owner.account_info.get_application_key() not in done.output


def test_it_can_be_run_again(owner: B2Api, run: Run) -> None:
    """Nothing of the bucket changes; each time there is another key, and one that was replaced is revoked."""
    run("setup", "my-saves")
    again = run("setup", "my-saves")
    assert "was set up already" in again.stderr
    more = run("key", "my-saves")
    old, new = (
        dict(line.split("=", 1) for line in each.stdout.splitlines())["OVERWORLD_SAVE_STORE_KEY_ID"]
        for each in (again, more)
    )
    assert run("revoke", old).exit_code == 0
    left = {each.id_ for each in owner.list_keys()}
    assert new in left
    assert old not in left


def test_what_a_thief_did_is_brought_back(owner: B2Api, run: Run) -> None:
    """Hidden, overwritten and added files below the folder; what lies beside it, even under a like name, stays."""
    run("setup", "my-saves")
    mine = bucket_of(owner, "my-saves")
    mine.upload_bytes(b"1", "overworld/a")
    last = mine.upload_bytes(b"2", "overworld/b")
    moment = datetime.fromtimestamp(last.upload_timestamp / 1000, UTC)
    mine.hide_file("overworld/a")
    mine.upload_bytes(b"of somebody else", "overworld-too/c")
    mine.upload_bytes(b"0", "overworld/d")
    words = ("bring-back", "my-saves", "--to", moment.isoformat())
    assert run(*words).exit_code == 2
    done = run(*words, "--yes")
    assert done.exit_code == 0, done.output
    assert "2 files are again" in done.stdout
    assert names(mine) == {"overworld/a", "overworld/b", "overworld-too/c"}


def test_what_b2_refuses_is_one_line(run: Run) -> None:
    """A wrong master key, a bucket that is not there, a public one: what is wrong, without a traceback or a secret."""
    wrong = run("setup", "my-saves", typed="nobody\nnothing-secret\n")
    assert (wrong.exit_code, "nothing-secret" in wrong.output) == (1, False)
    missing = run("key", "nowhere")
    assert missing.exit_code == 1
    assert "no bucket nowhere" in missing.stderr
