"""What an errand is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from overworld.saves.options import ResticOptions
from overworld.worker.errands import CACHE_MIB, read_options, render_options


def test_a_steward_speaks_to_the_store_as_the_worker_does() -> None:
    """The operator's patience and line hold on the nodes too; the cache is as large as a steward has room for."""
    given = ResticOptions(patience=timedelta(seconds=7), upload_kib_s=8, download_kib_s=9)
    assert read_options(render_options(given)) == replace(given, cache_mib=CACHE_MIB)
