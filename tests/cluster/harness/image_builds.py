"""The project's own images, built on this machine from deploy/images without any registry, each once.

An archive of the cache is named by a hash of what went into it: its Dockerfile, the files that this copies, what it
stands on. So the second run costs nothing, and no test runs on what the tree no longer says.

    python -m cluster.harness.image_builds [image …]      builds what is missing and prints the archives
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.harness.debian_base import debian, debian_fingerprint, lent_authorities, lent_mirrors
from cluster.harness.image_storage import CACHE, build, digest_of, is_stored, keep_only, podman

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "deploy" / "images"
REGISTRY, TAG = "registry.test", "1"
"""What every image is called in its archive: ``registry.test/luanti:1``."""

ARCHIVES_KEPT = 3
"""Of one image, the ones that were asked for last."""


def image_names() -> list[str]:
    """Every image of the project."""
    return sorted(path.parent.name for path in SOURCES.glob("*/Dockerfile"))


def build_images(*names: str) -> list[Path]:
    """Archives (as ``docker save`` writes) of these images, none named: of all; built where the cache lacks them.

    Raises CommandFailed. Safe to call twice, also at once: a finished archive appears whole or not at all.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with _alone():
        return [_archive(name) for name in names or image_names()]


def stored_image(name: str) -> str:
    """The image's name in podman's storage, built where it is not there: to run it without a cluster."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with _alone():
        return _stored(name)


def fingerprint(name: str) -> str:
    """16 hexadecimal digits that change with anything that goes into the image."""
    parents = [fingerprint("keeper") if parent == "KEEPER" else debian_fingerprint() for parent in _parents(name)]
    digest = hashlib.sha256(repr((_dockerfile(name), parents)).encode())
    for copied in re.findall(r"^COPY (?!--)(.+) \S+$", _dockerfile(name), re.MULTILINE):
        for file in (file for source in copied.split() for file in _files(ROOT / source)):
            digest.update(f"{file.relative_to(ROOT)} {os.access(file, os.X_OK)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _dockerfile(name: str) -> str:
    return (SOURCES / name / "Dockerfile").read_text(encoding="utf-8")


def _parents(name: str) -> list[str]:
    """The build arguments that say what the image stands on."""
    return sorted(set(re.findall(r"^FROM \$\{(DEBIAN|KEEPER)\}", _dockerfile(name), re.MULTILINE)))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


@contextmanager
def _alone() -> Iterator[None]:
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _archive(name: str) -> Path:
    archive = CACHE / f"{name}-{fingerprint(name)}.tar"
    if not archive.exists():
        tag = f"{REGISTRY}/{name}:{TAG}"
        podman("tag", _stored(name), tag)
        partial = archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        podman("save", "--quiet", "--format=docker-archive", f"--output={partial}", tag)
        partial.rename(archive)
    os.utime(archive)
    archives = sorted(CACHE.glob(f"{name}-*.tar"), key=lambda path: -path.stat().st_mtime)
    for outdated in archives[ARCHIVES_KEPT:]:
        outdated.unlink()
    if archives[ARCHIVES_KEPT:]:
        keep_only(f"localhost/{name}", {path.stem.rpartition("-")[2] for path in archives[:ARCHIVES_KEPT]})
    return archive


def _stored(name: str) -> str:
    stored = f"localhost/{name}:{fingerprint(name)}"
    if is_stored(stored):
        return stored
    print(f"images: building {name}", file=sys.stderr, flush=True)
    began = time.monotonic()
    values = {parent: digest_of(_stored("keeper")) if parent == "KEEPER" else debian() for parent in _parents(name)}
    values |= {"VERSION": _version(), "REVISION": _revision(), "SOURCE": ""}
    command = [f"--file={SOURCES / name / 'Dockerfile'}", *(f"--build-arg={key}={values[key]}" for key in values)]
    with lent_mirrors() as mirrors:
        if re.search(r"^FROM .* AS packages$", _dockerfile(name), re.MULTILINE):
            # Alone, with what nothing of the image itself may see; the second build has it from podman's cache.
            build(
                [*command, *mirrors, *lent_authorities(), "--target=packages", f"--tag=localhost/{name}-packages"], ROOT
            )
        build([*command, *mirrors, f"--tag={stored}"], ROOT)
    print(f"images: built {name} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return stored


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _revision() -> str:
    """The commit, with a word on what is not in it; empty where this is no clone."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    for path in build_images(*sys.argv[1:]):
        print(f"{path.stat().st_size / 1e6:6.0f} MB  {path}")
