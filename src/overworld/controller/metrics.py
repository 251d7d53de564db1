"""What the controller measures of itself. Listed in docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

QUEUE_DEPTH = Gauge("overworld_controller_queue_depth", "Servers that wait to be looked at.")
QUEUE_OLDEST_SECONDS = Gauge(
    "overworld_controller_queue_oldest_seconds", "How long the server that waits longest has been waiting."
)
IS_LEADER = Gauge("overworld_controller_is_leader", "1 while this process holds the controller's lease, else 0.")
RECONCILES = Counter(
    "overworld_controller_reconciles_total",
    "Looks at a server, by what came of it: done, overtaken, refused, failed.",
    ["outcome"],
)
RECONCILE_SECONDS = Histogram(
    "overworld_controller_reconcile_seconds",
    "From taking a server off the queue to its status stored.",
    buckets=SECONDS,
)
ADDRESS_FINDINGS = Gauge(
    "overworld_controller_address_findings", "What the last sweep found odd about public addresses.", ["oddity"]
)
ENGINE_CALL_SECONDS = Histogram(
    "overworld_engine_call_seconds", "Duration of a call of the engine.", ["call"], buckets=SECONDS
)
ENGINE_CALL_ERRORS = Counter(
    "overworld_engine_call_errors_total", "Calls of the engine that raised.", ["call", "error"]
)
NODES = Gauge("overworld_controller_nodes", "Nodes of the cluster that carry games, by state.", ["state"])
NODE_ACTIONS = Counter(
    "overworld_controller_node_actions_total",
    "What was done about nodes and what is on them (PowerOff, MarkLost, Release, Move, Warn, Occupy, ClearLost), "
    "by what came of it: done, failed.",
    ["action", "outcome"],
)
STATUS_WRITES = Counter("overworld_controller_status_writes_total", "Status rows written.")


@contextmanager
def measure_engine_call(call: str) -> Iterator[None]:
    """Count the seconds and the error of the call inside."""
    began = perf_counter()
    try:
        yield
    except Exception as error:
        ENGINE_CALL_ERRORS.labels(call, type(error).__name__).inc()
        raise
    finally:
        ENGINE_CALL_SECONDS.labels(call).observe(perf_counter() - began)
