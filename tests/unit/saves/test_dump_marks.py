"""Which snapshots of the installation's repository belong together, whose they are, and which are let go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from overworld.domain.recovery import Claim
from overworld.saves import dump_marks as marks
from overworld.saves.base import Snapshot

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIRST, SECOND = Claim(1, "aa"), Claim(2, "bb")


def snapshot(name: str, minutes: int, tags: list[str]) -> Snapshot:
    """One of so many minutes ago."""
    return Snapshot(name, NOW - timedelta(minutes=minutes), tuple(tags))


def test_a_dump_has_the_facts_that_were_so_when_it_was_made() -> None:
    """Also after they have changed."""
    old_facts, new_facts = snapshot("f1", 60, marks.facts_tags("d1")), snapshot("f2", 20, marks.facts_tags("d2"))
    old, new = snapshot("1", 59, marks.database_tags(FIRST, "d1")), snapshot("2", 19, marks.database_tags(FIRST, "d2"))
    everything = [old_facts, old, new_facts, new]
    assert marks.dumps(everything) == [old, new]
    assert marks.facts_of(everything, old) == old_facts
    assert marks.facts_of(everything, new) == new_facts
    assert marks.facts_of([old_facts, new], new) is None
    assert marks.find_facts(everything, "d3") is None


def test_the_newest_claim_is_the_greatest_not_the_latest() -> None:
    """A late dump of the old installation takes nothing back; of two recoveries at once all see the same one win."""
    claim = snapshot("c", 5, marks.claim_tags(SECOND))
    late = snapshot("1", 1, marks.database_tags(FIRST, "d"))
    assert marks.newest_claim([claim, late]) == (SECOND, claim.at)
    assert marks.has_claim([claim, late], FIRST)
    twin = snapshot("t", 3, marks.claim_tags(Claim(2, "cc")))
    assert marks.newest_claim([twin, claim]) == marks.newest_claim([claim, twin]) == (Claim(2, "cc"), twin.at)
    assert marks.newest_claim([]) is None


def test_what_is_let_go() -> None:
    """Dumps by age, facts only when no dump needs them any more, claims when there is a newer one; never the newest."""
    day = 60 * 24
    everything = [
        snapshot("c1", 400 * day, marks.claim_tags(FIRST)),
        snapshot("c2", 30, marks.claim_tags(SECOND)),
        snapshot("f1", 400 * day, marks.facts_tags("d1")),
        snapshot("oldest", 399 * day, marks.database_tags(FIRST, "d1")),
        snapshot("f2", 380 * day, marks.facts_tags("d2")),
        *(snapshot(f"m{number}", number * 9 * day, marks.database_tags(SECOND, "d2")) for number in range(1, 40)),
        *(snapshot(f"n{number}", number, marks.database_tags(SECOND, "d2")) for number in range(20)),
    ]
    going = marks.snapshots_to_forget(everything, "d2")
    assert {"c1", "f1", "oldest", "n19"} <= set(going)
    assert {"c2", "f2", "n0", "n1", "m1"} & set(going) == set()
    assert "f1" not in marks.snapshots_to_forget(everything, "d1")  # what a dump that is not listed yet has again
    left = [each for each in everything if each.snapshot_id not in going]
    assert marks.snapshots_to_forget(left, "d2") == []
    for dump in marks.dumps(left):
        assert marks.facts_of(left, dump) is not None
