"""podman with a storage of its own in the cache: nothing of the machine's other images is used or changed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.harness.commands import CommandFailed, run

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "overworld" / "images"

BUILD_SECONDS = 1800
PAUSES_SECONDS = (10, 30)
"""Between attempts."""


def podman(*arguments: str) -> str:
    """What podman says. Raises CommandFailed."""
    return run(podman_command(arguments), timeout_seconds=BUILD_SECONDS)


def digest_of(image: str) -> str:
    """An image of the storage by its digest, as a Dockerfile may name it."""
    return podman("image", "inspect", "--format={{index .RepoDigests 0}}", image).strip()


def is_stored(image: str) -> bool:
    """Whether the storage has an image of that name and tag."""
    return image in _names()


def _names() -> list[str]:
    return podman("images", "--format={{.Repository}}:{{.Tag}}").split()


def keep_only(name: str, tags: set[str]) -> None:
    """Take away the image's other tags, and whatever of the storage has no name any more and no container."""
    for image in set(_names()):
        found, _, tag = image.rpartition(":")
        if found == name and tag not in tags:
            podman("untag", image, image)
    podman("image", "prune", "--force")


def build(arguments: Sequence[str], context: Path) -> None:
    """``podman build`` with runc's own needs on a machine whose limits cannot be raised. Raises CommandFailed after
    three attempts: mirrors fail in passing."""
    limits = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
    run_again(podman_command(("build", "--pull=never", "--network=host", *limits, *arguments, str(context))))


def run_again(command: Sequence[str]) -> str:
    """The output of a command that needs a mirror, tried three times. Raises CommandFailed."""
    for pause in PAUSES_SECONDS:
        try:
            return run(command, timeout_seconds=BUILD_SECONDS)
        except CommandFailed as error:
            print(f"images: trying again in {pause} s: {str(error)[-1000:]}", file=sys.stderr, flush=True)
            time.sleep(pause)
    return run(command, timeout_seconds=BUILD_SECONDS)


def podman_command(arguments: Sequence[str]) -> list[str]:
    """The command line that does this with the storage of the project's images."""
    places = (f"--root={CACHE / 'storage'}", "--runroot=/run/overworld-images")
    return ["podman", *places, "--runtime=runc", *arguments]
