"""The volumes of worlds: rendered for a disk or for a folder in a share, and read from their claims. Pure.

Both are ReadWriteOncePod. A share could be mounted by any number of pods, but a world must not have two writers, and
over SMB without byte-range locks (``nobrl``) nothing else would stop the second one: while a lost node's pod still has
its object, a replacement on ReadWriteMany would start beside it. The scheduler keeps it waiting instead, as on a disk.
"""

from __future__ import annotations

import re

from overworld.domain.observed import Want
from overworld.domain.servers import Server, ServerId
from overworld.domain.worlds import DiskSeen, Storage, WantedFolder, say_size
from overworld.engines.kube.manifests import USER, Manifest, stamp
from overworld.engines.kube.models import Claim
from overworld.engines.kube.names import WORLD_GENERATION, claim_name, server_labels
from overworld.engines.kube.options import KubeOptions

ACCESS_MODE = "ReadWriteOncePod"

SHARE_SIZE = "1Gi"
"""Of a volume that is a folder: the share's own size counts, and nobody reads this one."""

OWNED_BY_THE_GAME = (f"uid={USER}", f"gid={USER}", "file_mode=0640", "dir_mode=0750")
"""SMB knows no owners: the mount says whose everything in it is."""

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_UNITS = {
    "": 1,
    **{f"{unit}i": 1024**power for power, unit in enumerate("KMGTP", 1)},
    **{unit: 1000**power for power, unit in enumerate("kMGTP", 1)},
}

_WAITS_FOR_START = {"FileSystemResizePending"}
_FAILED = {"ControllerResizeError", "NodeResizeError"}


def volume_name(namespace: str, server_id: ServerId, world_generation: int) -> str:
    """The volume of a generation that lies in a share: in the whole cluster nobody else's name."""
    return f"{namespace}-{claim_name(server_id, world_generation)}"


def render_claim(want: Want, options: KubeOptions) -> Manifest:
    """The volume of one generation of the world: one pod at a time."""
    spec = _spec(want.server_id, want.world_generation, want.storage, want.disk_mib, options)
    return stamp(_claim(want.server_id, want.world_generation, spec))


def render_claim_like(
    claim: Claim, server_id: ServerId, world_generation: int, options: KubeOptions, annotations: dict[str, str]
) -> Manifest:
    """The volume of another generation, of the same class and size as that claim's; a folder in the share if that is
    one, which the claim then waits for."""
    spec: Manifest = {
        "accessModes": [ACCESS_MODE],
        "storageClassName": claim.spec.storage_class_name,
        "resources": {"requests": {"storage": claim.spec.resources.requests["storage"]}},
    }
    if claim.is_in_share:
        spec["volumeName"] = volume_name(options.namespace, server_id, world_generation)
    return _claim(server_id, world_generation, spec, annotations)


def render_lost_claim(server: Server, options: KubeOptions, annotations: dict[str, str]) -> Manifest:
    """The volume of a world of which nothing is left, as its server's row wants it: a disk, or a folder in the share,
    which the claim then waits for."""
    spec = _spec(server.id, server.world_generation, server.storage, server.disk_mib, options)
    return _claim(server.id, server.world_generation, spec, annotations)


def _spec(
    server_id: ServerId, world_generation: int, storage: Storage | None, mib: int | None, options: KubeOptions
) -> Manifest:
    if storage is Storage.SHARE:
        return {
            "accessModes": [ACCESS_MODE],
            "storageClassName": "",  # none: not the cluster's default class
            "volumeName": volume_name(options.namespace, server_id, world_generation),
            "resources": {"requests": {"storage": SHARE_SIZE}},
        }
    return {
        "accessModes": [ACCESS_MODE],
        "storageClassName": options.storage_class,
        "resources": {"requests": {"storage": f"{mib if mib is not None else options.world_size_mib}Mi"}},
    }


def _claim(
    server_id: ServerId, world_generation: int, spec: Manifest, annotations: dict[str, str] | None = None
) -> Manifest:
    metadata: Manifest = {
        "name": claim_name(server_id, world_generation),
        "labels": _labels(server_id, world_generation),
    }
    if annotations is not None:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def render_volume(server_id: ServerId, world_generation: int, folder: WantedFolder, options: KubeOptions) -> Manifest:
    """A folder in a share as a volume, for the claim of that generation alone.

    Always kept (``Retain``): deleting it by its driver could take the whole share, and the folder is the cloud's to
    remove.
    """
    name = volume_name(options.namespace, server_id, world_generation)
    return stamp(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "labels": _labels(server_id, world_generation)},
            "spec": {
                "accessModes": [ACCESS_MODE],
                "capacity": {"storage": SHARE_SIZE},
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": options.namespace,
                    "name": claim_name(server_id, world_generation),
                },
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "mountOptions": [*folder.mount_options, *OWNED_BY_THE_GAME],
                "csi": {
                    "driver": folder.driver,
                    "volumeHandle": name,
                    "volumeAttributes": dict(sorted(folder.attributes.items())),
                },
            },
        }
    )


def _labels(server_id: ServerId, world_generation: int) -> dict[str, str]:
    return {**server_labels(server_id), WORLD_GENERATION: str(world_generation)}


def see_disk(claim: Claim) -> DiskSeen | None:
    """The size of a claim's volume, and what its growth waits for; None for a folder in a share, which has none."""
    if claim.is_in_share:
        return None
    asked = read_mib(claim.spec.resources.requests.get("storage", ""))
    if asked is None:
        return None
    made = read_mib(claim.status.capacity.get("storage", "")) if claim.status.phase == "Bound" else None
    pending = None if made is None or made >= asked else _say_growing(claim, made, asked)
    return DiskSeen(asked, made, pending)


def _say_growing(claim: Claim, made: int, asked: int) -> str:
    growth = f"from {say_size(made)} to {say_size(asked)}"
    conditions = {one.type: one.message for one in claim.status.conditions if one.status == "True"}
    state = claim.status.allocated_resource_statuses.get("storage", "")
    failed = next((conditions[kind] for kind in sorted(_FAILED) if kind in conditions), None)
    if failed is not None or state.endswith("Infeasible"):
        return f"Its disk does not grow {growth}. {failed or 'The cluster says that it cannot.'}".strip()
    if conditions.keys() & _WAITS_FOR_START or state == "NodeResizePending":
        return f"Its disk grows {growth} as soon as a node has it: at the next start, if it is stopped."
    return f"Its disk is growing {growth}."


def read_mib(quantity: str) -> int | None:
    """A quantity of Kubernetes in whole MiB, rounded down; None for what is none."""
    found = _QUANTITY.fullmatch(quantity)
    if found is None:
        return None
    number, unit = found.groups(default="")
    return int(float(number) * _UNITS[unit]) // 1024**2
