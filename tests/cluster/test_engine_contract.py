"""The engine and console contract of tests/contract, on a real Kubernetes: the same cases, one more stage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.harness.cluster import Cluster
from cluster.kube_stage import KubeStage, prepare_cluster
from contract.stages import Stage
from contract.test_console import *  # noqa: F403 (the cases are the contract)
from contract.test_engine import *  # noqa: F403


@pytest.fixture(scope="session")
def prepared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster with all that the stages need."""
    prepare_cluster(cluster, Path(tmp_path_factory.mktemp("images") / "scripted.tar"))
    return cluster


@pytest.fixture
async def stage(prepared: Cluster) -> AsyncIterator[Stage]:
    """A namespace of the test's own."""
    stage = KubeStage(prepared)
    yield stage
    await stage.leave()
