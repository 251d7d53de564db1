"""The API of an installation in a cluster: what a world lies on, how large it is, and how players come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from integration.web.clients import Client
from overworld.settings import Settings

AZURE = {
    "engine": "kube",
    "cloud": "azure",
    "azure_subscription_id": "s",
    "azure_resource_group": "g",
    "azure_tenant_id": "t",
    "azure_client_id": "c",
}


@pytest.fixture
def choices() -> dict[str, str]:
    """Settings beyond the usual ones."""
    return AZURE


@pytest.fixture
def settings(tmp_path: Path, choices: dict[str, str]) -> Settings:
    """An installation in a cluster; nothing here speaks to it."""
    return Settings(data_folder=tmp_path, disk_mib=4096, **choices)  # type: ignore[arg-type]


def made_of(server: dict[str, Any]) -> tuple[object, ...]:
    """What it lies on, how large that is, and how players come in."""
    return server["storage"], server["disk_mib"], server["network"]


def refusal(client: Client, server_id: str | None, **given: object) -> tuple[str, str]:
    """Where and why a request is refused."""
    if server_id is None:
        answer = client.post("/servers", json={"name": "Home", "game": "luanti", **given})
    else:
        answer = client.patch(f"/servers/{server_id}", json=given)
    assert answer.status_code == 422, answer.text
    (error,) = answer.get_json()["errors"]
    return error["at"], error["says"]


def test_what_suits_the_game_unless_the_owner_chooses(anna: Client) -> None:
    """The catalogue's storage, the installation's size and network mode; each can be asked for."""
    assert made_of(anna.make_server("a")) == ("disk", 4096, "stable")
    assert made_of(anna.make_server("b", game="openttd")) == ("share", None, "stable")
    assert made_of(anna.make_server("c", game="openttd", storage="disk", disk_mib=8192)) == ("disk", 8192, "stable")
    assert made_of(anna.make_server("d", storage="share", network="direct")) == ("share", None, "direct")


def test_a_disk_grows_and_never_shrinks(anna: Client) -> None:
    """The larger size is another generation; the same one is none; a smaller one is refused with both figures."""
    server = anna.make_server()
    path = f"/servers/{server['id']}"
    grown = anna.patch(path, json={"disk_mib": 8192}).get_json()
    assert (grown["disk_mib"], grown["generation"]) == (8192, server["generation"] + 1)
    assert anna.patch(path, json={"disk_mib": 8192}).get_json()["generation"] == grown["generation"]
    at, says = refusal(anna, server["id"], disk_mib=4096)
    assert (at, "8 GiB" in says, "only grow" in says) == ("/disk_mib", True, True)
    assert anna.get(path).get_json()["disk_mib"] == 8192


def test_storage_and_network_cannot_be_changed(anna: Client) -> None:
    """The refusal says why; naming them as they are is no change."""
    server = anna.make_server()
    assert refusal(anna, server["id"], storage="share")[0] == "/storage"
    assert refusal(anna, server["id"], network="direct")[0] == "/network"
    answer = anna.patch(f"/servers/{server['id']}", json={"storage": "disk", "network": "stable"})
    assert answer.get_json()["generation"] == server["generation"]


def test_a_share_has_no_size(anna: Client) -> None:
    """Neither at creation nor later."""
    assert refusal(anna, None, storage="share", disk_mib=8192)[0] == "/disk_mib"
    server = anna.make_server(storage="share")
    assert refusal(anna, server["id"], disk_mib=8192)[0] == "/disk_mib"


@pytest.mark.parametrize("choices", [{"engine": "kube"}])
def test_without_a_cloud_there_are_no_shares(anna: Client, choices: dict[str, str]) -> None:
    """What was asked for is refused in a sentence; what only suits the game becomes a disk."""
    at, says = refusal(anna, None, storage="share")
    assert (at, "no file shares" in says, "choose disk" in says) == ("/storage", True, True)
    assert made_of(anna.make_server("b", game="openttd")) == ("disk", 4096, "stable")


@pytest.mark.parametrize("choices", [{"engine": "local"}])
def test_one_machine_limits_no_world_and_says_so(anna: Client, choices: dict[str, str]) -> None:
    """Null, not a figure that nobody keeps; what could not be kept is refused."""
    assert made_of(anna.make_server()) == (None, None, None)
    assert refusal(anna, None, disk_mib=8192)[0] == "/disk_mib"
    assert refusal(anna, None, storage="share")[0] == "/storage"
    assert refusal(anna, None, network="direct")[0] == "/network"


@pytest.mark.parametrize("choices", [{"engine": "kube", "network": "direct"}])
def test_the_installation_chooses_the_network_mode_of_who_does_not_ask(anna: Client, choices: dict[str, str]) -> None:
    """Direct for everybody, and a stable address for who wants one."""
    assert made_of(anna.make_server("a"))[2] == "direct"
    assert made_of(anna.make_server("b", network="stable"))[2] == "stable"


@pytest.mark.parametrize("choices", [AZURE | {"azure_balancer_ports": "1"}])
def test_direct_servers_are_not_counted_against_the_balancer(anna: Client, choices: dict[str, str]) -> None:
    """Where the balancer is full, direct is still possible."""
    anna.make_server("a")
    full = anna.post("/servers", json={"name": "b", "game": "luanti"})
    assert (full.status_code, "direct" in full.get_json()["detail"]) == (503, True)
    anna.make_server("b", network="direct")


def test_the_catalogue_says_what_suits_a_game(anna: Client) -> None:
    """For who wants to know before."""
    assert anna.get("/games/openttd").get_json()["world"] == {"storage": "share", "disk_mib": None}
    assert anna.get("/games/luanti").get_json()["world"] == {"storage": "disk", "disk_mib": None}
