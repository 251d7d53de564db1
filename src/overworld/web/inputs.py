"""From bytes to models: bodies and queries are read here, once, and refused with everything that is wrong."""

from __future__ import annotations

import re
from typing import TypeVar

from flask import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from overworld.domain.errors import BadInput, NotFound
from overworld.web.problems import Malformed, UnsupportedMediaType
from overworld.web.routes import PATH_VALUES
from overworld.web.wire import Asked, Given

Model = TypeVar("Model", bound=BaseModel)

_MOST_ERRORS = 20
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


def read_body(request: Request, raw: bytes, model: type[Given]) -> Given:
    """The JSON body as ``model``. Raises UnsupportedMediaType, Malformed (not JSON, nested too deep, half a surrogate
    pair) and BadInput (JSON that says something that cannot be)."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send JSON, and say so: Content-Type: application/json.")
    try:
        content = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None
    return _validate(model, content, prefix="")


def read_query(request: Request, model: type[Asked]) -> Asked:
    """The query as ``model``. A parameter may be repeated only where its field is a list. Raises BadInput."""
    given: dict[str, object] = {}
    for name, values in request.args.lists():
        field = model.model_fields.get(name)
        takes_many = field is not None and "list" in str(field.annotation)
        given[name] = values if takes_many or len(values) != 1 else values[0]
    return _validate(model, given, prefix="query")


def check_path(values: dict[str, str]) -> None:
    """Raises NotFound for a value that cannot name anything, so that it never reaches the database."""
    for name, value in values.items():
        if re.fullmatch(PATH_VALUES[name].pattern, value, re.ASCII) is None:
            raise NotFound("There is nothing of that name here.")


def read_idempotency_key(request: Request) -> str | None:
    """The ``Idempotency-Key``, or None without one. Raises BadInput unless it is 1-255 visible ASCII characters."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and _IDEMPOTENCY_KEY.fullmatch(key) is None:
        says = "must have 1 to 255 visible ASCII characters"
        raise BadInput(f"Idempotency-Key {says}.", errors=[{"at": "header Idempotency-Key", "says": says}])
    return key


def _validate(model: type[Model], content: object, prefix: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)[:_MOST_ERRORS]
        found = [{"at": _place(item, prefix), "says": item["msg"].removeprefix("Value error, ")} for item in errors]
        raise BadInput(f"{found[0]['at'] or 'The body'}: {found[0]['says']}.", errors=found) from None


def _place(error: ErrorDetails, prefix: str) -> str:
    """A JSON pointer (RFC 6901) into the body, or "query name"."""
    if prefix:
        return " ".join([prefix, *(str(part) for part in error["loc"])])
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error["loc"])
