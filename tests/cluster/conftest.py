"""The tests on a real Kubernetes run by ``make test-cluster`` alone: root, Go, a long first build."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

collect_ignore_glob = [] if os.environ.get("OVERWORLD_TEST_CLUSTER") == "1" else ["test_*.py"]

if not collect_ignore_glob:
    from cluster.harness.cluster import Cluster

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        """What starts clusters of its own comes before the cluster that everybody shares: one fits on a machine."""
        items.sort(key=lambda item: item.path.name != "test_cleaning_up.py")

    @pytest.fixture(scope="session")
    def cluster() -> Iterator[Cluster]:
        """A running cluster of two nodes; a test that kills something brings it back."""
        with Cluster() as running:
            yield running
