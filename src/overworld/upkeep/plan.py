"""What a recovery goes by, remembered from its first step to its last where whoever could start Overworld sees it."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from overworld.domain.recovery import Claim
from overworld.recovery_marker import marker_in
from overworld.store import recovery_mark


@dataclass(frozen=True, slots=True)
class Plan:
    """The dump, the facts that belong to it, and who the installation belongs to from now on (``trial``: still to
    whom it belonged). ``present`` are the servers whose worlds were there when it began to bring worlds back, None
    before that. It has no secret."""

    dump_id: str
    facts_id: str
    dumped_at: datetime
    claim: Claim
    trial: bool
    present: tuple[str, ...] | None = None

    def render(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "dump_id": self.dump_id,
            "facts_id": self.facts_id,
            "dumped_at": self.dumped_at.isoformat(),
            "epoch": self.claim.epoch,
            "token": self.claim.token,
            "trial": self.trial,
            "present": self.present,
        }


def parse_plan(given: Mapping[str, Any]) -> Plan:
    """What ``render`` gave."""
    present = given.get("present")
    return Plan(
        given["dump_id"],
        given["facts_id"],
        datetime.fromisoformat(given["dumped_at"]),
        Claim(given["epoch"], given["token"]),
        given["trial"],
        None if present is None else tuple(present),
    )


class Mark(ABC):
    """The plan of the one recovery that was begun and not ended. While there is one nothing is started. Blocking."""

    @abstractmethod
    def read(self) -> Plan | None:
        """It, None if there is none."""

    @abstractmethod
    def write(self, plan: Plan) -> None:
        """It is stored for good: whoever recovers again goes on by it."""

    @abstractmethod
    def end(self) -> None:
        """The recovery is over. Safe to call twice."""


class FileMark(Mark):
    """In the data folder, where the database is in there too: it is there before that has its first file."""

    def __init__(self, data_folder: Path) -> None:
        self._path = marker_in(data_folder)

    def read(self) -> Plan | None:
        try:
            return parse_plan(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return None

    def write(self, plan: Plan) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        with beside.open("w") as file:
            json.dump(plan.render(), file)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self._path)

    def end(self) -> None:
        self._path.unlink(missing_ok=True)


class DatabaseMark(Mark):
    """In the database by URL, on which roles of other machines could be started."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self) -> Plan | None:
        given = recovery_mark.read_mark(self._url)
        return None if given is None else parse_plan(given)

    def write(self, plan: Plan) -> None:
        recovery_mark.write_mark(self._url, plan.render())

    def end(self) -> None:
        recovery_mark.remove_mark(self._url)
