"""What a recovery goes by, remembered on the machine from its first step to its last."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime

from overworld.domain.errors import Conflict
from overworld.domain.recovery import Claim
from overworld.recovery_marker import marker_in
from overworld.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """The dump, the facts that belong to it, and who the installation belongs to from now on (``trial``: still to
    whom it belonged). It has no secret."""

    dump_id: str
    facts_id: str
    dumped_at: datetime
    claim: Claim
    trial: bool


def read_plan(settings: Settings) -> Plan | None:
    """The plan of a recovery that was begun here and not ended."""
    try:
        given = json.loads(marker_in(settings.data_folder).read_text())
    except FileNotFoundError:
        return None
    return Plan(
        given["dump_id"],
        given["facts_id"],
        datetime.fromisoformat(given["dumped_at"]),
        Claim(given["epoch"], given["token"]),
        given["trial"],
    )


def write_plan(settings: Settings, plan: Plan) -> None:
    """It is on the disk: whoever recovers again here goes on by it."""
    path = marker_in(settings.data_folder)
    beside = path.with_suffix(".new")
    content = {
        "dump_id": plan.dump_id,
        "facts_id": plan.facts_id,
        "dumped_at": plan.dumped_at.isoformat(),
        "epoch": plan.claim.epoch,
        "token": plan.claim.token,
        "trial": plan.trial,
    }
    with beside.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def check_empty(settings: Settings, revision: str | None) -> None:
    """Raises Conflict if there is an installation here already. ``revision`` is the schema of a database by URL."""
    folder = settings.data_folder
    found = [path for name in ("postgres/data", "save-keys", "servers") if (path := folder / name).exists()]
    if found or revision is not None:
        what = str(found[0]) if found else "the database of OVERWORLD_DATABASE_URL"
        raise Conflict(
            f"There is an installation here already ({what}), and a recovery overwrites nothing. Move it away, or"
            " choose an empty folder by OVERWORLD_DATA_FOLDER (and an empty database)."
        )


def end_plan(settings: Settings) -> None:
    """The recovery is over. Safe to call twice."""
    marker_in(settings.data_folder).unlink(missing_ok=True)
