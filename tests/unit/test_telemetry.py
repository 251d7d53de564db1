"""Metrics are served where they are asked for, and nowhere else."""

from __future__ import annotations

import httpx
import pytest

from installation import free_port
from overworld.domain.errors import Unavailable
from overworld.telemetry import serve_metrics


def test_metrics_are_served_for_as_long_as_the_block_lasts() -> None:
    """Prometheus finds them on the port, and nobody listens there afterwards."""
    listen = f"127.0.0.1:{free_port()}"
    with serve_metrics(listen):
        assert "python_info" in httpx.get(f"http://{listen}/metrics").text
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{listen}/metrics")


def test_a_taken_port_is_said() -> None:
    """A second process on the same port is told which port it was."""
    listen = f"127.0.0.1:{free_port()}"
    with serve_metrics(listen), pytest.raises(Unavailable, match=listen), serve_metrics(listen):
        pass


def test_nothing_is_served_unasked() -> None:
    """Without a setting there is no port."""
    with serve_metrics(None):
        pass
