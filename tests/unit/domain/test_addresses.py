"""Labels that any name becomes, and when an address is looked at again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from overworld.domain.addresses import AddressLease, derive_label

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
AZURE = re.compile(r"[a-z][a-z0-9-]{1,61}[a-z0-9]")


@given(st.text(max_size=80))
def test_any_name_becomes_a_label_of_its_own(name: str) -> None:
    """It is one that Azure takes, and ends with the server's id."""
    label = derive_label(name, "tx8x2vwwzk7b")
    assert AZURE.fullmatch(label)
    assert label.endswith("tx8x2vwwzk7b")


def test_people_recognize_their_servers_name() -> None:
    """As far as a label can hold it."""
    assert derive_label("Ännas Würfelwelt!", "tx8x2vwwzk7b") == "annas-wurfelwelt-tx8x2vwwzk7b"
    assert derive_label("7 days", "tx8x2vwwzk7b") == "days-tx8x2vwwzk7b"
    assert derive_label("世界", "tx8x2vwwzk7b") == "tx8x2vwwzk7b"


@given(st.integers(0, 10**6))
def test_what_lasts_is_looked_at_less_often(seconds: int) -> None:
    """After as long as it has lasted, 15 s at least and 5 min at most."""
    checked = NOW + timedelta(seconds=seconds)
    lease = AddressLease("chess1", "chess1", ports=1, leased_at=NOW, resource="ip", checked_at=checked)
    wait = lease.next_check(pending_since=NOW) - checked
    assert wait == timedelta(seconds=min(max(seconds, 15), 300))
