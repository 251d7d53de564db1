"""Pods of restore drills, rendered: a world on a node's own disk, of a bounded size, and gone with its pod. Pure.

Neither is found by a Service, an engine or the disruption budget: they have the labels of stewards, not of servers.
"""

from __future__ import annotations

from copy import deepcopy
from math import ceil

from overworld.domain.observed import Launch, Want
from overworld.domain.servers import ServerId
from overworld.engines.kube.launches import LAUNCH_FOLDER, LAYOUT
from overworld.engines.kube.manifests import Manifest, stamp
from overworld.engines.kube.names import RESTORER, scratch_name
from overworld.engines.kube.objects import GAMES_ROOM, render_game
from overworld.engines.kube.options import KubeOptions
from overworld.engines.kube.steward_pods import PROGRAM, PYTHON, render_alone

DISK = "ephemeral-storage"
BESIDES_MIB = 1536
"""What a pod may take of the disk besides its world: what restic remembers of the store (1 GiB at most), the console's
log, the game's temporary files."""
GAME_SECONDS = 900
"""For the image of the game to be fetched, beyond the time that a restore may take."""


def render_scratch(server_id: ServerId, world_mib: int, options: KubeOptions) -> Manifest:
    """A steward alone, with room for a world of that size: so much the scheduler has to find, and a pod that takes more
    is ended alone."""
    world: Manifest = {"name": "world", "emptyDir": {"sizeLimit": f"{world_mib}Mi"}}
    pod = render_alone(scratch_name(server_id), server_id, world, options)
    (steward,) = pod["spec"]["containers"]
    for bound in ("requests", "limits"):
        steward["resources"][bound][DISK] = f"{world_mib + BESIDES_MIB}Mi"
    return stamp(pod)


def render_drill(want: Want, launch: Launch, world_mib: int, options: KubeOptions) -> Manifest:
    """The same, with a game that begins once the steward before it was told to end, and is ended after the one beside
    it. What the game is told is put into the pod by that first steward, so no object of the cluster holds it."""
    pod = render_scratch(want.server_id, world_mib, options)
    spec = pod["spec"]
    (steward,) = spec["containers"]
    config = {"name": "config", "mountPath": LAYOUT.config}
    started_with = {"name": "launch", "mountPath": LAUNCH_FOLDER}
    restorer = deepcopy(steward)
    restorer["name"] = RESTORER
    restorer["command"] = [*PYTHON, PROGRAM, "hold", str(options.steward_idle_seconds)]
    restorer["volumeMounts"] += [config, started_with]
    spec["activeDeadlineSeconds"] += GAME_SECONDS + ceil(launch.ready.within.total_seconds())
    spec["initContainers"] = [restorer]
    # The steward first, for it does not wait for the image of the game: whoever gives up on that ends it.
    spec["containers"] = [steward, render_game(want, launch, options)]
    spec["volumes"] += [{"name": one["name"], "emptyDir": {}} for one in (config, started_with)] + GAMES_ROOM
    return stamp(pod)


def say_asked(pod: Manifest) -> str:
    """What a node needs to have for it."""
    asked = [container["resources"]["requests"] for container in pod["spec"]["containers"]]
    disk, memory = (sum(int(one.get(kind, "0Mi").removesuffix("Mi")) for one in asked) for kind in (DISK, "memory"))
    return f"{disk} MiB of its own disk and {memory} MiB of memory"
