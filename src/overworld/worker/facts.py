"""What an installation is besides its database and its worlds: the keys of its saves, its settings, its game files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from pydantic import SecretStr

from overworld.domain.errors import RepositoryDamaged
from overworld.settings import Settings

FILE_NAME = "installation.json"
DATABASE_FILE = "database.dump"


@dataclass(frozen=True)
class Facts:
    """``save_keys`` is the keyring's text; ``settings`` are environment variables without secrets; ``games`` are the
    operator's own game files, by folder and name. Printing it shows no secret."""

    save_keys: str = field(repr=False)
    settings: Mapping[str, str]
    games: Mapping[str, str]

    def format(self) -> bytes:
        """What ``parse_facts`` reads; equal facts have equal bytes."""
        return json.dumps({"form": 1, **asdict(self)}, indent=1, sort_keys=True).encode()

    @cached_property
    def digest(self) -> str:
        """Tells them from other facts."""
        return hashlib.sha256(self.format()).hexdigest()[:16]


def read_facts(settings: Settings, save_keys: str) -> Facts:
    """Those of this installation. Blocking."""
    shown = {
        f"OVERWORLD_{name.upper()}"
        for name in settings.model_fields_set - {"database_url"}  # that may have a password in it
        if not isinstance(getattr(settings, name), SecretStr)
    }
    games = {
        f"{number}/{path.name}": path.read_text(encoding="utf-8")
        for number, folder in enumerate(settings.catalogue_folders, start=1)
        for path in sorted(folder.glob("*.toml"))
    }
    return Facts(save_keys, {name: os.environ[name] for name in shown if name in os.environ}, games)


def parse_facts(content: bytes) -> Facts:
    """The facts. Raises ``RepositoryDamaged`` for what is none."""
    try:
        given = json.loads(content)
        return Facts(str(given["save_keys"]), dict(given["settings"]), dict(given["games"]))
    except (ValueError, KeyError, TypeError) as error:
        raise RepositoryDamaged(
            f"What the save store has of the installation cannot be read ({error}); try an earlier dump with --at."
        ) from error
