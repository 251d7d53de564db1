"""The application: every route, behind one way to trace, to authenticate and to fail."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from flask import Blueprint, Flask, Response

from overworld.web.api import (
    accounts,
    addresses,
    configuration,
    console,
    events,
    files,
    games,
    nodes,
    operations,
    recovery,
    save_policies,
    saved_files,
    saves,
    servers,
    uploads,
    usage,
)
from overworld.web.dispatch import make_view
from overworld.web.docs import make_docs
from overworld.web.health import make_health
from overworld.web.openapi import PREFIX, build_document
from overworld.web.problems import register_problems
from overworld.web.routes import Installation, Routes
from overworld.web.trace import register_trace

if TYPE_CHECKING:
    from overworld.engines.base import Console
    from overworld.games.catalogue import Catalogue
    from overworld.settings import Settings
    from overworld.store.database import Database
    from overworld.web.worker_link import WorkerLink

MAX_BODY_BYTES = 1024 * 1024

GROUPS: tuple[Routes, ...] = (
    games.routes,
    servers.routes,
    configuration.routes,
    saves.routes,
    save_policies.routes,
    saved_files.routes,
    uploads.routes,
    operations.routes,
    console.routes,
    files.routes,
    events.routes,
    usage.routes,
    accounts.routes,
    addresses.routes,
    nodes.routes,
    recovery.routes,
)


def create_app(
    database: Database, console: Console, catalogue: Catalogue, settings: Settings, worker: WorkerLink
) -> Flask:
    """The API as a WSGI application. Connects to nothing before the first request; holds no state between requests,
    so any number of processes may serve the same database."""
    installation = Installation(database, console, catalogue, settings, worker)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.url_map.merge_slashes = False  # else //x is answered with a redirect, which is HTML and no problem document
    register_trace(app)
    register_problems(app)
    app.register_blueprint(_make_api(installation))
    app.register_blueprint(make_health(installation))
    app.register_blueprint(make_docs())
    return app


def _make_api(installation: Installation) -> Blueprint:
    api = Blueprint("api", __name__, url_prefix=PREFIX)
    for group in GROUPS:
        for route in group.declared:
            api.add_url_rule(
                route.rule,
                endpoint=route.name.replace(".", ":"),  # Flask keeps dots for itself
                view_func=make_view(route, installation),
                methods=[route.method],
            )
    document = cache(lambda: json.dumps(build_document(GROUPS)))  # made when it is first asked for

    @api.get("/openapi.json")
    def openapi() -> Response:
        """The description of this API; anybody may read it."""
        return Response(document(), content_type="application/json")

    return api
