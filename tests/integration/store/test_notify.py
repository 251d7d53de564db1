"""A listener hears what was committed, and calls again after whatever interrupted it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import psycopg
import pytest

from overworld.store.database import Database
from overworld.store.notify import Listener, notify
from waiting import wait_until

Listen = Callable[..., Counter[str]]


@pytest.fixture
def listen(database_url: str) -> Iterator[Listen]:
    """``listen(*channels)``: counts what a listener of its own hears."""
    listeners: list[Listener] = []

    def begin(*channels: str, url: str = database_url) -> Counter[str]:
        heard: Counter[str] = Counter()
        listeners.append(Listener(url, channels, lambda channel: heard.update([channel]), application_name="ears"))
        listeners[-1].start()
        return heard

    yield begin
    for listener in listeners:
        listener.close()
        listener.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "listener"]


def test_a_commit_is_heard(database: Database, listen: Listen) -> None:
    """On its own channel, after the call that comes with the connection."""
    heard = listen("desired", "other")
    wait_until(lambda: heard == {"desired": 1, "other": 1}, 10, "the calls that come with the connection")
    with database.transaction() as tx:
        notify(tx, "desired")
        notify(tx, "desired")
    wait_until(lambda: heard == {"desired": 2, "other": 1}, 10, "one call for both notifications")


def test_it_reconnects_and_calls_again(database_url: str, database: Database, listen: Listen) -> None:
    """Its session is ended three times: it is back each time, tells so, and hears."""
    heard = listen("desired")

    def wait_for(times: int, what: str) -> None:
        wait_until(lambda: heard["desired"] == times, 10, what)

    for times in (1, 3, 5):
        wait_for(times, "the call after a connect")
        with database.transaction() as tx:
            notify(tx, "desired")
        wait_for(times + 1, "the notification")
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'ears'"
            )


def test_a_callback_that_fails_does_not_end_the_listening(database_url: str, database: Database) -> None:
    """It is called again next time."""
    calls = []

    def fail(channel: str) -> None:
        calls.append(channel)
        raise RuntimeError("on purpose")

    listener = Listener(database_url, ["desired"], fail, application_name="ears")
    listener.start()
    wait_until(lambda: len(calls) == 1, 10, "the first call")
    with database.transaction() as tx:
        notify(tx, "desired")
    wait_until(lambda: len(calls) == 2, 10, "the second call")
    listener.close()


def test_it_waits_for_a_database_that_is_not_there(listen: Listen) -> None:
    """It can be started before PostgreSQL, and closed without it."""
    assert listen("desired", url="postgresql://nobody@127.0.0.1:1/none") == {}


def test_it_can_be_closed_without_a_start(database_url: str) -> None:
    """A role that fails early closes what it never used."""
    Listener(database_url, ["desired"], print, application_name="ears").close()
