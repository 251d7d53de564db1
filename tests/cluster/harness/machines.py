"""A machine of the cluster: process, network and mount namespaces of its own, on a bridge with the others.

Its first process is the pause program; when that is killed the kernel ends everything else inside and takes the
network and the mounts away: pulling the plug is one signal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from cluster.harness.commands import CommandFailed, run
from cluster.harness.names import (
    BRIDGE,
    HOST_ADDRESS,
    LINK_PREFIX,
    LOAD_BALANCER_RANGE,
    MACHINE_PREFIX_LENGTH,
    VOID,
)
from cluster.harness.processes import Process
from cluster.harness.programs import Programs
from waiting import wait_until

# Folders that programs of a node use whatever their settings say: each machine sees empty ones of its own.
_PRIVATE_FOLDERS = ("/run", "/var/log", "/var/lib/cni")
_UNSHARE = ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"]


def create_network() -> None:
    """The bridge that the machines are on, and a place where packets to an address without a healthy node vanish."""
    commands = f"""\
link add {BRIDGE} type bridge
address add {HOST_ADDRESS}/{MACHINE_PREFIX_LENGTH} dev {BRIDGE}
link set {BRIDGE} up
link add {VOID} type veth peer name {VOID}-end
link set {VOID} arp off up
link set {VOID}-end arp off up
route add {LOAD_BALANCER_RANGE} dev {VOID} src {HOST_ADDRESS}
"""
    run(["ip", "-batch", "-"], stdin=commands)


class Machine:
    """One machine at ``address``. ``start`` boots it, ``kill`` pulls its plug; both may be repeated."""

    def __init__(self, name: str, address: str, programs: Programs) -> None:
        self.name = name
        self.address = address
        self._inside = 0
        self._processes: list[Process] = []
        self._first = Process(
            f"{name}-first",
            [*_UNSHARE, "--kill-child=KILL", "--", programs["pause"]],
        )

    def start(self) -> None:
        """Boot: namespaces, private folders, an address on the bridge, no names from outside. Raises CommandFailed."""
        self._first.start()
        unshare = psutil.Process(self._first.pid)
        self._inside = wait_until(lambda: self._find_first(unshare), 10, f"the first process of {self.name} runs")
        link = f"{LINK_PREFIX}{self.name}"
        commands = (
            f"link add {link} type veth peer name eth0 netns {self._inside}\nlink set {link} master {BRIDGE} up\n"
        )
        run(["ip", "-batch", "-"], stdin=commands)
        script = "set -eu\nmount --make-rshared /\n"
        script += "".join(f"mkdir -p {folder}; mount -t tmpfs tmpfs {folder}\n" for folder in _PRIVATE_FOLDERS)
        script += f"""\
names=$(readlink -f /etc/resolv.conf)
mkdir -p "${{names%/*}}"
[ -e "$names" ] || : >"$names"
echo nameserver 127.0.0.1 >/run/resolv.conf
mount --bind /run/resolv.conf "$names"
ip link set lo up
ip address add {self.address}/{MACHINE_PREFIX_LENGTH} dev eth0
ip link set eth0 up
ip route add default via {HOST_ADDRESS}
echo 1 >/proc/sys/net/ipv4/ip_forward
"""
        self.run(["sh", "-c", script])

    def _find_first(self, unshare: psutil.Process) -> int | None:
        self._first.check()
        # It is the pause program once unshare has finished in the child and handed over.
        return next((child.pid for child in unshare.children() if child.name() == "pause"), None)

    def kill(self) -> None:
        """Pull the plug. Safe to call twice."""
        self._first.kill()
        for process in self._processes:
            process.kill()  # dead already; this buries it
        self._processes.clear()
        with suppress(
            CommandFailed
        ):  # gone by itself, unless connections that a cut left half closed keep it for minutes
            run(["ip", "link", "delete", f"{LINK_PREFIX}{self.name}"])

    def cut(self) -> None:
        """Pull its network cable: everything inside goes on, and nobody outside hears of it."""
        run(["ip", "link", "set", f"{LINK_PREFIX}{self.name}", "down"])

    def mend(self) -> None:
        """Put the network cable back."""
        run(["ip", "link", "set", f"{LINK_PREFIX}{self.name}", "up"])

    @property
    def is_alive(self) -> bool:
        """Whether it is on."""
        return self._first.is_alive

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command line that runs ``command`` inside."""
        return ["nsenter", "--target", str(self._inside), "--mount", "--net", "--pid", "--", *command]

    def run(self, command: Sequence[str], **options: float) -> str:
        """Run a command inside and wait for it. Raises CommandFailed."""
        return run(self.inside(command), timeout_seconds=options.get("timeout_seconds", 60))

    def start_process(self, name: str, command: Sequence[str]) -> Process:
        """Start a program inside that stays."""
        process = Process(name, self.inside(command))
        process.start()
        self._processes.append(process)
        return process

    def routes(self) -> list[dict[str, object]]:
        """Its routing table, as ``ip -json`` tells it."""
        found: list[dict[str, object]] = json.loads(self.run(["ip", "-json", "route"]))
        return found


def write(path: Path, text: str) -> Path:
    """Write a configuration file; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
