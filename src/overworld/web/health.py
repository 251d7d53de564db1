"""For those who watch: is it alive, is it ready, how is it doing."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

from flask import Blueprint, Response, request

from overworld.domain.accounts import Role
from overworld.domain.errors import NotAllowed, Unavailable
from overworld.store import recovery_mark, schema
from overworld.web import auth
from overworld.web.metrics import CONTENT_TYPE, render_metrics
from overworld.web.routes import Installation

_FORWARDING_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")


def make_health(installation: Installation) -> Blueprint:
    """The routes /livez, /readyz and /metrics."""
    health = Blueprint("health", __name__)
    schema_was_current = False

    @health.get("/livez")
    def livez() -> Response:
        """Alive: the process answers. Says nothing of the database, whose absence a restart would not mend."""
        return _plain("ok")

    @health.get("/readyz")
    def readyz() -> Response:
        """Ready: the database answers, its schema has been the one of this version, and no recovery of it is at work.
        Else 503.

        Once seen current it is not asked for again: a newer version may then upgrade it while this one goes on
        working, as every revision lets it.
        """
        nonlocal schema_was_current
        if not schema_was_current:
            if not schema.is_current(installation.database.url):
                raise Unavailable("The database's schema is not the one of this version: run `overworld db upgrade`.")
            if recovery_mark.read_mark(installation.database.url) is not None:
                raise Unavailable("A recovery of the database was begun and not ended.")
            schema_was_current = True
        with installation.database.transaction():
            return _plain("ok")

    @health.get("/metrics")
    def show_metrics() -> Response:
        """Metrics for Prometheus, to this machine and to admins: they tell how much Overworld is used."""
        if not _is_local():
            with installation.database.transaction() as tx:
                actor, _ = auth.authenticate(tx, auth.read_credentials(), datetime.now(UTC))
            if actor.role is not Role.ADMIN:
                raise NotAllowed("Metrics are for admins.")
        return Response(render_metrics(), content_type=CONTENT_TYPE)

    return health


def _is_local() -> bool:
    """Whether the request comes from this very machine, not through a proxy on it."""
    if any(name in request.headers for name in _FORWARDING_HEADERS):
        return False
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def _plain(text: str) -> Response:
    response = Response(text + "\n", content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response
