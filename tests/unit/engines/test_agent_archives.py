"""Archives that strangers made: unpacked whole, or refused with the world as empty as before."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.engines import agent
from worlds.asking import Answered, ask, snapshot

GIB = 2**30


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """An empty world."""
    folder = tmp_path / "world"
    folder.mkdir()
    return folder


def unpack(world: Path, data: bytes, **request: Any) -> Answered:
    """The archive given to the agent, which has removed it if it says so; 1 GiB is allowed."""
    archive = world / os.fsdecode(agent.ARCHIVE)
    archive.write_bytes(data)
    answered = ask(world, "unpack", **{"most_bytes": GIB, **request})
    if answered.error is not None:
        assert archive.read_bytes() == data
        archive.unlink()
    assert not archive.exists()
    return answered


def tar_of(*entries: tuple[tarfile.TarInfo, bytes] | str) -> bytes:
    """A tar of these entries; a text is a small file of that name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, str):
                info = tarfile.TarInfo(entry)
                info.size = 4
                archive.addfile(info, io.BytesIO(b"data"))
            else:
                archive.addfile(entry[0], io.BytesIO(entry[1]))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    """A tar entry that is no file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info, b""


def zip_of(*names: str, content: bytes = b"data", mode: int = 0, system: int = 3) -> bytes:
    """A zip of small files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.filename = info.orig_filename = name
            info.external_attr, info.create_system = mode << 16, system
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


@pytest.mark.parametrize("press", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_every_kind_of_tar_is_unpacked(world: Path, press: Callable[[bytes], bytes]) -> None:
    """Plain, gzip, bzip2 and xz; files, folders, links inside and hard links."""
    data = tar_of(
        "a/file",
        special("empty", tarfile.DIRTYPE, mode=0o750),
        special("a/link", tarfile.SYMTYPE, "../a/./file"),
        special("twin", tarfile.LNKTYPE, "a/file"),
    )
    answered = unpack(world, press(data))
    assert answered.done == {"files": 4, "bytes": 4, "root": ""}
    assert snapshot(world) == [
        (b"a", "folder", b""),
        (b"a/file", "file", b"data"),
        (b"a/link", "link", b"../a/./file"),
        (b"empty", "folder", b""),
        (b"twin", "file", b"data"),
    ]
    assert (world / "twin").samefile(world / "a" / "file")


HOSTILE = {
    "up": tar_of("../evil"),
    "up in the middle": tar_of("a/../../evil"),
    "absolute": tar_of("/etc/evil"),
    "a drive": zip_of("C:evil"),
    "absolute in a zip": zip_of("/etc/evil"),
    "up in a zip": zip_of("a/../../evil"),
    "up by backslashes": zip_of("..\\..\\evil", system=0),
    "a link out": tar_of(special("link", tarfile.SYMTYPE, "../evil")),
    "a link out by a detour": tar_of(special("a/link", tarfile.SYMTYPE, "b/../../../evil")),
    "an absolute link": tar_of(special("link", tarfile.SYMTYPE, "/etc/passwd")),
    "an absolute link in a zip": zip_of("link", content=b"/etc/passwd", mode=stat.S_IFLNK | 0o777),
    "a file through a link": tar_of(special("a", tarfile.SYMTYPE, "b"), "a/evil"),
    "a hard link out": tar_of(special("link", tarfile.LNKTYPE, "../../secret")),
    "a hard link to nothing": tar_of(special("link", tarfile.LNKTYPE, "nothing")),
    "a hard link to a link": tar_of(special("a", tarfile.SYMTYPE, "b"), special("link", tarfile.LNKTYPE, "a")),
    "a device": tar_of(special("device", tarfile.CHRTYPE)),
    "a pipe": tar_of(special("pipe", tarfile.FIFOTYPE)),
    "a device in a zip": zip_of("device", mode=stat.S_IFCHR | 0o600),
    "twice": tar_of("a", "a"),
    "twice in other words": tar_of("a/b", "a/./b"),
    "twice in a zip": zip_of("a1", "a2").replace(b"a2", b"a1"),
    "a file as a folder": tar_of("a", "a/b"),
    "a folder as a file": tar_of("a/b", "a"),
    "too deep": tar_of("/".join("a" * 100)),
    "too long a name": tar_of("a" * 300),
    "a NUL": zip_of("a\0b"),
    "no archive": b"hello, world\n" * 100,
    "an empty one": b"",
    "half a zip": zip_of("a", "b", "c")[:-30],
    "half a gzip": gzip.compress(tar_of("a"))[:-30],
    "begun before its beginning": zip_of("a")[:-5] + b"\1" + zip_of("a")[-4:],
    "damaged": zip_of("a", content=os.urandom(1000)).replace(b"a", b"b", 1),
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(100),
    "a name of ours": tar_of(".overworld-archive", "a"),
    "another name of ours": tar_of(".overworld-unpacking/x", "a"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(world: Path, name: str) -> None:
    """Nothing is outside, nothing is left inside, and the refusal says what was wrong."""
    (world.parent / "secret").write_text("not yours")
    answered = unpack(world, HOSTILE[name])
    assert answered.code == "bad-archive", (answered.error, snapshot(world))
    assert snapshot(world.parent) == [(b"secret", "file", b"not yours"), (b"world", "folder", b"")]


def test_bombs_are_refused_by_what_they_say_and_by_what_they_are(world: Path) -> None:
    """Too many bytes declared, or read although less was declared; too many entries; too large for its archive."""
    zeros = gzip.compress(b"\0" * 50 * 2**20)
    assert "more than 1000 bytes" in str(unpack(world, zip_of("a", content=b"x" * 2000), most_bytes=1000).error)
    assert "more than 1000 bytes" in str(unpack(world, tar_of(large(2000)), most_bytes=1000).error)
    assert "more than 3 entries" in str(unpack(world, zip_of("a", "b", "c", "d"), most_entries=3).error)
    lying = bytearray(zip_of("a", content=b"\0" * 5_000_000))
    for place in (22, lying.rindex(b"PK\1\2") + 24):  # the declared size, in both of its places
        lying[place : place + 4] = struct.pack("<L", 10)
    assert unpack(world, bytes(lying), most_bytes=1000).code in {"bad-archive", "done"}
    assert sum(len(content) for _, _, content in snapshot(world)) <= 10
    for left in world.iterdir():
        left.unlink()
    assert unpack(world, zeros * 3).code == "bad-archive"  # 150 MiB of zeros are no tar
    assert snapshot(world) == []


def large(size: int) -> tuple[tarfile.TarInfo, bytes]:
    """A tar entry of zeros."""
    info = tarfile.TarInfo("large")
    info.size = size
    return info, b"\0" * size


def test_a_ratio_is_a_bomb(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What grows more than two hundredfold is refused before it is written."""
    monkeypatch.setattr(agent, "RATIO_FREE_BYTES", 1000)
    assert "a bomb" in str(unpack(world, gzip.compress(tar_of(large(20_000_000)))).error)
    assert snapshot(world) == []


def test_a_header_without_end_is_refused(world: Path) -> None:
    """A pax header that says it has a gibibyte costs neither memory nor time."""
    head = tarfile.TarInfo("pax")
    head.type, head.size = tarfile.XHDTYPE, GIB
    data = gzip.compress(head.tobuf() + b"0" * 30 * 2**20)
    assert "between two of its entries" in str(unpack(world, data).error)


def test_rights_of_a_program_are_dropped(world: Path) -> None:
    """No setuid, setgid or sticky bit comes with an archive, and its owner can always read."""
    info = tarfile.TarInfo("program")
    info.mode, info.size = 0o6755, 1
    closed = tarfile.TarInfo("closed")
    closed.mode = 0
    assert unpack(world, tar_of((info, b"x"), (closed, b""))).code == "done"
    assert stat.S_IMODE((world / "program").stat().st_mode) == 0o755
    assert stat.S_IMODE((world / "closed").stat().st_mode) == 0o600
    (world / "program").unlink()
    (world / "closed").unlink()
    assert unpack(world, zip_of("program", mode=stat.S_IFREG | 0o4711)).code == "done"
    assert stat.S_IMODE((world / "program").stat().st_mode) == 0o711


def test_names_of_other_encodings_come_as_they_are(world: Path) -> None:
    """Bytes of a tar that are no UTF-8 stay those bytes; a zip of Windows has folders."""
    info = tarfile.TarInfo("Gr\udcf6\udcdfe")
    assert unpack(world, tar_of((info, b""))).code == "done"
    assert os.listdir(os.fsencode(world)) == [b"Gr\xf6\xdfe"]
    os.unlink(os.fsencode(world) + b"/Gr\xf6\xdfe")
    assert unpack(world, zip_of("world\\level.dat", system=0)).code == "done"
    assert (world / "world" / "level.dat").read_bytes() == b"data"


def test_a_world_is_never_unpacked_over_another(world: Path) -> None:
    """Only into an empty one."""
    (world / "level.dat").write_text("mine")
    assert unpack(world, tar_of("a")).code == "exists"
    assert snapshot(world) == [(b"level.dat", "file", b"mine")]


@pytest.mark.parametrize("settled", [0, 1, 2])
def test_unpacking_goes_on_after_a_death(world: Path, settled: int) -> None:
    """Whatever an earlier agent had begun: half a folder, some of it in its place, or all but the last broom."""
    data = tar_of("a/b", "c")
    (world / ".overworld-unpacking").mkdir()
    (world / ".overworld-unpacking" / "half").write_text("half")
    if settled:
        (world / "a").mkdir()
        (world / "a" / "b").write_text("data" if settled == 2 else "da")
    if settled < 2:
        assert unpack(world, data).code == "done"
    else:
        (world / "c").write_text("data")
        assert ask(world, "unpack", most_bytes=GIB).code == "not-found"
    assert snapshot(world) == [(b"a", "folder", b""), (b"a/b", "file", b"data"), (b"c", "file", b"data")]


@pytest.mark.parametrize(
    ("names", "home", "expected"),
    [
        (["level.dat", "region/r"], "", ["level.dat", "region/r"]),
        (["My World/level.dat", "My World/region/r", "readme"], "", ["level.dat", "region/r"]),
        (["level.dat"], "world", ["world/level.dat"]),
        (["My World/level.dat"], "world", ["world/level.dat"]),
        (["world/level.dat", "mods/m"], "world", ["mods/m", "world/level.dat"]),
        (["backup/world/level.dat", "backup/mods/m", "x"], "world", ["mods/m", "world/level.dat"]),
        (["world/level.dat", "world_nether/level.dat"], "world", ["world/level.dat", "world_nether/level.dat"]),
        (["a/level.dat", "a/old/level.dat"], "", ["level.dat", "old/level.dat"]),
    ],
)
def test_the_worlds_root_is_found(world: Path, names: list[str], home: str, expected: list[str]) -> None:
    """However it was packed, the world lies where the game looks for it."""
    assert unpack(world, tar_of(*names), markers=["level.dat", "world.mt"], home=home).code == "done"
    assert [os.fsdecode(path) for path, kind, _ in snapshot(world) if kind == "file"] == expected


@pytest.mark.parametrize("names", [["readme"], ["a/level.dat", "b/level.dat"]])
def test_no_world_and_several_are_refused(world: Path, names: list[str]) -> None:
    """With a sentence that says so."""
    assert "world" in str(unpack(world, tar_of(*names), markers=["level.dat"], home="world").error)
    assert snapshot(world) == []


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damage_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes changed anywhere in a good archive: unpacked or refused, never a fault, never anything outside."""
    good = data.draw(st.sampled_from(GOOD))
    broken = bytearray(good)
    for place in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=4)):
        broken[place] = data.draw(st.integers(0, 255))
    outside = tmp_path_factory.mktemp("outside")
    world = outside / "world"
    world.mkdir()
    answered = unpack(world, bytes(broken[: data.draw(st.integers(len(good) // 2, len(good)))]), most_bytes=10**7)
    assert answered.code in {"done", "bad-archive"}, answered.error
    assert os.listdir(outside) == ["world"]
    if answered.error is not None:
        assert snapshot(world) == []


GOOD = [
    tar_of("a/b", "c", special("l", tarfile.SYMTYPE, "c"), special("h", tarfile.LNKTYPE, "c")),
    gzip.compress(tar_of("a/b", "c")),
    bz2.compress(tar_of("a/b", "c")),
    lzma.compress(tar_of("a/b", "c")),
    zip_of("a/b", "c", content=b"data" * 50),
    zip_of("link", content=b"c", mode=stat.S_IFLNK | 0o777),
]
