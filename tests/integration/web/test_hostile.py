"""Whatever is sent: a problem document, never a 500, and never anything that was not asked for."""

from __future__ import annotations

import json
import socket

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from integration.web.clients import Client
from integration.web.serving import Served
from overworld.web.problems import all_problems

JSON = "application/json"


def check_problem(answer: TestResponse, status: int) -> None:
    """The answer is a problem document of that status, complete and without anything of the inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.get_json()
    assert document["status"] == status
    assert {"type", "title", "detail", "instance", "request_id"} <= set(document)
    assert document["type"] in {f"/docs/problems/{kind.slug}" for kind in all_problems()}
    for word in ("Traceback", "psycopg", "sqlalchemy", "SELECT", ".py"):
        assert word not in answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"nonsense", 400),
        (b"\xff\xfe", 400),
        (b'{"name": NaN}', 400),
        (b'{"name": "\\ud800", "game": "luanti"}', 400),
        (b'{"a":' * 50000, 400),
        (b"[" * 100000 + b"]" * 100000, 400),
        (b"9" * 5000, 400),
        (b"null", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"name": {"$gt": ""}, "game": "luanti"}', 422),
        (b'{"name": "a\\u0000b", "game": "luanti"}', 422),
        (b'{"name": "a", "game": "luanti\\u0000"}', 422),
        (b'{"name": "a", "game": "../../etc/passwd"}', 422),
        (b'{"name": "a", "game": "luanti", "memory_mib": 1e400}', 422),
        (b'{"name": "a", "game": "luanti", "memory_mib": 99999999999999999999999}', 422),
        (b'{"name": "a", "game": "luanti", "memory_mib": -1}', 422),
        (b'{"name": "a", "game": "luanti", "memory_mib": true}', 422),
        (b'{"name": "a", "game": "luanti", "memory_mib": "1024"}', 422),
        (b'{"name": "a", "game": "luanti", "start": "no"}', 422),
        (b'{"name": "a", "game": "luanti", "owner": "me"}', 422),
        (b'{"name": "a", "game": "luanti", "variables": {"motd": "a\\nb"}}', 422),
        (b'{"name": "a", "game": "luanti", "variables": {"motd": {"a": 1}}}', 422),
        (b'{"name": "a", "game": "luanti", "variables": {"__proto__": 1}}', 422),
        (b'{"name": "%s", "game": "luanti"}' % (b"x" * 64), 422),
        (b'{"name": "   ", "game": "luanti"}', 422),
        (b'{"name": "' + b"x" * (1024 * 1024) + b'"}', 413),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bodies(anna: Client, body: bytes, status: int) -> None:
    """400 for what is not JSON, 422 for what cannot be, 413 for too much."""
    check_problem(anna.post("/servers", data=body, content_type=JSON), status)
    assert anna.get("/servers").get_json()["items"] == []


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "multipart/form-data", "", "json", "x" * 500])
def test_only_json_is_taken(anna: Client, media_type: str) -> None:
    """415 for everything that is not declared as JSON."""
    answer = anna.post("/servers", data=b'{"name": "a", "game": "luanti"}', content_type=media_type)
    check_problem(answer, 415)


def test_json_may_say_its_charset(anna: Client) -> None:
    """Parameters of the media type are fine."""
    body = json.dumps({"name": "Größe", "game": "luanti"}).encode()
    assert anna.post("/servers", data=body, content_type="application/json; charset=utf-8").status_code == 201


@pytest.mark.parametrize(
    "path",
    ["/servers/..", "/servers/%00", "/servers/%2e%2e%2fme", "/servers/a%2fb", "/servers/AAAAAAAAAAAA", "/servers/*",
     "/servers/" + "a" * 5000, "/servers/'%20OR%201=1--", "/servers/%f0%9f%92%a9", "/servers/%ff%fe", "/servers/",
     "//servers", "/games/../servers", "/operations/me", "/accounts/%00/tokens", "/servers/abcdefghijk%0a", "/nothing"],
)  # fmt: skip
def test_paths(anna: Client, path: str) -> None:
    """404 for every path that is none; never a redirect."""
    check_problem(anna.get(path), 404)


@pytest.mark.parametrize(
    "query",
    ["name=%00", "name=" + "x" * 64, "owner=%00", "game=%00", "page_token=" + "x" * 2000, "page_size=1e3",
     "page_size=99999999999999999999", "page_size=%2010", "page_size=%D9%A1", "page_token=bnVsbA", "page_token=e30",
     "page_token=WyIiXQ", "sort=name;drop", "deleted=1", "state=", "unknown=1", "name=a&name=b"],
)  # fmt: skip
def test_queries(anna: Client, query: str) -> None:
    """422 for every query that is none."""
    check_problem(anna.get(f"/servers?{query}"), 422)


def test_like_patterns_are_only_text(anna: Client) -> None:
    """Wildcards of SQL in a filter stand for themselves."""
    anna.make_server("plain")
    anna.make_server("100%_\\")
    for filter_text in ("%25", "_", "\\"):
        found = anna.get(f"/servers?name={filter_text}").get_json()["items"]
        assert [item["name"] for item in found] == ["100%_\\"]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic YWRtaW46YWRtaW4=", "Bearer ow_", "Bearer ow_aaaaaaaa_" + "a" * 43,
     "Bearer " + "x" * 8000, "Bearer ow_%00aaaaaa_" + "a" * 43, "bearer null", "Token x", "Bearer ow_aaaaaaaa_ümläut"],
)  # fmt: skip
def test_tokens(app: Flask, anna: Client, authorization: str) -> None:
    """Every wrong token gets the same 401, which says how to authenticate."""
    encoded = authorization.encode().decode("latin-1")
    answer = Client(app, None).get("/servers", headers={"Authorization": encoded})
    check_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.get_json()["detail"] == Client(app, None).get("/servers").get_json()["detail"]


def test_a_token_with_the_right_prefix_and_a_wrong_secret_opens_nothing(app: Flask, anna: Client) -> None:
    """Every character of the secret counts."""
    assert anna.token is not None
    for position in (12, 30, len(anna.token) - 1):
        other = "A" if anna.token[position] != "A" else "B"
        forged = anna.token[:position] + other + anna.token[position + 1 :]
        check_problem(Client(app, forged).get("/me"), 401)


@pytest.mark.parametrize("given", ["a\tb", "x" * 65, "<script>", "ü", '"', "a b", ""])
def test_strange_request_ids_are_replaced(anna: Client, given: str) -> None:
    """Only harmless ids are taken over, since they end up in logs and headers."""
    answer = anna.get("/me", headers={"X-Request-Id": given.encode().decode("latin-1")})
    assert len(answer.headers["X-Request-Id"]) == 16
    assert anna.get("/me", headers={"X-Request-Id": "my-id.1"}).headers["X-Request-Id"] == "my-id.1"


def test_no_path_reaches_the_log_as_it_came(anna: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even what stands where an id belongs, for a terminal obeys control characters of 8 bits too."""
    check_problem(anna.get("/servers/%C2%9B31mred"), 404)
    logged = capsys.readouterr().out
    assert "server_id=%C2%9B31mred" in logged
    assert "\x9b" not in logged


@pytest.mark.parametrize("method", ["PUT", "TRACE", "DELETE", "PROPFIND", "XYZ"])
def test_methods_that_are_none(anna: Client, method: str) -> None:
    """405 with the methods that there are."""
    answer = anna.ask(method, "/servers")
    check_problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_head_and_options(anna: Client) -> None:
    """HEAD is GET without a body; OPTIONS says what there is."""
    head, get = anna.ask("HEAD", "/servers"), anna.get("/servers")
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", get.headers["ETag"])
    allowed = anna.ask("OPTIONS", "/servers").headers["Allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_a_fault_of_ours_tells_nothing_of_the_inside(app: Flask, anna: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 with the request's id, and no word of what happened; the transaction was rolled back."""
    from overworld.store import events

    def fail(*_: object) -> None:
        raise RuntimeError("secret inside of psycopg.py: SELECT password")

    monkeypatch.setattr(events, "insert_events", fail)
    answer = anna.post("/servers", json={"name": "Home", "game": "luanti"}, headers={"X-Request-Id": "mine"})
    check_problem(answer, 500)
    assert answer.get_json()["request_id"] == "mine"
    monkeypatch.undo()
    assert anna.get("/servers").get_json()["items"] == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 20000 + b"\r\n\r\n", 431),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nA\x00B: y\r\n\r\n", 400),
        (b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bytes_that_are_no_request(served_once: Served, sent: bytes, status: int) -> None:
    """What gunicorn refuses before Flask sees it is a problem document, too."""
    host, port = served_once.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == status


def test_every_error_has_a_page_that_is_served(nobody: Client) -> None:
    """The ``type`` of each problem leads to a page, and each page is of a problem."""
    from overworld.web.docs import problem_pages

    slugs = {kind.slug for kind in all_problems()}
    assert {page.stem for page in problem_pages().glob("*.md")} == slugs
    for kind in all_problems():
        page = nobody.get(f"//docs/problems/{kind.slug}")
        assert page.status_code == 200
        assert page.text.startswith(f"# {kind.slug} ({kind.status})\n")
