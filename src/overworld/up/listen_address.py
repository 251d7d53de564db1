"""The address of the API, looked at before anything is started: only then is "ready" said about our own API."""

from __future__ import annotations

import asyncio
import errno
import socket

import structlog

from overworld.domain.errors import BadInput, Conflict

log = structlog.get_logger(__name__)

FREE_WITHIN_SECONDS = 10.0  # the API of an `up` that was killed ends its requests first
LOOK_EVERY_SECONDS = 0.2


async def wait_until_free(
    host: str, port: int, stop: asyncio.Event, *, within_seconds: float = FREE_WITHIN_SECONDS
) -> None:
    """Return as soon as nothing listens on the address, usually at once, or ``stop`` is set.

    Raises Conflict if something still does after ``within_seconds``, BadInput if this machine cannot listen there at
    all (not its address, no such name, a port that needs root).
    """
    give_up_at = asyncio.get_running_loop().time() + within_seconds
    waits = False
    while not stop.is_set() and await asyncio.to_thread(_is_taken, host, port):
        if asyncio.get_running_loop().time() > give_up_at:
            raise Conflict(
                f"Another program listens on {host}, TCP port {port}. "
                "Stop that one, or set OVERWORLD_LISTEN_PORT to another port."
            )
        if not waits:
            log.warning("the API's port is taken; waiting for it", host=host, port=port, at_most_s=within_seconds)
        waits = True
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def _is_taken(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the API's own socket: what a closed connection left behind does not count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return True
        raise BadInput(
            f"The API cannot listen on {host}, TCP port {port}: {error.strerror or error}. "
            "Correct OVERWORLD_LISTEN_HOST or OVERWORLD_LISTEN_PORT."
        ) from error
    return False
