"""Where Overworld is and which token to use: environment, then the file of ``overworld login``, then this machine.

A token is only ever sent to the address that it was kept for: the file's token goes to the file's address, this
machine's admin token to this machine's address. A token in the environment goes where the address says.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tomli_w

from overworld.cli.errors import BadUsage, Refused

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Target:
    """An API and the token for it. ``url`` has no slash at its end and no path of the API; the token is never in
    the representation. ``url_from`` and ``token_from`` say, for people, where each was found."""

    url: str
    url_from: str
    token: str | None = field(repr=False)
    token_from: str

    @property
    def is_loopback(self) -> bool:
        """Whether the API is on this machine, so that no proxy may stand between."""
        return urlsplit(self.url).hostname in LOOPBACK_HOSTS


def config_path(environ: Mapping[str, str]) -> Path:
    """The file that ``overworld login`` writes."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "overworld" / "config.toml"


def check_url(url: str, place: str) -> str:
    """``url`` without a slash at its end; raises ``BadUsage`` unless it is http(s)://host[:port][/path]."""
    parts = urlsplit(url.strip())
    try:
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or parts.username or parts.password or parts.query or parts.fragment:
        raise BadUsage(
            "That is not the address of an Overworld",
            f"{place} must be like https://games.example.org or http://127.0.0.1:8470",
        )
    return url.strip().rstrip("/")


def check_token(token: str, place: str) -> str:
    """The token without white space around it; raises ``BadUsage``, which never shows it, if it cannot be one."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadUsage("That is not a token", f"{place} must hold one token, as printed by `overworld token create`.")
    return token


def read_config(path: Path) -> Mapping[str, Any]:
    """What ``overworld login`` stored; empty if there is no file. Raises ``Refused`` if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not TOML"
        raise Refused(
            "The configuration cannot be read",
            f"{path}: {reason}",
            mend="Run `overworld login` again, or remove the file.",
        ) from error


def write_config(path: Path, url: str, token: str) -> None:
    """Store both, readable by this user only from the first moment; the file is replaced as a whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        tomli_w.dump({"url": url, "token": token}, file)
    fresh.replace(path)


def find_target(environ: Mapping[str, str], find_local: Callable[[], Target] | None = None) -> Target:
    """The API to speak to. The token is None where none is known for that address. Raises ``BadUsage`` or ``Refused``
    for something set to nonsense; whether anything answers there is for the first request to find out."""
    path = config_path(environ)
    config: Mapping[str, Any] = {}
    url, url_from = environ.get("OVERWORLD_URL", ""), "OVERWORLD_URL"
    token, token_from = environ.get("OVERWORLD_TOKEN", ""), "OVERWORLD_TOKEN"
    if not url or not token:
        config = read_config(path)
    if not url and isinstance(config.get("url"), str):
        url, url_from = config["url"], str(path)
    url = check_url(url, url_from) if url else ""
    if not token and url and isinstance(config.get("token"), str) and url == str(config.get("url")).rstrip("/"):
        token, token_from = config["token"], str(path)
    if token and url:
        return Target(url, url_from, check_token(token, token_from), token_from)
    local = (find_local or find_local_installation)()
    if not url:
        url, url_from = local.url, local.url_from
    if not token and url == local.url and local.token:
        token, token_from = local.token, local.token_from
    return Target(url, url_from, check_token(token, token_from) if token else None, token_from if token else "")


def find_local_installation() -> Target:
    """The Overworld of this machine, by its settings; its token only if this user may read it."""
    # Slow to import, and needed only where neither environment nor file say where Overworld is.
    from pydantic import ValidationError

    from overworld.mistakes import mistakes
    from overworld.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        raise BadUsage(
            "A setting cannot be used", errors=mistakes(error), mend="docs/configuration.md lists every setting."
        ) from error
    url = settings.local_url
    path = settings.data_folder / "admin-token"
    try:
        token: str | None = path.read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        token = None
    return Target(url, "the installation on this machine", token, str(path) if token else "")
