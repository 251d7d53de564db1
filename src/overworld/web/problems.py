"""Every error as one shape: RFC 9457 problem documents, whose ``type`` is a page that this program serves itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import quote

import structlog
from flask import Flask, Response, g, request
from pydantic import ConfigDict, Field
from werkzeug.exceptions import HTTPException

from overworld.domain.errors import Conflict, NotAuthenticated, NotFound, OverworldError, Unavailable
from overworld.web.wire import Shown

MEDIA_TYPE = "application/problem+json"
PAGES = "/docs/problems/"

log = structlog.get_logger(__name__)


class Malformed(OverworldError):
    """The request is not HTTP or not JSON as it should be."""

    slug: ClassVar[str] = "malformed"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request cannot be read"


class MethodNotAllowed(OverworldError):
    """The address exists, the method does not; ``Allow`` names those that do."""

    slug = "method-not-allowed"
    status = 405
    title = "Not with this method"


class TooLarge(OverworldError):
    """The body is over the limit."""

    slug = "too-large"
    status = 413
    title = "The body is too large"


class UnsupportedMediaType(OverworldError):
    """The body is not declared to be JSON."""

    slug = "unsupported-media-type"
    status = 415
    title = "Only JSON is understood"


class StillRunning(Conflict):
    """Another request with the same Idempotency-Key has not ended."""

    slug = "still-running"
    title = "The same request is still running"


class FieldProblem(Shown):
    """One thing that is wrong with a request: where (a JSON pointer into the body, or the parameter) and what."""

    at: str
    says: str


class Problem(Shown):
    """What went wrong (RFC 9457). Clients may switch on `type`; `detail` is for the person who has to act."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(json_schema_extra={"format": "uri-reference"}, description="The page that explains it.")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str = Field(description="The path that was asked for.")
    request_id: str = Field(description="Under this id the operator finds the request in the logs.")
    errors: list[FieldProblem] = Field(default=[], description="All that is wrong with the request, one by one.")


def all_problems() -> Iterator[type[OverworldError]]:
    """Every class of error that a caller can be shown, each slug once: those of the domain and those of HTTP. Parts
    have errors of their own below these (a lost lease, a failed query), which never leave their role."""
    seen: set[str] = set()
    waiting: list[type[OverworldError]] = [OverworldError]
    while waiting:
        kind = waiting.pop(0)
        waiting += kind.__subclasses__()
        if kind.__module__ in {OverworldError.__module__, __name__} and kind.slug not in seen:
            seen.add(kind.slug)
            yield kind


def render_problem(error: OverworldError, *, status: int | None = None) -> Response:
    """The response for an error. 401 says how to authenticate, 503 and a running twin when to come back."""
    document = Problem(
        type=PAGES + error.slug,
        title=error.title,
        status=status or error.status,
        detail=error.detail,
        instance=quote(request.path),
        request_id=g.request_id,
        **error.extra,  # type: ignore[arg-type]  # extension members, RFC 9457 section 3.2
    )
    response = Response(
        document.model_dump_json(exclude_defaults=True), status=document.status, content_type=MEDIA_TYPE
    )
    response.headers["Cache-Control"] = "no-store"
    if isinstance(error, NotAuthenticated):
        response.headers["WWW-Authenticate"] = 'Bearer realm="overworld"'
    if isinstance(error, Unavailable | StillRunning):
        response.headers["Retry-After"] = "1"
    return response


def register_problems(app: Flask) -> None:
    """Make ``app`` answer every error with a problem document, whoever raised it."""
    app.register_error_handler(OverworldError, _on_our_error)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(Exception, _on_fault)


def _on_our_error(error: OverworldError) -> Response:
    if error.status >= 500:
        log.error("request failed", problem=error.slug, detail=error.detail, exc_info=error)
    return render_problem(error)


def _on_http_error(error: HTTPException) -> Response:
    """Errors that Flask and Werkzeug raise; their own texts are HTML, and may repeat input."""
    if error.code == 404:
        return render_problem(NotFound(f"There is nothing at {quote(request.path)}."))
    if error.code == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        response = render_problem(MethodNotAllowed(f"Here you can use: {allowed}."))
        response.headers["Allow"] = allowed
        return response
    if error.code == 413:
        return render_problem(TooLarge(f"Here a body may have {(request.max_content_length or 0) // 2**20} MiB."))
    return render_problem(Malformed("The request is not as HTTP wants it."), status=error.code)


def _on_fault(error: Exception) -> Response:
    log.error("fault while answering a request", exc_info=error)
    return render_problem(OverworldError("This is a fault of Overworld's. Its operator finds it by the request id."))
