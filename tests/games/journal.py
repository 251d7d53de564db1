"""A game that tells on its host: it notices a second process on its world and a world that went back in time.

Started with its world as the working folder. Every start appends one line to ``journal`` and every clean end one to
``saves``, both synced. It writes ``two-at-once`` if another process has the world and ``damaged`` if the journal is not
1, 2, 3, ….
"""

import fcntl
import os
import signal
import sys


def append(name: str, line: str) -> None:
    """Append one line that survives a power cut."""
    with open(name, "a", encoding="ascii") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    """Play until told to stop by SIGTERM or the command ``quit``."""
    alone = os.open("one", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        append("two-at-once", str(os.getpid()))
        sys.exit(3)
    with open("journal", "a+", encoding="ascii") as file:
        file.seek(0)
        lines = file.read().split("\n")[:-1]
    if lines != [str(number) for number in range(1, len(lines) + 1)]:
        append("damaged", repr(lines))
    append("journal", str(len(lines) + 1))
    signal.signal(signal.SIGTERM, lambda *_: save_and_quit(len(lines) + 1))
    print(f"ready to play, start number {len(lines) + 1}", flush=True)
    for command in sys.stdin:
        if command.strip() == "quit":
            save_and_quit(len(lines) + 1)
        print(f"you said: {command.strip()}", flush=True)
    signal.pause()


def save_and_quit(number: int) -> None:
    """Write the world, prove it, end."""
    append("saves", str(number))
    os.write(1, b"world saved\n")  # print refuses to be interrupted by a print in a signal handler
    os._exit(0)


main()
