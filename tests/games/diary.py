"""A game that writes all the time, in a way that shows whether a save caught it in the midst: every page of its world
holds one number, and all pages the same one but for the moment in which it turns them.

Ready at once; saves and quits on SIGTERM. Commands: ``save-off`` (it turns no page from now on), ``save-all`` (says
``Saved the game``), ``save-on``. While it does not write there is a file ``saving-is-off`` in its world. Between two
pages it waits, so that a save that does not wait for it is torn.
"""

import os
import select
import signal
import socket
import sys
import time

PAGES = 8


def say(text: str) -> None:
    """A line of the console."""
    os.write(1, text.encode() + b"\n")


def turn(number: int) -> None:
    """Every page gets the number, one after another."""
    for page in range(PAGES):
        with open(f"page-{page}", "w", encoding="ascii") as file:
            file.write(str(number) * 100)
        time.sleep(0.001)


def number_now() -> int:
    """The number of the first page, 0 for a new world."""
    try:
        with open("page-0", encoding="ascii") as file:
            text = file.read()
        return int(text[: len(text) // 100])
    except (OSError, ValueError):
        return 0


def quit_saved(*_: object) -> None:
    """Finish the page, prove it, end."""
    global ends  # noqa: PLW0603
    ends = True


ends = False
signal.signal(signal.SIGTERM, quit_saved)
if sys.argv[-1].isdigit() and int(sys.argv[-1]) > 1023:
    listener = socket.create_server(("0.0.0.0", int(sys.argv[-1])))
if os.path.exists("saving-is-off"):
    os.unlink("saving-is-off")
number, is_off, buffer = number_now(), False, b""
say("ready to play")
while not ends:
    readable, _, _ = select.select([0], [], [], 0.01)
    if readable:
        data = os.read(0, 4096)
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            if line == b"save-off":
                is_off = True
                open("saving-is-off", "w", encoding="ascii").close()
            elif line == b"save-all":
                say("Saved the game")
            elif line == b"save-on":
                is_off = False
                if os.path.exists("saving-is-off"):
                    os.unlink("saving-is-off")
            elif line == b"deaf":
                say("It hears nothing any more")
                while not ends:
                    number += 1
                    turn(number)
        if not data:
            signal.pause()
    if not is_off:
        number += 1
        turn(number)
say("world saved")
