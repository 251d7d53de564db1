"""The keeper: parent of one game process, owner of its input, output and end. Standard library only, under 12 MiB.

    keeper.py start RUN          launch (JSON) on standard input; detaches; restarts the game after a crash
    keeper.py recover RUN        waits for what a killed keeper left behind to save and end, kills it after its grace
    keeper.py foreground LAUNCH [RUN]   entrypoint of an image: SIGTERM stops the game, its status is the keeper's

RUN is a folder that the game cannot enter: ``state.json`` (what was last seen), ``console.log`` (the game's output,
one ``<id> <text>`` a line, ``console.log.1`` before it), ``socket`` (JSON lines while a keeper lives), ``output`` and
``input`` (pipes to the game), and two locks: ``keeper.lock`` (one keeper), ``world.lock`` (held by the game too).
A launch has the members of ``overworld.engines.launches`` and of ``launches`` of the engine (``local``; in a pod
``kube``). Nothing of Overworld is imported: an image carries this file alone.
"""

# ruff: noqa: SIM105, S606 (contextlib is one more import; execve without a shell is the point)

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import resource
import selectors
import signal
import socket
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

KEEPER_RUNS, WORLD_IN_USE, MUST_RECOVER = 75, 76, 77
"""Exit statuses of ``start`` and ``recover`` that are no fault: the engine knows what to do next."""

STARTING, READY, STOPPING, WAITING, STOPPED = "starting", "ready", "stopping", "waiting", "stopped"

LINE_BYTES = 2000
LAST_LINES = 20
LOG_BYTES = 2 * 1024 * 1024
LOG_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
LINES_PER_SECOND, LINES_AT_ONCE = 500, 4000
PIPE_BYTES = 256 * 1024
FLOOD_PAUSE_SECONDS = 0.02
CLIENT_BYTES = 256 * 1024
REQUEST_BYTES = 8 * 1024
INPUT_BYTES = 64 * 1024
ROSTER_NAMES, NAME_LENGTH = 500, 64  # together less than CLIENT_BYTES
TAIL_SECONDS = 0.1
SWEEP_SECONDS = 0.02
FOLDER_SECONDS = 5.0
OPEN_FILES = 8192
MESSAGE_BYTES = 4000
"""Of what a pod says at its end; the kubelet cuts at 4096, and half a JSON text says nothing."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
LIBC = ctypes.CDLL(None, use_errno=True)

ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)


def clean(raw: bytes) -> str:
    """A line as text without escape sequences, control characters and tricks of writing direction."""
    text = raw[:LINE_BYTES].decode("utf-8", "replace").rstrip()
    if text.isprintable():
        return text
    text = ESCAPES.sub("", text)
    return "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text).rstrip()


def roster_name(match: re.Match[str]) -> str:
    """Who joined or left."""
    return str(match.groupdict().get("name") or match[0])[:NAME_LENGTH]


class Splitter:
    """Cuts bytes into lines and never keeps more than LINE_BYTES of an unfinished one."""

    def __init__(self) -> None:
        self._rest = b""
        self._skips = False

    def feed(self, data: bytes) -> list[bytes]:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if self._skips and lines:
            del lines[0]
            self._skips = False
        if self._skips:
            self._rest = b""
        elif len(self._rest) > LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
            self._skips = True
        return lines

    def flush(self) -> list[bytes]:
        rest, self._rest, self._skips = self._rest, b"", False
        return [rest] if rest else []


class Log:
    """console.log, at most twice LOG_BYTES. Ids are microseconds since the epoch, made strictly ascending, so they go
    on growing over restarts of everything. A full disk loses lines, never the game."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, LOG_FLAGS, 0o600)
        self._size = size = os.fstat(self._file).st_size
        tail = os.pread(self._file, 4 * LINE_BYTES, max(0, size - 4 * LINE_BYTES)).rstrip(b"\n").rpartition(b"\n")[2]
        head = tail.split(b" ", 1)[0]
        self.last_id = int(head) if head.isdigit() and len(head) < 20 else 0
        self._is_torn = bool(tail) and os.pread(self._file, 1, size - 1) != b"\n"

    def write(self, text: str) -> int:
        self.last_id = max(self.last_id + 1, time.time_ns() // 1000)
        line = f"{self.last_id} {text}\n".encode()
        try:
            if self._size + len(line) > LOG_BYTES:
                new = os.open(self._path + ".new", LOG_FLAGS | os.O_TRUNC, 0o600)
                os.rename(self._path, self._path + ".1")
                os.rename(self._path + ".new", self._path)
                os.close(self._file)
                self._file, self._size = new, 0
            written = os.write(self._file, b"\n" + line if self._is_torn else line)
            self._size += written
            self._is_torn = written < len(line)
        except OSError:
            pass
        return self.last_id


class Tail:
    """The game's own log file, from where it ended when the game started. The file is the game's, so nothing about it
    is believed: no link is followed, and only a regular file of the game's own user is read."""

    def __init__(self, world: str, path: str, uid: int | None, start: list[int] | None = None) -> None:
        self._world = world
        self._parts = [part for part in os.path.relpath(path, world).split("/") if part != "."]
        if not self._parts or ".." in self._parts:
            raise ValueError(f"log_file {path} is not inside the world {world}")
        self._uid = os.geteuid() if uid is None else uid
        found = self._find()
        self.inode, self.offset = start or ([found[1].st_ino, found[1].st_size] if found else [0, 0])
        if found:
            os.close(found[0])
            if found[1].st_ino == self.inode:
                self.offset = max(self.offset, found[1].st_size - 4 * PIPE_BYTES)

    def _find(self) -> tuple[int, os.stat_result] | None:
        folder = -1
        try:
            folder = os.open(self._world, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            for part in self._parts[:-1]:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                os.close(folder)
                folder = inner
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            file = os.open(self._parts[-1], flags, dir_fd=folder)
        except OSError:
            return None
        finally:
            if folder >= 0:
                os.close(folder)
        seen = os.fstat(file)
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid != self._uid:
            os.close(file)
            return None
        return file, seen

    def read(self) -> bytes:
        """What was written since; a new or a shortened file is read from its beginning."""
        found = self._find()
        if found is None:
            return b""
        file, seen = found
        try:
            if seen.st_ino != self.inode or seen.st_size < self.offset:
                self.inode, self.offset = seen.st_ino, 0
            if seen.st_size == self.offset:
                return b""
            data = os.pread(file, PIPE_BYTES, self.offset)
            self.offset += len(data)
            return data
        finally:
            os.close(file)


class Client:
    """One connection to the socket: an engine or a console. Slow ones are dropped: they read the log and come back."""

    def __init__(self, keeper: Keeper, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.watches = self.follows = False
        self._keeper = keeper
        self._in = b""
        self._out = b""
        keeper.selector.register(connection, selectors.EVENT_READ, self.on_event)

    def tell(self, message: dict[str, Any]) -> None:
        self._out += json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        if len(self._out) > CLIENT_BYTES:
            self.close()
        else:
            self._flush()

    def _flush(self) -> None:
        if self.connection.fileno() < 0:
            return
        try:
            while self._out:
                self._out = self._out[self.connection.send(self._out) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        self._keeper.selector.modify(self.connection, events, self.on_event)

    def on_event(self, _: object) -> None:
        self._flush()
        try:
            data = self.connection.recv(4096)
        except (BlockingIOError, ValueError):
            return
        except OSError:
            data = b""
        self._in += data
        if not data or len(self._in) > REQUEST_BYTES:
            self.close()
            return
        *requests, self._in = self._in.split(b"\n")
        for request in requests:
            try:
                asked = json.loads(request)
                self._keeper.answer(self, str(asked.get("do")), asked)
            except (ValueError, AttributeError):
                self.close()
                return

    def close(self) -> None:
        if self.connection.fileno() >= 0:
            self._keeper.selector.unregister(self.connection)
            self.connection.close()
        self._keeper.clients.discard(self)


class Sign:
    """A TCP port that is open as long as something is true: what the kubelet's probes look at, without a process.
    Whoever connects is told one line, and the connection is closed."""

    def __init__(self, selector: selectors.BaseSelector, port: int, say: Callable[[], bytes]) -> None:
        self._selector = selector
        self._port = port
        self._say = say
        self._listener: socket.socket | None = None

    def show(self, is_true: bool) -> None:
        if is_true and self._listener is None:
            dual = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if dual else socket.AF_INET
            self._listener = socket.create_server(("", self._port), family=family, dualstack_ipv6=dual)
            self._listener.setblocking(False)
            self._selector.register(self._listener, selectors.EVENT_READ, self._on_connection)
        elif not is_true and self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _on_connection(self, _: object) -> None:
        if self._listener is not None:
            try:
                with self._listener.accept()[0] as connection:
                    connection.setblocking(False)
                    connection.send(self._say())  # a part of it where the kernel has no room: it is asked again
            except OSError:
                pass


class Keeper:
    """The state machine of one game: starting → ready → stopping → stopped, and waiting after a crash."""

    def __init__(
        self, launch: dict[str, Any], last_exit: dict[str, Any] | None, *, restarts: bool, mirrors: bool
    ) -> None:
        self.launch = launch
        self.selector = selectors.DefaultSelector()
        self.clients: set[Client] = set()
        self.status = 0
        self._restarts = restarts
        self._mirrors = mirrors
        self._is_over = False
        self._is_dirty = True
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self._listener: socket.socket | None = None
        self._log = Log("console.log")
        self._compile(launch)
        self._pod = pod = launch.get("pod")
        self._signs = (
            {}
            if pod is None
            else {Sign(self.selector, pod[key], self._say_usage): key for key in ("started_port", "ready_port")}
        )

        self.phase = STARTING
        self._since = time.time()
        self._asked = False
        self._crashes = 0
        self._last_exit = last_exit
        self._log_from: list[int] | None = None  # inode and size of the log file when the game started
        self._has_told_left = False
        self._next_start_at: float | None = None

        self._pid = 0  # of the game's first process; 0 while there is none
        self._pid_started = 0
        self._started_at = 0.0
        self._ended: dict[str, Any] | None = None
        self._kills_before = 0
        self._output = -1
        self._input = -1
        self._unsent = b""
        self._begin_lines()
        self._catch_signals()

    def _compile(self, launch: dict[str, Any]) -> None:
        def pattern(text: str | None) -> re.Pattern[str] | None:
            return re.compile(text, re.MULTILINE) if text else None

        roster = launch["roster"] or {}
        self._ready = pattern(launch["ready"])
        self._saved = pattern(launch["stop"]["saved"])
        self._joins, self._leaves = pattern(roster.get("joins")), pattern(roster.get("leaves"))
        if launch["log_file"]:
            Tail(launch["world"], launch["log_file"], launch["uid"])  # a path that cannot be is said before detaching

    def _begin_lines(self) -> None:
        self._splitter, self._plain_splitter = Splitter(), Splitter()
        self._tail: Tail | None = None
        self._lines: list[str] = []
        self._plain_lines: list[str] = []  # of standard output, where a log file is the console
        self._save_seen = False
        self._roster: dict[str, None] | None = {} if self._joins else None
        self._budget = float(LINES_AT_ONCE)
        self._budget_at = time.monotonic()
        self._dropped = 0

    # --- the loop

    def run(self) -> None:
        """Until the game is stopped for good."""
        while not self._is_over:
            if self._is_dirty:
                self._publish()
            due = min((at for at, _ in self._timers.values()), default=None)
            for key, _ in self.selector.select(None if due is None else max(0.0, due - time.monotonic())):
                key.data(key.fileobj)
            now = time.monotonic()
            for name, (at, act) in list(self._timers.items()):
                if at <= now and self._timers.get(name) == (at, act):
                    del self._timers[name]
                    act()
        self._publish()

    def _catch_signals(self) -> None:
        self._wakeup = reader, writer = socket.socketpair()  # kept, or they would close
        for end in self._wakeup:
            end.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.selector.register(reader, selectors.EVENT_READ, lambda _: self._on_signals(reader.recv(256)))

    def _on_signals(self, numbers: bytes) -> None:
        if signal.SIGCHLD in numbers:
            self._reap()
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self.stop()

    def _after(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        self._timers[name] = (time.monotonic() + seconds, act)

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self._since = time.time()
        self._is_dirty = True
        for sign, key in self._signs.items():
            sign.show(phase == READY or (key == "started_port" and phase in (STARTING, STOPPING)))

    # --- what others see

    def listen(self) -> None:
        """Be reachable from now on."""
        try:
            os.unlink("socket")
        except FileNotFoundError:
            pass
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind("socket")
        os.chmod("socket", 0o600)
        self._listener.listen(64)
        self._listener.setblocking(False)
        self.selector.register(self._listener, selectors.EVENT_READ, self._on_connection)

    def _on_connection(self, _: object) -> None:
        assert self._listener is not None
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        self.clients.add(Client(self, connection))

    def _usage(self) -> dict[str, Any]:
        roster = None if self._roster is None else list(self._roster)
        return {"roster": roster, "pid": self._pid, "started_at": self._started_at}

    def _say_usage(self) -> bytes:
        return json.dumps(self._usage()).encode() + b"\n"

    def answer(self, client: Client, do: str, asked: dict[str, Any]) -> None:
        """One request of a client."""
        if do == "watch":
            client.watches = True
            client.tell({"status": self.seen()})
        elif do == "usage":
            client.tell({"usage": self._usage()})
        elif do == "follow":
            client.follows = True
            client.tell({"following": self._log.last_id})
        elif do == "send":
            client.tell({"sent": self.send(str(asked.get("text", "")))})
        elif do == "stop":
            self.stop()

    def seen(self) -> dict[str, Any]:
        """What is remembered of the process."""
        return {
            "phase": self.phase,
            "since": self._since,
            "spec_hash": self.launch["spec_hash"],
            "restarts": self.launch["restarts"],
            "world_generation": self.launch["world_generation"],
            "crashes": self._crashes,
            "last_exit": self._last_exit,
            "next_start_at": self._next_start_at,
            "asked": self._asked,
            "pid": self._pid,
            "pid_started": self._pid_started,
            "log_from": self._log_from,
            "started_at": self._started_at,
            "keeper_pid": os.getpid(),
        }

    def _publish(self) -> None:
        self._is_dirty = False
        seen = self.seen()
        write_state(seen)
        for client in list(self.clients):
            if client.watches:
                client.tell({"status": seen})

    # --- start

    def start(self) -> None:
        """Start the game; a failure to do so is an exit like any other."""
        self._begin_lines()
        self._enter(STARTING)
        self._next_start_at = None
        self._started_at = time.time()
        self._after("folder", FOLDER_SECONDS, self._end_without_folder)
        launch = self.launch
        if launch["log_file"]:
            self._tail = Tail(launch["world"], launch["log_file"], launch["uid"])
            self._log_from = [self._tail.inode, self._tail.offset]
            self._after("tail", TAIL_SECONDS, self._on_tail)
        self._kills_before = self._count_kills()
        limit_processes(launch)  # the end of the run before may have taken all
        self._publish()  # a keeper killed from here on leaves something to recover
        failure = self._spawn()
        self._is_dirty = True
        if failure:
            self._lines.append(failure)
            self._write_line(failure)

    def _spawn(self) -> str:
        launch = self.launch
        # Named pipes that the game itself holds open at both ends: when its keeper is killed, it can still write its
        # last words without dying of SIGPIPE in the middle of a save, `recover` reads them, and can type a command.
        self._open_output()
        writer = os.open("output", os.O_RDWR | os.O_CLOEXEC)
        if launch["accepts_commands"] or launch["stop"]["command"]:
            self._make_pipe("input")
            stdin = os.open("input", os.O_RDWR | os.O_CLOEXEC)
            self._open_input()
        else:
            stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        said, saying = os.pipe()
        keeper = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                become_game(launch, keeper, stdin, writer)
            except BaseException as error:
                os.write(saying, f"could not start {launch['argv'][0]}: {error}".encode()[:LINE_BYTES])
            finally:
                os._exit(127)
        self._pid_started = (process_stat(self._pid) or (0, 0, 0, 0))[3]
        for end in (writer, stdin, saying):
            os.close(end)
        failure = os.read(said, LINE_BYTES).decode("utf-8", "replace")  # ends when the game's program has begun
        os.close(said)
        return failure

    def _make_pipe(self, name: str) -> None:
        if not os.path.exists(name):
            os.mkfifo(name, 0o600)
            if self.launch["uid"] is not None:
                os.chown(name, self.launch["uid"], self.launch["gid"])  # so that the game can open /dev/stdout

    def _open_output(self) -> None:
        self._make_pipe("output")
        self._output = os.open("output", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass
        self.selector.register(self._output, selectors.EVENT_READ, lambda _: self._on_output())

    # --- output

    def _on_output(self) -> bool:
        """Take one portion; whether there was any."""
        if self._output < 0:
            return False  # the game's end was seen in the same turn of the loop, and took all of it
        try:
            data = os.read(self._output, PIPE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close_output()
            return False
        if self._tail is not None:
            self._keep_plain(self._plain_splitter.feed(data))
            self._pause_output()
        else:
            self._take(self._splitter.feed(data))
            if self._dropped:
                self._pause_output()
        return True

    def _pause_output(self) -> None:
        """Let the pipe fill for a moment instead of being woken by every write of a flood."""
        if self._output >= 0 and "resume" not in self._timers:
            self.selector.unregister(self._output)
            self._after("resume", FLOOD_PAUSE_SECONDS, self._resume_output)

    def _resume_output(self) -> None:
        if self._output >= 0:
            self.selector.register(self._output, selectors.EVENT_READ, lambda _: self._on_output())

    def _close_output(self) -> None:
        if self._output >= 0:
            if self._timers.pop("resume", None) is None:
                self.selector.unregister(self._output)
            os.close(self._output)
            self._output = -1

    def _keep_plain(self, lines: list[bytes]) -> None:
        self._plain_lines = (self._plain_lines + [clean(line) for line in lines[-LAST_LINES:]])[-LAST_LINES:]

    def _on_tail(self) -> None:
        if self._tail is not None:
            data = self._tail.read()
            self._take(self._splitter.feed(data))
            self._after("tail", FLOOD_PAUSE_SECONDS if len(data) == PIPE_BYTES else TAIL_SECONDS, self._on_tail)

    def _take(self, lines: list[bytes]) -> None:
        now = time.monotonic()
        self._budget = min(LINES_AT_ONCE, self._budget + (now - self._budget_at) * LINES_PER_SECOND)
        self._budget_at = now
        allowed = min(len(lines), int(self._budget))
        self._budget -= allowed
        for line in lines[:allowed]:
            self._take_line(clean(line))
        if allowed < len(lines):
            self._drop(lines[allowed:])

    def _take_line(self, text: str) -> None:
        self._lines.append(text)
        del self._lines[:-LAST_LINES]
        self._write_line(text)
        self._look(text)
        if self._roster is None or self._joins is None:
            return
        if joined := self._joins.search(text):
            self._roster[roster_name(joined)] = None
            if len(self._roster) > ROSTER_NAMES:
                self._roster = None
        elif self._leaves is not None and (left := self._leaves.search(text)):
            self._roster.pop(roster_name(left), None)

    def _look(self, text: str) -> None:
        if self.phase == STARTING and self._ready is not None and self._ready.search(text):
            self._enter(READY)
            self._after("healthy", self.launch["healthy_seconds"], self._forget_crashes)
        elif self.phase == STOPPING and self._saved is not None and self._saved.search(text):
            self._save_seen = True

    def _forget_crashes(self) -> None:
        self._crashes = 0
        self._is_dirty = True

    def _drop(self, lines: list[bytes]) -> None:
        """Lines above the budget are looked through for the one that is waited for, and that is all. Who joined or
        left in them is lost, so until the next start nobody knows who plays."""
        if not self._dropped:
            self._after("dropped", 1.0, self._say_dropped)
        self._dropped += len(lines)
        self._roster = None
        self._lines = (self._lines + [clean(line) for line in lines[-LAST_LINES:]])[-LAST_LINES:]
        if self.phase in (STARTING, STOPPING):
            self._look(b"\n".join(line[:LINE_BYTES] for line in lines).decode("utf-8", "replace"))

    def _say_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        self._write_line(f"… {dropped} lines dropped: the game writes more than {LINES_PER_SECOND} a second")

    def _write_line(self, text: str) -> None:
        line = [self._log.write(text), text]
        for client in list(self.clients):
            if client.follows:
                client.tell({"line": line})
        if self._mirrors:
            try:
                os.write(1, text.encode() + b"\n")
            except OSError:
                self._mirrors = False

    # --- input

    def send(self, text: str) -> str:
        """Hand one line to the game; empty if that was done, else why it was not."""
        if self.phase not in (STARTING, READY) or self._input < 0:
            return "the game does not run"
        if not self.launch["accepts_commands"]:
            return "this game takes no commands"
        if len(self._unsent) > INPUT_BYTES:
            return "the game does not read its commands"
        self._type(text)
        return ""

    def _type(self, text: str) -> None:
        self._unsent += text.encode("utf-8", "replace") + b"\n"
        self._flush_input()

    def _flush_input(self) -> None:
        try:
            while self._unsent and self._input >= 0:
                self._unsent = self._unsent[os.write(self._input, self._unsent) :]
        except BlockingIOError:
            self._after("input", TAIL_SECONDS, self._flush_input)
        except OSError:
            self._close_input()

    def _open_input(self) -> None:
        try:
            self._input = os.open("input", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._input = -1  # nobody reads it

    def _close_input(self) -> None:
        self._unsent = b""
        if self._input >= 0:
            os.close(self._input)
            self._input = -1

    def forward_input(self) -> None:
        """The keeper's own standard input becomes the game's: attaching to a container reaches the game."""
        os.set_blocking(0, False)
        try:
            self.selector.register(0, selectors.EVENT_READ, self._on_stdin)
        except PermissionError:
            pass  # a file or /dev/null: there is nobody at the other end

    def _on_stdin(self, _: object) -> None:
        try:
            data = os.read(0, 4096)
        except BlockingIOError:
            return
        if not data:
            self.selector.unregister(0)
        elif len(self._unsent) <= INPUT_BYTES and self.phase in (STARTING, READY):
            self._unsent += data
            self._flush_input()

    # --- stop and end

    def stop(self) -> None:
        """Ask the game to save and quit, for good. Safe to repeat."""
        if self.phase == WAITING:
            self._asked = True
            self._finish()
        elif self.phase in (STARTING, READY):
            self._asked = True
            self._enter(STOPPING)
            stop = self.launch["stop"]
            if stop["command"] and self._input >= 0:
                self._type(stop["command"])
            if self._input < 0 or not stop["command"]:
                self._signal(self._pid, getattr(signal, stop["signal"]))
            self._after("kill", stop["grace_seconds"], self._kill_all)

    def _end_without_folder(self) -> None:
        """Whoever removes the data folder of an installation wants nothing of it left, its games least of all."""
        if os.stat(".").st_nlink == 0:
            self.stop()
        else:
            self._after("folder", FOLDER_SECONDS, self._end_without_folder)

    def _signal(self, pid: int, number: int) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def _kill_all(self) -> None:
        self._kill_members()
        self._after("kill", TAIL_SECONDS, self._kill_all)

    def _kill_members(self) -> list[int]:
        """Who was left. They may make no more processes, or some games would fork faster than they are killed."""
        left = self.members()
        if left:
            limit_processes(self.launch, "0")
            if not self.launch["cgroups"] and self.launch["uid"]:
                kill_user(self.launch["uid"])
        for pid in left:
            self._signal(pid, signal.SIGKILL)
        return left

    def members(self) -> list[int]:
        """Every living process of the game: by cgroup where there is one, else by the server's own user, else by the
        game's session and by who was left to the keeper when its parent died."""
        if self.launch["cgroups"]:
            return cgroup_members(self.launch["cgroups"][0]["folder"])
        uid, found = self.launch["uid"], []
        for name in os.listdir("/proc"):
            if not name.isdigit() or (seen := process_stat(int(name))) is None or seen[0] in "ZX":
                continue
            pid = int(name)
            if uid is not None:
                if process_uid(pid) == uid:
                    found.append(pid)
            elif self._pid and (seen[2] == self._pid or (seen[1] == os.getpid() and pid != self._pid)):
                found.append(pid)
        return found

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid and self._ended is None:
                code = os.waitstatus_to_exitcode(status)
                self._ended = {
                    "status": code if code >= 0 else None,
                    "signal": signal.Signals(-code).name if code < 0 else None,
                }
                self._sweep()

    def _sweep(self) -> None:
        """The first process has ended: nothing of the game may outlive it, then its end is recorded."""
        if self._kill_members():
            self._after("sweep", SWEEP_SECONDS, self._sweep)
        else:
            self._record_exit()

    def _record_exit(self) -> None:
        self._drain()
        assert self._ended is not None
        self._last_exit = {
            "at": time.time(),
            **self._ended,
            "asked": self._asked,
            "save_seen": self._save_seen if self._saved is not None else None,
            "out_of_memory": self._count_kills() > self._kills_before,
            "lines": (self._lines or self._plain_lines)[-LAST_LINES:],
        }
        code = self._ended["status"]
        self.status = code if code is not None else 128 + getattr(signal, self._ended["signal"])
        self._ended = None
        self._pid = self._pid_started = 0
        self._timers.clear()
        if self._asked or not (self._restarts or self._pod):
            self._finish()
            return
        self._wait_for_next_start(self._crashes + 1, self._last_exit["at"])
        if self._pod:  # only its end shows outside; the next container's keeper waits for the rest of the pause
            self._timers.clear()
            self._is_over = True

    def _wait_for_next_start(self, crashes: int, since: float) -> None:
        self._crashes = crashes
        delays = self.launch["restart_delays"]
        self._next_start_at = since + delays[min(crashes, len(delays)) - 1]
        self._roster = {} if self._joins else None
        self._enter(WAITING)
        self._after("restart", max(0.0, self._next_start_at - time.time()), self.start)

    def start_again(self, old: dict[str, Any]) -> None:
        """In a container that was started again: wait for what is left of the pause, then start the game."""
        if old["phase"] == WAITING:
            self._wait_for_next_start(old["crashes"], old["since"])
        else:  # the keeper was killed together with its game
            self._wait_for_next_start(old["crashes"] + 1, time.time())

    def write_message(self) -> None:
        """What the pod's status will say of its end."""
        if self._pod is None:
            return
        end = None if self._last_exit is None else {**self._last_exit, "lines": list(self._last_exit["lines"])}
        said = {"exit": end, "crashes": self._crashes, "next_start_at": self._next_start_at, "asked": self._asked}
        while len(message := json.dumps(said, ensure_ascii=False).encode()) > MESSAGE_BYTES and end:
            end["lines"] = end["lines"][1:] if len(end["lines"]) > 1 else [end["lines"][0][:500]]
        try:
            write_file(self._pod["message"], message.decode())
        except OSError:
            pass

    def _drain(self) -> None:
        """Everything that the game still said."""
        self._close_input()
        until = time.monotonic() + 1.0
        while self._output >= 0 and time.monotonic() < until and self._on_output():
            pass
        while self._tail is not None and time.monotonic() < until and (data := self._tail.read()):
            self._take(self._splitter.feed(data))
        self._take(self._splitter.flush())
        self._keep_plain(self._plain_splitter.flush())
        self._close_output()
        if self._dropped:
            self._say_dropped()

    def _finish(self) -> None:
        self._next_start_at = None
        self._enter(STOPPED)
        self._is_over = True
        for cgroup in self.launch["cgroups"]:
            try:
                os.rmdir(cgroup["folder"])
            except OSError:
                pass

    def _count_kills(self) -> int:
        for cgroup in self.launch["cgroups"]:
            for name in ("memory.oom_control", "memory.events"):
                try:
                    with open(f"{cgroup['folder']}/{name}") as file:
                        return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
                except OSError:
                    pass
        return 0

    # --- what a killed keeper left behind

    def recover(self, old: dict[str, Any]) -> None:
        """End the game of a killed keeper: by its command; else the kernel has sent it its signal already."""
        self._asked, self._crashes = old["asked"], old["crashes"]
        self._started_at, self._log_from = old["started_at"], old["log_from"]
        self._enter(STOPPING)
        self._pid, self._pid_started = old["pid"], old["pid_started"]
        if (seen := process_stat(self._pid)) is not None and seen[3] != self._pid_started:
            self._pid = -1  # that number is another process's now, so nothing of the game's session is left either
        launch = self.launch
        if launch["log_file"] and self._log_from:
            self._tail = Tail(launch["world"], launch["log_file"], launch["uid"], self._log_from)
            while data := self._tail.read():  # most of it is in the console's log already: only looked through
                lines = self._splitter.feed(data)
                self._look(b"\n".join(lines).decode("utf-8", "replace"))
                self._lines = (self._lines + [clean(line) for line in lines[-LAST_LINES:]])[-LAST_LINES:]
            self._after("tail", TAIL_SECONDS, self._on_tail)
        self._open_output()
        self._ended = {"status": None, "signal": "SIGTERM"}
        if launch["stop"]["command"]:
            self._open_input()
            self._type(launch["stop"]["command"])
        self._after("kill", launch["stop"]["grace_seconds"], self._kill_left)
        self._wait_for_left()

    def _kill_left(self) -> None:
        self._ended = {"status": None, "signal": "SIGKILL"}
        self._kill_all()

    def _wait_for_left(self) -> None:
        left = self.members()
        if left:
            if self._pid not in left and not self._has_told_left:
                self._has_told_left = True
                for pid in left:  # children of a first process that is gone: the kernel told them nothing
                    self._signal(pid, signal.SIGTERM)
            self._after("wait", SWEEP_SECONDS, self._wait_for_left)
        elif self._pid == 0:  # killed between a crash and the next start, or while it started the game
            self._close_output()
            self._finish()
        else:
            self._record_exit()


def become_game(launch: dict[str, Any], keeper: int, stdin: int, output: int) -> NoReturn:
    """In the child: give up every right that a game does not need, then become it. Raises OSError if it cannot."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    os.dup2(stdin, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for cgroup in launch["cgroups"]:
        write_file(f"{cgroup['folder']}/cgroup.procs", str(os.getpid()))
    os.umask(0o077)
    for name, limit in {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": OPEN_FILES, **launch["rlimits"]}.items():
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(which, (lower, lower))
    if launch["uid"] is not None:
        os.setgroups([])
        os.setresgid(launch["gid"], launch["gid"], launch["gid"])
        os.setresuid(launch["uid"], launch["uid"], launch["uid"])
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    # After setresuid, which would clear it. The keeper may have died before it was set. A game that saves only by a
    # command would lose its world by a signal: that one waits for `recover` to type the command.
    if not launch["stop"]["command"]:
        prctl(PR_SET_PDEATHSIG, getattr(signal, launch["stop"]["signal"]))
    if os.getppid() != keeper:
        os._exit(127)
    os.chdir(launch["world"])
    os.execve(launch["argv"][0], launch["argv"], launch["environment"])


def prctl(option: int, value: int) -> None:
    if LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def process_stat(pid: int) -> tuple[str, int, int, int] | None:
    """State, parent, session and start time (in ticks since boot) of a process, None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return (fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19])) if len(fields) > 19 else None


def process_uid(pid: int) -> int | None:
    """The real user of a process. Not the owner of its folder in /proc: a process can make that root."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(b"Uid:")), None)
    except OSError:
        return None


def kill_user(uid: int) -> None:
    """SIGKILL for all of a user's processes in one moment, in which they cannot fork: only they themselves can ask
    for that."""
    if os.fork() == 0:
        try:
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)


def cgroup_members(folder: str) -> list[int]:
    try:
        with open(f"{folder}/cgroup.procs") as file:
            return [int(line) for line in file]
    except OSError:
        return []


def make_cgroups(launch: dict[str, Any]) -> None:
    """Fresh ones, so that no limit or count of an earlier process is left in them."""
    for cgroup in launch["cgroups"]:
        try:
            os.rmdir(cgroup["folder"])
        except OSError:
            pass
        os.makedirs(cgroup["folder"], 0o755, exist_ok=True)
        for name, value in cgroup["files"].items():
            write_file(f"{cgroup['folder']}/{name}", value)


def limit_processes(launch: dict[str, Any], number: str = "") -> None:
    """How many the game may have, where a cgroup limits them; without a number, what its launch says."""
    for cgroup in launch["cgroups"]:
        if "pids.max" in cgroup["files"]:
            try:
                write_file(f"{cgroup['folder']}/pids.max", number or cgroup["files"]["pids.max"])
            except OSError:
                pass


def write_file(path: str, content: str) -> None:
    with open(path, "w") as file:
        file.write(content)


def write_whole(path: str, content: dict[str, Any]) -> None:
    """All of it or nothing: readers never see a part."""
    write_file(f"{path}.new", json.dumps(content))
    os.rename(f"{path}.new", path)


def write_state(seen: dict[str, Any]) -> None:
    """Never fails: on a full disk the old file is overwritten in place, without the last lines."""
    try:
        write_whole("state.json", seen)
    except OSError:
        short = {**seen, "last_exit": {**seen["last_exit"], "lines": []} if seen["last_exit"] else None}
        try:
            file = os.open("state.json", os.O_WRONLY | os.O_CLOEXEC)
            os.ftruncate(file, os.write(file, json.dumps(short).encode()))
            os.close(file)
        except OSError:
            pass


def read_state() -> dict[str, Any] | None:
    try:
        with open("state.json", "rb") as file:
            state: dict[str, Any] = json.load(file)
            return state
    except (OSError, ValueError):
        return None


def lock(name: str, *, shared_with_game: bool) -> int | None:
    """An exclusive lock on the file, held as long as a process has it open; None if another process holds it."""
    while True:
        file = os.open(name, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        try:
            if os.stat(name).st_ino == os.fstat(file).st_ino:
                os.set_inheritable(file, shared_with_game)
                return file
        except FileNotFoundError:
            pass
        os.close(file)  # it was removed between open and flock: a lock on it means nothing


def detach() -> None:
    """Become a process that nobody waits for; what started the keeper sees status 0 as soon as it can be reached."""
    if os.fork() != 0:
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)


def keep(run: str, launch: dict[str, Any] | None) -> int:
    """``start`` with a launch, ``recover`` without."""
    os.chdir(run)
    if lock("keeper.lock", shared_with_game=False) is None:
        return KEEPER_RUNS
    old = read_state()
    is_left = old is not None and old["phase"] != STOPPED
    if launch is not None:
        if is_left:
            return MUST_RECOVER
        if lock("world.lock", shared_with_game=True) is None:
            return WORLD_IN_USE
        make_cgroups(launch)
        write_whole("launch.json", launch)
    elif not is_left:
        return 0
    else:
        with open("launch.json", "rb") as file:
            launch = json.load(file)
    keeper = Keeper(launch, old["last_exit"] if old else None, restarts=not is_left, mirrors=False)
    keeper.listen()
    detach()
    if is_left and old is not None:
        keeper.recover(old)
    else:
        keeper.start()
    keeper.run()
    try:
        os.unlink("socket")
    except FileNotFoundError:
        pass  # the whole folder was removed
    return 0


def be_entrypoint(path: str, run: str) -> int:
    """``foreground``: the game's exit status, 128 + signal where a signal ended it, as a shell says it."""
    with open(path, "rb") as file:
        launch = json.load(file)
    os.chdir(run)
    pod = launch.get("pod")
    if pod:
        launch["argv"][0] = find_program(pod["programs"], launch["environment"]["PATH"])
    old = read_state() if pod else None
    keeper = Keeper(launch, old["last_exit"] if old else None, restarts=False, mirrors=True)
    keeper.listen()
    make_cgroups(launch)
    if old is None:
        keeper.start()
    else:
        keeper.start_again(old)
    keeper.forward_input()
    keeper.run()
    keeper.write_message()
    return keeper.status


def find_program(programs: list[str], path: str) -> str:
    """The first that can be executed, else the first: the failure to start it says which."""
    folders = path.split(":")
    found = (os.path.join(folder, program) for program in programs for folder in folders)
    return next((file for file in found if os.path.isfile(file) and os.access(file, os.X_OK)), programs[0])


def main() -> NoReturn:
    os.umask(0o077)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    match sys.argv[1:]:
        case ["start", run]:
            status = keep(run, json.load(sys.stdin.buffer))
        case ["recover", run]:
            status = keep(run, None)
        case ["foreground", path, *rest] if len(rest) < 2:
            status = be_entrypoint(path, rest[0] if rest else os.path.dirname(os.path.abspath(path)))
        case _:
            sys.stderr.write("usage: keeper.py start RUN | recover RUN | foreground LAUNCH [RUN]\n")
            status = 2
    # Locks are let go and sockets closed by the kernel, in this order of descriptors: whoever sees the socket close
    # may start the next keeper at once.
    os._exit(status)


if __name__ == "__main__":
    main()
