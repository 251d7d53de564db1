"""Long-running operations, shared by every resource type that has them, and the refusal that any of them may give."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Finish = Callable[[str | None], None]
"""What an operation's end does to its resource; told Azure's code if the operation failed."""


class Refusal(Exception):
    """An answer that is an error: HTTP status, Azure's code, its sentence."""

    def __init__(self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}")
        self.status, self.code, self.message, self.headers = status, code, message or code, headers or {}


@dataclass
class Operation:
    """It goes on by one step whenever anybody looks at it or at its resource, and ends not before ``done_at``."""

    id: str
    resource: str
    finish: Finish
    steps_left: int
    done_at: float  # time.monotonic()
    error: str | None = None
    status: str = "InProgress"


@dataclass
class Operations:
    """``steps`` is how often a new operation is looked at before it ends, ``seconds`` how long it takes at least;
    ``errors`` lets the next ones end Failed with that code. All may be changed at any time."""

    steps: int = 1
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    begun: dict[str, Operation] = field(default_factory=dict)

    def begin(self, resource: str, finish: Finish) -> Operation:
        """A new operation on the resource of that id."""
        error = self.errors.pop(0) if self.errors else None
        identity = f"op-{len(self.begun)}"
        operation = Operation(identity, resource, finish, self.steps, time.monotonic() + self.seconds, error)
        self.begun[identity] = operation
        return operation

    def look_at(self, identity: str) -> Operation:
        """An operation's state, after one more step."""
        if identity not in self.begun:
            raise Refusal(404, "OperationNotFound")
        operation = self.begun[identity]
        self._step(operation)
        return operation

    def look_at_resource(self, resource: str) -> None:
        """The resource was looked at: whatever works on it goes on by one step."""
        for operation in list(self._running(resource)):
            self._step(operation)

    def finish_all(self, resource: str) -> None:
        """Whatever works on the resource has ended, however long it would have taken (for tests)."""
        for operation in list(self._running(resource)):
            self._end(operation)

    def _running(self, resource: str) -> Iterator[Operation]:
        return (one for one in self.begun.values() if one.resource == resource and one.status == "InProgress")

    def _step(self, operation: Operation) -> None:
        if operation.status != "InProgress":
            return
        operation.steps_left -= 1
        if operation.steps_left <= 0 and time.monotonic() >= operation.done_at:
            self._end(operation)

    def _end(self, operation: Operation) -> None:
        operation.status = "Succeeded" if operation.error is None else "Failed"
        operation.finish(operation.error)
