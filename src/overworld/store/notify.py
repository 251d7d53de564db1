"""NOTIFY and LISTEN: wakes sleepers early. Never the only way to learn of anything: a poll stands behind it."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import func
from sqlalchemy import select as select_rows

from overworld.store.database import CONNECT_SECONDS, Transaction, parse_url

log = structlog.get_logger(__name__)

DESIRED = "desired"
"""The channel of every write of a spec."""

PROBE_SECONDS = 15.0
RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)


def notify(tx: Transaction, channel: str) -> None:
    """Wake the channel's listeners when (and only when) the transaction commits."""
    tx.execute(select_rows(func.pg_notify(channel, "")))


class Listener:
    """Calls ``on_notify(channel)`` soon after every NOTIFY, from a thread of its own; notifications merge.

    Also calls it once for every channel after each connect and reconnect, because what was sent in between is lost;
    and a connection that died silently is found within ``PROBE_SECONDS`` and a TCP time-out. ``on_notify`` must not
    block; what it raises is logged and does not end the listening.
    """

    def __init__(
        self, url: str, channels: Sequence[str], on_notify: Callable[[str], None], *, application_name: str
    ) -> None:
        self._conninfo = parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._channels = tuple(channels)
        self._on_notify = on_notify
        self._application_name = application_name
        self._closing = threading.Event()
        self._wake_reader, self._wake_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Begin; returns at once, whether PostgreSQL answers or not."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and its connection; returns when it is gone. Safe to call twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        os.write(self._wake_writer, b"x")
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                with self._connect() as connection:
                    failures = 0
                    self._tell(self._channels)
                    self._listen(connection)
            except psycopg.Error as error:
                pause = RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)]
                failures += 1
                log.warning("listening was interrupted", error=str(error).strip(), again_in_seconds=pause)
                self._closing.wait(pause)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        connection = psycopg.connect(
            self._conninfo,
            autocommit=True,
            application_name=self._application_name,
            connect_timeout=CONNECT_SECONDS,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        try:
            for channel in self._channels:
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        except BaseException:
            connection.close()
            raise
        return connection

    def _listen(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        while not self._closing.is_set():
            readable, _, _ = select.select([connection.fileno(), self._wake_reader], [], [], PROBE_SECONDS)
            if not readable:
                connection.execute("SELECT 1")
            seen = {notification.channel for notification in connection.notifies(timeout=0)}
            self._tell([channel for channel in self._channels if channel in seen])

    def _tell(self, channels: Sequence[str]) -> None:
        for channel in channels:
            try:
                self._on_notify(channel)
            except Exception:
                log.exception("a listener's callback failed", channel=channel)
