"""An image for the scripted games: this machine's own Python and the keeper, and nothing fetched from anywhere."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

from overworld.engines import agent, keeper
from overworld.engines.kube import steward, steward_pods

REGISTRY = "registry.test"
NAME = "scripted"
TAG = "1"
STEWARD = "scripted-steward"
STEWARD_IMAGE = f"{REGISTRY}/{STEWARD}:{TAG}"
"""The same image once more: for the files of worlds it is all that a steward needs."""
CATALOGUE = Path(__file__).parents[1] / "games" / "catalogue"
"""Every game there runs from this image, under its own name."""

KEEPER = "/usr/lib/overworld/keeper.py"


def write_scripted_image(archive: Path, name: str = NAME) -> Path:
    """An archive, as ``docker save`` writes it, of the image for games of that name; its path. Needs Debian's
    python3."""
    program = Path("/usr/bin/python3").resolve()
    library = Path("/usr/lib") / program.name
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        layer.add(program, program.relative_to("/"))
        _add_link(layer, "usr/bin/python3", str(program))
        for file in _libraries(program, library):
            layer.add(file.resolve(), file.relative_to("/"))
        layer.add(library, library.relative_to("/"), filter=_without_tests)
        layer.add(keeper.__file__, KEEPER.lstrip("/"))
        layer.add(agent.__file__, steward_pods.AGENT.lstrip("/"))
        layer.add(steward.__file__, steward_pods.PROGRAM.lstrip("/"))
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/usr/bin/python3", "-I", KEEPER], "User": "10000:10000"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    slugs = sorted(path.stem for path in CATALOGUE.glob("*.toml"))
    tags = [f"{REGISTRY}/{slug}:{TAG}" for slug in (name, STEWARD, *slugs)]
    manifest = [{"Config": config_name, "RepoTags": tags, "Layers": [f"{digest}.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for path, data in (
            (f"{digest}.tar", content),
            (config_name, config),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return archive


def _libraries(program: Path, library: Path) -> set[Path]:
    """Everything that the dynamic linker would load for Python and its modules."""
    modules = sorted((library / "lib-dynload").glob("*.so"))
    told = subprocess.run(["ldd", program, *modules], check=True, capture_output=True, text=True).stdout
    return {Path(os.path.normpath(found)) for found in re.findall(r"(/\S+) \(0x", told)}


def _without_tests(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = set(Path(member.name).parts)
    return None if parts & {"test", "idlelib", "ensurepip", "lib2to3", "pydoc_data"} else member


def _add_link(layer: tarfile.TarFile, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    layer.addfile(member)
