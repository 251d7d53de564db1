"""The last places, and the sentences when there are none."""

from __future__ import annotations

import pytest

from overworld.cloud.capacity import AddressQuota, Capacity, check_capacity
from overworld.domain.addresses import Leased
from overworld.domain.errors import CapacityExhausted


def capacity(used: int = 0, limit: int = 1000, ports: int | None = 300) -> Capacity:
    """One quota and the balancer's limit."""
    return Capacity((AddressQuota("eastus", used, limit, "Raise the quota PublicIPAddresses."),), ports)


@pytest.mark.parametrize(
    ("leased", "needed", "fits"), [(299, 1, True), (300, 1, False), (298, 2, True), (298, 3, False)]
)
def test_ports_are_counted_not_servers(leased: int, needed: int, fits: bool) -> None:
    """300 ports in all: the last may be taken, the next not."""
    if fits:
        check_capacity(capacity(), Leased(leased, 0), needed)
        return
    with pytest.raises(CapacityExhausted) as exhausted:
        check_capacity(capacity(), Leased(leased, 0), needed)
    assert exhausted.value.extra == {"limit": 300, "used": leased, "needed": needed}


def test_the_sentence_about_ports() -> None:
    """It has the figures and says that this limit cannot be raised, and what else helps."""
    with pytest.raises(CapacityExhausted) as exhausted:
        check_capacity(capacity(), Leased(299, 0), 3)
    assert exhausted.value.detail == (
        "The cluster's load balancer takes 300 ports, 299 are leased and this server needs 3: 1 left. The limit of a "
        "cluster cannot be raised: delete servers for good, choose the network mode direct for some, or give them "
        "another cluster."
    )


@pytest.mark.parametrize(("used", "to_come", "fits"), [(9, 0, True), (10, 0, False), (8, 1, True), (8, 2, False)])
def test_promised_addresses_count(used: int, to_come: int, fits: bool) -> None:
    """A lease whose address is still being made takes its place already."""
    if fits:
        check_capacity(capacity(used, limit=10), Leased(0, to_come), 1)
        return
    with pytest.raises(CapacityExhausted):
        check_capacity(capacity(used, limit=10), Leased(0, to_come), 1)


def test_the_sentence_about_addresses() -> None:
    """It has the figures, the promised ones too, and what to raise."""
    with pytest.raises(CapacityExhausted) as exhausted:
        check_capacity(capacity(8, limit=10), Leased(0, 2), 1)
    assert exhausted.value.detail == (
        "No public address is left: 8 of 10 in eastus are used and 2 more are promised. Raise the quota "
        "PublicIPAddresses."
    )


def test_the_tightest_quota_decides() -> None:
    """An address counts against each quota."""
    both = Capacity((AddressQuota("eastus", 1, 9, "Raise A."), AddressQuota("eastus", 9, 9, "Raise B.")), None)
    with pytest.raises(CapacityExhausted, match=r"Raise B\."):
        check_capacity(both, Leased(0, 0), 1)


def test_nothing_counted_nothing_refused() -> None:
    """Without limits every server fits."""
    check_capacity(Capacity((), None), Leased(10**6, 10**6), 100)
