"""What has to be true of this machine before a game is started; each refusal says what its owner can do."""

from __future__ import annotations

import errno
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from overworld.domain.errors import EngineRefused, EngineUnavailable
from overworld.domain.games import Protocol
from overworld.domain.servers import Endpoint
from overworld.engines.local.users import User

LEAST_FREE_MIB = 64

_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn the system's errors into the port's: what somebody has to mend is refused, the rest is tried again."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in _FULL:
            raise _disk_full(f"while {doing}{where}") from error
        if error.errno in _CLOSED:
            raise EngineRefused(
                "FolderClosed",
                f"Overworld may not write here while {doing}: {error.strerror}{where}. Give its user the data folder.",
            ) from error
        raise EngineUnavailable(f"{error.strerror or error} while {doing}{where}") from error


def check_disk(folder: Path) -> None:
    """Raises EngineRefused if less than 64 MiB are free: a game that cannot save must not start."""
    free_mib = shutil.disk_usage(folder).free // 2**20
    if free_mib < LEAST_FREE_MIB:
        raise _disk_full(f"only {free_mib} MiB are free in {folder}, a start needs {LEAST_FREE_MIB}")


def _disk_full(why: str) -> EngineRefused:
    return EngineRefused(
        "DiskFull",
        f"The disk is full: {why}. Free some space or delete servers that are no longer needed; the server then "
        "starts by itself.",
    )


def check_reachable(folder: Path, user: User | None) -> None:
    """Raises EngineRefused if a server's own user could not come to its world."""
    if user is None:
        return
    for path in (folder, *folder.parents):
        if not path.stat().st_mode & 0o001:
            raise EngineRefused(
                "FolderClosed",
                f"Games run as users of their own and cannot come to their worlds: {path} is closed to others. "
                f"Open it with: chmod o+x {path}",
            )


def check_ports(endpoints: tuple[Endpoint, ...]) -> None:
    """Raises EngineRefused if another program listens on one of them; says which where that can be seen."""
    for endpoint in endpoints:
        if not can_listen(endpoint.protocol, endpoint.port):
            raise EngineRefused(
                "PortTaken",
                f"Another program listens on port {endpoint.port}/{endpoint.protocol}{_holder(endpoint)}. "
                "Stop it, or delete this server and create it anew to get another port.",
            )


def can_listen(protocol: Protocol, port: int) -> bool:
    """Whether a game could listen there now, on every address of this machine."""
    kind = socket.SOCK_DGRAM if protocol is Protocol.UDP else socket.SOCK_STREAM
    for family, anywhere in (
        (socket.AF_INET, "0.0.0.0"),  # noqa: S104 (that is the question)
        (socket.AF_INET6, "::"),
    ):
        try:
            with socket.socket(family, kind) as trial:
                if kind == socket.SOCK_STREAM:
                    # Connections of an earlier game that linger in TIME_WAIT are no obstacle to the next.
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind((anywhere, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            if family == socket.AF_INET:
                raise  # a machine may well be without IPv6
    return True


def _holder(endpoint: Endpoint) -> str:
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(endpoint.protocol.value):
            is_listening = endpoint.protocol is Protocol.UDP or connection.status == psutil.CONN_LISTEN
            if is_listening and connection.laddr and connection.laddr.port == endpoint.port and connection.pid:
                return f" ({psutil.Process(connection.pid).name()}, process {connection.pid})"
    return ""
