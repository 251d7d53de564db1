"""A test cluster leaves nothing behind, however it ends, and keeps to itself while it runs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.harness import leftovers
from cluster.harness.cluster import Cluster
from cluster.harness.names import BRIDGE, LOG_FOLDER, PREFIX, RUN_FOLDER
from waiting import wait_until

TESTS = Path(__file__).resolve().parents[1]
STAY = """\
import signal
from cluster.harness.cluster import Cluster
with Cluster():
    print("up", flush=True)
    signal.pause()
"""


def what_is_left() -> list[str]:
    """Everything on this machine that carries a name of the test cluster."""
    left = [f"process {process.pid} {process.name()}" for process in leftovers.processes()]
    left += [f"link {name}" for name in leftovers.links()]
    left += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{PREFIX}-*")]
    left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(RUN_FOLDER) in line]
    left += [str(path) for path in RUN_FOLDER.glob("*") if path != LOG_FOLDER]
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout.splitlines()
    return left + [route for route in routes if BRIDGE in route or "198.18.113." in route]


@pytest.fixture
def harness() -> Iterator[subprocess.Popen[str]]:
    """Another process that has a cluster up; killed at the end, and then nothing may be left."""
    process = subprocess.Popen(
        [sys.executable, "-c", STAY], cwd=TESTS, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    yield process
    process.kill()
    process.communicate()
    wait_until(lambda: what_is_left() == [], 30, "nothing is left")


def test_a_cluster_starts_in_seconds_and_leaves_nothing() -> None:
    """From nothing to two Ready nodes well within half a minute, and nothing of it is left."""
    began = time.monotonic()
    with Cluster():
        assert time.monotonic() - began < 30
        assert what_is_left() != []
    assert what_is_left() == []


def test_a_killed_harness_is_cleaned_up_after(harness: subprocess.Popen[str]) -> None:
    """kill -9 of the harness: within seconds everything is gone, without anybody's doing."""
    harness.kill()
    wait_until(lambda: what_is_left() == [], 30, "nothing is left")


def test_the_next_cluster_removes_what_another_left(harness: subprocess.Popen[str]) -> None:
    """Harness and undertaker killed at once: the next start removes the leftovers first."""
    children = psutil.Process(harness.pid).children()
    (undertaker,) = [child for child in children if "cluster.harness.leftovers" in child.cmdline()]
    undertaker.kill()
    harness.kill()
    harness.wait()
    assert what_is_left() != []
    with Cluster() as cluster:
        assert cluster.ready_nodes() == {"node-1", "node-2"}
    assert what_is_left() == []


def test_there_is_one_cluster_at_a_time(harness: subprocess.Popen[str]) -> None:
    """A second cluster is refused, naming the process that has the first."""
    with pytest.raises(leftovers.ClusterRuns, match=str(harness.pid)), leftovers.only_cluster(wait_seconds=0.2):
        pass
