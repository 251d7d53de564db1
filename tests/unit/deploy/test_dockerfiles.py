"""deploy/images: an image for every game, each built on a digest, by a user without rights, from pinned packages."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from overworld.engines.kube.manifests import USER
from overworld.games.catalogue import Catalogue
from overworld.games.checks import OWN_IMAGES

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "deploy" / "images"
DOCKERFILES = sorted(IMAGES.glob("*/Dockerfile"))
UNPINNED = {"ca-certificates", "python3-pip"}
"""Of a stage that nothing is kept of: the newest are the best."""

every_image = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Its instructions with their arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(words[0], words[2].strip()) for line in text.splitlines() if (words := line.partition(" "))[0]]


def arguments(dockerfile: Path, instruction: str) -> list[str]:
    """What follows each of these instructions."""
    return [argument for found, argument in instructions(dockerfile) if found == instruction]


def labels(dockerfile: Path) -> dict[str, str]:
    """The OCI labels that it sets, without their common beginning."""
    found = re.findall(r'org\.opencontainers\.image\.(\S+?)="(.*?)"', " ".join(arguments(dockerfile, "LABEL")))
    return dict(found)


def test_every_game_has_an_image_and_every_image_is_known() -> None:
    """The catalogue's, and the two that are no game's."""
    games = {game.image for game in Catalogue.load().games()}
    assert {path.parent.name for path in DOCKERFILES} == games | OWN_IMAGES


@every_image
def test_what_it_stands_on_is_told_by_whoever_builds(dockerfile: Path) -> None:
    """By an argument without a default, so by a digest; no registry or other host is named anywhere."""
    (stands_on,) = {source.split()[0] for source in arguments(dockerfile, "FROM")}
    assert stands_on in {"${DEBIAN}", "${KEEPER}"}
    assert instructions(dockerfile)[0] == ("ARG", stands_on.strip("${}"))
    others = [argument for name, argument in instructions(dockerfile) if name != "LABEL"]
    assert [line for line in others if re.search(r"https?:|\b[\w-]+\.(?:io|com|org|net)\b", line)] == []


@every_image
def test_its_labels_say_what_it_is(dockerfile: Path) -> None:
    """A game says its own, and has the rest from the keeper."""
    own = {"title", "description", "licenses"}
    common = {"vendor", "version", "revision", "source", "base.name"}
    found = labels(dockerfile)
    assert found.keys() == (own | common if dockerfile.parent.name in OWN_IMAGES else own)
    assert all(found[name] for name in own)


@every_image
def test_it_runs_as_a_user_without_rights(dockerfile: Path) -> None:
    """By number, as Pod Security wants to see it; the games as the user that owns their worlds."""
    number = arguments(dockerfile, "USER")[-1]
    assert number == ("10001:10001" if dockerfile.parent.name == "overworld" else f"{USER}:{USER}")


@every_image
def test_debians_packages_are_pinned(dockerfile: Path) -> None:
    """To what upstream calls a release; within it Debian mends faults."""
    wanted = [
        package
        for command in arguments(dockerfile, "RUN")
        if command.startswith("install-packages ")
        for package in command.split()[1:]
    ]
    assert [package for package in wanted if "=" not in package and package not in UNPINNED] == []


@every_image
def test_what_it_copies_is_there_and_sent_to_the_builder(dockerfile: Path) -> None:
    """.dockerignore lets through every source."""
    allowed = [line[2:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!/")]
    for copied in arguments(dockerfile, "COPY"):
        for source in () if copied.startswith("--from") else copied.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source == name or source.startswith(f"{name}/") for name in allowed), source


def test_the_tools_of_the_build_are_the_projects() -> None:
    """The uv of scripts/setup and the build backend of pyproject.toml, everything with its hashes."""
    requirements = (IMAGES / "overworld" / "build-requirements.txt").read_text(encoding="utf-8")
    pinned = re.search(r"^pinned_uv=(\S+)$", (ROOT / "scripts" / "setup").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert f"\nuv=={pinned[1]} \\\n" in requirements
    (backend,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert f"\n{re.split('[<>=]', backend)[0]}==" in requirements
    packages = re.split(r"^(?=\w)", re.sub(r"^#.*\n", "", requirements, flags=re.MULTILINE), flags=re.MULTILINE)
    assert [package for package in packages if package and "--hash=sha256:" not in package] == []


def test_minecrafts_packages_are_locked() -> None:
    """Each with its hash and no address; the server is the one that the tests' players play on."""
    folder = IMAGES / "minecraft"
    lock = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    locked = [package for path, package in lock.items() if path]
    assert locked
    assert all("integrity" in package and "resolved" not in package for package in locked)
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    players = json.loads((ROOT / "tests" / "players" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert wanted == {"flying-squid": players["flying-squid"]}
