"""The console: read at once, followed as a stream, and written to."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.wrappers import Response

from conftest import StatementCounter
from integration.web.clients import Client
from overworld.domain.errors import EngineUnavailable
from overworld.engines.memory import MemoryConsole, MemoryWorld
from overworld.store.database import Database
from overworld.web.api import console

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def server_id(anna: Client, world: MemoryWorld) -> str:
    """Anna's server, which has said 300 lines."""
    made: str = anna.make_server()["id"]
    for number in range(300):
        world.say(made, f"line {number}")
    return made


def events(answer: Response) -> Iterator[str]:
    """The events of a stream, as they come, without comments."""
    text = ""
    for chunk in answer.response:
        text += chunk if isinstance(chunk, str) else chunk.decode()
        while "\n\n" in text:
            event, _, text = text.partition("\n\n")
            if not event.startswith(":"):
                yield event


def lines(answer: Response, count: int) -> list[dict[str, Any]]:
    """The next lines of a stream."""
    taken = itertools.islice(events(answer), count)
    return [json.loads(event.partition("data: ")[2]) for event in taken]


def test_the_console_is_finite_json_unless_a_stream_is_asked_for(anna: Client, server_id: str) -> None:
    """The newest lines, oldest first; ``after`` goes on from a line; also for clients that take anything."""
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        answer = anna.get(f"/servers/{server_id}/console", headers=headers)
        assert answer.mimetype == "application/json"
        shown = answer.get_json()["lines"]
        assert [line["text"] for line in shown] == [f"line {number}" for number in range(100, 300)]
    after = anna.get(f"/servers/{server_id}/console?after={shown[-3]['id']}").get_json()["lines"]
    assert [line["text"] for line in after] == ["line 298", "line 299"]
    assert len(anna.get(f"/servers/{server_id}/console?limit=7").get_json()["lines"]) == 7


def test_a_stream_gives_200_lines_at_once_and_then_new_ones(anna: Client, world: MemoryWorld, server_id: str) -> None:
    """Each event has its line's id; lines said later come through the same stream."""
    with anna.get(f"/servers/{server_id}/console", headers=STREAM, buffered=False) as answer:
        assert answer.mimetype == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        stream = events(answer)
        first = list(itertools.islice(stream, 200))
        assert first[0].startswith("id: ")
        world.say(server_id, "news")
        assert json.loads(next(stream).partition("data: ")[2])["text"] == "news"


@pytest.mark.parametrize("way", ["Last-Event-ID", "after"])
def test_a_stream_resumes_after_a_line(anna: Client, server_id: str, way: str) -> None:
    """Nothing is given twice and nothing left out; the header wins over the parameter."""
    all_lines = anna.get(f"/servers/{server_id}/console").get_json()["lines"]
    where = f"/servers/{server_id}/console"
    headers = dict(STREAM)
    if way == "after":
        where += f"?after={all_lines[-5]['id']}"
    else:
        headers["Last-Event-ID"] = all_lines[-5]["id"]
        where += f"?after={all_lines[0]['id']}"
    with anna.get(where, headers=headers, buffered=False) as answer:
        assert lines(answer, 4) == all_lines[-4:]


def test_a_stream_holds_no_connection_of_the_database(anna: Client, server_id: str, database: Database) -> None:
    """More streams than the pool has connections are open, and requests are still answered."""
    streams = [anna.get(f"/servers/{server_id}/console", headers=STREAM, buffered=False) for _ in range(15)]
    try:
        for stream in streams:
            assert len(lines(stream, 2)) == 2
        assert database.engine.pool.status().count("Current Checked out connections: 0") == 1
        assert anna.get("/servers").status_code == 200
    finally:
        for stream in streams:
            stream.close()


@pytest.mark.parametrize("reason", ["revoked token", "purged server", "disabled account"])
def test_a_stream_ends_with_the_access(
    anna: Client, admin: Client, server_id: str, database: Database, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Access is asked for again while a stream runs; it says why it ends."""
    monkeypatch.setattr(console, "CHECK_ACCESS_EVERY", console.CHECK_ACCESS_EVERY * 0)
    with anna.get(f"/servers/{server_id}/console", headers=STREAM, buffered=False) as answer:
        stream = events(answer)
        assert next(stream).startswith("id: ")
        if reason == "revoked token":
            token_id = anna.get("/me").get_json()["token_id"]
            assert anna.delete(f"/accounts/me/tokens/{token_id}").status_code == 204
        elif reason == "disabled account":
            assert admin.patch(f"/accounts/{anna.account_id}", json={"disabled": True}).status_code == 200
        else:
            with database.transaction() as tx:
                tx.exec_driver_sql("DELETE FROM server")
        *_, last = stream
        assert last == 'event: end\ndata: {"reason": "Access to this server has ended."}'


def test_a_silent_stream_is_kept_alive(anna: Client) -> None:
    """Comments come while the game says nothing, so that proxies do not cut the stream."""
    server_id = anna.make_server()["id"]
    with anna.get(f"/servers/{server_id}/console", headers=STREAM, buffered=False) as answer:
        chunks = [str(chunk, "ascii") for chunk in itertools.islice(answer.response, 3)]  # type: ignore[call-overload]
        assert chunks[1:] == [": keep-alive\n\n", ": keep-alive\n\n"]


def test_head_of_a_stream_does_not_begin_it(anna: Client, server_id: str) -> None:
    """HEAD is answered at once, whatever is accepted."""
    answer = anna.ask("HEAD", f"/servers/{server_id}/console", headers=STREAM)
    assert (answer.status_code, answer.data) == (200, b"")


def test_logs_are_text_for_who_asks_for_text(anna: Client, server_id: str) -> None:
    """One line of text a line, with its time; JSON otherwise."""
    text = anna.get(f"/servers/{server_id}/logs?limit=2", headers={"Accept": "text/plain"})
    assert text.mimetype == "text/plain"
    assert [line.partition(" ")[2] for line in text.text.splitlines()] == ["line 298", "line 299"]
    assert len(anna.get(f"/servers/{server_id}/logs?limit=2").get_json()["lines"]) == 2


def test_reading_a_console_costs_two_statements(
    anna: Client, server_id: str, database: Database, statement_counter: StatementCounter
) -> None:
    """Who asks, and whether the server is theirs; a stream needs no more."""
    with (
        statement_counter(database) as statements,
        anna.get(f"/servers/{server_id}/console", headers=STREAM, buffered=False) as answer,
    ):
        assert len(lines(answer, 100)) == 100
    assert len(statements) <= 3  # one more where "last used" of the token is written


def test_commands_are_single_lines(anna: Client, server_id: str) -> None:
    """What could be more than one line, or is none, never reaches the game."""
    for command in ("", "a\nb", "a\rb", "a\x00b", "a\x85b", "x" * 1001, None, 5, ["a"]):
        answer = anna.post(f"/servers/{server_id}/console", json={"command": command})
        assert answer.status_code == 422, command
    assert anna.post(f"/servers/{server_id}/console", json={"command": "list"}).status_code == 409


def test_a_stream_that_breaks_says_why(anna: Client, server_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the engine in mid-stream becomes the stream's last event."""

    def follow(*_: object, **__: object) -> Iterator[None]:
        yield None
        raise EngineUnavailable("The keeper does not answer.")

    monkeypatch.setattr(MemoryConsole, "follow", follow)
    with anna.get(f"/servers/{server_id}/console", headers=STREAM, buffered=False) as answer:
        assert list(events(answer)) == ['event: end\ndata: {"reason": "The keeper does not answer."}']
