"""Starts a program that dies with its parent, writes no core file, is the first to go where memory runs out, and can
reach only the folders it was given.

One file of the standard library, run in a process of its own: ``python -I -S confinement.py PARENT READ WRITE
PROGRAM ...``, where PARENT is the parent's process id, and READ and WRITE are JSON lists of paths. It replaces itself
by PROGRAM.

The confinement is Landlock (Linux 5.19 or newer; ``landlock(7)``). The worker may be root, and a folder of a world can
be swapped for a link (by its game, or through the files API) between a program's look at it and its opening of it:
without this, restic or cp would follow that link, and another server's world, or a secret of the machine, would be in
the tenant's own save or world. Where the kernel has no Landlock the program runs without it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_SYSTEM = (  # what a program of Go or C reads of a system; nothing of it is secret, so no /proc
    "/usr", "/lib", "/lib64", "/bin", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/resolv.conf", "/etc/hosts",
    "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/localtime", "/etc/ld.so.cache", "/etc/mime.types",
    "/run/systemd/resolve", "/dev/null", "/dev/urandom", "/sys/kernel/mm/transparent_hugepage",
)  # fmt: skip

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION, _PATH_BENEATH = 1, 1
_LEAST_ABI = 2  # before it no file could be linked into another folder, which a restore of hard links needs

# linux/landlock.h
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_EVERYTHING = (1 << 14) - 1  # up to REFER (ABI 2)
_TRUNCATE = 1 << 14  # ABI 3
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_NO_DEVICES = ~(_MAKE_CHAR | _MAKE_BLOCK)
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def render_command(program: Sequence[str], *, read: Iterable[Path], write: Iterable[Path]) -> list[str]:
    """The command that runs ``program`` (its path, then its arguments), which may read and write only these paths, and
    read what programs need of a system. For a child of this very process, and of a thread that waits for its end."""
    readable = [*_SYSTEM, program[0], *map(str, read)]
    writable = ["/dev/null", *map(str, write)]
    launcher = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
    return [*launcher, json.dumps(readable), json.dumps(writable), *program]


def main() -> None:
    """Become the program."""
    parent, read, write, *program = sys.argv[1:]
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != int(parent):  # it died before the line above
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program's memory holds keys
    # restic keeps whole folders in memory, 1.6 KiB for each of their files: a game makes as many as it likes.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")
    confine(json.loads(read), json.loads(write))
    os.execv(program[0], program)  # noqa: S606 - a shell is what must not be there


def is_possible() -> bool:
    """Whether this kernel can confine."""
    return _abi() >= _LEAST_ABI


def _abi() -> int:
    return int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)))


def confine(read: list[str], write: list[str]) -> bool:
    """This process, and what it becomes, reach nothing else from here on; False where the kernel cannot do it.

    Paths that are not there are left out. Raises OSError if the kernel can, but did not.
    """
    abi = _abi()
    if abi < _LEAST_ABI:
        return False
    handled = _EVERYTHING | (_TRUNCATE if abi >= 3 else 0)
    attributes = _Ruleset(handled)
    ruleset = _libc.syscall(
        _CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), ctypes.c_uint32(0)
    )
    _raise_if(ruleset < 0)
    for paths, access in ((read, _READ), (write, handled & _NO_DEVICES)):
        for path in paths:
            _allow(ruleset, path, access)
    _raise_if(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    _raise_if(_libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0)
    os.close(ruleset)
    return True


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            access &= _OF_A_FILE
        rule = _PathBeneath(access, descriptor)
        added = _libc.syscall(
            _ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0)
        )
        _raise_if(added != 0)
    finally:
        os.close(descriptor)


def _raise_if(failed: bool) -> None:
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock: {os.strerror(number)}")


if __name__ == "__main__":
    main()
