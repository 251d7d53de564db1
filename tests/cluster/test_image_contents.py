"""What the project's images hold and what they do not, and that Overworld runs from its own. No cluster is needed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import httpx
import pytest
from sqlalchemy import make_url

from cluster.harness import image_builds
from cluster.harness.commands import CommandFailed
from cluster.harness.debian_base import PUBLIC_SOURCES
from cluster.harness.image_builds import REGISTRY, TAG, build_images, image_names, stored_image
from cluster.harness.image_storage import podman, podman_command
from postgres import create_database, run_cluster
from waiting import wait_until

pytestmark = pytest.mark.timeout(900)  # the first time the images are built, if scripts/setup-cluster did not


EMPTY_FOLDERS = (
    *("var/cache/apt/", "var/lib/apt/lists/", "var/log/", "root/.", "tmp/", "run/", "build/"),
    "usr/local/share/ca-certificates/",
)
AUTHORITIES = "etc/ssl/certs/"
BUNDLE = f"{AUTHORITIES}ca-certificates.crt"
DEBIANS_OWN = {
    *(f"root/{name}" for name in (".bashrc", ".profile")),
    *(f"var/log/{name}" for name in ("btmp", "faillog", "lastlog", "wtmp")),
    *("var/cache/apt/archives/lock", "var/lib/apt/lists/lock"),
}

ALWAYS_MOUNTED = {"etc/hosts": 0, "etc/resolv.conf": 0}


class Contents:
    """An image as its archive has it: configuration, and its files after all layers."""

    def __init__(self, archive: Path) -> None:
        self.files: dict[str, tarfile.TarInfo] = {}
        self.texts: dict[str, str] = {}
        with tarfile.open(archive) as tar:
            (manifest,) = json.load(self._open(tar, "manifest.json"))
            self.tags = manifest["RepoTags"]
            self.config = json.load(self._open(tar, manifest["Config"]))["config"]
            for name in manifest["Layers"]:
                with tarfile.open(fileobj=self._open(tar, name)) as layer:
                    self._add(layer)

    @staticmethod
    def _open(tar: tarfile.TarFile, name: str) -> tarfile.ExFileObject:
        file = tar.extractfile(name)
        assert isinstance(file, tarfile.ExFileObject)
        return file

    def _add(self, layer: tarfile.TarFile) -> None:
        for member in layer:
            path = PurePosixPath(member.name)
            if path.name.startswith(".wh."):
                gone = str(path.with_name(path.name.removeprefix(".wh.")))
                self.files = {n: m for n, m in self.files.items() if n != gone and not n.startswith(f"{gone}/")}
                continue
            self.files[str(path)] = member
            if str(path) in {"etc/apt/sources.list", BUNDLE}:
                self.texts[str(path)] = self._open(layer, member.name).read().decode()

    def foreign_authorities(self) -> set[str]:
        """What of the authorities that it believes is not of Debian's package; the whole bundle if it holds more."""
        found = {path: member for path, member in self.files.items() if path.startswith(AUTHORITIES)}
        links = {path: member.linkname for path, member in found.items() if member.issym()}
        debians = {path for path, to in links.items() if to.startswith("/usr/share/ca-certificates/mozilla/")}
        by_hash = {path for path, to in links.items() if f"{AUTHORITIES}{to}" in debians}
        is_whole = self.texts.get(BUNDLE, "").count("BEGIN CERTIFICATE") == len(debians)
        return {path for path, member in found.items() if not member.isdir()} - (
            debians | by_hash | ({BUNDLE} if is_whole else set())
        )


@pytest.mark.parametrize("name", image_names())
def test_an_image_holds_nothing_that_it_does_not_need(name: str) -> None:
    """No program that lends rights, no cache, nothing of the machine that it was built on; and it says what it is."""
    (archive,) = build_images(name)
    image = Contents(archive)
    assert image.tags == [f"{REGISTRY}/{name}:{TAG}"]
    assert [path for path, member in image.files.items() if member.isfile() and member.mode & 0o6000] == []
    left = {path for path, member in image.files.items() if path.startswith(EMPTY_FOLDERS) and not member.isdir()}
    assert left - DEBIANS_OWN == set()
    assert image.foreign_authorities() == set()
    assert not {path for path in image.files if path.endswith(("/building.crt", "/99building", "/pip.conf", "npmrc"))}
    assert {name: image.files[name].size for name in ("etc/hosts", "etc/resolv.conf")} == ALWAYS_MOUNTED
    assert image.texts["etc/apt/sources.list"] == PUBLIC_SOURCES
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image.config["Labels"].items()}
    assert {"title", "description", "version", "revision", "source", "licenses", "vendor", "base.name"} <= labels.keys()
    assert "@sha256:" in labels["base.name"]
    assert labels["version"]


def test_no_image_is_built_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full cache all archives are there at once, and no build is even begun."""
    build_images()

    def refuse(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(image_builds, "build", refuse)
    assert all(archive.is_file() for archive in build_images())


def socket_folder(url: str) -> str:
    """Where the database is reached; empty for no URL."""
    return str(make_url(url).query["host"]) if url else ""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of an empty database, which containers may reach too."""
    with run_cluster() as server_url:
        url = create_database(server_url)
        os.chmod(socket_folder(url), 0o711)
        yield url


def overworld(*arguments: str, name: str | None = None, **environment: str) -> list[str]:
    """podman's arguments to run Overworld's image as the chart does: read-only, without any capability."""
    folder = socket_folder(environment.get("OVERWORLD_DATABASE_URL", ""))
    return [
        *("run", "--rm", "--pull=never", "--network=host", "--read-only", "--read-only-tmpfs=false"),
        *("--cap-drop=all", "--security-opt=no-new-privileges", "--tmpfs=/tmp:mode=1777"),
        *("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"),
        *([f"--volume={folder}:{folder}"] if folder else []),
        *(f"--env={key}={value}" for key, value in environment.items()),
        *([f"--name={name}"] if name else []),
        stored_image("overworld"),
        *arguments,
    ]


def test_overworlds_image_looks_after_its_database(database: str) -> None:
    """`overworld --version`, `db upgrade` and `db status` run from it."""
    assert podman(*overworld("--version")).startswith("overworld, version ")
    assert "current" in podman(*overworld("db", "upgrade", OVERWORLD_DATABASE_URL=database))
    assert "schema    current" in podman(*overworld("db", "status", OVERWORLD_DATABASE_URL=database))


def test_overworlds_image_without_a_database_says_what_is_missing() -> None:
    """It has no PostgreSQL of its own and no folder to write: a sentence, no traceback."""
    with pytest.raises(CommandFailed, match=r"Error: Nothing can be kept in .* or OVERWORLD_DATABASE_URL") as failed:
        podman(*overworld("db", "status"))
    assert "Traceback" not in str(failed.value)


@contextmanager
def running(name: str, *arguments: str, **environment: str) -> Iterator[None]:
    """Overworld's image at work, until the block ends."""
    command = podman_command(overworld(*arguments, name=name, **environment))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
        podman("stop", "--time=20", name)
        assert process.wait(30) == 0
    finally:
        podman("rm", "--force", "--ignore", name)
        process.wait(30)


def test_overworlds_image_serves_the_api(database: str) -> None:
    """`overworld web` answers on every address of its container, and ends when it is asked to."""
    podman(*overworld("db", "upgrade", OVERWORLD_DATABASE_URL=database))
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.2:{port}/readyz"

    def answers() -> bool:
        try:
            return httpx.get(url, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    with running("overworld-web", "web", OVERWORLD_DATABASE_URL=database, OVERWORLD_LISTEN_PORT=str(port)):
        wait_until(answers, 30, f"{url} answers")
