"""etcd, API server, controller manager and scheduler on a machine of their own."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import httpx

from cluster.harness.audit import POLICY, writes_of
from cluster.harness.machines import Machine, write
from cluster.harness.names import (
    CONTROL_PLANE_ADDRESS,
    KUBERNETES_SERVICE_ADDRESS,
    LOG_FOLDER,
    SERVICE_RANGE,
)
from cluster.harness.pki import Pki
from cluster.harness.processes import Process
from cluster.harness.programs import Programs
from waiting import wait_until

URL = f"https://{CONTROL_PLANE_ADDRESS}:6443"
READY_WITHIN_SECONDS = 60
_ETCD = "http://127.0.0.1:2379"
_PEER = "http://127.0.0.1:2380"
# The defaults (20 requests a second) would make the controller manager the bound of every benchmark.
_QPS, _BURST = 1000, 2000


class ControlPlane:
    """The four programs; each can be stopped and started alone. ``start`` returns when the API server is ready.

    ``audited``: users whose writes the API server notes down, one JSON line each, in ``audit_log``; nobody named: what
    ``audit.POLICY`` says.
    """

    def __init__(
        self, folder: Path, pki: Pki, programs: Programs, *, node_loss_seconds: int, audited: tuple[str, ...] = ()
    ) -> None:
        self.machine = Machine("control", CONTROL_PLANE_ADDRESS, programs)
        self._folder, self._pki, self._programs = folder, pki, programs
        self._node_loss_seconds = node_loss_seconds
        self._audited = audited
        self._client: httpx.Client | None = None
        self.audit_log = LOG_FOLDER / "audit.log"

    def start(self) -> None:
        """Boot the machine and start everything. Raises RuntimeError when a program ends at once."""
        self._issue_certificates()
        self.machine.start()
        self.etcd = self.machine.start_process("etcd", self._etcd_command())
        self.apiserver = self.machine.start_process("kube-apiserver", self._apiserver_command())
        self.await_ready()
        self.controller_manager = self.machine.start_process(
            "kube-controller-manager", self._controller_manager_command()
        )
        self.scheduler = self.machine.start_process("kube-scheduler", self._scheduler_command())

    def kill(self) -> None:
        """Pull the machine's plug. Safe to call twice."""
        self.machine.kill()
        if self._client is not None:
            self._client.close()
            self._client = None

    def await_ready(self) -> None:
        """Wait until the API server says that it is ready. Raises RuntimeError when it or etcd has ended."""
        wait_until(self._is_ready, READY_WITHIN_SECONDS, "the API server is ready")

    def _is_ready(self) -> bool:
        for process in (self.etcd, self.apiserver):
            process.check()
        if self._client is None:
            context = ssl.create_default_context(cafile=self._pki.authority_certificate)
            context.load_cert_chain(self._pki.certificate("admin"), self._pki.key("admin"))
            self._client = httpx.Client(base_url=URL, verify=context, timeout=2, trust_env=False)
        try:
            return self._client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def processes(self) -> tuple[Process, ...]:
        """All four, started or not running any more."""
        return (self.etcd, self.apiserver, self.controller_manager, self.scheduler)

    def _issue_certificates(self) -> None:
        hosts = (CONTROL_PLANE_ADDRESS, KUBERNETES_SERVICE_ADDRESS, "127.0.0.1")
        names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        self._pki.issue("apiserver", "kube-apiserver", hosts=(*hosts, *names))
        self._pki.issue("kubelet-client", "kube-apiserver-kubelet-client", group="system:masters")
        self._pki.issue("accounts", "service-accounts")
        self._pki.issue("admin", "admin", group="system:masters")
        for short, user in (
            ("controllers", "kube-controller-manager"),
            ("scheduler", "kube-scheduler"),
            ("proxy", "kube-proxy"),
        ):
            self._pki.issue(short, f"system:{user}")
            self._pki.kubeconfig(short, URL)
        self._pki.kubeconfig("admin", URL)

    def _etcd_command(self) -> list[str]:
        return [
            self._programs["etcd"],
            f"--data-dir={self._folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            f"--listen-peer-urls={_PEER}",
            f"--initial-advertise-peer-urls={_PEER}",
            f"--initial-cluster=default={_PEER}",
        ]

    def _apiserver_command(self) -> list[str]:
        pki = self._pki
        policy = writes_of(self._audited) if self._audited else POLICY
        return [
            self._programs["kube-apiserver"],
            f"--audit-policy-file={write(self._folder / 'audit.yaml', json.dumps(policy))}",
            f"--audit-log-path={self.audit_log}",
            f"--etcd-servers={_ETCD}",
            f"--bind-address={CONTROL_PLANE_ADDRESS}",
            f"--advertise-address={CONTROL_PLANE_ADDRESS}",
            "--secure-port=6443",
            f"--tls-cert-file={pki.certificate('apiserver')}",
            f"--tls-private-key-file={pki.key('apiserver')}",
            f"--client-ca-file={pki.authority_certificate}",
            f"--service-account-key-file={pki.certificate('accounts')}",
            f"--service-account-signing-key-file={pki.key('accounts')}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC",
            # As every real cluster has it: whether pods may is Pod Security's to say.
            "--allow-privileged=true",
            "--enable-admission-plugins=NodeRestriction",
            f"--kubelet-client-certificate={pki.certificate('kubelet-client')}",
            f"--kubelet-client-key={pki.key('kubelet-client')}",
            f"--kubelet-certificate-authority={pki.authority_certificate}",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _controller_manager_command(self) -> list[str]:
        pki = self._pki
        config = f"{pki.folder / 'controllers.conf'}"
        return [
            self._programs["kube-controller-manager"],
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--service-account-private-key-file={pki.key('accounts')}",
            f"--root-ca-file={pki.authority_certificate}",
            "--use-service-account-credentials=true",
            f"--cluster-signing-cert-file={pki.authority_certificate}",
            f"--cluster-signing-key-file={pki.authority_key}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            f"--node-monitor-grace-period={self._node_loss_seconds}s",
            "--node-monitor-period=1s",
            f"--kube-api-qps={_QPS}",
            f"--kube-api-burst={_BURST}",
        ]

    def _scheduler_command(self) -> list[str]:
        config = str(self._pki.folder / "scheduler.conf")
        settings = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": False},
            "clientConnection": {"kubeconfig": config, "qps": _QPS, "burst": _BURST},
        }
        path = write(self._folder / "scheduler.yaml", json.dumps(settings))
        return [
            self._programs["kube-scheduler"],
            f"--config={path}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1",
        ]
