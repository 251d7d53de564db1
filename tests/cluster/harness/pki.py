"""The keys of one cluster: an authority, a certificate for each program, and kubeconfig files that use them."""

from __future__ import annotations

import json
from pathlib import Path

import trustme


class Pki:
    """Writes certificates below ``folder``; they end with the folder, none is kept for later."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, mode=0o700)
        self.folder = folder
        self._authority = trustme.CA(organization_name="overworld.test")
        self.authority_certificate = folder / "ca.crt"
        self.authority_key = folder / "ca.key"
        self._authority.cert_pem.write_to_path(self.authority_certificate)
        self._authority.private_key_pem.write_to_path(self.authority_key)

    def certificate(self, name: str) -> Path:
        """Where the certificate called ``name`` lies."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Where its private key lies."""
        return self.folder / f"{name}.key"

    def issue(self, name: str, user: str, *, group: str | None = None, hosts: tuple[str, ...] = ()) -> None:
        """A certificate for client ``user`` of ``group``, valid as a server's for ``hosts`` (names and addresses)."""
        names = hosts or (f"{name}.overworld.test",)  # Go refuses a certificate whose list of names is empty
        issued = self._authority.issue_cert(*names, common_name=user, organization_name=group or "")
        issued.private_key_pem.write_to_path(self.key(name))
        issued.cert_chain_pems[0].write_to_path(self.certificate(name))

    def kubeconfig(self, name: str, server: str) -> Path:
        """A kubeconfig for the certificate called ``name``."""
        path = self.folder / f"{name}.conf"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": server, "certificate-authority": str(self.authority_certificate)},
                }
            ],
            "users": [
                {
                    "name": name,
                    "user": {"client-certificate": str(self.certificate(name)), "client-key": str(self.key(name))},
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(config, indent=1))
        return path
