"""Container images of one static program, written without any tool: nothing is pulled from a registry."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from cluster.harness.programs import Programs

PAUSE = "overworld.test/pause:1"
ECHO = "overworld.test/echo:1"


def write_images(programs: Programs, archive: Path) -> Path:
    """An archive (as ``docker save`` writes) with the pause and the echo image; its path."""
    with tarfile.open(archive, "w") as tar:
        manifest = [_add_image(tar, PAUSE, programs["pause"]), _add_image(tar, ECHO, programs["echo"])]
        _add_file(tar, "manifest.json", json.dumps(manifest).encode())
    return archive


def _add_image(tar: tarfile.TarFile, tag: str, program: str) -> dict[str, object]:
    """Add an image whose only file is ``program``, run as a user without rights; its line of the manifest."""
    buffer = io.BytesIO()
    entry = f"/{Path(program).name}"
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        _add_file(layer, entry.lstrip("/"), Path(program).read_bytes(), mode=0o755)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": [entry], "User": "65534:65534"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    _add_file(tar, f"{digest}.tar", content)
    _add_file(tar, config_name, config)
    return {"Config": config_name, "RepoTags": [tag], "Layers": [f"{digest}.tar"]}


def _add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))
