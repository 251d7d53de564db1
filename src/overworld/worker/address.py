"""Where the worker listens for web: a socket in the data folder that only Overworld's own user can open, or an address
that the operator chose."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from overworld.domain.errors import BadInput

SOCKET_NAME = "worker.socket"


def listen_in(folder: Path) -> socket.socket:
    """A listening socket in ``folder``, mode 0600. One that a dead worker left is replaced; of two living ones the
    newer gets what comes. Goes by a descriptor, for a socket's path may have 107 bytes and a folder's more."""
    listener = socket.socket(socket.AF_UNIX)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    mask = os.umask(0o177)
    try:
        with suppress(FileNotFoundError):
            os.unlink(SOCKET_NAME, dir_fd=opened)
        listener.bind(f"/proc/self/fd/{opened}/{SOCKET_NAME}")
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
        os.close(opened)
    return listener


def listen_on(address: str) -> socket.socket:
    """A socket that listens on ``host:port``. Raises BadInput if this machine cannot."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=128)
    except OSError as error:
        raise BadInput(f"The worker cannot listen on {address}: {error.strerror}.") from error
