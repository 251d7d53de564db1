"""A game that plays one part, given as its first argument, so that a test can see what an engine makes of it.

    good           ready at once; saves and quits on SIGTERM or the command ``quit``
    needs-long     ready after the seconds in its second argument
    never-ready    runs, but never says that it is ready
    dies-at-once   prints why and ends with status 3
    ignores-stop   neither SIGTERM nor ``quit`` ends it
    floods         writes lines as fast as it can, ready among them, and saves as ``good`` does
    memory-hog     takes memory until it is killed
    logs-to-file   writes its console into ``game.log`` in its world; its standard output is noise
    ticks          appends the time and its host to ``ticks`` ten times a second, and is ``good``
    leaves-child   starts a child that ignores SIGTERM, then is ``good``

``{{ports.game}}`` as its last argument, if it is a number above 1023, is listened on by TCP. Its world is its working
folder: ``starts`` grows by a line with every start, ``saves`` with every save, ``two-at-once`` appears if another
process has the world. Commands: ``say TEXT`` (also appended to ``said``), ``crash STATUS``, ``write COUNT`` lines at
once, ``quit``.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time


def append(name: str, line: str) -> None:
    """Append a line to a file of the world."""
    with open(name, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def say(text: str) -> None:
    """A line of the console."""
    os.write(1, text.encode() + b"\n")  # print refuses to be interrupted by a print in a signal handler
    if part == "logs-to-file":
        append("game.log", text)


def save_and_quit(*_: object) -> None:
    """Write the world, prove it, end."""
    append("saves", str(os.getpid()))
    say("\nworld saved" if part == "floods" else "world saved")  # a line of the flood may be half written
    os._exit(0)


def obey(command: str) -> None:
    """One line of standard input."""
    word, _, rest = command.partition(" ")
    if word == "quit" and part != "ignores-stop":
        save_and_quit()
    elif word == "crash":
        os._exit(int(rest))
    elif word == "write":
        os.write(1, b"".join(b"line %d\n" % number for number in range(int(rest))))
    elif word == "say":
        append("said", rest)
        say(rest)


def flood() -> None:
    """Lines without end, the one that matters in the middle of them."""
    block = b"0123456789 abcdefghijklmnopqrstuvwxyz\n" * 1000
    for number in range(10**9):
        os.write(1, block)
        if number == 20:
            say("ready to play")


def tick() -> None:
    """Prove ten times a second that somebody writes this world, and who."""
    while True:
        append("ticks", f"{time.time()} {socket.gethostname()}")
        time.sleep(0.1)


def main() -> None:
    """Play the part."""
    alone = os.open("one", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        append("two-at-once", str(os.getpid()))
        sys.exit(4)
    os.set_inheritable(alone, False)
    append("starts", str(os.getpid()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN if part == "ignores-stop" else save_and_quit)
    port = int(sys.argv[-1]) if sys.argv[-1].isdigit() else 0
    if port > 1023:
        listener = socket.create_server(("0.0.0.0", port))
        keep.append(listener)
    if part == "dies-at-once":
        say("cannot open the map")
        sys.exit(3)
    if part == "needs-long":
        time.sleep(float(sys.argv[2]))
    if part == "leaves-child":
        code = "import signal; signal.signal(15, signal.SIG_IGN); print('child lives', flush=True); signal.pause()"
        keep.append(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL))
    if part == "ticks":
        threading.Thread(target=tick, daemon=True).start()
    if part == "floods":
        flood()
    if part != "never-ready":
        say("ready to play")
    if part == "memory-hog":
        while True:
            keep.append(b"x" * 2**20)
    for command in sys.stdin:
        obey(command.rstrip("\n"))
    while True:
        signal.pause()


part = sys.argv[1]
keep: list[object] = []
main()
