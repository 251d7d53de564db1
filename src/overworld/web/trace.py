"""Every request has an id, one log line and its metrics."""

from __future__ import annotations

import re
import secrets
import time
from urllib.parse import quote

import structlog
from flask import Flask, Response, g, request

from overworld.web.metrics import REQUESTS, SECONDS, STREAMS

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


def register_trace(app: Flask) -> None:
    """Give each request of ``app`` its id (the client's own if it is harmless), and note how it went."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        g.began_at = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id, **_ids_in_path())

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.began_at
        route = request.url_rule.rule if request.url_rule is not None else "(none)"
        method = request.method if request.method in _METHODS else "(other)"
        REQUESTS.labels(method, route, str(response.status_code)).inc()
        SECONDS.labels(method, route).observe(seconds)
        response.headers["X-Request-Id"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        # Who only looks is counted (metrics), not told: the lines that matter would drown.
        is_quiet = route in _QUIET_ROUTES or (method in {"GET", "HEAD"} and response.status_code < 400)
        note = log.debug if is_quiet else log.info
        note(
            "request",
            method=method,
            path=quote(request.path),  # no control character reaches a terminal
            status=response.status_code,
            milliseconds=round(seconds * 1000, 1),
            peer=request.remote_addr,
        )
        if response.is_streamed and response.mimetype == "text/event-stream":
            STREAMS.inc()
            response.call_on_close(STREAMS.dec)
        return response


def _ids_in_path() -> dict[str, str]:
    """Server and operation ids, for the log lines of everything that the request does."""
    values = request.view_args or {}
    return {name: quote(str(values[name])) for name in ("server_id", "operation_id") if name in values}
