"""A repeat is safe, and two at once do not hurt each other; all over real sockets where it matters."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import httpx

from integration.web.clients import Client
from integration.web.serving import Served
from overworld.store.database import Database
from waiting import wait_until

KEY = {"Idempotency-Key": "one"}


def test_a_repeat_gets_the_first_answer(anna: Client) -> None:
    """Same key and body: the same status, headers and body, marked as a replay, and nothing is done twice."""
    body = {"name": "Home", "game": "luanti"}
    first = anna.post("/servers", json=body, headers=KEY)
    again = anna.post("/servers", json=body, headers=KEY)
    assert (again.status_code, again.data) == (201, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Operation-Location"] == first.headers["Operation-Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert len(anna.get("/servers").get_json()["items"]) == 1


def test_another_body_with_the_same_key_is_refused(anna: Client) -> None:
    """Same key, other body: 422, and nothing is done."""
    anna.post("/servers", json={"name": "Home", "game": "luanti"}, headers=KEY)
    answer = anna.post("/servers", json={"name": "Away", "game": "luanti"}, headers=KEY)
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["at"] == "header Idempotency-Key"
    assert len(anna.get("/servers").get_json()["items"]) == 1


def test_keys_of_others_and_of_other_routes_do_not_count(anna: Client, ben: Client) -> None:
    """A key is scoped to the account and to the path."""
    for client in (anna, ben):
        assert client.post("/servers", json={"name": "Home", "game": "luanti"}, headers=KEY).status_code == 201
    ids = [anna.make_server(f"S{number}")["id"] for number in range(2)]
    for server_id in ids:
        answer = anna.post(f"/servers/{server_id}/start", headers=KEY)
        assert answer.status_code == 202
        assert "Idempotent-Replayed" not in answer.headers


def test_a_failed_request_can_be_repeated_with_its_key(anna: Client) -> None:
    """Only what was done is remembered: after the reason for the refusal has gone, the same request works."""
    server = anna.make_server("Home")
    body = {"name": "Home", "game": "luanti"}
    assert anna.post("/servers", json=body, headers=KEY).status_code == 409
    anna.delete(f"/servers/{server['id']}")
    assert anna.post("/servers", json=body, headers=KEY).status_code == 201


def test_the_secret_of_a_token_is_never_repeated(anna: Client, database: Database) -> None:
    """A repeated token request issues nothing and is a conflict; the secret is nowhere in the database."""
    first = anna.post("/accounts/me/tokens", json={"label": "laptop"}, headers=KEY)
    secret = first.get_json()["token"]
    again = anna.post("/accounts/me/tokens", json={"label": "laptop"}, headers=KEY)
    assert again.status_code == 409
    assert secret not in again.text
    assert len(anna.get("/accounts/me/tokens").get_json()["items"]) == 2  # the fixture's and this one
    assert anna.ask("GET", "/me", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    with database.transaction() as tx:
        stored = tx.exec_driver_sql("SELECT (SELECT json_agg(t) FROM token t)::text, (SELECT json_agg(i) FROM "
                                    "idempotency i)::text").one()  # fmt: skip
    assert secret.rpartition("_")[2] not in "".join(stored)


def test_strange_keys_are_refused(anna: Client) -> None:
    """A key has 1 to 255 visible ASCII characters."""
    for key in ("", "x" * 256, "with space", "umläut".encode().decode("latin-1")):
        answer = anna.post("/servers", json={"name": "Home", "game": "luanti"}, headers={"Idempotency-Key": key})
        assert answer.status_code == 422, key


def test_200_requests_with_50_keys_make_50_servers(served: Served) -> None:
    """200 creates at once over HTTP, 50 keys: exactly 50 servers, and every request ends with the answer of its key."""

    def create(number: int) -> tuple[str, str]:
        body = {"name": f"Server {number % 50}", "game": "luanti", "start": False}
        headers = {"Idempotency-Key": f"key-{number % 50}"}

        def settled() -> httpx.Response | None:
            answer = client.post("/servers", json=body, headers=headers)
            if answer.status_code == HTTPStatus.CONFLICT:
                assert answer.json()["type"] == "/docs/problems/still-running"
                assert answer.headers["Retry-After"] == "1"
                return None
            return answer

        answer = wait_until(settled, 60, "the twin of the request ends")
        assert answer.status_code == 201, answer.text
        return headers["Idempotency-Key"], answer.json()["id"]

    with served.client() as client, ThreadPoolExecutor(32) as pool:
        made = set(pool.map(create, range(200)))
        listed = client.get("/servers", params={"page_size": 200}).json()["items"]
    assert len(made) == 50
    assert Counter(server["id"] for server in listed) == Counter(server_id for _, server_id in made)


def test_of_two_edits_at_once_one_is_told(served: Served) -> None:
    """Two edits with the same ETag at the same time: one 200, one 412, and the first one's change stays."""
    with served.client() as client, ThreadPoolExecutor(2) as pool:
        server = client.post("/servers", json={"name": "Home", "game": "luanti", "start": False}).json()
        path = f"/servers/{server['id']}"
        for turn in range(10):
            etag = client.get(path).headers["ETag"]

            def edit(name: str, etag: str = etag) -> tuple[int, Any]:
                answer = client.patch(path, json={"name": name}, headers={"If-Match": etag})
                return answer.status_code, answer.json().get("name")

            outcomes = sorted(pool.map(edit, (f"A{turn}", f"B{turn}")), key=lambda outcome: outcome[0])
            assert [status for status, _ in outcomes] == [200, 412]
            assert client.get(path).json()["name"] == outcomes[0][1]


def test_a_quota_cannot_be_overrun_at_once(served: Served) -> None:
    """20 creates at once in an account that may have 5 servers: 5 are made."""
    with served.client() as admin:
        quota = {"servers": 5, "memory_mib": 65536}
        account = admin.post("/accounts", json={"name": "tight", "quota": quota}).json()
        token = admin.post(f"/accounts/{account['id']}/tokens", json={"label": "tests"}).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}

        def create(number: int) -> int:
            body = {"name": f"S{number}", "game": "luanti", "start": False}
            return admin.post("/servers", json=body, headers=headers).status_code

        with ThreadPoolExecutor(20) as pool:
            statuses = Counter(pool.map(create, range(20)))
        assert statuses == {201: 5, 403: 15}
        assert admin.get("/me", headers=headers).json()["used"]["servers"] == 5
