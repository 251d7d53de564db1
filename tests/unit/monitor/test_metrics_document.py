"""docs/metrics.md lists every metric, and no other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"

# In its own process: importing everything must not leave anything behind in that of the tests.
LIST_METRICS = """
import importlib, pkgutil
import overworld
from prometheus_client import REGISTRY

for module in pkgutil.walk_packages(overworld.__path__, "overworld."):
    if not module.name.endswith("__main__") and ".migrations" not in module.name:
        importlib.import_module(module.name)
for metric in REGISTRY.collect():
    if metric.name.startswith("overworld_"):
        print(metric.name + "_total" * (metric.type == "counter"), metric.type)
"""


def test_every_metric_is_on_the_page_with_its_type() -> None:
    """Importing every module defines exactly the metrics of the page."""
    output = subprocess.run([sys.executable, "-c", LIST_METRICS], capture_output=True, text=True, check=True).stdout
    defined = {tuple(line.split()) for line in output.splitlines()}
    listed = set(re.findall(r"^\| `(overworld_\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE))
    assert listed == defined
