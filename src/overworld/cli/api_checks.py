"""What ``overworld doctor`` sees over HTTP: the API that the other commands would speak to."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version

import httpx

from overworld.cli.api import ONCE, PREFIX, Api, Json, api_path, as_unreachable
from overworld.cli.config import Target, config_path, find_target
from overworld.cli.doctor import Check, Finding, Severity
from overworld.cli.errors import Unreachable

LARGEST_SKEW_SECONDS = 30.0
MOST_NAMES = 5


def api_checks(stack: ExitStack) -> Iterator[Check]:
    """The checks, in the order in which one failing explains the next. ``stack`` keeps the
    connection for them. Raises ``CliError`` if no address is known."""
    target = find_target(os.environ)
    api = stack.enter_context(Api(target, retry=ONCE))

    is_reached = False

    def reach() -> Finding:
        nonlocal is_reached
        finding = _reach(api)
        is_reached = True
        return finding

    def about(look: Callable[[Api], Finding]) -> Callable[[], Finding]:
        return lambda: look(api) if is_reached else Finding(Severity.WARNING, "not looked at: the API does not answer")

    yield Check("kept token", lambda: _kept_token(target))
    yield Check("api", reach)
    yield Check("ready", about(_ready))
    yield Check("token", about(_token))
    yield Check("version", about(_version))
    yield Check("clock", about(_clock))
    yield Check("servers", about(_servers))


def _kept_token(target: Target) -> Finding:
    path = config_path(os.environ)
    try:
        mode = path.stat().st_mode
    except OSError:
        return Finding(Severity.OK, f"nothing is kept in {path}; the address comes from {target.url_from}")
    if stat.S_IMODE(mode) & 0o077:
        return Finding(Severity.BAD, f"{path} can be read by others", f"chmod 600 {path}, then revoke the token in it")
    return Finding(Severity.OK, f"{path} is yours alone; the address comes from {target.url_from}")


def _reach(api: Api) -> Finding:
    response = _ask(api, "/livez")
    if response.status_code != 200:
        raise Unreachable(
            f"{api.target.url}/livez gave {response.status_code}", mend="See the log of `overworld up` there."
        )
    return Finding(Severity.OK, f"answers at {api.target.url}")


def _ready(api: Api) -> Finding:
    response = _ask(api, "/readyz")
    if response.status_code == 200:
        return Finding(Severity.OK, "everything that the API needs answers")
    try:
        document = response.json()
    except ValueError:
        document = {}
    detail = document.get("detail") or document.get("title") if isinstance(document, dict) else None
    return Finding(Severity.BAD, str(detail or f"/readyz gave {response.status_code}"), "see the log of `overworld up`")


def _token(api: Api) -> Finding:
    if api.target.token is None:
        return Finding(
            Severity.BAD, f"none is known for {api.target.url}", "run `overworld login`, or set OVERWORLD_TOKEN"
        )
    account = api.get(api_path("me"))["account"]
    return Finding(Severity.OK, f"of {account['name']} ({account['role']}), from {api.target.token_from}")


def _version(api: Api) -> Finding:
    here = version("overworld")
    there = str(api.get(f"{PREFIX}/openapi.json")["info"]["version"])
    if here != there:
        return Finding(Severity.WARNING, f"this program is {here}, the API is {there}", "install the same version here")
    return Finding(Severity.OK, f"{here}, here and there")


def _clock(api: Api) -> Finding:
    date = _ask(api, "/livez").headers.get("Date")
    if date is None:
        return Finding(Severity.WARNING, "the API does not tell its time", "see what stands between it and you")
    skew = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    if abs(skew) > LARGEST_SKEW_SECONDS:
        return Finding(Severity.WARNING, f"this clock differs by {skew:.0f} s from the API's", "set both by NTP")
    return Finding(Severity.OK, "agrees with the API's")


def _servers(api: Api) -> Finding:
    failed: list[Json] = list(api.pages(api_path("servers"), {"state": "failed"}, limit=MOST_NAMES + 1))
    if not failed:
        return Finding(Severity.OK, "none has failed")
    names = ", ".join(str(server["name"]) for server in failed[:MOST_NAMES])
    more = " and more" if len(failed) > MOST_NAMES else ""
    return Finding(Severity.WARNING, f"failed: {names}{more}", "`overworld show NAME` says why")


def _ask(api: Api, path: str) -> httpx.Response:
    """Whatever answers, good or bad."""
    try:
        return api.client.get(path)
    except httpx.HTTPError as error:
        unreachable = as_unreachable(error, api.target)  # which elsewhere sends people here
        unreachable.mend = f"see that it runs there (`overworld up`); the address comes from {api.target.url_from}"
        raise unreachable from error
