"""500 servers whose rows exist, to Ready on fake nodes, beside a bare program that applies the same objects.

The cluster is the bound, so rates are compared within one run, in turn: bare, Overworld, Overworld, bare. Every write
is counted by the API server's audit log.
"""

from __future__ import annotations

import statistics

from bench.figures import report
from bench.kube.bare import Run, run_bare
from bench.kube.rows import Rows, open_rows
from bench.kube.stage import (
    BARE_NAMESPACE,
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
from waiting import wait_until

SERVERS = 500
OBJECTS = 4
FAKE_NODES = 12
ROUNDS = 2


def main() -> None:
    """Measure and report."""
    with scratch() as folder, open_rows() as rows, open_cluster(fake_nodes=FAKE_NODES) as cluster:
        bare_config = write_kubeconfig(cluster, BARE_NAMESPACE, folder / "bare.yaml")
        our_config = write_kubeconfig(cluster, NAMESPACE, folder / "ours.yaml")
        bare: list[Run] = []
        ours: list[Run] = []
        with Controller(our_config, rows.url) as controller:
            controller.until_leading()
            run_bare(bare_config, 0, 20)  # both sides have met the cluster, and it them
            rows.add(20)
            until(lambda: rows.count_settled() == 20, 120, rows.explain)
            writes = count_writes(cluster, NAMESPACE)
            for number in range(ROUNDS):
                if number % 2 == 0:
                    bare.append(run_bare(bare_config, 20 + SERVERS * number, SERVERS))
                ours.append(provision(rows, controller))
                if number == 0:
                    memory_mib = controller.spent().rss_mib
                if number % 2 == 1:
                    bare.append(run_bare(bare_config, 20 + SERVERS * number, SERVERS))
            tell_writes(cluster, changed(writes, count_writes(cluster, NAMESPACE)))
    tell(bare, ours)
    report("kube: controller with 500 servers, memory", memory_mib, "MiB", "≤ 120")


def provision(rows: Rows, controller: Controller) -> Run:
    """The rows are written now; the seconds until all of them say that they are ready."""
    settled, before = rows.count_settled(), controller.spent()
    rows.add(SERVERS)
    seconds = until(lambda: rows.count_settled() == settled + SERVERS, 600, rows.explain)
    wait_until(lambda: controller.metric("overworld_controller_queue_depth") == 0, 30, "the controller has settled")
    return Run(seconds, controller.spent().cpu_seconds - before.cpu_seconds)


def tell_writes(cluster: Cluster, writes: dict[str, int]) -> None:
    """What was written for one server."""
    for what, count in sorted(writes.items()):
        print(f"bench: {count} x {what}", flush=True)
    total = sum(writes.values()) / (SERVERS * ROUNDS * OBJECTS)
    report("kube: writes an object, counted at the API server", total, "", "1")


def tell(bare: list[Run], ours: list[Run]) -> None:
    """The figures of all rounds."""
    for who, runs in (("bare", bare), ("Overworld", ours)):
        for run in runs:
            print(f"bench: {who}: {SERVERS} in {run.seconds:.1f} s, {run.cpu_seconds:.2f} s of CPU", flush=True)
    bare_rate, our_rate = (SERVERS / statistics.mean(run.seconds for run in runs) for runs in (bare, ours))
    bare_cpu, our_cpu = (1000 * statistics.mean(run.cpu_seconds for run in runs) / SERVERS for runs in (bare, ours))
    report("kube: 500 servers to Ready, a bare lightkube program", bare_rate, "servers/s")
    report("kube: 500 servers to Ready, Overworld", our_rate, "servers/s")
    report("the same as part of the bare program's rate", 100 * our_rate / bare_rate, "%", "≥ 90")
    report("kube: CPU of the bare program for a server", bare_cpu, "ms")
    report("kube: CPU of the controller for a server", our_cpu, "ms", "≤ 20")


if __name__ == "__main__":
    main()
