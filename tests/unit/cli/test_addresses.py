"""What an operator sees of addresses."""

from __future__ import annotations

from unit.cli.conftest import Run
from unit.cli.stage import Reply, Stage


def test_addresses_room_and_oddities_are_shown(stage: Stage, run: Run) -> None:
    """The address, what is left, and the sentence about what is odd."""
    entry = {
        "server_id": "bcdfghjkmnpq",
        "label": "meadow-bcdfghjkmnpq",
        "ip": "203.0.113.7",
        "dns_name": "meadow-bcdfghjkmnpq.eastus.cloudapp.azure.com",
        "ports": 1,
        "leased_at": "2026-11-26T12:00:00Z",
        "checked_at": None,
    }
    document = {
        "items": [entry],
        "next_page_token": None,
        "balancer_ports_used": 1,
        "balancer_ports": 300,
        "quotas": [{"place": "eastus", "used": 4, "limit": 10, "remedy": "Raise it."}],
        "findings": [{"oddity": "orphaned", "server_id": "qqqq", "says": "The address belongs to no server."}],
    }
    stage.lay("GET", "/addresses", Reply(document))
    result = run("addresses")
    assert result.exit_code == 0, result.output
    for text in ("203.0.113.7", "meadow-bcdfghjkmnpq.eastus", "1 of 300 ports", "4 of 10", "belongs to no server"):
        assert text in result.stdout
