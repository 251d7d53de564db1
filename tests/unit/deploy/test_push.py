"""deploy/images/push asks a registry for every image, in the right order, on digests. The Azure CLI is a stand-in."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DIGEST = f"sha256:{'0' * 64}"
AZ = f"""#!/bin/sh
echo "$*" >>"$0.log"
case "$1 $2 $3" in
"acr show --name") echo game.example ;;
"acr repository show") echo {DIGEST} ;;
"acr build --registry") case "$*" in *"$AZ_FAILS"*) [ -z "$AZ_FAILS" ] || exit 1 ;; esac ;;
esac
"""


@dataclass
class Pushed:
    """How it ended, and what the Azure CLI was asked for."""

    status: int
    said: str
    asked: list[str]

    @property
    def builds(self) -> list[str]:
        """The builds among it."""
        return [line for line in self.asked if line.startswith("acr build ")]


def push(folder: Path, *arguments: str, fails: str = "") -> Pushed:
    """Run it with the stand-in first on PATH."""
    az = folder / "az"
    az.write_text(AZ, encoding="utf-8")
    az.chmod(0o755)
    log = folder / "az.log"
    log.touch()
    done = subprocess.run(
        [ROOT / "deploy" / "images" / "push", *arguments],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "AZ_FAILS": fails},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return Pushed(done.returncode, done.stdout + done.stderr, log.read_text(encoding="utf-8").splitlines())


def test_one_command_builds_everything(tmp_path: Path) -> None:
    """On a Debian of the registry by digest; the keeper first, and the games on its digest; each tagged twice."""
    done = push(tmp_path)
    assert done.status == 0, done.said
    assert "acr import --name gameregistry --source docker.io/library/debian:bookworm-slim" in "\n".join(done.asked)
    names = [re.findall(r"--image (\S+):latest", line)[0] for line in done.builds]
    assert names == ["keeper", "luanti", "minecraft", "openarena", "openttd", "overworld"]
    for name, line in zip(names, done.builds, strict=True):
        assert f"--registry gameregistry --file deploy/images/{name}/Dockerfile --image {name}:0." in line
        parent = "DEBIAN=game.example/debian" if name in {"keeper", "overworld"} else "KEEPER=game.example/keeper"
        assert f"--build-arg {parent}@{DIGEST} ." in line
    assert f"push: on game.example/debian@{DIGEST}" in done.said
    assert "OVERWORLD_KUBE_REGISTRY=game.example" in done.said


def test_one_image_of_a_chosen_version_on_a_chosen_debian(tmp_path: Path) -> None:
    """The keeper comes along with a game, and with Overworld it does not; nothing is imported."""
    debian = f"debian@{DIGEST}"
    options = ("--registry", "mine.azurecr.io", "--tag", "7", "--debian", debian, "--source", "https://example.org")
    done = push(tmp_path, *options, "luanti")
    assert ["keeper:7" in line for line in done.builds] == [True, False]
    assert all("--registry mine " in line and "SOURCE=https://example.org" in line for line in done.builds)
    assert not any(line.startswith("acr import") for line in done.asked)
    (tmp_path / "az.log").unlink()
    (build,) = push(tmp_path, *options, "overworld").builds
    assert f"DEBIAN={debian} ." in build


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--debian", "debian:bookworm-slim"), "does not name a digest"),
        (("chess",), "there is no deploy/images/chess/Dockerfile"),
        (("--help",), "deploy/images/push [--registry NAME]"),
        (("--tag",), "deploy/images/push [--registry NAME]"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    """In a sentence, or by how it is used."""
    done = push(tmp_path, *arguments)
    assert done.status != 0
    assert says in done.said
    assert done.asked == []


def test_a_build_that_fails_ends_it(tmp_path: Path) -> None:
    """No image is built on one that was not."""
    done = push(tmp_path, fails="keeper:latest")
    assert done.status != 0
    assert len(done.builds) == 1
    assert "done" not in done.said
