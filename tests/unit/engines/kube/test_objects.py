"""The rendered objects, as files that a person can read: OVERWORLD_GOLDEN=1 writes them anew."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from overworld.domain.errors import EngineRefused
from overworld.domain.games import Protocol
from overworld.domain.observed import WantedAddress
from overworld.domain.servers import Endpoint, Network
from overworld.domain.worlds import Storage, WantedFolder
from overworld.engines.kube.manifests import Manifest
from overworld.engines.kube.names import RENDERED, RESTARTS, SPEC_HASH
from overworld.engines.kube.objects import render_deployment, render_secret, render_service
from overworld.engines.kube.options import KubeOptions, ServiceType
from overworld.engines.kube.scratch_pods import render_drill, render_scratch
from overworld.engines.kube.steward_pods import render_steward
from overworld.engines.kube.volumes import render_claim, render_volume
from unit.engines.kube.wants import LAUNCH, WANT

GOLDEN = Path(__file__).parent / "golden"
OPTIONS = KubeOptions()


LEASED = WantedAddress(
    "203.0.113.10",
    {
        "overworld/address": "203.0.113.10",
        "service.beta.kubernetes.io/azure-pip-name": "overworld-b7k2m9q4t6w8",
        "service.beta.kubernetes.io/azure-dns-label-name": "my-world",
        "service.beta.kubernetes.io/azure-load-balancer-resource-group": "overworld-addresses",
        "service.beta.kubernetes.io/azure-load-balancer-ip-allocation-method": "static",
    },
)
DIRECT = replace(WANT, network=Network.DIRECT)
SHARED = replace(WANT, storage=Storage.SHARE)
FOLDER = WantedFolder(
    driver="file.csi.azure.com",
    attributes={"storageAccount": "gameserversa", "shareName": "overworld", "folderName": "b7k2m9q4t6w8-world-2"},
    mount_options=("mfsymlinks", "cache=strict", "nosharesock", "actimeo=30", "nobrl"),
)
INSIDE = KubeOptions(service_type=ServiceType.CLUSTER_IP)


def hash_of(manifest: Manifest) -> str:
    """The object's hash of itself."""
    return str(manifest["metadata"]["annotations"][RENDERED])


OBJECTS = {
    "deployment": render_deployment(WANT, LAUNCH, OPTIONS),
    "deployment-without-commands": render_deployment(
        replace(WANT, running=False, endpoints=()), replace(LAUNCH, accepts_commands=False, files={}), OPTIONS
    ),
    "deployment-direct": render_deployment(DIRECT, LAUNCH, OPTIONS),
    "claim": render_claim(WANT, OPTIONS),
    "claim-large": render_claim(replace(WANT, storage=Storage.DISK, disk_mib=16384), OPTIONS),
    "claim-share": render_claim(SHARED, OPTIONS),
    "volume-share": render_volume(SHARED.server_id, SHARED.world_generation, FOLDER, OPTIONS),
    "service-azure": render_service(WANT, LEASED, OPTIONS),
    "service-balancer-of-its-own": render_service(WANT, WantedAddress(), OPTIONS),
    "service-inside": render_service(WANT, WantedAddress(), INSIDE),
    "secret": render_secret(WANT, LAUNCH),
    "steward": render_steward(WANT.server_id, 2, OPTIONS),
    "steward-with-base": render_steward(WANT.server_id, 3, OPTIONS, base_generation=2),
    "scratch": render_scratch(WANT.server_id, 300, OPTIONS),
    "scratch-with-game": render_drill(WANT, LAUNCH, 300, OPTIONS),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_rendered_as_the_golden_files(name: str) -> None:
    """Every change of what is sent to a cluster is seen in a review."""
    path = GOLDEN / f"{name}.yaml"
    rendered = yaml.safe_dump(OBJECTS[name], sort_keys=False, allow_unicode=True, width=120)
    if os.environ.get("OVERWORLD_GOLDEN"):
        path.write_text(rendered, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == rendered


def test_every_golden_file_is_of_an_object() -> None:
    """None is left of an object that is not rendered any more."""
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(OBJECTS)


def test_equal_wants_have_equal_hashes_whether_or_not_they_run() -> None:
    """Stop and start change replicas alone."""
    running = render_deployment(WANT, LAUNCH, OPTIONS)
    stopped = render_deployment(replace(WANT, running=False), LAUNCH, OPTIONS)
    assert hash_of(running) == hash_of(stopped)
    assert (running["spec"].pop("replicas"), stopped["spec"].pop("replicas")) == (1, 0)
    assert running == stopped


@pytest.mark.parametrize(
    "changed",
    [
        render_deployment(replace(WANT, restarts=4), LAUNCH, OPTIONS),
        render_deployment(replace(WANT, spec_hash="other"), LAUNCH, OPTIONS),
        render_deployment(replace(WANT, world_generation=3), LAUNCH, OPTIONS),
        render_deployment(replace(WANT, memory_mib=2048), LAUNCH, OPTIONS),
        render_deployment(WANT, replace(LAUNCH, files={"minetest.conf": "name = other\n", "extra.txt": ""}), OPTIONS),
        render_deployment(WANT, LAUNCH, KubeOptions(image_tag="2")),
    ],
)
def test_a_deployment_whose_start_would_differ_has_another_hash(changed: Manifest) -> None:
    """The Secret's content counts, though it is another object."""
    assert hash_of(changed) != hash_of(OBJECTS["deployment"])


def test_the_token_and_the_spec_are_on_the_pod() -> None:
    """What a process was started under is read from its pod."""
    annotations = OBJECTS["deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert (annotations[RESTARTS], annotations[SPEC_HASH]) == ("3", WANT.spec_hash)


def test_the_secret_holds_launch_and_files() -> None:
    """Bytes as they were, whatever alphabet."""
    data = {name: base64.b64decode(value).decode() for name, value in OBJECTS["secret"]["data"].items()}
    assert data["config.minetest.conf"] == LAUNCH.files["minetest.conf"]
    launch = json.loads(data["launch.json"])
    assert launch["pod"]["programs"] == list(LAUNCH.programs)
    assert launch["environment"]["HOME"] == "/world"
    assert (
        launch["stop"]["grace_seconds"]
        < OBJECTS["deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    )


def test_ports_of_the_node_are_in_the_hash() -> None:
    """Another number is another start."""
    moved = tuple(replace(endpoint, port=endpoint.port + 1) for endpoint in DIRECT.endpoints)
    hashes = {hash_of(render_deployment(want, LAUNCH, OPTIONS)) for want in (DIRECT, replace(DIRECT, endpoints=moved))}
    assert len(hashes | {hash_of(OBJECTS["deployment"])}) == 3


def test_a_share_never_goes_with_its_volume() -> None:
    """Its driver, told to delete a volume, would delete the share with everybody's worlds."""
    assert OBJECTS["volume-share"]["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


def test_claim_and_volume_of_a_share_name_each_other() -> None:
    """Neither can be bound to another, in any namespace."""
    claim, volume = OBJECTS["claim-share"], OBJECTS["volume-share"]
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    reference = volume["spec"]["claimRef"]
    assert (reference["namespace"], reference["name"]) == (OPTIONS.namespace, claim["metadata"]["name"])


def test_a_game_may_not_use_the_keepers_ports() -> None:
    """It would find them taken, and the pod would never be ready."""
    taken = replace(WANT, endpoints=(Endpoint("game", Protocol.TCP, "", 10472),))
    with pytest.raises(EngineRefused, match="10472"):
        render_deployment(taken, LAUNCH, OPTIONS)


def test_games_are_above_placeholders_where_the_operator_has_a_class_for_them() -> None:
    """Without one, pods have the cluster's default priority."""
    above = render_deployment(WANT, LAUNCH, replace(OPTIONS, priority_class="overworld-game"))
    assert above["spec"]["template"]["spec"]["priorityClassName"] == "overworld-game"
    assert "priorityClassName" not in OBJECTS["deployment"]["spec"]["template"]["spec"]
