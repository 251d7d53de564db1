"""The two ways of sitting at a server's console: a person at a terminal, a program at a pipe."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.history import FileHistory
from prompt_toolkit.patch_stdout import patch_stdout

from overworld.cli.api import Api, Json, api_path
from overworld.cli.errors import CliError
from overworld.cli.lines import print_log_line
from overworld.cli.safe_text import strip_controls
from overworld.cli.stream import Cut, follow_console
from overworld.cli.ui import print_note

SILENCE_SECONDS = 2.0
LONGEST_CONNECT_SECONDS = 15.0
LONGEST_STOP_SECONDS = 2.0


class Reader(threading.Thread):
    """Follows a console beside whoever writes to it, in a thread of its own.

    ``on_line`` gets each line, ``on_end`` is called once if the stream may not go on; ``failure`` then says why.
    """

    def __init__(
        self, api: Api, server_id: str, after: str | None, on_line: Callable[[Json], None], on_end: Callable[[], None]
    ) -> None:
        super().__init__(name="console", daemon=True)
        self._api, self._server_id, self._after = api, server_id, after
        self._on_line, self._on_end = on_line, on_end
        self._stopped = threading.Event()
        self._cut: Cut = lambda: None
        self.connected = threading.Event()
        self.failure: CliError | None = None

    def run(self) -> None:
        """Follow until stopped, or until it may not go on."""
        try:
            for line in follow_console(
                self._api,
                self._server_id,
                after=self._after,
                on_connect=self._connect,
                on_break=self._say,
                pause=self._stopped.wait,
            ):
                if self._stopped.is_set():
                    return
                self._on_line(line)
        except CliError as error:
            if not self._stopped.is_set():
                self.failure = error
                self.connected.set()
                self._on_end()

    def _connect(self, cut: Cut) -> None:
        self._cut = cut
        self.connected.set()
        if self._stopped.is_set():
            cut()

    def _say(self, text: str) -> None:
        if not self._stopped.is_set():
            print_note(text)

    def stop(self) -> None:
        """Print nothing any more, and end. A thread that is still connecting ends by itself, at the latest with the
        process."""
        self._stopped.set()
        self._cut()
        self.join(LONGEST_STOP_SECONDS)


def attach_terminal(api: Api, server: Json) -> None:
    """Show the console and edit commands below it until Ctrl-D; a refused command ends nothing."""
    prompt: PromptSession[str] = PromptSession(
        history=FileHistory(str(_history_file(server["id"]))), auto_suggest=AutoSuggestFromHistory()
    )
    name = strip_controls(server["name"])
    print_note(f"The console of {name}. Ctrl-D leaves; the server runs on.")

    def leave() -> None:
        if prompt.app.is_running and prompt.app.loop is not None:
            prompt.app.loop.call_soon_threadsafe(lambda: prompt.app.exit(exception=EOFError()))

    with patch_stdout(raw=True):
        reader = Reader(api, server["id"], None, print_log_line, leave)
        reader.start()
        try:
            _prompt_for_commands(api, server, prompt, f"{name}> ", reader)
        finally:
            reader.stop()
    if reader.failure is not None:
        raise reader.failure


def _prompt_for_commands(api: Api, server: Json, prompt: PromptSession[str], words: str, reader: Reader) -> None:
    while reader.failure is None:
        try:
            text = prompt.prompt(words)
        except KeyboardInterrupt:
            continue  # clears the line, as shells do
        except EOFError:
            return
        try:
            _send(api, server["id"], text)
        except CliError as error:
            print_note(error.title)
            print_note(f"  {error.detail}")


def attach_pipe(api: Api, server: Json, after: str | None) -> None:
    """Send every line of standard input, print what the server prints; ends when it was silent after the last one.

    A refused command ends it at once, with that failure.
    """
    heard = threading.Event()

    def show(line: Json) -> None:
        print_log_line(line)
        heard.set()

    reader = Reader(api, server["id"], after, show, heard.set)
    reader.start()
    try:
        reader.connected.wait(LONGEST_CONNECT_SECONDS)
        for text in sys.stdin:
            if reader.failure is not None:
                break
            _send(api, server["id"], text)
        while reader.failure is None and heard.wait(SILENCE_SECONDS):
            heard.clear()
    finally:
        reader.stop()
    if reader.failure is not None:
        raise reader.failure


def _send(api: Api, server_id: str, text: str) -> None:
    command = text.rstrip("\r\n")
    if command.strip():
        # Not retried: an answer lost on the way may mean that the game has obeyed already.
        api.post(api_path("servers", server_id, "console"), {"command": command}, retry=False)


def _history_file(server_id: str) -> Path:
    """Commands may hold passwords: the file is its user's only."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    path = Path(base) / "overworld" / "console" / server_id
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return path
