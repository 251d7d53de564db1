"""What is read of a world's volume, as the API server tells it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from overworld.domain.worlds import DiskSeen, WantedFolder, say_size
from overworld.engines.kube.models import Claim
from overworld.engines.kube.options import KubeOptions
from overworld.engines.kube.volumes import read_mib, render_claim_like, render_volume, see_disk

RESIZING = {"type": "Resizing", "status": "True"}
TO_START = {"type": "FileSystemResizePending", "status": "True", "message": "Waiting for user to start a pod"}
FAILED = {"type": "ControllerResizeError", "status": "True", "message": "The disk is full of woe."}


def claim(
    asked: str = "8Gi", made: str | None = "8Gi", *, storage_class: str = "overworld-world", **status: Any
) -> Claim:
    """A claim; ``made`` None: not bound yet."""
    content: dict[str, Any] = {
        "metadata": {"name": "x-world-1"},
        "spec": {"storageClassName": storage_class, "resources": {"requests": {"storage": asked}}},
        "status": {"phase": "Pending"} if made is None else {"phase": "Bound", "capacity": {"storage": made}, **status},
    }
    return msgspec.json.decode(json.dumps(content), type=Claim)


@pytest.mark.parametrize(
    ("quantity", "mib"),
    [
        ("8Gi", 8192),
        ("8192Mi", 8192),
        ("1Ti", 1024**2),
        ("1.5Gi", 1536),
        ("8G", 7629),
        ("8589934592", 8192),
        ("1Mi", 1),
        ("1023Ki", 0),
        ("", None),
        ("many", None),
    ],
)
def test_quantities_are_read(quantity: str, mib: int | None) -> None:
    """In whatever unit the API server chose to keep them."""
    assert read_mib(quantity) == mib


def test_a_settled_disk_waits_for_nothing() -> None:
    """As large as asked for, or (rounded up by its cloud) larger."""
    assert see_disk(claim()) == DiskSeen(8192, 8192)
    assert see_disk(claim(made="10Gi")) == DiskSeen(8192, 10240)


def test_a_claim_without_a_disk_has_no_size_yet() -> None:
    """What was asked for is known, what there is is not."""
    assert see_disk(claim(made=None)) == DiskSeen(8192, None)


def test_a_folder_in_a_share_has_no_size() -> None:
    """The figure that its claim must have means nothing."""
    assert see_disk(claim(storage_class="")) is None


def test_another_generation_is_of_the_same_kind() -> None:
    """A disk of the same class and size; in a share it names the volume that it waits for."""
    options = KubeOptions(namespace="games")
    disk = render_claim_like(claim("16Gi"), "x", 2, options, {})["spec"]
    assert (disk["storageClassName"], disk["resources"]["requests"]) == ("overworld-world", {"storage": "16Gi"})
    assert "volumeName" not in disk
    folder = render_claim_like(claim(storage_class=""), "x", 2, options, {})["spec"]
    volume = render_volume("x", 2, WantedFolder("driver", {}, ()), options)
    assert (folder["storageClassName"], folder["volumeName"]) == ("", volume["metadata"]["name"])
    assert volume["spec"]["claimRef"]["name"] == "x-world-2"
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ({}, "Its disk is growing from 8 GiB to 16 GiB."),
        ({"conditions": [RESIZING]}, "Its disk is growing from 8 GiB to 16 GiB."),
        (
            {"conditions": [TO_START]},
            "Its disk grows from 8 GiB to 16 GiB as soon as a node has it: at the next start, if it is stopped.",
        ),
        (
            {"allocatedResourceStatuses": {"storage": "NodeResizePending"}},
            "Its disk grows from 8 GiB to 16 GiB as soon as a node has it: at the next start, if it is stopped.",
        ),
        (
            {"conditions": [RESIZING, FAILED]},
            "Its disk does not grow from 8 GiB to 16 GiB. The disk is full of woe.",
        ),
        (
            {"allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"}},
            "Its disk does not grow from 8 GiB to 16 GiB. The cluster says that it cannot.",
        ),
    ],
)
def test_a_growth_is_told(status: dict[str, Any], sentence: str) -> None:
    """What it waits for, or why it does not come."""
    disk = see_disk(claim("16Gi", "8Gi", **status))
    assert disk == DiskSeen(16384, 8192, sentence)


@pytest.mark.parametrize(("mib", "text"), [(8192, "8 GiB"), (1536, "1536 MiB"), (2 * 1024**2, "2 TiB")])
def test_sizes_are_said_in_the_largest_unit_that_divides_them(mib: int, text: str) -> None:
    """No figure is rounded."""
    assert say_size(mib) == text
