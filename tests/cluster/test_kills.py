"""Kill -9 of the controller before and after each of its writes: what the next one finds is always put right."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster.doomed import HOLDER_PREFIX, Doom, controller
from cluster.harness.cluster import Cluster
from cluster.kube_stage import STORAGE_CLASS
from cluster.scripted_image import CATALOGUE, REGISTRY, STEWARD_IMAGE, TAG
from overworld.domain.accounts import Actor, Quota, Role
from overworld.domain.state import State
from overworld.games.catalogue import Catalogue
from overworld.services import servers
from overworld.settings import Settings
from overworld.store.accounts import create_account
from overworld.store.addresses import list_leases
from overworld.store.database import Database
from overworld.store.lease import release_all_of
from overworld.store.servers import load_server
from waiting import wait_until

NAMESPACE = "kills"
KINDS = "deployments,services,persistentvolumeclaims,secrets,pods"
SETTLES_WITHIN_SECONDS = 90
MOST_WRITES = 60


class Ground:
    """A namespace, an Azure and a database, on which controllers come and go."""

    def __init__(self, cluster: Cluster, database: Database) -> None:
        self.cluster, self.database = cluster, database
        azure = {name.removeprefix("OVERWORLD_").lower(): value for name, value in cluster.azure.settings().items()}
        self.values: dict[str, Any] = {
            **azure,
            "azure_resource_group": cluster.cloud.own_group,
            "database_url": database.url,
            "engine": "kube",
            "kubeconfig": cluster.kubeconfig,
            "kube_namespace": NAMESPACE,
            "kube_registry": REGISTRY,
            "kube_image_tag": TAG,
            "kube_steward_image": STEWARD_IMAGE,
            "kube_disk_class": STORAGE_CLASS,
            "kube_cpu_request_millis": 10,
            "disk_mib": 64,
            "catalogue_folders": (Path(CATALOGUE),),
        }
        with database.transaction() as tx:
            account = create_account(tx, name="anna", role=Role.ADMIN, quota=Quota(10**6, 10**9), now=datetime.now(UTC))
        self.anna = Actor(account.id, account.name, account.role)
        self.catalogue = Catalogue.load((CATALOGUE,))

    def create(self) -> str:
        """A new server's id."""
        with self.database.transaction() as tx:
            view, _ = servers.create(
                tx,
                self.anna,
                self.catalogue,
                name=f"world {datetime.now(UTC).timestamp()}",
                game="good",
                variables={},
                memory_mib=None,
                start=True,
                offer=Settings(**self.values).offer,
                now=datetime.now(UTC),
            )
        return view.server.id

    def delete(self, server_id: str) -> None:
        """For good, now."""
        with self.database.transaction() as tx:
            servers.delete(tx, self.anna, server_id, timedelta(0), datetime.now(UTC))

    def state(self, server_id: str) -> State | None:
        """As stored; None once it is purged."""
        with self.database.transaction() as tx:
            view = load_server(tx, server_id)
        return view.state if view is not None else None

    def release_lease(self) -> None:
        """The holder is dead: nobody has to wait for its lease to run out."""
        with self.database.transaction() as tx:
            release_all_of(tx, HOLDER_PREFIX)

    def objects(self, server_id: str) -> list[str]:
        """What there is of a server in the namespace, by kind."""
        found = json.loads(
            self.cluster.kubectl("get", KINDS, "-n", NAMESPACE, "-l", f"overworld/server={server_id}", "-o", "json")
        )
        return sorted(item["kind"] for item in found["items"])

    def addresses(self, server_id: str) -> list[str]:
        """Its public IPs in Azure."""
        return [name for name in self.cluster.azure.standin.network.addresses if name.endswith(server_id)]

    def die_and_recover(self, doom: Doom, server_id: str, wanted: State | None) -> bool:
        """Whether a doomed controller died before it had done all; then another one does the rest."""
        self.release_lease()
        with controller(self.values, doom) as doomed:
            wait_until(
                lambda: not doomed.is_alive() or self.state(server_id) is wanted,
                SETTLES_WITHIN_SECONDS,
                f"the controller dies or {server_id} is {wanted}",
            )
            # What is written after the last status (a finalizer, say) may come while the process is being ended.
            died = not doomed.is_alive()
        self.release_lease()
        with controller(self.values):
            wait_until(
                lambda: self.state(server_id) is wanted,
                SETTLES_WITHIN_SECONDS,
                f"{server_id} is {wanted}, after all",
            )
        return died


@pytest.fixture
def ground(prepared: Cluster, database: Database) -> Iterator[Ground]:
    """Of the test's own."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    prepared.kubectl("apply", "--filename=-", stdin=json.dumps(namespace))
    yield Ground(prepared, database)
    prepared.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.timeout(1200)
def test_every_point_of_provisioning_and_purge_is_survived(ground: Ground) -> None:
    """Each write of both is the last one of some controller; then there is exactly one of everything, or nothing."""
    standing: list[str] = []
    for at, answered in itertools.product(range(1, MOST_WRITES), (False, True)):
        server_id = ground.create()
        died = ground.die_and_recover(Doom(at, answered=answered), server_id, State.RUNNING)
        assert ground.objects(server_id) == ["Deployment", "PersistentVolumeClaim", "Pod", "Secret", "Service"]
        assert len(ground.addresses(server_id)) == 1
        standing.append(server_id)
        if not died:
            break
    assert len(standing) > 8  # claim, secret, deployment, address, service: each before and after
    print(f"provisioning: killed at {len(standing) - 1} points")
    for at, answered in itertools.product(range(1, MOST_WRITES), (False, True)):
        server_id = standing.pop() if standing else ground.create()
        ground.delete(server_id)
        died = ground.die_and_recover(Doom(at, answered=answered), server_id, None)
        assert ground.objects(server_id) == []
        assert ground.addresses(server_id) == []
        if not died:
            break
    print(f"purge: killed at {2 * at - 2 + answered} points")
    volumes = ground.cluster.kubectl("get", "pv", "-o", "jsonpath={.items[*].spec.claimRef.name}")
    with ground.database.transaction() as tx:
        leased = {lease.server_id for lease in list_leases(tx)}
    assert leased == set(standing)
    assert {claim.partition("-world-")[0] for claim in volumes.split() if claim.startswith(tuple(leased))} == leased
