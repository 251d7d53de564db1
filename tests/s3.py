"""A real S3 server on loopback for the tests of saves: rclone's, which checks signatures, over a folder.

It can be stopped and come back on the same port, so that a test can take the store away in the middle of something.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

from overworld.saves.locations import StoreLocation, parse_location
from waiting import wait_until

RCLONE = Path(sys.executable).parent / "rclone"
KEY_ID, SECRET = "TESTKEY", "testsecret"
BUCKET = "saves"


class S3:
    """One bucket below ``folder``. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> S3:
        self.bucket.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bucket(self) -> Path:
        """Where its bucket's objects are, as files."""
        return self.folder / BUCKET

    def location(self, *, secret: str = SECRET, bucket: str = BUCKET) -> StoreLocation:
        """The way to it."""
        return parse_location(self._url(bucket), key_id=KEY_ID, secret=secret)

    def settings(self) -> dict[str, str]:
        """The same as settings of an Overworld that saves there."""
        return {"save_store": self._url(BUCKET), "save_store_key_id": KEY_ID, "save_store_key": SECRET}

    def _url(self, bucket: str) -> str:
        return f"s3:http://127.0.0.1:{self.port}/{bucket}/worlds"

    def start(self, *, secret: str = SECRET) -> None:
        """It answers whoever knows that secret."""
        log = self.folder.with_suffix(".log").open("ab")
        self._process = subprocess.Popen(
            [
                RCLONE, "serve", "s3", "--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{KEY_ID},{secret}",
                "--config", "/dev/null", str(self.folder),
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        wait_until(self._answers, 20, "the S3 server listens")

    def stop(self) -> None:
        """It is gone, as if its machine had lost power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
