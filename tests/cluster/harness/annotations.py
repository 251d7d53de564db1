"""What a Service asks of Azure's balancer, read from its annotations as Azure's own cloud controller reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_PREFIX = "service.beta.kubernetes.io/azure-"
_IDLE_MINUTES = range(4, 31)


class BadAnnotation(Exception):
    """The real controller refuses this value."""


@dataclass(frozen=True)
class Wishes:
    """``pip_name`` None: the controller makes an IP of its own. ``label`` None leaves the IP's label as it is, an empty
    one erases it. ``azure-load-balancer-ip-allocation-method`` is not here: nobody reads it."""

    pip_name: str | None
    group: str
    label: str | None
    idle_minutes: int


def read_wishes(annotations: Mapping[str, str], own_group: str) -> Wishes:
    """The wishes of a Service in a cluster whose own resource group is ``own_group``. Raises BadAnnotation."""
    minutes = annotations.get(f"{_PREFIX}load-balancer-tcp-idle-timeout", "4").strip()
    if not minutes.isdecimal() or int(minutes) not in _IDLE_MINUTES:
        raise BadAnnotation(f"idle timeout value must be a whole number representing minutes from 4 to 30: {minutes!r}")
    return Wishes(
        pip_name=annotations.get(f"{_PREFIX}pip-name", "").strip() or None,
        group=annotations.get(f"{_PREFIX}load-balancer-resource-group", "").strip() or own_group,
        label=annotations.get(f"{_PREFIX}dns-label-name"),
        idle_minutes=int(minutes),
    )
