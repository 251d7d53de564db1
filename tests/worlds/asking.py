"""The agent's verbs asked in this process: the same code, without starting a program each time."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overworld.engines import agent


@dataclass
class Answered:
    """What an agent said."""

    items: list[dict[str, Any]] = field(default_factory=list)
    data: bytes = b""
    done: dict[str, Any] | None = None
    error: dict[str, str] | None = None

    @property
    def code(self) -> str:
        """The error's code; "done" without one."""
        return "done" if self.error is None else self.error["code"]


def in_pieces(body: bytes, size: int = 100_000) -> bytes:
    """A body as the agent reads it."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"+%d\n%b" % (len(piece), piece) for piece in pieces) + b"+0\n"


def ask(world: Path, verb: str, *, body: bytes | None = None, raw_body: bytes = b"", **request: Any) -> Answered:
    """One request to the agent of ``world``."""
    sent = json.dumps(request).encode() + b"\n" + (raw_body if body is None else in_pieces(body))
    source, sink, root = os.memfd_create("source"), os.memfd_create("sink"), os.open(world, agent.FOLDER_FLAGS)
    try:
        os.write(source, sent)
        os.lseek(source, 0, os.SEEK_SET)
        wire = agent.Wire(source, sink)
        try:
            done = agent.VERBS[verb](root, wire.request(), wire)
            wire.say("done", done)
        except Exception as error:
            refusal = agent.explain(error)
            wire.say("error", {"code": refusal.code, "says": refusal.says})
        os.lseek(sink, 0, os.SEEK_SET)
        with os.fdopen(os.dup(sink), "rb") as said:
            return parse(said.read())
    finally:
        for descriptor in (source, sink, root):
            os.close(descriptor)


def parse(said: bytes) -> Answered:
    """The bytes that an agent said, taken apart."""
    answered = Answered()
    while said:
        line, _, said = said.partition(b"\n")
        if line.startswith(b"+"):
            size = int(line[1:])
            answered.data += said[:size]
            said = said[size:]
            continue
        ((kind, content),) = json.loads(line).items()
        if kind == "item":
            answered.items.append(content)
        elif kind == "done":
            answered.done = content
        else:
            answered.error = content
    return answered


def names(answered: Answered) -> list[str]:
    """The names that were listed."""
    assert answered.error is None, answered.error
    return [str(item["name"]) for item in answered.items]


def snapshot(folder: Path) -> list[tuple[bytes, str, bytes]]:
    """Every path below a folder, what it is, and its content or target."""
    found = []
    for at, folders, files in os.walk(os.fsencode(folder)):
        for name in [*folders, *files]:
            path = os.path.join(at, name)
            shown = os.path.relpath(path, os.fsencode(folder))
            if os.path.islink(path):
                found.append((shown, "link", os.readlink(path)))
            elif os.path.isfile(path):
                found.append((shown, "file", Path(os.fsdecode(path)).read_bytes()))
            else:
                found.append((shown, "folder" if os.path.isdir(path) else "other", b""))
    return sorted(found)
