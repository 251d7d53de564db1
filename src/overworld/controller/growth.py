"""Whether the disk of a server's world has to grow, and what is said of that. Pure."""

from __future__ import annotations

from overworld.controller.subject import Subject
from overworld.domain.observed import Observed
from overworld.domain.servers import Desired
from overworld.domain.worlds import Storage, say_size


def must_grow(subject: Subject, observed: Observed) -> bool:
    """Whether the engine has asked for less than is wanted now. Disks that were not made yet wait: they are made in
    the size that was asked for first, and grow then."""
    server = subject.server
    disk = observed.disks.get(server.world_generation)
    if disk is None or disk.mib is None or server.disk_mib is None or subject.game is None:
        return False
    if server.storage is Storage.SHARE or server.desired is Desired.DELETED:
        return False
    return disk.asked_mib < server.disk_mib


def say_growing(subject: Subject, observed: Observed) -> str | None:
    """What the growth waits for; None where there is none."""
    if must_grow(subject, observed):
        return f"Its disk is about to grow to {say_size(subject.server.disk_mib or 0)}."
    disk = observed.disks.get(subject.server.world_generation)
    return disk.pending if disk is not None else None
