"""A world is copied beside itself by root, while whoever may change its files can swap its folders for links."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from overworld.domain.errors import EngineUnavailable
from overworld.engines.local.generations import Generations

SERVER = "gardens"
FILES = 5_000
AT_FDCWD, RENAME_EXCHANGE = -100, 2
_CREATE_RULESET = 444  # asked for its version: what the kernel's Landlock can do
LIBC = ctypes.CDLL(None)
confined = pytest.mark.skipif(
    LIBC.syscall(_CREATE_RULESET, None, 0, 1) < 2 and not os.environ.get("CI"),
    reason="NOT RUN: this kernel has no Landlock (CI requires it)",
)


@pytest.fixture
def generations() -> Iterator[Generations]:
    """Worlds of one server, in a folder that its user can come to."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        made = Generations(Path(folder) / "servers")
        made.make_place(SERVER, 1)
        made.path(SERVER, 1).mkdir()
        yield made


@confined
def test_a_folder_that_becomes_a_link_while_it_is_copied_leads_nowhere(
    generations: Generations, tmp_path: Path
) -> None:
    """The link is that of a tenant, what it leads to would be anything that root can read."""
    world, secrets = generations.path(SERVER, 1), tmp_path / "secrets"
    for folder, content in ((world / "region", b"mine"), (secrets, b"secret")):
        folder.mkdir()
        for number in range(FILES):
            (folder / f"{number:05}").write_bytes(content)
    (world / "sly").mkdir()
    (world / "sly" / "link").symlink_to(secrets)
    copy = generations.make(SERVER, 2)

    def swap() -> None:
        while not (copy / "region").exists():
            time.sleep(0.0002)
        names = (os.fsencode(world / "region"), os.fsencode(world / "sly" / "link"))
        assert LIBC.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0

    swapping = Thread(target=swap)
    swapping.start()
    with suppress(EngineUnavailable):  # what it cannot open it says
        generations.copy(SERVER, 1, copy)
    swapping.join()
    assert (world / "region").is_symlink()
    assert not [path for path in copy.rglob("*") if path.is_file() and path.read_bytes() != b"mine"]


def test_a_copy_is_the_world_once_more(generations: Generations) -> None:
    """With links, hard links between folders, times, modes, pipes and empty folders."""
    world = generations.path(SERVER, 1)
    for folder in ("region", "empty", "players"):
        (world / folder).mkdir()
    (world / "region" / "r.0.0").write_bytes(b"earth")
    os.utime(world / "region" / "r.0.0", ns=(1, 1_234_567_891))
    os.link(world / "region" / "r.0.0", world / "players" / "same")
    (world / "region" / "latest").symlink_to("/nowhere")
    (world / "region" / "closed").write_bytes(b"")
    (world / "region" / "closed").chmod(0o000)
    os.mkfifo(world / "pipe")
    copy = generations.make(SERVER, 2)
    generations.copy(SERVER, 1, copy)
    listed = ["find", ".", "-printf", "%P %y %m %n %s %T@ %l\n"]
    tell = [sorted(subprocess.check_output(listed, cwd=folder).splitlines()[1:]) for folder in (world, copy)]
    assert tell[0] == tell[1]
    assert (copy / "players" / "same").samefile(copy / "region" / "r.0.0")
