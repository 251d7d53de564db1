"""Pages about the API, all from this process: the browsable description, and one page for each problem."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from flask import Blueprint, Response

from overworld.domain.errors import NotFound

# The browser itself refuses to load anything from elsewhere. Swagger UI sets styles on its elements.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_ASSETS = {
    "index.css": "text/css",
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


def make_docs() -> Blueprint:
    """The routes below /docs; anybody may read them."""
    docs = Blueprint("docs", __name__)

    @docs.get("/")
    def root() -> Response:
        """To the page for people, for whoever opens the address that ``overworld up`` prints."""
        response = Response(status=302)
        response.headers["Location"] = "/docs"
        return response

    @docs.get("/docs")
    def index() -> Response:
        """The API for browsing and trying."""
        response = _file(_own("index.html"), "text/html")
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return response

    @docs.get("/docs/assets/<name>")
    def asset(name: str) -> Response:
        """What that page is made of: Swagger UI's files, from its package."""
        if name == "start.js":
            return _file(_own(name), "text/javascript")
        if name not in _ASSETS:
            raise NotFound("There is no such file.")
        response = _file(files("flask_swagger_ui") / "dist" / name, _ASSETS[name])
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response

    @docs.get("/docs/problems/<slug>")
    def problem(slug: str) -> Response:
        """What a problem means and what to do about it: the page that its ``type`` names."""
        page = problem_pages() / f"{slug}.md"
        if re.fullmatch(r"[a-z-]{1,64}", slug) is None or not page.is_file():
            raise NotFound("There is no such problem.")
        return _file(page, "text/plain")

    return docs


def problem_pages() -> Path:
    """The folder of the problem pages: in an installed package beside this file, in a checkout under docs."""
    packaged = Path(__file__).parent / "problem_pages"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "docs" / "problems"


def _own(name: str) -> Traversable:
    return files("overworld.web") / "docs_page" / name


def _file(file: Traversable, media_type: str) -> Response:
    charset = "" if media_type.startswith("image/") else "; charset=utf-8"
    return Response(file.read_bytes(), content_type=media_type + charset)
