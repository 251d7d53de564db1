"""Servers through the API: made, listed, changed, deleted and brought back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from conftest import StatementCounter
from integration.web.clients import Client
from overworld.store.database import Database


def operation_of(client: Client, answer: Any) -> Any:
    """The operation that an answer names, as it is now."""
    return client.get(answer.headers["Operation-Location"].removeprefix("/api/v1")).get_json()


def test_a_server_is_made_with_its_operation(anna: Client) -> None:
    """201, where the server is, where its operation is, and the game's defaults for what was left out."""
    answer = anna.post("/servers", json={"name": "  Home  ", "game": "luanti"})
    assert answer.status_code == 201
    server = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/servers/{server['id']}"
    assert (server["name"], server["state"], server["desired"]) == ("Home", "pending", "running")
    assert server["owner"] == {"id": anna.account_id, "name": "anna"}
    assert server["variables"]["pvp"] is True
    assert anna.get(f"/servers/{server['id']}").get_json() == server
    operation = operation_of(anna, answer)
    assert (operation["kind"], operation["outcome"], operation["server_id"]) == ("create", "running", server["id"])
    assert [event["reason"] for event in anna.get(f"/servers/{server['id']}/events").get_json()["items"]] == ["Created"]


def test_wrong_input_says_all_that_is_wrong_and_where(anna: Client) -> None:
    """422 with a JSON pointer for each fault, whoever found it."""
    answer = anna.post("/servers", json={"name": 5, "game": "luanti", "colour": "red", "memory_mib": 1.5})
    assert {error["at"] for error in answer.get_json()["errors"]} == {"/name", "/colour", "/memory_mib"}
    for given, place in (
        ({"game": "chess"}, "/game"),
        ({"variables": {"nonsense": 1}}, "/variables/nonsense"),
        ({"variables": {"max_players": 100000}}, "/variables/max_players"),
        ({"memory_mib": 1}, "/memory_mib"),
        ({"name": "a\u202eb"}, "/name"),
    ):
        answer = anna.post("/servers", json={"name": "Home", "game": "luanti", **given})
        assert answer.status_code == 422, given
        assert [error["at"] for error in answer.get_json()["errors"]] == [place]
    assert anna.get("/servers").get_json()["items"] == []


def test_a_name_is_unique_among_ones_living_servers(anna: Client, ben: Client) -> None:
    """Taken by one's own living server: 409. By another's, or by a deleted one: free."""
    server = anna.make_server("Home")
    assert anna.post("/servers", json={"name": "Home ", "game": "luanti"}).status_code == 409
    ben.make_server("Home")
    anna.delete(f"/servers/{server['id']}")
    anna.make_server("Home")
    answer = anna.post(f"/servers/{server['id']}/undelete")
    assert answer.status_code == 409
    assert answer.get_json()["type"] == "/docs/problems/conflict"


def test_the_quota_counts_stopped_and_deleted_servers(anna: Client, admin: Client) -> None:
    """Over the quota is 403 with its own problem; a deleted server still counts."""
    admin.patch(f"/accounts/{anna.account_id}", json={"quota": {"servers": 1, "memory_mib": 100000}})
    server = anna.make_server("One")
    for _ in range(2):
        answer = anna.post("/servers", json={"name": "Two", "game": "luanti"})
        assert (answer.status_code, answer.get_json()["type"]) == (403, "/docs/problems/quota-exceeded")
        anna.delete(f"/servers/{server['id']}")
    admin.patch(f"/accounts/{anna.account_id}", json={"quota": {"servers": 9, "memory_mib": server["memory_mib"]}})
    assert anna.post(f"/servers/{server['id']}/undelete").status_code == 202
    answer = anna.patch(f"/servers/{server['id']}", json={"memory_mib": server["memory_mib"] + 1})
    assert (answer.status_code, answer.get_json()["type"]) == (403, "/docs/problems/quota-exceeded")


def test_an_edit_changes_what_it_names(anna: Client) -> None:
    """Name, single variables and memory change; null sets a variable back; the generation grows once an edit."""
    server = anna.make_server("Home", variables={"pvp": False, "max_players": 5})
    path = f"/servers/{server['id']}"
    edited = anna.patch(path, json={"name": "House", "variables": {"max_players": None}, "memory_mib": 1024}).get_json()
    assert (edited["name"], edited["memory_mib"], edited["generation"]) == ("House", 1024, 2)
    assert (edited["variables"]["pvp"], edited["variables"]["max_players"]) == (False, 15)
    assert anna.patch(path, json={"name": "House"}).get_json()["generation"] == 2  # nothing changed


def test_if_match_compares_what_edits_change(anna: Client) -> None:
    """A stale ETag is 412 and nothing changes; the present one, any of several, or * go through."""
    server = anna.make_server()
    path = f"/servers/{server['id']}"
    stale = anna.get(path).headers["ETag"]
    fresh = anna.patch(path, json={"name": "Two"}, headers={"If-Match": stale}).headers["ETag"]
    for wrong in (stale, '"nonsense"', "nonsense", '""', f"W/{fresh}"):
        answer = anna.patch(path, json={"name": "Three"}, headers={"If-Match": wrong})
        assert (answer.status_code, answer.get_json()["type"]) == (412, "/docs/problems/precondition-failed"), wrong
    assert anna.get(path).get_json()["name"] == "Two"
    assert anna.patch(path, json={"name": "Three"}, headers={"If-Match": f'"x", {fresh}'}).status_code == 200
    assert anna.patch(path, json={"name": "Four"}, headers={"If-Match": "*"}).status_code == 200


def test_what_is_unchanged_is_not_sent_again(anna: Client) -> None:
    """304 for the same content, lists too; 200 once something changed."""
    server = anna.make_server()
    for path in ("/servers", f"/servers/{server['id']}", "/games", "/me"):
        etag = anna.get(path).headers["ETag"]
        again = anna.get(path, headers={"If-None-Match": etag})
        assert (again.status_code, again.data) == (304, b"")
    etag = anna.get("/servers").headers["ETag"]
    anna.patch(f"/servers/{server['id']}", json={"name": "Other"})
    assert anna.get("/servers", headers={"If-None-Match": etag}).status_code == 200


def test_the_life_of_a_server(anna: Client) -> None:
    """Each wish is accepted with an operation and ends the one before; deleted it is listed apart and comes back
    stopped."""
    server = anna.make_server()
    path = f"/servers/{server['id']}"
    for wish, desired in (("start", "running"), ("restart", "running"), ("stop", "stopped")):
        answer = anna.post(f"{path}/{wish}")
        assert answer.status_code == 202
        assert operation_of(anna, answer)["kind"] == wish
        assert anna.get(path).get_json()["desired"] == desired
    outcomes = [item["outcome"] for item in anna.get(f"/operations?server={server['id']}").get_json()["items"]]
    assert outcomes == ["running", "aborted", "aborted", "aborted"]
    assert anna.delete(f"{path}?retention_seconds=60").status_code == 202
    shown = anna.get(path).get_json()
    assert (shown["desired"], shown["state"]) == ("deleted", "deleted")
    kept = datetime.fromisoformat(shown["purge_at"]) - datetime.fromisoformat(shown["deleted_at"])
    assert kept.total_seconds() == 60
    for wish in ("start", "stop", "restart"):
        assert anna.post(f"{path}/{wish}").status_code == 409
    assert anna.patch(path, json={"name": "x"}).status_code == 409
    assert anna.delete(path).status_code == 202
    assert anna.get("/servers").get_json()["items"] == []
    assert [item["id"] for item in anna.get("/servers?deleted=true").get_json()["items"]] == [server["id"]]
    assert anna.post(f"{path}/undelete").status_code == 202
    shown = anna.get(path).get_json()
    assert (shown["desired"], shown["purge_at"], shown["deleted_at"]) == ("stopped", None, None)
    assert anna.post(f"{path}/undelete").status_code == 409


def test_too_late_to_undelete(anna: Client) -> None:
    """Once its retention has passed, a server that is being removed does not come back."""
    server = anna.make_server()
    anna.delete(f"/servers/{server['id']}?retention_seconds=0")
    assert anna.post(f"/servers/{server['id']}/undelete").status_code == 409


def test_only_starts_can_be_called_off(anna: Client) -> None:
    """A cancelled start leaves the server wanted stopped; a second cancel, or that of a stop, is a conflict."""
    server = anna.make_server()
    start = anna.post(f"/servers/{server['id']}/start").get_json()
    cancelled = anna.post(f"/operations/{start['id']}/cancel")
    assert (cancelled.status_code, cancelled.get_json()["outcome"]) == (200, "cancelled")
    assert anna.get(f"/servers/{server['id']}").get_json()["desired"] == "stopped"
    assert anna.post(f"/operations/{start['id']}/cancel").status_code == 409
    stop = anna.post(f"/servers/{server['id']}/stop").get_json()
    assert anna.post(f"/operations/{stop['id']}/cancel").status_code == 409


def test_lists_are_filtered_sorted_and_paged(anna: Client) -> None:
    """Every server once over all pages, in the order asked for."""
    names = [f"Server {number:02}" for number in range(7)]
    for name in names:
        anna.make_server(name)
    found: list[str] = []
    query = "/servers?sort=-name&page_size=3"
    token = ""
    while True:
        page = anna.get(query + token).get_json()
        found += [item["name"] for item in page["items"]]
        if page["next_page_token"] is None:
            break
        token = f"&page_token={page['next_page_token']}"
    assert found == sorted(names, reverse=True)
    assert len(anna.get("/servers?name=ver%2003").get_json()["items"]) == 1
    assert len(anna.get("/servers?state=pending&state=running&game=luanti").get_json()["items"]) == 7
    assert anna.get("/servers?state=running").get_json()["items"] == []
    for wrong in ("sort=colour", "page_size=0", "page_size=201", "page_token=%00", "page_token=abc", "state=gone",
                  "page_size=1&page_size=2", "colour=red", "deleted=yes", "page_size=1_0"):  # fmt: skip
        assert anna.get(f"/servers?{wrong}").status_code == 422, wrong


def test_statements_a_request(anna: Client, database: Database, statement_counter: StatementCounter) -> None:
    """The number of SQL statements of each request is pinned: authentication is one of them."""
    server = anna.make_server()
    for number in range(6):
        anna.post("/servers", json={"name": f"S{number}", "game": "luanti"})
    path = f"/servers/{server['id']}"
    pinned = {
        ("GET", "/servers"): 2,
        ("GET", "/games"): 1,
        ("GET", "/me"): 3,
        ("GET", path): 2,
        ("GET", f"{path}/events"): 3,
        ("GET", f"{path}/console"): 2,
        ("GET", "/operations"): 3,
        ("GET", "/events"): 2,
        ("GET", "/usage"): 2,
        ("GET", f"{path}/config/revisions"): 2,
        ("PATCH", path): 5,  # with its revision and event
        ("POST", f"{path}/start"): 6,
        ("POST", "/servers"): 7,
    }
    seen = {}
    for method, where in pinned:
        body = {"PATCH": {"name": "New"}, "POST": {"name": "Newer", "game": "luanti"}}.get(method)
        with statement_counter(database) as statements:
            assert anna.ask(method, where, json=body).status_code < 300
        seen[method, where] = len(statements)
    assert seen == pinned
