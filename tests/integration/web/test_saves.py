"""What is asked of saves by API, as far as rows go: clones, and saves whose server is gone."""

from __future__ import annotations

from datetime import UTC, datetime

from integration.web.clients import Client
from kept_saves import make_kept_save
from overworld.store.database import Database
from overworld.store.servers import purge_server


def test_the_newest_operation_on_a_clone_is_the_clone(anna: Client, database: Database) -> None:
    """Not the creation that goes with it: whoever waits for the newest waits for the world."""
    save = make_kept_save(database, anna.make_server()["id"])
    asked = anna.post(f"/saves/{save.id}/clone", json={"name": "Copy"}).get_json()
    found = anna.get(f"/operations?server={asked['server_id']}").get_json()["items"]
    assert [each["kind"] for each in found] == ["clone", "create"]


def test_a_save_whose_server_is_gone_says_when_it_goes(anna: Client, database: Database) -> None:
    """It can be labelled and cloned, but not removed by itself; nobody is told that there is no such thing."""
    server = anna.make_server()
    save = make_kept_save(database, server["id"])
    anna.delete(f"/servers/{server['id']}?retention_seconds=0")
    with database.transaction() as tx:
        assert purge_server(tx, server["id"], datetime.now(UTC))
    refused = anna.delete(f"/saves/{save.id}")
    assert (refused.status_code, "can be cloned" in refused.get_json()["detail"]) == (409, True)
    assert anna.patch(f"/saves/{save.id}", json={"label": "last"}).status_code == 200
    assert anna.post(f"/saves/{save.id}/clone", json={"name": "Home"}).status_code == 202
