"""Where a server is reached, from what is leased and what was seen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from overworld.controller.subject import Subject
from overworld.domain.addresses import AddressLease
from overworld.domain.conditions import Reason, Truth
from overworld.domain.games import Game
from overworld.domain.observed import Observed
from overworld.domain.servers import Endpoint, Network
from overworld.store.ports import PortLease


class Seen(NamedTuple):
    """A condition without its type, generation and time."""

    truth: Truth
    reason: str
    message: str


def derive_endpoints(
    game: Game | None,
    network: Network | None,
    leases: Sequence[PortLease],
    address: AddressLease | None,
    *,
    observed: Observed,
    host: str,
) -> tuple[Endpoint, ...]:
    """Every port with its address, by name. ``host`` is the one machine's that shares its ports among servers.

    On an address of its own a server has its game's own ports; its host is the leased IP, else what the cluster's
    balancer has chosen, else empty: not known yet. Ports of a node are leased, and their host is that node's.
    """
    if network is not Network.STABLE:
        if network is Network.DIRECT:
            host = _seen_host(observed)
        return tuple(
            Endpoint(lease.name, lease.protocol, host, lease.port)
            for lease in sorted(leases, key=lambda lease: lease.name)
        )
    if game is None:
        return ()
    own = address.ip or "" if address is not None else _seen_host(observed)
    dns_name = address.fqdn if address is not None else None
    return tuple(
        Endpoint(port.name, port.protocol, own, port.default, dns_name)
        for port in sorted(game.ports, key=lambda port: port.name)
    )


def _seen_host(observed: Observed) -> str:
    return observed.way_in.hosts[0] if observed.way_in is not None and observed.way_in.hosts else ""


def see_addressed(subject: Subject, observed: Observed) -> Seen | None:
    """Whether its address leads to it; None where it has neither one of its own nor its node's. What the balancer says
    counts only where it is what was leased: it may go on telling of an old address."""
    match subject.network:
        case None:
            return None
        case Network.DIRECT:
            return _see_node_host(observed)
        case Network.STABLE:
            return _see_leased(subject, observed)


def _see_leased(subject: Subject, observed: Observed) -> Seen:
    """The same where it has an address of its own."""
    if subject.lacks_address:
        return Seen(Truth.FALSE, Reason.ADDRESS_PENDING, "Its public address is being made.")
    hosts = observed.way_in.hosts if observed.way_in is not None else ()
    lease = subject.address
    if lease is None or lease.ip is None:
        return _see_given(hosts)
    if lease.ip in hosts:
        name = f" ({lease.fqdn})" if lease.fqdn else ""
        return Seen(Truth.TRUE, Reason.REACHABLE, f"Its address is {lease.ip}{name}.")
    if hosts:
        message = f"The load balancer still leads {', '.join(hosts)} to it instead of its address {lease.ip}."
        return Seen(Truth.FALSE, Reason.ADDRESS_WRONG, message)
    message = f"The load balancer does not lead its address {lease.ip} to it yet."
    return Seen(Truth.FALSE, Reason.ADDRESS_PENDING, message)


def _see_given(hosts: tuple[str, ...]) -> Seen:
    """The same where the cluster's own balancer chooses."""
    if not hosts:
        return Seen(Truth.FALSE, Reason.ADDRESS_PENDING, "The cluster's load balancer has given it no address yet.")
    return Seen(Truth.TRUE, Reason.REACHABLE, f"Its address is {hosts[0]}.")


def _see_node_host(observed: Observed) -> Seen:
    """The same where players come in by ports of the node."""
    host = _seen_host(observed)
    if host:
        message = (
            f"It is reached at its node's address {host}. It moves only with the server: the address follows the node."
        )
        return Seen(Truth.TRUE, Reason.REACHABLE, message)
    if observed.node is None:
        return Seen(
            Truth.FALSE, Reason.ADDRESS_PENDING, "It has the address of the node that it runs on, and runs on none."
        )
    return Seen(
        Truth.FALSE, Reason.ADDRESS_PENDING, f"Its node {observed.node} has no address that players could reach."
    )
