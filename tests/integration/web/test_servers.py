"""Servers through the API: made, listed, changed, deleted and brought back."""

from __future__ import annotations

from integration.web.clients import Client


def test_a_server_is_made_with_its_operation(anna: Client) -> None:
    """201, where the server is, where its operation is, and the game's defaults for what was left out."""
    answer = anna.post("/servers", json={"name": "  Home  ", "game": "luanti"})
    assert answer.status_code == 201
    server = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/servers/{server['id']}"
    assert (server["name"], server["state"], server["desired"]) == ("Home", "pending", "running")
    assert server["owner"] == {"id": anna.account_id, "name": "anna"}
    operation = anna.get(answer.headers["Operation-Location"].removeprefix("/api/v1")).get_json()
    assert (operation["kind"], operation["outcome"], operation["server_id"]) == ("create", "running", server["id"])
    assert anna.get(f"/servers/{server['id']}").get_json() == server
