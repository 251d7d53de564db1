"""The OpenAPI 3.1 document, derived from the declared routes (web/routes.py) and pydantic's own JSON schemas.

Written here because the kept libraries describe less than what this API does: problem documents, response headers,
conditional requests, two media types for one answer, and the difference between a body that is not JSON (400), not
declared as JSON (415) and wrong (422).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from overworld.domain.errors import OverworldError
from overworld.web.problems import MEDIA_TYPE, Problem, all_problems
from overworld.web.routes import PATH_VALUES, Answer, Media, Route, Routes
from overworld.web.wire import Asked

JsonObject = dict[str, Any]

PREFIX = "/api/v1"
_PLACE = re.compile(r"<(\w+)>")
_REFERENCE = "#/components/schemas/{model}"

HEADERS: Mapping[str, JsonObject] = {
    "Location": {"description": "Where the new thing is.", "schema": {"type": "string", "format": "uri-reference"}},
    "Operation-Location": {
        "description": "Where to follow the operation.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "ETag": {"description": "The version; opaque. Give it as `If-Match` to an edit.", "schema": {"type": "string"}},
    "X-Request-Id": {"description": "Under this id the request is in the logs.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` if this answer was given before, to a request with the same key.",
        "schema": {"const": "true"},
    },
}

_REQUEST_HEADERS: Mapping[str, JsonObject] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes a repeat safe: within 24 hours the same key and body get the same answer, and nothing "
        "is done twice.",
        "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
    },
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "description": "An ETag: edit only if nobody else did since (else 412).",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "An ETag: 304 if the answer is still the same.",
        "schema": {"type": "string"},
    },
}

_STATUS_WORDS = {
    400: "Malformed",
    401: "NotAuthenticated",
    403: "NotAllowed",
    404: "NotFound",
    409: "Conflict",
    412: "PreconditionFailed",
    413: "TooLarge",
    415: "UnsupportedMediaType",
    422: "BadInput",
    500: "Fault",
    503: "Unavailable",
}


def build_document(groups: Iterable[Routes]) -> JsonObject:
    """The whole document. Every component has the name of its class, every operation the name of its view."""
    groups = tuple(groups)
    routes = tuple(route for group in groups for route in group.declared)
    paths: dict[str, JsonObject] = {}
    for group in groups:
        for route in group.declared:
            path = PREFIX + _PLACE.sub(r"{\1}", route.rule)
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, routes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Overworld",
            "version": version("overworld"),
            "description": "A self-hosted game-server backend. Every error is a problem document (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": group.tag, "description": group.description} for group in groups],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "An API token: `ow_…`."},
            },
            "schemas": _schemas(groups),
            "responses": {word: _problem_response(status) for status, word in _STATUS_WORDS.items()},
            "headers": {name: dict(header) for name, header in HEADERS.items()},
        },
    }


def implied_problems(route: Route) -> frozenset[int]:
    """Every status of a problem that the route can answer with."""
    statuses = {401, 422, 500, 503} | route.problems
    if "<" in route.rule:
        statuses.add(404)
    if route.method in {"POST", "PATCH", "PUT"}:
        statuses |= {400, 413}
    if route.method == "POST":
        statuses.add(409)
    if route.body is not None:
        statuses.add(415)
    if route.takes_if_match:
        statuses.add(412)
    return frozenset(statuses)


def _operation(route: Route, routes: Iterable[Route]) -> JsonObject:
    summary, _, description = (inspect.getdoc(route.view) or "").partition("\n\n")
    operation: JsonObject = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": summary.replace("\n", " ").rstrip("."),
        "parameters": _parameters(route),
        "responses": _responses(route, routes),
    }
    if description:
        operation["description"] = description.replace("\n", " ")
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {Media.JSON.value: {"schema": _reference(route.body)}},
        }
    if route.raw_body is not None:
        operation["requestBody"] = {"content": {route.raw_body.value: {"schema": _raw_schema(route.raw_body)}}}
    return operation


def _raw_schema(media: Media) -> JsonObject:
    return {"type": "string", "format": "binary"} if media is Media.BYTES else {"type": "string"}


def _parameters(route: Route) -> list[JsonObject]:
    found: list[JsonObject] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PATH_VALUES[name].description,
            "schema": {"type": "string", "pattern": f"^({PATH_VALUES[name].pattern})$"},
        }
        for name in _PLACE.findall(route.rule)
    ]
    if route.query is not None:
        found += _query_parameters(route.query)
    if route.method == "POST":
        found.append(dict(_REQUEST_HEADERS["Idempotency-Key"]))
    if route.method == "GET":
        found.append(dict(_REQUEST_HEADERS["If-None-Match"]))
    if route.takes_if_match:
        found.append(dict(_REQUEST_HEADERS["If-Match"]))
    return found


def _query_parameters(model: type[Asked]) -> Iterable[JsonObject]:
    schema = model.model_json_schema(ref_template=_REFERENCE)
    required = schema.get("required", [])
    for name, described in schema["properties"].items():
        value = {key: part for key, part in described.items() if key not in {"title", "description"}}
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": described.get("description", ""),
            "schema": _without_null(value),
        }


def _without_null(schema: JsonObject) -> JsonObject:
    """The schema without its null: a query parameter is left out, it cannot be null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    rest = {key: part for key, part in schema.items() if key not in {"anyOf", "default"}}
    return {**rest, **choices[0]}


def _responses(route: Route, routes: Iterable[Route]) -> JsonObject:
    answer = route.answer
    success: JsonObject = {
        "description": answer.description,
        "headers": {name: _header(name, required=True) for name in ("X-Request-Id", *answer.headers)},
    }
    if route.method == "POST" and not route.shows_secret:
        success["headers"]["Idempotent-Replayed"] = _header("Idempotent-Replayed", required=False)
    if answer.model is not None:
        success["content"] = {Media.JSON.value: {"schema": _reference(answer.model)}}
    if answer.also:
        content = success.setdefault("content", {})
        content.update({media.value: {"schema": _raw_schema(media)} for media in answer.also})
    if answer.names:
        success["links"] = _links(answer, routes)
    responses: JsonObject = {str(answer.status): success}
    if route.method == "GET":
        responses["304"] = {"description": "Still the same as what `If-None-Match` names."}
    for status in sorted(implied_problems(route)):
        responses[str(status)] = {"$ref": f"#/components/responses/{_STATUS_WORDS[status]}"}
    return responses


def _links(answer: Answer, routes: Iterable[Route]) -> JsonObject:
    """To everything that can be done with what the answer names."""
    return {
        route.name: {
            "operationId": route.name,
            "parameters": {name: f"$response.body#{answer.names[name]}" for name in places},
        }
        for route in routes
        if (places := set(_PLACE.findall(route.rule))) and places == set(answer.names)
    }


def _header(name: str, *, required: bool) -> JsonObject:
    # A reference could not say that the header is always there.
    return {**HEADERS[name], "required": required}


def _problem_response(status: int) -> JsonObject:
    titles = sorted({_title(kind) for kind in all_problems() if kind.status == status})
    headers = {"X-Request-Id": _header("X-Request-Id", required=True)}
    if status == 401:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"type": "string"}}
    return {
        "description": " ".join(titles),
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": _reference(Problem)}},
    }


def _title(kind: type[OverworldError]) -> str:
    return kind.title if kind.title.endswith("?") else f"{kind.title}."


def _schemas(groups: Iterable[Routes]) -> JsonObject:
    given: set[type[BaseModel]] = set()
    shown: set[type[BaseModel]] = {Problem}
    for group in groups:
        for route in group.declared:
            if route.body is not None:
                given.add(route.body)
            if route.answer.model is not None:
                shown.add(route.answer.model)
    _, definitions = models_json_schema(
        [
            *((model, "validation") for model in sorted(given, key=lambda model: model.__name__)),
            *((model, "serialization") for model in sorted(shown, key=lambda model: model.__name__)),
        ],
        ref_template=_REFERENCE,
    )
    schemas: JsonObject = definitions["$defs"]
    return schemas


def _reference(model: type[BaseModel]) -> JsonObject:
    return {"$ref": _REFERENCE.format(model=model.__name__)}
