"""The Debian that images are built on here: made from packages, like Debian's own "slim" image, for there is no
registry. And how a build reaches Debian's mirrors from this machine, without a word of that staying in the image.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.harness.commands import run
from cluster.harness.image_storage import CACHE, digest_of, is_stored, podman, run_again

RELEASE = "bookworm"
PUBLIC_SOURCES = f"""\
deb http://deb.debian.org/debian {RELEASE} main
deb http://deb.debian.org/debian {RELEASE}-updates main
deb http://deb.debian.org/debian-security {RELEASE}-security main
"""
"""What the image is left with: what Debian's own images have."""

# No manuals and translations; /usr merged without the Perl that merging it later takes; nothing of this machine.
_OPTIONS = (
    *("--variant=minbase", "--include=usr-is-merged", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"),
    *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "locale", "doc")),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    '--customize-hook=rm -f "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/apt/apt.conf.d/99mmdebstrap',
    '--customize-hook=rm -f "$1"/etc/apt/sources.list.d/*',
    f"--customize-hook=printf '%s' '{PUBLIC_SOURCES}' >\"$1\"/etc/apt/sources.list",
)
_OWN_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_ACQUIRE = re.compile(r"^Acquire::(?:https?::|Check-)\S* .*;$", re.MULTILINE)
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def debian_fingerprint() -> str:
    """16 hexadecimal digits that change with how the image is made (not with Debian's updates)."""
    return hashlib.sha256(repr((RELEASE, _OPTIONS)).encode()).hexdigest()[:16]


def debian() -> str:
    """The image in podman's storage, by digest; made where it is not there. Raises CommandFailed."""
    name = f"localhost/debian:{debian_fingerprint()}"
    if not is_stored(name):
        podman("import", "--quiet", str(_archive()), name)
    return digest_of(name)


def _archive() -> Path:
    """The image's files; the newest of Debian's release when it is made."""
    archive = CACHE / f"debian-{debian_fingerprint()}.tar"
    if not archive.exists():
        partial = archive.with_suffix(".partial.tar")
        own = _machine_sources()
        sources = [str(own)] if own else []
        with TemporaryDirectory(prefix="ow-debian-") as folder:
            settings = Path(folder) / "settings"
            settings.write_text(_acquire_settings(), encoding="utf-8")
            run_again(["mmdebstrap", "--quiet", *_OPTIONS, f"--aptopt={settings}", RELEASE, str(partial), *sources])
        partial.rename(archive)
    return archive


@contextmanager
def lent_mirrors() -> Iterator[list[str]]:
    """podman's arguments that lend a build this machine's sources and settings of apt.

    Only files and folders are mounted over that the image has anyway: a mount point that it lacks would stay in it.
    """
    with TemporaryDirectory(prefix="ow-image-") as name:
        folder = Path(name)
        settings, sources, none = folder / "apt.conf.d", folder / "sources.list.d", folder / "none"
        settings.mkdir()
        with tarfile.open(_archive()) as archive:
            for member in archive:
                if member.isfile() and (content := archive.extractfile(member)) and _is_setting(member.name):
                    (settings / Path(member.name).name).write_bytes(content.read())
        (settings / "99building").write_text(_acquire_settings(), encoding="utf-8")
        volumes = [f"{settings}:/etc/apt/apt.conf.d"]
        if own := _machine_sources():
            sources.mkdir()
            (sources / own.name).write_bytes(own.read_bytes())
            none.touch()
            volumes += [f"{sources}:/etc/apt/sources.list.d", f"{none}:/etc/apt/sources.list"]
        yield [f"--volume={volume}:ro" for volume in volumes]


def lent_authorities() -> list[str]:
    """podman's arguments that make ``ca-certificates``, where a stage installs it, believe whom this machine believes.
    They leave a mount point behind: only for stages of which nothing but chosen files is kept."""
    where = "/usr/local/share/ca-certificates/building.crt"
    return [f"--volume={_AUTHORITIES}:{where}:ro"] if _AUTHORITIES.exists() else []


def _is_setting(name: str) -> bool:
    return Path(name).parent == Path("etc/apt/apt.conf.d")


def _machine_sources() -> Path | None:
    """This machine's list of mirrors, where it has one of the same release."""
    return next((path for path in _OWN_SOURCES if path.is_file() and RELEASE in path.read_text("utf-8")), None)


def _acquire_settings() -> str:
    """This machine's proxies and the like, as apt reads them."""
    return "".join(f"{line}\n" for line in _ACQUIRE.findall(run(["apt-config", "dump"])))
