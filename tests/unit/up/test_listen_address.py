"""The API's address is really free before anything is said to be ready on it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from overworld.domain.errors import BadInput, Conflict
from overworld.up.listen_address import wait_until_free


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Another program's socket."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


async def test_a_taken_port_is_a_conflict_that_names_it(listener: socket.socket) -> None:
    """Two programs cannot have one port; which setting helps is said."""
    port = listener.getsockname()[1]
    with pytest.raises(Conflict, match=f"TCP port {port}.*OVERWORLD_LISTEN_PORT"):
        await wait_until_free("127.0.0.1", port, asyncio.Event(), within_seconds=0)


async def test_a_port_that_becomes_free_was_worth_waiting_for(listener: socket.socket) -> None:
    """The API of an Overworld that was killed ends a moment after it."""
    waiting = asyncio.create_task(wait_until_free("127.0.0.1", listener.getsockname()[1], asyncio.Event()))
    await asyncio.sleep(0)
    listener.close()
    await asyncio.wait_for(waiting, 10)


async def test_the_end_ends_the_wait(listener: socket.socket) -> None:
    """Ctrl-C is not made to wait for somebody else's port."""
    stop = asyncio.Event()
    stop.set()
    await wait_until_free("127.0.0.1", listener.getsockname()[1], stop)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_of_another_machine_is_refused(host: str) -> None:
    """It will never work: not waited for, and the settings are named."""
    with pytest.raises(BadInput, match="OVERWORLD_LISTEN_HOST"):
        await wait_until_free(host, 8470, asyncio.Event())
