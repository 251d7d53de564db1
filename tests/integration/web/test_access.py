"""Every route × everybody: who gets what. The routes come from the URL map; one without a row here fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from integration.web.clients import Client
from integration.web.nodes import NODE, lay_node
from kept_saves import make_kept_save
from overworld.domain.nodes import NodeState
from overworld.store.database import Database
from worlds.serving import make_world

API = "/api/v1"


@dataclass(frozen=True)
class Row:
    """The status that each gets who asks for something of Anna's: nobody (no token), Anna, Ben (another tenant) and
    an admin. ``deleted``: her server is deleted before. ``files``: it has a world, with a file in it."""

    nobody: int
    anna: int
    ben: int
    admin: int
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    deleted: bool = False
    files: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


def public(status: int = 200) -> Row:
    """The same for everybody."""
    return Row(status, status, status, status)


def own(status: int = 200, **given: Any) -> Row:
    """Anna's and the admins'; Ben cannot know that it exists."""
    return Row(401, status, 404, status, **given)


def each(status: int = 200, **given: Any) -> Row:
    """Everybody with a token, each for their own things."""
    return Row(401, status, status, status, **given)


def admins(status: int = 200, *, anna: int = 403, ben: int = 403, **given: Any) -> Row:
    """Only admins; refused to others, if they may know of the thing at all."""
    return Row(401, anna, ben, status, **given)


TABLE: Mapping[tuple[str, str], Row] = {
    ("GET", f"{API}/games"): each(),
    ("GET", f"{API}/games/<slug>"): each(),
    ("GET", f"{API}/servers"): each(),
    ("POST", f"{API}/servers"): each(201, body={"name": "New", "game": "luanti"}),
    ("GET", f"{API}/servers/<server_id>"): own(),
    ("PATCH", f"{API}/servers/<server_id>"): own(body={"variables": {"pvp": False}}),
    ("DELETE", f"{API}/servers/<server_id>"): own(202),
    ("POST", f"{API}/servers/<server_id>/start"): own(202),
    ("POST", f"{API}/servers/<server_id>/stop"): own(202),
    ("POST", f"{API}/servers/<server_id>/restart"): own(202),
    ("POST", f"{API}/servers/<server_id>/undelete"): own(202, deleted=True),
    ("GET", f"{API}/saves"): each(),
    ("GET", f"{API}/saves/<save_id>"): own(),
    ("GET", f"{API}/saves/<save_id>/files"): own(409),  # the worker of these tests has no saves
    ("GET", f"{API}/saves/<save_id>/content"): own(409),
    ("PATCH", f"{API}/saves/<save_id>"): own(body={"pinned": True}),
    ("DELETE", f"{API}/saves/<save_id>"): own(202),
    ("POST", f"{API}/saves/<save_id>/clone"): Row(401, 202, 404, 202, body={"name": "Copy of <save_id>"}),
    ("GET", f"{API}/servers/<server_id>/saves"): own(),
    ("POST", f"{API}/servers/<server_id>/saves"): own(202, body={}),
    ("POST", f"{API}/servers/<server_id>/saves/upload"): own(202, files=True),
    ("POST", f"{API}/servers/<server_id>/restore"): own(202, body={"save_id": "<save_id>"}),
    ("POST", f"{API}/servers/<server_id>/undo-restore"): own(409),  # nothing was restored
    ("POST", f"{API}/servers/<server_id>/prove"): own(202, body={}),
    ("POST", f"{API}/servers/<server_id>/check-saves"): own(202),
    ("GET", f"{API}/servers/<server_id>/save-policy"): own(),
    ("PATCH", f"{API}/servers/<server_id>/save-policy"): own(body={"keep_last": 3}),
    ("GET", f"{API}/servers/<server_id>/config/revisions"): own(),
    ("GET", f"{API}/servers/<server_id>/config/revisions/<revision>"): own(),
    ("POST", f"{API}/servers/<server_id>/config/revisions/<revision>/restore"): own(),
    ("GET", f"{API}/servers/<server_id>/console"): own(),
    ("POST", f"{API}/servers/<server_id>/console"): own(409, body={"command": "list"}),  # it does not run
    ("GET", f"{API}/servers/<server_id>/logs"): own(),
    ("GET", f"{API}/servers/<server_id>/files"): own(files=True),
    ("DELETE", f"{API}/servers/<server_id>/files"): own(204, files=True, query={"path": "file"}),
    ("GET", f"{API}/servers/<server_id>/files/entry"): own(files=True, query={"path": "file"}),
    ("GET", f"{API}/servers/<server_id>/files/text"): own(files=True, query={"path": "file"}),
    ("PUT", f"{API}/servers/<server_id>/files/text"): own(files=True, query={"path": "file"}),
    ("GET", f"{API}/servers/<server_id>/files/content"): own(files=True, query={"path": "file"}),
    ("PUT", f"{API}/servers/<server_id>/files/content"): own(files=True, query={"path": "file"}),
    ("POST", f"{API}/servers/<server_id>/files/folders"): own(201, files=True, body={"path": "new"}),
    ("POST", f"{API}/servers/<server_id>/files/rename"): own(files=True, body={"path": "file", "to": "new"}),
    ("GET", f"{API}/servers/<server_id>/events"): own(),
    ("GET", f"{API}/servers/<server_id>/activity"): own(),
    ("GET", f"{API}/operations"): each(),
    ("GET", f"{API}/operations/<operation_id>"): own(),
    ("POST", f"{API}/operations/<operation_id>/cancel"): own(),
    ("GET", f"{API}/events"): each(),
    ("GET", f"{API}/usage"): each(),
    ("GET", f"{API}/me"): each(),
    ("GET", f"{API}/addresses"): admins(anna=404, ben=404),
    ("GET", f"{API}/accounts"): admins(),
    ("POST", f"{API}/accounts"): admins(201, body={"name": "new"}),
    ("GET", f"{API}/accounts/<account_id>"): own(),
    ("PATCH", f"{API}/accounts/<account_id>"): admins(ben=404, body={"quota": {"servers": 1, "memory_mib": 1}}),
    ("GET", f"{API}/accounts/<account_id>/tokens"): own(),
    ("POST", f"{API}/accounts/<account_id>/tokens"): own(201, body={"label": "new"}),
    ("DELETE", f"{API}/accounts/<account_id>/tokens/<token_id>"): own(204),
    ("GET", f"{API}/nodes"): admins(anna=404, ben=404),
    ("GET", f"{API}/nodes/<node_name>"): admins(anna=404, ben=404),
    ("POST", f"{API}/nodes/<node_name>/confirm-lost"): admins(anna=404, ben=404, body={"uid": "uid-1"}),
    ("GET", f"{API}/recovery"): admins(anna=404, ben=404),
    ("GET", f"{API}/openapi.json"): public(),
    ("GET", "/"): public(302),
    ("GET", "/docs"): public(),
    ("GET", "/docs/assets/<name>"): public(),
    ("GET", "/docs/problems/<slug>"): public(),
    ("GET", "/livez"): public(),
    ("GET", "/readyz"): public(),
    ("GET", "/metrics"): Row(401, 403, 403, 200, headers={"X-Forwarded-For": "203.0.113.9"}),
}


def test_every_route_has_a_row(app: Flask) -> None:
    """A route that nobody thought about the access of cannot be added."""
    routes = {
        (method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods or () if method.isupper()
    }
    assert {route for route in routes if route[0] not in {"HEAD", "OPTIONS"}} == set(TABLE)


@pytest.mark.parametrize(("method", "rule"), list(TABLE))
def test_access(
    method: str, rule: str, nobody: Client, anna: Client, ben: Client, admin: Client, database: Database, files: Path
) -> None:
    """Each gets what the table says, for a thing of Anna's that is made anew before each try."""
    row = TABLE[method, rule]
    if "<node_name>" in rule:
        lay_node(database, NodeState.NEEDS_WORD)
    seen = {}
    for who, client in (("nobody", nobody), ("ben", ben), ("anna", anna), ("admin", admin)):
        things = _things_of(anna, who, deleted=row.deleted)
        things["save_id"] = make_kept_save(database, things["server_id"]).id
        if row.files:
            (make_world(database, files, things["server_id"]) / "file").write_text("hers")
        path = _fill(rule, things)
        body = _fill_body(row.body, things)
        answer = client.ask(method, f"/{path}", json=body, query_string=row.query, headers=row.headers)
        seen[who] = answer.status_code
        if answer.status_code >= 400:
            assert answer.mimetype == "application/problem+json"
            assert answer.get_json()["type"].startswith("/docs/problems/")
        answer.close()  # a download goes on until somebody closes it
    assert seen == {"nobody": row.nobody, "ben": row.ben, "anna": row.anna, "admin": row.admin}


def test_what_is_invisible_looks_like_what_is_not_there(anna: Client, ben: Client) -> None:
    """The answer for another tenant's server differs in nothing but its path and its id from that for no server."""
    server = anna.make_server()
    hidden = ben.get(f"/servers/{server['id']}").get_json()
    missing = ben.get("/servers/zzzzzzzzzzzz").get_json()
    for document in (hidden, missing):
        del document["instance"], document["request_id"]
    assert hidden == missing


def test_lists_show_only_ones_own(anna: Client, ben: Client, admin: Client) -> None:
    """Servers, operations and events of another tenant are in no list, whatever its filter says; an admin sees all."""
    server = anna.make_server()
    for path in ("/servers", f"/servers?owner={anna.account_id}", "/operations", "/events"):
        assert ben.get(path).get_json()["items"] == []
        assert anna.get(path).get_json()["items"] != []
        assert admin.get(path).get_json()["items"] != []
    assert ben.get(f"/operations?server={server['id']}").get_json()["items"] == []


def test_a_save_of_somebody_else_is_nowhere(anna: Client, ben: Client, database: Database) -> None:
    """Not in a list, not by the id of its server, and it restores into no server of another's."""
    save = make_kept_save(database, anna.make_server()["id"])
    assert [each["id"] for each in anna.get("/saves").get_json()["items"]] == [save.id]
    assert ben.get("/saves").get_json()["items"] == []
    assert ben.get(f"/saves?server={save.server_id}").get_json()["items"] == []
    bens = ben.make_server()["id"]
    assert ben.post(f"/servers/{bens}/restore", json={"save_id": save.id}).status_code == 404
    assert ben.post(f"/servers/{bens}/prove", json={"save_id": save.id}).status_code == 404


def _things_of(anna: Client, who: str, *, deleted: bool) -> dict[str, str]:
    server = anna.make_server(f"for {who}", start=True)
    if deleted:
        assert anna.delete(f"/servers/{server['id']}").status_code == 202
    operation = anna.get(f"/operations?server={server['id']}").get_json()["items"][0]
    token = anna.post("/accounts/me/tokens", json={"label": who}).get_json()
    return {
        "server_id": server["id"],
        "operation_id": operation["id"],
        "account_id": anna.account_id,
        "token_id": token["id"],
        "name": "start.js",
        "node_name": NODE,
        "revision": "1",
    }


def _fill_body(body: Mapping[str, Any] | None, things: Mapping[str, str]) -> Mapping[str, Any] | None:
    if body is None:
        return None
    return {
        name: value.replace("<save_id>", things["save_id"]) if isinstance(value, str) else value
        for name, value in body.items()
    }


def _fill(rule: str, things: Mapping[str, str]) -> str:
    slug = "luanti" if rule.startswith(API) else "not-found"
    for name, value in {**things, "slug": slug}.items():
        rule = rule.replace(f"<{name}>", value)
    return rule
