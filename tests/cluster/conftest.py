"""The tests on a real Kubernetes run by ``make test-cluster`` alone: root, Go, a long first build."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

collect_ignore_glob = [] if os.environ.get("OVERWORLD_TEST_CLUSTER") == "1" else ["test_*.py"]

if not collect_ignore_glob:
    from cluster.harness.cluster import Cluster
    from cluster.kube_stage import KubeStage, prepare_cluster
    from cluster.node_site import NodeSite, actors
    from overworld.store.database import Database

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        """What starts clusters of its own comes before the cluster that everybody shares: one fits on a machine."""
        items.sort(key=lambda item: item.path.name != "test_cleaning_up.py")

    @pytest.fixture(scope="session")
    def cluster() -> Iterator[Cluster]:
        """A running cluster of two nodes; a test that kills something brings it back."""
        with Cluster() as running:
            yield running

    @pytest.fixture(scope="session")
    def prepared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
        """The cluster with all that the stages need."""
        prepare_cluster(cluster, tmp_path_factory.mktemp("images") / "scripted.tar")
        return cluster

    @pytest.fixture
    async def site(prepared: Cluster, database: Database) -> AsyncIterator[NodeSite]:
        """An installation in a namespace of its own, on nodes that the test may break."""
        stage = KubeStage(prepared)
        site = NodeSite(stage, database, *actors(database))
        yield site
        await site.restore_nodes()
        await stage.leave()

    @pytest.fixture
    async def stage(prepared: Cluster) -> AsyncIterator[KubeStage]:
        """A namespace of the test's own."""
        stage = KubeStage(prepared)
        yield stage
        await stage.leave()
