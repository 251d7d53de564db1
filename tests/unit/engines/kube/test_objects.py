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
from overworld.domain.servers import Endpoint
from overworld.engines.kube.names import RENDERED, RESTARTS, SPEC_HASH
from overworld.engines.kube.objects import Manifest, render_claim, render_deployment, render_secret, render_service
from overworld.engines.kube.options import KubeOptions, ServiceType
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
INSIDE = KubeOptions(service_type=ServiceType.CLUSTER_IP)


def hash_of(manifest: Manifest) -> str:
    """The object's hash of itself."""
    return str(manifest["metadata"]["annotations"][RENDERED])


OBJECTS = {
    "deployment": render_deployment(WANT, LAUNCH, OPTIONS),
    "deployment-without-commands": render_deployment(
        replace(WANT, running=False, endpoints=()), replace(LAUNCH, accepts_commands=False, files={}), OPTIONS
    ),
    "claim": render_claim(WANT, OPTIONS),
    "service-azure": render_service(WANT, LEASED, OPTIONS),
    "service-balancer-of-its-own": render_service(WANT, WantedAddress(), OPTIONS),
    "service-inside": render_service(WANT, WantedAddress(), INSIDE),
    "secret": render_secret(WANT, LAUNCH),
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
