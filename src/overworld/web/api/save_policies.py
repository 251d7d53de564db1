"""How a server's world is saved: when, and how many saves are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from overworld.domain.saves import SavePolicy
from overworld.services import saves as service
from overworld.services.schedules import NEVER, plan_save
from overworld.settings import Settings
from overworld.web.dispatch import expected_versions
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import PLAIN_TEXT, Given, Shown, Whole

routes = Routes("save-policies", "When a server's world is saved, and how many saves are kept.")

Count = Annotated[int, Field(ge=0, le=10_000), Whole]
Text = Annotated[str, Field(max_length=100, pattern=PLAIN_TEXT)]
Mib = Annotated[int, Field(ge=1, le=2**40), Whole]


class InstalledSavePolicy(Shown):
    """How the installation is set: what holds where a server's policy says nothing."""

    cron: str = Field(description="Five fields; empty: on no schedule.")
    time_zone: str
    keep_last: int
    keep_hourly: int
    keep_daily: int
    keep_weekly: int
    keep_monthly: int
    quota_mib: int | None = Field(description="Null: no bound.")
    drill: bool


class SavePolicyEntry(Shown):
    """A server's policy. Null means: as the installation is set, which ``installed`` has."""

    cron: str | None = Field(description="Five fields; empty: on no schedule.")
    time_zone: str | None
    keep_last: int | None
    keep_hourly: int | None
    keep_daily: int | None
    keep_weekly: int | None
    keep_monthly: int | None
    quota_mib: int | None = Field(description="The most that its saves may add to the store.")
    drill: bool | None = Field(description="Whether its newest save is restored to scratch now and then.")
    next_at: datetime | None = Field(description="When it is saved next, unless nobody plays until then; null: never.")
    installed: InstalledSavePolicy


class SavePolicyEdit(Given):
    """What to change of a policy: what is left out stays, null sets it back to the installation's."""

    cron: Text | None = None
    time_zone: Text | None = None
    keep_last: Count | None = None
    keep_hourly: Count | None = None
    keep_daily: Count | None = None
    keep_weekly: Count | None = None
    keep_monthly: Count | None = None
    quota_mib: Mib | None = None
    drill: bool | None = None


def show_policy(policy: SavePolicy, settings: Settings, now: datetime) -> SavePolicyEntry:
    """The policy as clients see it. What was just changed is planned at the worker's next tick: as it is here."""
    cron, time_zone = settings.save_schedule, settings.save_time_zone
    next_at = policy.next_at or plan_save(policy, cron, time_zone, settings.save_jitter, now)
    return SavePolicyEntry(
        cron=policy.cron,
        time_zone=policy.time_zone,
        keep_last=policy.keep_last,
        keep_hourly=policy.keep_hourly,
        keep_daily=policy.keep_daily,
        keep_weekly=policy.keep_weekly,
        keep_monthly=policy.keep_monthly,
        quota_mib=policy.quota_mib,
        drill=policy.drill,
        next_at=None if next_at == NEVER else next_at,
        installed=InstalledSavePolicy(
            cron=cron,
            time_zone=time_zone,
            **{f"keep_{name}": count for name, count in settings.save_keep_counts.items()},
            quota_mib=settings.save_quota_mib,
            drill=settings.drills,
        ),
    )


@routes.route("GET", "/servers/<server_id>/save-policy", Answer(200, "The policy.", SavePolicyEntry, ("ETag",)))
def show(call: Call, server_id: str) -> Reply:
    """Show a server's policy."""
    policy, version = service.show_policy(call.tx, call.actor, server_id)
    return Reply(200, show_policy(policy, call.installation.settings, call.now), version=str(version))


@routes.route(
    "PATCH",
    "/servers/<server_id>/save-policy",
    Answer(200, "The policy, changed.", SavePolicyEntry, ("ETag",)),
    body=SavePolicyEdit,
    takes_if_match=True,
)
def edit(call: Call, server_id: str, body: SavePolicyEdit) -> Reply:
    """Change a server's policy. Takes effect at once."""
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    expected = expected_versions()
    policy, version = service.edit_policy(call.tx, call.actor, server_id, changes, expected=expected, now=call.now)
    return Reply(200, show_policy(policy, call.installation.settings, call.now), version=str(version))
