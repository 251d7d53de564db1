"""5,000 servers in a cluster, 1,000 of them running on fake nodes, and nothing to do: what it costs, and that nothing
is written. ``--window=SECONDS`` is how long it is looked at (600), ``--servers=N`` for a smaller try.
"""

from __future__ import annotations

import argparse
import time

from bench.figures import report
from bench.kube.rows import Rows, open_rows
from bench.kube.stage import (
    NAMESPACE,
    Controller,
    changed,
    count_writes,
    open_cluster,
    scratch,
    until,
    write_kubeconfig,
)
from cluster.harness.cluster import Cluster

RUNNING_PART = 5
PODS_A_FAKE_NODE = 100
QUIET_SECONDS = 40.0
"""Before the window: longer than the controller waits before it looks at something unsettled again."""
ALLOWED_TABLES = {"lease"}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--window", type=float, default=600.0)
    parser.add_argument("--servers", type=int, default=5000)
    chosen = parser.parse_args()
    running = chosen.servers // RUNNING_PART
    with (
        scratch() as folder,
        open_rows() as rows,
        open_cluster(fake_nodes=running // PODS_A_FAKE_NODE + 1) as cluster,
        Controller(write_kubeconfig(cluster, NAMESPACE, folder / "ours.yaml"), rows.url) as controller,
    ):
        controller.until_leading()
        rows.add(running)
        rows.add(chosen.servers - running, desired="stopped")
        until(lambda: rows.count_settled() == chosen.servers, 3000, rows.explain, pause=1.0)
        print(f"bench: {chosen.servers} servers are settled", flush=True)
        time.sleep(QUIET_SECONDS)
        rest(cluster, rows, controller, chosen.servers, chosen.window)
        restart(cluster, rows, controller, chosen.servers)


def rest(cluster: Cluster, rows: Rows, controller: Controller, servers: int, window_seconds: float) -> None:
    """Look at it for the window, and at every write in it."""
    spent, began = controller.spent(), time.monotonic()
    in_cluster, in_tables = count_writes(cluster, NAMESPACE), rows.count_writes()
    time.sleep(window_seconds)
    after, seconds = controller.spent(), time.monotonic() - began
    what = f"kube: {servers:,} settled servers"
    report(f"{what}, CPU", 100 * (after.cpu_seconds - spent.cpu_seconds) / seconds, "% of a core", "< 5")
    report(f"{what}, memory", after.rss_mib, "MiB", "≤ 250")
    tell_writes(f"{what}, {seconds:.0f} s", cluster, rows, in_cluster, in_tables)


def restart(cluster: Cluster, rows: Rows, controller: Controller, servers: int) -> None:
    """Start it anew, and look at what it does until it has looked at every server, and for a while after that."""
    controller.stop()
    time.sleep(2)  # PostgreSQL tells of the last writes a second late
    in_cluster, in_tables = count_writes(cluster, NAMESPACE), rows.count_writes()
    controller.start()
    looks = "overworld_controller_reconciles_total"
    seconds = until(lambda: controller.metric(looks) >= servers, 300, lambda: controller.metric(looks), pause=0.1)
    report(f"kube: restart to {servers:,} servers reconciled", seconds, "s", "≤ 30")
    time.sleep(QUIET_SECONDS)
    tell_writes("kube: after the restart", cluster, rows, in_cluster, in_tables)


def tell_writes(what: str, cluster: Cluster, rows: Rows, in_cluster: dict[str, int], in_tables: dict[str, int]) -> None:
    """What was written since then, leases aside."""
    cluster_writes = changed(in_cluster, count_writes(cluster, NAMESPACE))
    table_writes = {
        name: count for name, count in changed(in_tables, rows.count_writes()).items() if name not in ALLOWED_TABLES
    }
    if cluster_writes or table_writes:
        print(f"bench: written: {cluster_writes} {table_writes}", flush=True)
    report(f"{what}: writes to the cluster", sum(cluster_writes.values()), "", "0")
    report(f"{what}: writes to PostgreSQL but leases", sum(table_writes.values()), "", "0")


if __name__ == "__main__":
    main()
