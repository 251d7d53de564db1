"""The OpenAPI document is correct: schemathesis asks the real server all that the document allows and forbids."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.web.serving import Served, serve
from overworld.store.database import Database
from worlds.serving import serve_files

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[Served]:
    """The API as a process of its own, and the worker's side of files: that there is none would be a server's error."""
    with serve_files(tmp_path / "data"), serve(database, tmp_path) as running:
        yield running


@pytest.mark.timeout(600)  # it grows with every route
@pytest.mark.parametrize("seed", [int(os.environ.get("OVERWORLD_TEST_SEED", "1"))])
def test_schemathesis_finds_nothing(served: Served, seed: int, tmp_path: Path) -> None:
    """Every check of schemathesis holds in every phase, with a fixed seed and a bounded number of examples."""
    outcome = subprocess.run(
        [
            *(Path(sys.executable).parent / "schemathesis", "run", f"{served.url}/api/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {served.token}"),
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance,use_after_free"),
            *("--seed", str(seed), "--max-examples", "10", "--continue-on-failure", "--warnings", "off"),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "integration.web.schemathesis_hooks", "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout[-6000:] + outcome.stderr[-2000:]
