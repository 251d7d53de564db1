"""Ids are DNS labels that can be read aloud."""

from __future__ import annotations

import re

from overworld.store.ids import new_id


def test_an_id_is_a_dns_label_without_vowels_and_look_alikes() -> None:
    """12 characters, a letter first, none of a e i o u y l 0 1."""
    ids = [new_id() for _ in range(2000)]
    assert all(re.fullmatch(r"[bcdfghjkmnpqrstvwxz][bcdfghjkmnpqrstvwxz2-9]{11}", one) for one in ids)


def test_ids_do_not_repeat() -> None:
    """20,000 in a row are all different."""
    assert len({new_id() for _ in range(20_000)}) == 20_000
