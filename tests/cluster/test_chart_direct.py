"""Direct mode: host ports of the range are let in; everything else that Pod Security *restricted* refuses is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.harness.cluster import Cluster
from cluster.harness.commands import CommandFailed
from cluster.harness.helm import Manifest
from cluster.harness.images import ECHO
from cluster.test_chart import IDLE, Installed, game_pod
from waiting import wait_until

FIRST, LAST = 40000, 40099


def everywhere(path: str, value: Any) -> Callable[[Manifest], None]:
    """Sets a field of the pod: a path of names and numbers, with dots."""

    def change(pod: Manifest) -> None:
        *parents, last = path.split(".")
        place: Any = pod
        for name in parents:
            place = place[int(name)] if name.isdigit() else place.setdefault(name, {})
        place[last] = value

    return change


C = "spec.containers.0"
REFUSED: dict[str, Callable[[Manifest], object]] = {
    "hostNetwork": everywhere("spec.hostNetwork", True),
    "hostPID": everywhere("spec.hostPID", True),
    "hostIPC": everywhere("spec.hostIPC", True),
    "privileged": everywhere(f"{C}.securityContext", {"privileged": True}),
    "escalation": everywhere(f"{C}.securityContext.allowPrivilegeEscalation", True),
    "escalation-by-default": everywhere(f"{C}.securityContext", {"capabilities": {"drop": ["ALL"]}}),
    "no-context": lambda pod: pod["spec"]["containers"][0].pop("securityContext"),
    "capabilities-kept": everywhere(f"{C}.securityContext.capabilities", {}),
    "capability-added": everywhere(f"{C}.securityContext.capabilities", {"drop": ["ALL"], "add": ["NET_ADMIN"]}),
    "hostPath": everywhere("spec.volumes", [{"name": "host", "hostPath": {"path": "/"}}]),
    "nfs": everywhere("spec.volumes", [{"name": "nfs", "nfs": {"server": "a", "path": "/"}}]),
    "root-allowed": everywhere("spec.securityContext.runAsNonRoot", False),
    "root-not-forbidden": lambda pod: pod["spec"]["securityContext"].pop("runAsNonRoot"),
    "root-allowed-in-container": everywhere(f"{C}.securityContext.runAsNonRoot", False),
    "root": everywhere("spec.securityContext.runAsUser", 0),
    "root-in-container": everywhere(f"{C}.securityContext.runAsUser", 0),
    "no-seccomp": lambda pod: pod["spec"]["securityContext"].pop("seccompProfile"),
    "seccomp-unconfined": everywhere("spec.securityContext.seccompProfile", {"type": "Unconfined"}),
    "seccomp-unconfined-in-container": everywhere(f"{C}.securityContext.seccompProfile", {"type": "Unconfined"}),
    "apparmor": everywhere("spec.securityContext.appArmorProfile", {"type": "Unconfined"}),
    "selinux-type": everywhere("spec.securityContext.seLinuxOptions", {"type": "spc_t"}),
    "selinux-user": everywhere(f"{C}.securityContext.seLinuxOptions", {"user": "root"}),
    "procMount": lambda pod: (
        everywhere("spec.hostUsers", False)(pod),
        everywhere(f"{C}.securityContext.procMount", "Unmasked")(pod),
    ),
    "sysctl": everywhere("spec.securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}]),
    "probe-host": everywhere(f"{C}.readinessProbe.tcpSocket.host", "10.0.0.1"),
    "hook-host": everywhere(f"{C}.lifecycle", {"preStop": {"httpGet": {"host": "10.0.0.1", "port": 1}}}),
    "init-container": lambda pod: pod["spec"].update(initContainers=[{"name": "init", "image": ECHO, "args": ["1"]}]),
}
TAKEN: dict[str, Callable[[Manifest], object]] = {
    "as-games-are": lambda _: None,
    "binds-low-ports": everywhere(f"{C}.securityContext.capabilities", {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
    "other-volumes": everywhere(
        "spec.volumes", [{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "b"}}]
    ),
    "only-in-containers": lambda pod: (
        pod["spec"]["containers"][0]["securityContext"].update(pod["spec"].pop("securityContext")),
        pod["spec"]["containers"][0]["securityContext"].pop("fsGroup"),
    ),
    "selinux-container": everywhere("spec.securityContext.seLinuxOptions", {"type": "container_t"}),
}


def host_port(port: int, protocol: str = "UDP") -> Callable[[Manifest], None]:
    """Wants a port of the node."""
    return everywhere(f"{C}.ports", [{"containerPort": 7777, "hostPort": port, "protocol": protocol}])


@pytest.fixture(scope="module")
def direct(cluster: Cluster) -> Iterator[Installed]:
    """The chart with direct mode, once its policy works (the API server takes it up a moment later)."""
    values = {**IDLE, "network": {"direct": {"enabled": True, "firstPort": FIRST, "lastPort": LAST}}}
    installed = Installed(cluster, "direct", values)
    wait_until(lambda: refusal(installed, REFUSED["hostPID"]), 30, "the policy is in force")
    yield installed
    installed.remove()


@pytest.fixture(scope="module")
def restricted(cluster: Cluster) -> Iterator[Installed]:
    """The chart without it: what the other has to be as strict as."""
    installed = Installed(cluster, "restricted", IDLE)
    yield installed
    installed.remove()


def refusal(installed: Installed, change: Callable[[Manifest], object]) -> str:
    """Why the API server does not let that pod in; empty if it does. Nothing is made."""
    pod = game_pod("tried")
    change(pod)
    try:
        installed.kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(pod))
    except CommandFailed as error:
        return str(error)
    return ""


@pytest.mark.parametrize("what", REFUSED)
def test_what_restricted_refuses_is_refused_in_direct_mode(direct: Installed, restricted: Installed, what: str) -> None:
    """One fault a pod; each of the two refuses it."""
    assert 'violates PodSecurity "restricted' in refusal(restricted, REFUSED[what])
    assert "ValidatingAdmissionPolicy 'direct-direct-mode'" in refusal(direct, REFUSED[what])


@pytest.mark.parametrize("what", TAKEN)
def test_what_restricted_takes_is_taken_in_direct_mode(direct: Installed, restricted: Installed, what: str) -> None:
    """Pods without a fault."""
    assert refusal(restricted, TAKEN[what]) == ""
    assert refusal(direct, TAKEN[what]) == ""


def test_host_ports_of_the_range_alone_are_let_in(direct: Installed, restricted: Installed) -> None:
    """Both its ends, and no port beside it; none at all without direct mode."""
    for port in (FIRST, LAST):
        assert refusal(direct, host_port(port)) == ""
        assert "hostPort" in refusal(restricted, host_port(port))
    for port in (FIRST - 1, LAST + 1, 10250):
        assert f"a host port must be one of {FIRST}-{LAST}" in refusal(direct, host_port(port, "TCP"))


def test_a_debugging_container_is_held_to_the_same(direct: Installed) -> None:
    """Ephemeral containers come in by a door of their own."""
    direct.create_game("debugged")
    try:
        with pytest.raises(CommandFailed, match="direct-direct-mode"):
            direct.kubectl("debug", "debugged", f"--image={ECHO}", "--profile=sysadmin", "--", "/echo", "1")
    finally:
        direct.kubectl("delete", "pod", "debugged", "--force", "--grace-period=0")
