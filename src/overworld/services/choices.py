"""What a server's world lies on and how players come in: what was asked for, else what suits. Pure.

Each refusal says what would be possible; what nobody asked for never refuses a server.
"""

from __future__ import annotations

from typing import NoReturn

from overworld.domain.errors import BadInput
from overworld.domain.games import Game
from overworld.domain.offers import Offer
from overworld.domain.servers import Network, Server
from overworld.domain.worlds import MAXIMUM_DISK_MIB, MINIMUM_DISK_MIB, NO_SHARES, Storage, say_size


def choose_storage(offer: Offer, game: Game, asked: Storage | None) -> Storage | None:
    """What the world of a new server is to lie on; None where there is only this machine's own disk."""
    if asked is Storage.SHARE and not offer.has_shares:
        _refuse("/storage", NO_SHARES)
    if offer.disk_mib is None:
        return None
    if asked is not None:
        return asked
    return game.world.storage if offer.has_shares else Storage.DISK


def choose_disk_mib(offer: Offer, game: Game, storage: Storage | None, asked: int | None) -> int | None:
    """The size of a new server's disk in MiB; None where its world has no size of its own."""
    if asked is not None:
        _check_disk(storage, asked)
        return asked
    return None if storage is not Storage.DISK else game.world.disk_mib or offer.disk_mib


def choose_network(offer: Offer, asked: Network | None) -> Network | None:
    """How players are to come in; None where every server has ports of this one machine."""
    if offer.network is None and asked is not None:
        _refuse("/network", "All servers of this installation have ports of one machine: leave the network mode out.")
    return asked or offer.network


def check_same(server: Server, *, storage: Storage | None, network: Network | None) -> None:
    """An edit may name what a server has. Raises BadInput for anything else, with the reason."""
    if storage is not None and storage is not server.storage:
        present = f"on a {server.storage}" if server.storage is not None else "on this machine's own disk"
        _refuse(
            "/storage",
            f"Its world lies {present}, and stays there: nothing moves a world to another storage. Make another server "
            f"with {storage} as its storage.",
        )
    if network is not None and network is not server.network:
        present = f"is {server.network}" if server.network is not None else "cannot be chosen on one machine"
        _refuse(
            "/network",
            f"Its network mode {present} and stays as it is: players know its address. Make another server with the "
            f"network mode {network}.",
        )


def grown_disk_mib(server: Server, asked: int) -> int:
    """The size that its disk is to have now. Raises BadInput for a smaller one: no cloud shrinks a disk."""
    _check_disk(server.storage, asked)
    present = server.disk_mib
    if present is not None and asked < present:
        _refuse(
            "/disk_mib",
            f"A disk can only grow, and this one has {say_size(present)} ({present} MiB). For a smaller one, make "
            "another server.",
        )
    return asked


def _check_disk(storage: Storage | None, asked: int) -> None:
    if storage is Storage.SHARE:
        _refuse("/disk_mib", "A world in a share has no size of its own: leave it out, or choose disk as the storage.")
    if storage is None:
        _refuse("/disk_mib", "This installation does not limit the size of worlds: leave it out.")
    if not MINIMUM_DISK_MIB <= asked <= MAXIMUM_DISK_MIB:
        _refuse("/disk_mib", f"A disk has between {MINIMUM_DISK_MIB} and {MAXIMUM_DISK_MIB} MiB.")


def _refuse(at: str, says: str) -> NoReturn:
    raise BadInput(says, errors=[{"at": at, "says": says}])
