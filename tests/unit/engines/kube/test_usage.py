"""A kubelet's /metrics/resource, as Kubernetes 1.36 writes it."""

from __future__ import annotations

from overworld.engines.kube.usage import PodUsage, parse_usage

TEXT = """\
# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="game",namespace="games",pod="a-1"} 12.5 1795428000123
container_cpu_usage_seconds_total{container="game",namespace="games",pod="b-1"} 1 1795428000123
container_cpu_usage_seconds_total{container="game",namespace="other",pod="a-1"} 99 1795428000123
container_cpu_usage_seconds_total{container="sidecar",namespace="games",pod="a-1"} 98 1795428000123
container_memory_working_set_bytes{container="game",namespace="games",pod="a-1"} 1.048576e+06 1795428000123
container_start_time_seconds{container="game",namespace="games",pod="a-1"} 1.7e+09
node_cpu_usage_seconds_total 1000 1795428000123
"""


def test_only_whole_measures_of_games_are_taken() -> None:
    """Not of other containers, not of other namespaces, not half a pod."""
    assert parse_usage(TEXT, "games") == {"a-1": PodUsage(cpu_seconds=12.5, memory_mib=1.0)}


def test_nonsense_is_nothing() -> None:
    """A kubelet that is just starting answers with less."""
    assert parse_usage("", "games") == {}
    assert parse_usage("<html>", "games") == {}
