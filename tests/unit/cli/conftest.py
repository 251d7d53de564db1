"""The program, run in this process against a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from overworld.cli import api, waiting
from overworld.cli.main import build_cli
from unit.cli.stage import TOKEN, Stage, open_stage

Run = Callable[..., Result]


@pytest.fixture
def stage() -> Iterator[Stage]:
    """An API that answers as the test lays down."""
    with open_stage() as opened:
        yield opened


@pytest.fixture
def environment(stage: Stage, tmp_path: Path) -> dict[str, str | None]:
    """The environment of a person who is logged in to the stage."""
    return {
        "OVERWORLD_URL": stage.url,
        "OVERWORLD_TOKEN": TOKEN,
        "OVERWORLD_DATA_FOLDER": str(tmp_path / "data"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "HOME": str(tmp_path),
        "NO_COLOR": None,
        "FORCE_COLOR": None,
    }


@pytest.fixture
def run(environment: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("list", "--deleted")`` runs one command to its end and returns what it printed and its exit status."""
    monkeypatch.setattr(waiting, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(api, "TWIN_PAUSE_SECONDS", 0.001)

    def call(*arguments: str, env: Mapping[str, str | None] | None = None, input: str | None = None) -> Result:
        runner = CliRunner(env={**environment, **(env or {})})
        result = runner.invoke(build_cli(), arguments, input=input, prog_name="overworld")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call
