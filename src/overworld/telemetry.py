"""Metrics of a process that serves no HTTP of its own. Each metric is defined beside the code that it measures and
listed in docs/metrics.md; web serves those of its own process under /metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server

from overworld.domain.errors import Unavailable


@contextmanager
def serve_metrics(listen: str | None) -> Iterator[None]:
    """Serve this process's metrics on ``listen`` (host:port, IPv6 in brackets) for as long as the block lasts; on
    its own thread, so that they can be read while the event loop is stuck. Nothing happens for None.

    Raises Unavailable if it cannot listen there.
    """
    if listen is None:
        yield
        return
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"))
    except (OSError, OverflowError) as error:
        raise Unavailable(f"Metrics cannot be served on {listen}: {error}.") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
