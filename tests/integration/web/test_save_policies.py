"""Policies of saves: what holds, and what was just changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from integration.web.clients import Client
from overworld.settings import Settings


def change(client: Client, name: str, **changes: object) -> tuple[int, dict[str, Any]]:
    """The answer to an edit of the policy of a new server of that name."""
    answer = client.patch(f"/servers/{client.make_server(name)['id']}/save-policy", json=changes)
    return answer.status_code, answer.get_json()


def test_a_policy_says_what_holds_where_it_says_nothing(anna: Client, settings: Settings) -> None:
    """As the installation is set, with the numbers."""
    found = anna.get(f"/servers/{anna.make_server()['id']}/save-policy").get_json()
    assert found["keep_last"] is None
    assert found["installed"] == {
        "cron": settings.save_schedule,
        "time_zone": "UTC",
        "keep_last": 6,
        "keep_hourly": 24,
        "keep_daily": 7,
        "keep_weekly": 4,
        "keep_monthly": 6,
        "quota_mib": None,
        "drill": True,
    }


def test_a_changed_schedule_says_at_once_when_it_comes(anna: Client) -> None:
    """Nobody takes a schedule that works for one that does not; on none there is no time."""
    status, found = change(anna, "Home", cron="30 2 * * *", time_zone="Europe/Berlin")
    assert status == 200
    assert timedelta(0) < datetime.fromisoformat(found["next_at"]) - datetime.now(UTC) < timedelta(days=2)
    assert change(anna, "Never", cron="")[1]["next_at"] is None


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 4,6 *"])
def test_a_schedule_that_never_comes_is_refused(anna: Client, cron: str) -> None:
    """It would keep a server without saves, unnoticed."""
    status, problem = change(anna, "Home", cron=cron)
    assert (status, "never comes" in problem["detail"]) == (422, True)
