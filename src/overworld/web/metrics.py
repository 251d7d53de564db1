"""What Prometheus is told of the API (docs/metrics.md). By route template, so that ids in paths make no new series."""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

REQUESTS = Counter("overworld_http_requests", "Requests answered.", ("method", "route", "status"))
SECONDS = Histogram(
    "overworld_http_request_seconds",
    "Time until the response was ready to be sent (streams: until they began).",
    ("method", "route"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
STREAMS = Gauge("overworld_http_streams", "Console streams that are open.")


def render_metrics() -> bytes:
    """All metrics of this process in Prometheus' text format."""
    return generate_latest(REGISTRY)
