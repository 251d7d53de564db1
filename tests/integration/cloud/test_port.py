"""What every cloud promises."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from overworld.cloud.base import Cloud, MachineState
from overworld.cloud.capacity import check_capacity
from overworld.cloud.none import NoCloud
from overworld.domain.addresses import Leased
from overworld.domain.errors import CloudRefused

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


async def test_ensuring_twice_is_ensuring_once(cloud: Cloud) -> None:
    """The second call returns the same address, and there is one at most."""
    first = await cloud.ensure_address("bcdf23456789", "bcdf23456789")
    assert await cloud.ensure_address("bcdf23456789", "bcdf23456789") == first
    assert first.server_id == "bcdf23456789"
    assert [seen.ip for seen in await cloud.addresses()] in ([], [first.ip])


async def test_servers_share_nothing(cloud: Cloud) -> None:
    """Each server has an address of its own, and releasing one leaves the other."""
    one = await cloud.ensure_address("bcdf23456789", "one-label")
    two = await cloud.ensure_address("bcdf23456788", "two-label")
    assert one.resource != two.resource
    assert one.ip != two.ip or one.ip is None
    await cloud.release_address("bcdf23456789")
    assert await cloud.ensure_address("bcdf23456788", "two-label") == two


async def test_releasing_is_safe_at_any_time(cloud: Cloud) -> None:
    """Before there is anything, and twice; after it nothing of the server is seen."""
    await cloud.release_address("bcdf23456789")
    await cloud.ensure_address("bcdf23456789", "bcdf23456789")
    await cloud.release_address("bcdf23456789")
    await cloud.release_address("bcdf23456789")
    assert await cloud.addresses() == ()


async def test_an_address_that_is_gone_is_not_marked(cloud: Cloud) -> None:
    """Marking nothing is no error and makes nothing."""
    await cloud.mark_orphan("bcdf23456789", NOW)
    assert await cloud.addresses() == ()


async def test_an_empty_installation_has_room(cloud: Cloud) -> None:
    """The capacity can be read, and a first server fits."""
    check_capacity(await cloud.capacity(), Leased(ports=0, addresses_to_come=0), ports_needed=2)


async def test_a_folder_or_a_reason(cloud: Cloud) -> None:
    """A folder is the same folder each time; a cloud without shares says so with one word, and removes nothing."""
    if isinstance(cloud, NoCloud):
        with pytest.raises(CloudRefused, match="choose disk") as refused:
            await cloud.ensure_folder("bcdf23456789", 1)
        assert (refused.value.reason, refused.value.retry_after) == ("NoShares", None)
    else:
        folder = await cloud.ensure_folder("bcdf23456789", 1)
        assert await cloud.ensure_folder("bcdf23456789", 1) == folder
    await cloud.remove_folder("bcdf23456789", 1)
    await cloud.remove_folder("bcdf23456789", 1)


async def test_closing_twice(cloud: Cloud) -> None:
    """A closed cloud can be closed."""
    await cloud.ensure_address("bcdf23456789", "bcdf23456789")
    await cloud.close()
    await cloud.close()


async def test_a_machine_that_nobody_knows_is_never_stopped(cloud: Cloud) -> None:
    """Where the cloud cannot tell, it says so, and powers nothing off."""
    if isinstance(cloud, NoCloud):
        assert await cloud.machine_state("kind://docker/x/y") is MachineState.UNKNOWN
    with pytest.raises(CloudRefused) as refused:
        await cloud.power_off("kind://docker/x/y")
    assert refused.value.reason in {"NoMachines", "MachineForeign"}
