"""Where the objects of the games' namespace are in the API."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paths:
    """The collections; an object is ``collection/name``."""

    namespace: str

    @property
    def deployments(self) -> str:
        """The processes."""
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments"

    @property
    def pods(self) -> str:
        """Their lives."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    @property
    def claims(self) -> str:
        """The worlds."""
        return f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims"

    @property
    def services(self) -> str:
        """The ways in."""
        return f"/api/v1/namespaces/{self.namespace}/services"

    @property
    def secrets(self) -> str:
        """Launches and configuration files."""
        return f"/api/v1/namespaces/{self.namespace}/secrets"


VOLUMES = "/api/v1/persistentvolumes"
NODES = "/api/v1/nodes"
