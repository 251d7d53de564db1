"""From a request to a game's first answer, on a real node that has the image, beside a bare script that applies the
same objects and waits for the same answer. In turn, on the same node."""

from __future__ import annotations

import socket
import statistics
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from lightkube import ApiError, Client, KubeConfig, codecs
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import PersistentVolumeClaim, Pod, Secret, Service
from lightkube.types import PatchType

from bench.figures import report
from bench.kube.bare import render_server
from bench.kube.rows import GAME, open_rows, server_ids
from bench.kube.stage import (
    BARE_NAMESPACE,
    NAMESPACE,
    Controller,
    open_cluster,
    run_web,
    scratch,
    write_kubeconfig,
)
from cluster.scripted_image import write_scripted_image
from installation import json_of
from overworld.engines.kube.names import SERVER, claim_name
from waiting import wait_until

TIMES = 20
WARM_UP = 2
PORT = 4000
ANSWER_WITHIN_SECONDS = 60.0


def main() -> None:
    """Measure and report."""
    with scratch() as folder, open_rows() as rows, open_cluster(nodes=1) as cluster:
        cluster.import_images(write_scripted_image(folder / "image.tar", GAME))
        kubeconfig = write_kubeconfig(cluster, NAMESPACE, folder / "ours.yaml")
        bare_config = write_kubeconfig(cluster, BARE_NAMESPACE, folder / "bare.yaml")
        with (
            Controller(kubeconfig, rows.url) as controller,
            run_web(kubeconfig, rows.url, rows.make_token()) as api,
            Bare(bare_config) as bare,
            Watcher(cluster.kubeconfig) as watcher,
        ):
            controller.until_leading()
            ours: list[float] = []
            floor: list[float] = []
            for number, server_id in enumerate(server_ids(0, WARM_UP + TIMES)):
                floor.append(bare.measure(server_id, watcher))
                ours.append(measure(api, f"bench {number}", watcher))
    floor_ms, our_ms = (1000 * statistics.median(taken[WARM_UP:]) for taken in (floor, ours))
    report("kube: a bare script's objects to first answer, median", floor_ms, "ms")
    report("kube: request to first answer, median", our_ms, "ms")
    report("the same minus the bare script", our_ms - floor_ms, "ms", "≤ 400")


class Watcher:
    """Finds a server's pod, and asks it until it answers. Not of either side: the same for both."""

    def __init__(self, kubeconfig: Path) -> None:
        self._client = Client(config=KubeConfig.from_file(kubeconfig), trust_env=False)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def until_answer(self, namespace: str, server_id: str) -> None:
        """The game behind that server has answered."""
        found = self._client.watch(Pod, namespace=namespace, labels={SERVER: server_id}, server_timeout=60)
        address = next(pod.status.podIP for _, pod in found if pod.status is not None and pod.status.podIP)
        give_up_at = time.monotonic() + ANSWER_WITHIN_SECONDS
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as player:
            player.settimeout(0.005)
            player.connect((address, PORT))
            while time.monotonic() < give_up_at:
                with suppress(OSError):  # nobody listens yet
                    player.send(b"hello")
                    if player.recv(16) == b"hello":
                        return
        raise TimeoutError(f"{server_id} did not answer at {address}")


def measure(api: httpx.Client, name: str, watcher: Watcher) -> float:
    """Seconds from the request to the answer; the server is purged again."""
    began = time.monotonic()
    server_id = str(json_of(api.post("/servers", json={"name": name, "game": GAME}))["id"])
    watcher.until_answer(NAMESPACE, server_id)
    seconds = time.monotonic() - began
    wait_until(lambda: json_of(api.get(f"/servers/{server_id}"))["state"] == "running", 30, f"{server_id} is running")
    json_of(api.delete(f"/servers/{server_id}", params={"retention_seconds": 0}))
    wait_until(lambda: api.get(f"/servers/{server_id}").status_code == 404, 60, f"{server_id} is purged")
    return seconds


class Bare:
    """The script: four objects one after another, with lightkube."""

    def __init__(self, kubeconfig: Path) -> None:
        config = KubeConfig.from_file(kubeconfig)
        self._client = Client(config=config, namespace=BARE_NAMESPACE, field_manager="bare", trust_env=False)

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def measure(self, server_id: str, watcher: Watcher) -> float:
        """Seconds from the first object to the answer; everything is removed again."""
        objects = [codecs.from_dict(manifest) for manifest in render_server(server_id)]
        began = time.monotonic()
        for one in objects:
            self._client.apply(one, force=True)
        watcher.until_answer(BARE_NAMESPACE, server_id)
        seconds = time.monotonic() - began
        self._remove(server_id)
        return seconds

    def _remove(self, server_id: str) -> None:
        for kind in (Deployment, Service, Secret):
            self._client.delete(kind, server_id)
        self._client.delete(PersistentVolumeClaim, claim_name(server_id, 1))
        wait_until(lambda: self._is_gone(server_id), 60, f"the pod of {server_id} is gone")

    def _is_gone(self, server_id: str) -> bool:
        """Lets go of pods that are over; nobody else here does."""
        pods = list(self._client.list(Pod, labels={SERVER: server_id}))
        for pod in pods:
            if pod.metadata and pod.metadata.deletionTimestamp:
                _let_go(self._client, str(pod.metadata.name))
        return not pods


def _let_go(client: Client, pod: str) -> None:
    finalizers: dict[str, Any] = {"metadata": {"finalizers": None}}
    try:
        client.patch(Pod, pod, finalizers, patch_type=PatchType.MERGE)
    except ApiError as error:
        if error.status.code != 404:
            raise


if __name__ == "__main__":
    main()
