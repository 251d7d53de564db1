"""What a server is given that asks for something, for nothing, or for what cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlling import GAME, make_server
from overworld.domain.errors import BadInput
from overworld.domain.games import WorldLayout
from overworld.domain.offers import Offer
from overworld.domain.servers import Network
from overworld.domain.worlds import NO_SHARES, Storage
from overworld.services.choices import (
    check_same,
    choose_disk_mib,
    choose_network,
    choose_storage,
    grown_disk_mib,
)

MACHINE = Offer()
CLUSTER = Offer(network=Network.STABLE, disk_mib=8192)
AZURE = replace(CLUSTER, has_shares=True)
FOR_SHARES = replace(GAME, world=WorldLayout(storage=Storage.SHARE))
LARGE = replace(GAME, world=WorldLayout(disk_mib=20480))


@pytest.mark.parametrize(
    ("offer", "game", "asked", "chosen"),
    [
        (MACHINE, GAME, None, None),
        (MACHINE, FOR_SHARES, None, None),
        (MACHINE, GAME, Storage.DISK, None),
        (CLUSTER, GAME, None, Storage.DISK),
        (CLUSTER, FOR_SHARES, None, Storage.DISK),
        (AZURE, GAME, None, Storage.DISK),
        (AZURE, FOR_SHARES, None, Storage.SHARE),
        (AZURE, FOR_SHARES, Storage.DISK, Storage.DISK),
        (AZURE, GAME, Storage.SHARE, Storage.SHARE),
    ],
)
def test_what_a_world_lies_on(offer: Offer, game: object, asked: Storage | None, chosen: Storage | None) -> None:
    """The owner's choice, else the game's where there is such a thing, else a disk."""
    assert choose_storage(offer, game, asked) is chosen  # type: ignore[arg-type]


@pytest.mark.parametrize("offer", [MACHINE, CLUSTER])
def test_a_share_where_there_is_none_is_refused(offer: Offer) -> None:
    """By the field's name, with what would do."""
    with pytest.raises(BadInput) as refused:
        choose_storage(offer, GAME, Storage.SHARE)
    assert refused.value.extra["errors"] == [{"at": "/storage", "says": NO_SHARES}]


@pytest.mark.parametrize(
    ("game", "storage", "asked", "size"),
    [
        (GAME, Storage.DISK, None, 8192),
        (LARGE, Storage.DISK, None, 20480),
        (LARGE, Storage.DISK, 1024, 1024),
        (GAME, Storage.SHARE, None, None),
        (GAME, None, None, None),
    ],
)
def test_how_large_a_disk_is(game: object, storage: Storage | None, asked: int | None, size: int | None) -> None:
    """None where nothing limits a world's size by itself: no figure is made up."""
    assert choose_disk_mib(CLUSTER, game, storage, asked) == size  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("storage", "asked", "says"),
    [
        (Storage.DISK, 1023, "between 1024 and"),
        (Storage.DISK, 2**40, "between 1024 and"),
        (Storage.SHARE, 8192, "no size of its own"),
        (None, 8192, "does not limit"),
    ],
)
def test_a_size_that_cannot_be_is_refused(storage: Storage | None, asked: int, says: str) -> None:
    """At creation and later alike."""
    with pytest.raises(BadInput, match=says) as refused:
        choose_disk_mib(CLUSTER, GAME, storage, asked)
    assert refused.value.extra["errors"][0]["at"] == "/disk_mib"  # type: ignore[index]
    with pytest.raises(BadInput, match=says):
        grown_disk_mib(make_server(storage=storage, disk_mib=None), asked)


def test_how_players_come_in() -> None:
    """The owner's choice, else the installation's; on one machine there is none."""
    assert choose_network(CLUSTER, None) is Network.STABLE
    assert choose_network(CLUSTER, Network.DIRECT) is Network.DIRECT
    assert choose_network(MACHINE, None) is None
    with pytest.raises(BadInput, match="one machine"):
        choose_network(MACHINE, Network.DIRECT)


def test_a_disk_only_grows() -> None:
    """The same size again is fine; a smaller one is refused with both figures."""
    server = make_server(storage=Storage.DISK, disk_mib=8192)
    assert grown_disk_mib(server, 16384) == 16384
    assert grown_disk_mib(server, 8192) == 8192
    with pytest.raises(BadInput, match=r"only grow.*8 GiB \(8192 MiB\)"):
        grown_disk_mib(server, 4096)


def test_storage_and_network_stay() -> None:
    """Named as they are: fine. Otherwise: why, and what to do instead."""
    server = make_server(storage=Storage.DISK, network=Network.STABLE)
    check_same(server, storage=Storage.DISK, network=Network.STABLE)
    check_same(server, storage=None, network=None)
    with pytest.raises(BadInput, match="lies on a disk, and stays there"):
        check_same(server, storage=Storage.SHARE, network=None)
    with pytest.raises(BadInput, match="is stable and stays"):
        check_same(server, storage=None, network=Network.DIRECT)
    with pytest.raises(BadInput, match="this machine's own disk"):
        check_same(make_server(), storage=Storage.DISK, network=None)
