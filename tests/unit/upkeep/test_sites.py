"""What a machine and a cluster need before an installation is brought back there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from controlling import make_server
from overworld.domain.errors import BadInput, Conflict
from overworld.saves.secrets import Key, Keyring, new_key
from overworld.settings import Settings
from overworld.upkeep.report import Outcome, event_message
from overworld.upkeep.sites import Cluster, Machine, open_site
from overworld.worker.facts import Facts

OLD, NEW = new_key("old"), new_key("new")
FACTS = Facts(Keyring((NEW, OLD)).format(), {}, {"0/chess.toml": "…"})


def settings(folder: Path, engine: Literal["local", "kube", "memory"], *keys: Key) -> Settings:
    """Settings of an empty machine or cluster that has these save keys."""
    given: dict[str, Any] = {"save_keys": Keyring(keys).format()} if keys else {}
    return Settings(data_folder=folder, engine=engine, **given)


def test_a_cluster_has_the_save_keys_before_anything_is_done(tmp_path: Path) -> None:
    """It is told which it lacks, by their names alone; more of them do no harm, another one of the same name does."""
    for keys, lacking in (((), "new, old"), ((NEW,), "(old)"), ((NEW, new_key("old")), "(old)")):
        with pytest.raises(Conflict, match="Nothing was changed") as refused:
            Cluster(settings(tmp_path, "kube", *keys)).check_keys(FACTS)
        assert lacking in refused.value.detail
        assert Keyring((OLD,)).format().partition(":")[2] not in refused.value.detail
    Cluster(settings(tmp_path, "kube", new_key("third"), OLD, NEW)).check_keys(FACTS)


def test_a_machine_is_given_the_save_keys_unless_it_has_others(tmp_path: Path) -> None:
    """In its data folder, beside the game files."""
    with pytest.raises(Conflict, match="unset it"):
        Machine(settings(tmp_path, "local", OLD)).check_keys(FACTS)
    machine = Machine(settings(tmp_path, "local"))
    machine.check_keys(FACTS)
    machine.take(FACTS)
    machine.take(FACTS)
    assert (tmp_path / "save-keys").read_text().strip() == FACTS.save_keys
    assert (tmp_path / "recovered-games/0/chess.toml").read_text() == "…"
    with pytest.raises(BadInput, match="leads out of its folder"):
        machine.take(Facts(FACTS.save_keys, {}, {"../chess.toml": ""}))


def test_the_settings_say_which_it_is(tmp_path: Path) -> None:
    """Worlds that are nowhere cannot be brought back."""
    assert isinstance(open_site(settings(tmp_path, "kube")), Cluster)
    assert isinstance(open_site(settings(tmp_path, "local")), Machine)
    with pytest.raises(BadInput, match="nothing to bring back"):
        open_site(settings(tmp_path, "memory"))


def test_a_world_that_was_not_lost_is_told_as_such() -> None:
    """Nobody is to think that it was overwritten."""
    outcome = Outcome(make_server(), was_here=True)
    assert outcome.is_good
    assert outcome.cells()[-2:] == ("nothing", "had not been lost, left as it is")
    assert "is as it was" in event_message(outcome)
