"""What schemathesis has to know about this API; loaded by test_openapi.py.

Two of its checks read more into an answer than it says, and are replaced by stricter readings of the same rule:

- "valid data is accepted": some rules cannot be said in a schema that is the same for every game and every moment.
  Only a refusal that names one of these places is let through.
- "use after free": deleting a server is accepted (202), not done. It stays until its retention has passed, and can be
  undeleted. So the rule is checked for everything else that can be deleted.
"""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.checks import CheckContext
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.specs.openapi import checks

BEYOND_SCHEMAS = (
    "/page_token",  # opaque: only what a list gave out
    "/name",  # which characters can be seen is Unicode's matter
    "/label",
    "/game",  # only what the catalogue has
    "/variables",  # as the game defines them
    "/memory_mib",  # the least is the game's
    "/storage",  # what there is, the installation decides
    "/disk_mib",  # only where worlds have disks, and never less
    "/network",  # only in a cluster
    "/command",  # which characters can be printed is Unicode's matter
    "query since",  # not after "until"
    "header Idempotency-Key",  # not used before for another body
)


@schemathesis.check
def valid_data_is_accepted(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """``positive_data_acceptance``, but for a named rule beyond schemas, and for an ``If-Match`` made up."""
    try:
        return checks.positive_data_acceptance(ctx, response, case)
    except Failure:
        if response.status_code == 412:
            return None
        places = [error["at"] for error in response.json().get("errors", [])]
        if response.status_code == 422 and places and all(place.startswith(BEYOND_SCHEMAS) for place in places):
            return None
        raise


@schemathesis.check
def deleted_things_are_gone(ctx: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """``use_after_free``, but for servers."""
    if case.operation.path.startswith("/api/v1/servers/{server_id}"):
        return None
    return checks.use_after_free(ctx, response, case)
