"""The API over HTTP: retries what is safe to retry, and turns every refusal into one of the command line's errors."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from httpx_retries import Retry, RetryTransport

from overworld.cli.config import Target
from overworld.cli.errors import CliError, NotAllowed, NotFound, Refused, Unreachable

Json = dict[str, Any]

PREFIX = "/api/v1"
PAGE_SIZE = 100
TIMEOUT = httpx.Timeout(30.0, connect=5.0)
RETRY = Retry(
    total=4,
    # A POST carries an Idempotency-Key: done twice, it is done once. PATCH is not retried: it names a version.
    allowed_methods=("GET", "HEAD", "DELETE", "POST"),
    status_forcelist=(502, 503, 504),
    backoff_factor=0.2,
    max_backoff_wait=5.0,
    total_timeout=15.0,
)
ONCE = Retry(total=0)
TWIN_PAUSE_SECONDS = 0.5
LONGEST_TWIN_SECONDS = 30.0

_MENDS = {
    "not-authenticated": "Run `overworld login`, or set OVERWORLD_TOKEN to a token that is valid.",
    "quota-exceeded": "Delete a server that is not needed any more, or ask an admin for a larger quota.",
    "precondition-failed": "Look at it again with `overworld show`, then repeat the edit.",
    "unavailable": "Try again in a moment; `overworld doctor` tells what is wrong.",
}


_MENDS_BY_REASON = {
    "changed": "",  # of a file: the detail says it all
    "not-empty": "Add --recursive to delete it with all that is in it.",
}
"""For problems that say more closely what they are."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking for something: the document, and the headers (names in any case)."""

    document: Json
    headers: Mapping[str, str]


def api_path(*parts: str) -> str:
    """The path of a thing below /api/v1, every part quoted so that none of them can be more than one part."""
    return PREFIX + "".join(
        "/" + (quote(part, safe="") if part not in {".", ".."} else "%2E" * len(part)) for part in parts
    )


class Api:
    """One API. Use as a context manager, or call ``close``. Every call raises ``CliError`` and nothing else."""

    def __init__(self, target: Target, *, retry: Retry | None = None) -> None:
        self.target = target
        headers = {"User-Agent": f"overworld-cli/{version('overworld')}"}
        if target.token is not None:
            headers["Authorization"] = f"Bearer {target.token}"
        self._client = httpx.Client(
            base_url=target.url,
            headers=headers,
            timeout=TIMEOUT,
            transport=RetryTransport(httpx.HTTPTransport(proxy=_find_proxy(target)), retry=retry or RETRY),
        )

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connections. Safe to call twice."""
        self._client.close()

    @property
    def client(self) -> httpx.Client:
        """The client itself, for streams."""
        return self._client

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Json:
        """The document at ``path``."""
        return read_document(self.request("GET", path, params=params), self.target)

    def pages(self, path: str, params: Mapping[str, Any] | None = None, *, limit: int | None = None) -> Iterator[Json]:
        """The items of a list, page after page as they are taken, at most ``limit``."""
        wanted: Json = {key: value for key, value in (params or {}).items() if value not in (None, "", ())}
        left = limit
        while left is None or left > 0:
            page = self.get(path, {**wanted, "page_size": PAGE_SIZE if left is None else min(left, PAGE_SIZE)})
            items: list[Json] = page["items"][:left]
            yield from items
            if left is not None:
                left -= len(items)
            token = page.get("next_page_token")
            if not token or not items:
                return
            wanted["page_token"] = token

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, retry: bool = True) -> Answer:
        """Ask for something, once: a retry after a lost answer finds what the first try did. ``retry`` False is for
        what the API does not remember (a console command) or does not say twice (a new token)."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        extensions = {} if retry else {"retry": ONCE}
        give_up_at = time.monotonic() + LONGEST_TWIN_SECONDS
        while True:
            try:
                response = self.request("POST", path, body=body, headers=headers, extensions=extensions)
                return Answer(read_document(response, self.target), response.headers)
            except Refused as refusal:
                # The answer to an earlier try was lost while the server still works on it.
                if refusal.slug != "still-running" or time.monotonic() > give_up_at:
                    raise
                time.sleep(TWIN_PAUSE_SECONDS)

    def patch(self, path: str, body: Mapping[str, Any], *, version: str | None = None) -> Json:
        """Change a thing; with a ``version`` (an ETag) only if it is still that one. Never retried."""
        headers = {} if version is None else {"If-Match": version}
        return read_document(self.request("PATCH", path, body=body, headers=headers), self.target)

    def delete(self, path: str, params: Mapping[str, Any] | None = None) -> Answer:
        """Ask for a deletion; asking twice changes nothing more."""
        response = self.request("DELETE", path, params=params)
        return Answer(read_document(response, self.target), response.headers)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        """The answer, if it is a good one (2xx)."""
        try:
            response = self._client.request(
                method, path, params=params, json=body, headers=headers, extensions=dict(extensions or {})
            )
        except httpx.HTTPError as error:
            raise as_unreachable(error, self.target) from error
        if not response.is_success:
            raise as_refusal(response, self.target)
        return response


def _find_proxy(target: Target) -> str | None:
    """The proxy that the environment names for this address; httpx looks itself only where it owns the transport."""
    parts = urlsplit(target.url)
    if target.is_loopback or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def as_unreachable(error: httpx.HTTPError, target: Target) -> Unreachable:
    """The failure to speak to the API at all."""
    return Unreachable(
        f"Overworld cannot be reached at {target.url}",
        f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        mend=f"See that it runs there (`overworld up`); `overworld doctor` looks closer. "
        f"The address comes from {target.url_from}.",
    )


def as_refusal(response: httpx.Response, target: Target) -> CliError:
    """The failure that a bad answer stands for. ``response`` has been read."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "title" not in document:
        return _not_overworld(response, target)
    slug = str(document.get("type", "")).rpartition("/")[2]
    kind: type[CliError] = Refused
    if response.status_code == 404:
        kind = NotFound
    elif response.status_code in {401, 403} and slug != "quota-exceeded":
        kind = NotAllowed
    elif response.status_code in {502, 503, 504}:
        kind = Unreachable
    errors = document.get("errors")
    return kind(
        str(document["title"]),
        str(document.get("detail") or ""),
        errors=[
            (str(item.get("at", "")), str(item.get("says", "")))
            for item in (errors if isinstance(errors, list) else [])
            if isinstance(item, dict)
        ],
        mend=_MENDS_BY_REASON.get(str(document.get("reason", "")), _MENDS.get(slug, "")),
        document=document,
    )


def read_document(response: httpx.Response, target: Target) -> Json:
    """The JSON object in ``response``; an empty one where the answer has no content."""
    if not response.content:
        return {}
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _not_overworld(response, target)
    return document


def _not_overworld(response: httpx.Response, target: Target) -> CliError:
    return Unreachable(
        f"What answers at {target.url} is not an Overworld",
        f"{response.request.method} {response.request.url.path} gave {response.status_code} "
        f"with {response.headers.get('content-type', 'no content type')}.",
        mend=f"The address comes from {target.url_from}: correct it there, or look at the proxy in between.",
    )
