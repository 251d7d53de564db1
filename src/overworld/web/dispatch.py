"""One request from its headers to its response: authentication, idempotency, one transaction, ETags."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from flask import Response, request

from overworld.domain.errors import BadInput, Conflict, Unavailable
from overworld.store import idempotency
from overworld.store.idempotency import Saved
from overworld.web import auth, inputs
from overworld.web.problems import StillRunning
from overworld.web.routes import Call, Installation, Media, Reply, Route
from overworld.web.wire import Asked

KEY_PLACE = "header Idempotency-Key"
BODY_METHODS = frozenset({"POST", "PATCH", "PUT"})
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would hold lines back


def make_view(route: Route, installation: Installation) -> Callable[..., Response]:
    """The Flask view of a route. All of its database work is one transaction, which has ended before anything is
    sent, waited for or streamed."""

    def view(**path: str) -> Response:
        now = datetime.now(UTC)
        credentials = auth.read_credentials()
        # Read before a connection is taken from the pool: a slow sender must not hold one.
        raw = request.get_data() if request.method in BODY_METHODS and route.raw_body is None else b""
        with installation.database.transaction() as tx:
            actor, token = auth.authenticate(tx, credentials, now)
            inputs.check_path(path)
            call = Call(tx, actor, now, installation, credentials)
            outcome = _run_once(route, call, path, raw) if route.method == "POST" else _run(route, call, path, raw)
        auth.touch(installation.database, token, now)
        done = outcome if isinstance(outcome, Response | Reply) else outcome()
        return done if isinstance(done, Response) else render_reply(done)

    return view


def _run(route: Route, call: Call, path: dict[str, str], raw: bytes) -> Reply | Callable[[], Reply]:
    given: dict[str, object] = dict(path)
    query = inputs.read_query(request, route.query or Asked)
    if route.query is not None:
        given["query"] = query
    if route.body is not None:
        given["body"] = inputs.read_body(request, raw, route.body)
    return route.view(call, **given)


def _run_once(
    route: Route, call: Call, path: dict[str, str], raw: bytes
) -> Response | Reply | Callable[[], Reply] | Callable[[], Response]:
    """Run a POST; with an ``Idempotency-Key``, only if it has not been run with that key before.

    The answer is stored in the transaction of the work, so either both are there or neither. A failed request leaves
    nothing and may be repeated with its key. An answer that shows a secret is stored without its body. Work that is
    put off until after the transaction claims its key in it. A body that the view reads itself is not compared.
    """
    key = inputs.read_idempotency_key(request)
    if key is None:
        return _run(route, call, path, raw)
    where = f"POST {request.path}"
    fingerprint = hashlib.sha256(raw if route.raw_body is None else request.query_string).hexdigest()
    mine = (call.actor.account_id, where, key)
    try:
        saved = idempotency.recall(call.tx, *mine, fingerprint, call.now)
    except Conflict as error:
        raise StillRunning(error.detail) from error
    except BadInput as error:
        raise BadInput(error.detail, errors=[{"at": KEY_PLACE, "says": "was used with another body"}]) from error
    if saved is not None:
        return _replay(route, saved)
    reply = _run(route, call, path, raw)
    if isinstance(reply, Reply):
        response = render_reply(reply)
        idempotency.remember(call.tx, *mine, fingerprint, _to_save(route, response), call.now)
        return response
    idempotency.claim(call.tx, *mine, fingerprint, call.now)

    def work() -> Response:
        database = call.installation.database
        try:
            response = render_reply(reply())
        except BaseException:
            with suppress(Unavailable), database.transaction() as tx:  # else the claim ends by itself
                idempotency.give_up(tx, *mine)
            raise
        with suppress(Unavailable), database.transaction() as tx:  # it is done, and its client is told
            idempotency.remember(tx, *mine, fingerprint, _to_save(route, response), call.now)
        return response

    return work


def _to_save(route: Route, response: Response) -> Saved:
    body = "" if route.shows_secret else response.get_data(as_text=True)
    return Saved(status=response.status_code, headers=dict(response.headers), body=body)


def _replay(route: Route, saved: Saved) -> Response:
    if route.shows_secret:
        raise Conflict(
            "This request was carried out before, and the secret in its answer is shown only once. "
            "If it was lost, revoke the token and repeat the request with another Idempotency-Key."
        )
    response = Response(saved.body, status=saved.status, headers=dict(saved.headers))
    response.headers["Idempotent-Replayed"] = "true"
    return response


def render_reply(reply: Reply) -> Response:
    """The response for what a view answered; 304 where the client has it already."""
    if reply.stream is not None:
        response = Response(reply.stream, status=reply.status, content_type=f"{Media.EVENTS}; charset=utf-8")
        response.headers.update(STREAM_HEADERS)
        return response
    if reply.pieces is not None:
        return Response(reply.pieces, status=reply.status, headers={"Cache-Control": "no-store", **reply.headers})
    if reply.text is not None:
        response = Response(reply.text, status=reply.status, content_type=f"{Media.TEXT}; charset=utf-8")
    elif reply.body is not None:
        response = Response(reply.body.model_dump_json(), status=reply.status, content_type=Media.JSON)
    else:
        response = Response(status=reply.status)
        response.headers.remove("Content-Type")
    response.headers.update(reply.headers)
    response.headers.setdefault("Cache-Control", "private, no-cache")
    if reply.body is not None and (request.method in {"GET", "HEAD"} or reply.version):
        response.set_etag(f"{reply.version}-{_digest(response.get_data())}")
    if request.method in {"GET", "HEAD"}:
        response.make_conditional(request)
    return response


def expected_versions() -> frozenset[str] | None:
    """The versions that ``If-Match`` names; None where anything is fine.

    An ETag here is ``"<version>-<hash of the content>"``. The hash also follows what was seen (players, state), so
    only the version, which edits change, is compared.
    """
    if "If-Match" not in request.headers or request.if_match.star_tag:
        return None
    # For the empty tag ("") Werkzeug says None.
    return frozenset((tag or "").rpartition("-")[0] for tag in request.if_match.as_set())


def wants(media: Media) -> bool:
    """Whether the client accepts ``media`` rather than JSON. JSON is the answer for ``*/*`` and for no header."""
    return request.accept_mimetypes.best_match([Media.JSON, media], default=Media.JSON) == media


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()
