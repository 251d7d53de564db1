"""gunicorn with one gevent worker: thousands of open streams in one small process; more are had by replicas."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.util import write_nonblock
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

if TYPE_CHECKING:
    from flask import Flask

MAX_CONNECTIONS = 2000
KEEP_ALIVE_SECONDS = 15  # also the time within which a request's headers must have come
GRACE_SECONDS = 3  # for requests in work at the end; streams are cut, clients resume them by line id
SOCKET_SECONDS = 30  # that a client may take to send the next bytes, or to take some

DRAIN_SECONDS = 1
MAX_DRAINS = 32

_PR_SET_PDEATHSIG = 1  # prctl(2)

_PROTOCOL_ERRORS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.LimitRequestLine, 414, "The address is too long."),
    (errors.LimitRequestHeaders, 431, "The headers are too large, or too many."),
    (errors.ExpectationFailed, 417, "Only Expect: 100-continue is understood."),
    (errors.UnsupportedTransferCoding, 501, "Only the transfer coding chunked is understood."),
    (errors.ParseException, 400, "This is not HTTP/1.1."),
)


def serve(load_app: Callable[[], Flask], *, host: str, port: int, parent: int | None = None) -> NoReturn:
    """Serve until SIGTERM or SIGINT, then end within a few seconds. Never returns: exits the process.

    ``load_app`` is called in the worker, after the fork, so that no connection is shared between processes; gevent
    must have patched the process before anything else was imported (see __main__). With ``parent``, the process id of
    the one that started this process, this one ends when that one dies, however and however soon it dies.
    """
    if parent is not None:
        _die_with(parent, signal.SIGTERM)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    _Server(load_app, address).run()
    raise SystemExit(0)


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """A gevent worker whose clients cannot stall it, and that answers even garbage with a problem document."""

    def init_process(self) -> None:
        """Die with the arbiter, at once: else the port stays taken while a new one starts."""
        _die_with(self.ppid, signal.SIGKILL)
        super().init_process()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection."""
        client.settimeout(SOCKET_SECONDS)
        # Not GeventWorker's own, which takes the time-out away again.
        AsyncWorker.handle(self, listener, client, addr)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what never became a request."""
        if isinstance(exc, TimeoutError):
            return
        found = next((known for known in _PROTOCOL_ERRORS if isinstance(exc, known[0])), None)
        if found is None:
            self.log.error("fault outside of a request", exc_info=exc)
        _, status, detail = found or (Exception, 500, "This is a fault of Overworld's.")
        with suppress(OSError):  # the client may be gone
            write_nonblock(client, _protocol_problem(status, detail))
            # Closing with bytes unread would reset the connection, and the client might lose the answer.
            client.shutdown(socket.SHUT_WR)
            client.settimeout(DRAIN_SECONDS)
            for _ in range(MAX_DRAINS):
                if not client.recv(65536):
                    break


def _protocol_problem(status: int, detail: str) -> bytes:
    request_id = secrets.token_hex(8)
    document = {
        "type": "/docs/problems/malformed" if status < 500 or status == 501 else "/docs/problems/internal",
        "title": "The request cannot be read" if status != 500 else "Something went wrong inside Overworld",
        "status": status,
        "detail": detail,
        "instance": "/",
        "request_id": request_id,
    }
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status} Refused\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nX-Request-Id: {request_id}\r\n\r\n"
    )
    return head.encode("ascii") + body


class _PlainLogger(Logger):  # type: ignore[misc]
    """gunicorn's words through the process's own log configuration (overworld.logs)."""

    def setup(self, cfg: Any) -> None:
        """Add no handler, and let the root logger have every line."""
        self.cfg = cfg
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)
        self._access_log_enabled = False

    def access(self, *_: Any) -> None:
        """Nothing: web/trace.py writes the access log, with the request's id."""


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, load_app: Callable[[], Flask], address: str) -> None:
        self._load_app = load_app
        self._address = address
        super().__init__()

    def load_config(self) -> None:
        settings = {
            "bind": [self._address],
            "workers": 1,
            "worker_class": f"{__name__}.Worker",
            "worker_connections": MAX_CONNECTIONS,
            "keepalive": KEEP_ALIVE_SECONDS,
            "graceful_timeout": GRACE_SECONDS,
            "limit_request_line": 8190,
            "limit_request_fields": 64,
            "limit_request_field_size": 8190,
            "logger_class": _PlainLogger,
            # Nobody is trusted to say who the client is, or under which path the app lies.
            "forwarded_allow_ips": "",
            "control_socket_disable": True,  # gunicorn 27 would open one under HOME
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._load_app()


def _die_with(parent: int, signal_number: signal.Signals) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal_number)) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # It may have died before the kernel was asked: while this process still imported its modules, for instance.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)
