"""A real S3 server on loopback for the tests of saves: rclone's, which checks signatures, over a folder.

It can be stopped and come back on the same port, so that a test can take the store away in the middle of something.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import trustme

from overworld.saves.locations import StoreLocation, parse_location
from waiting import wait_until

RCLONE = Path(sys.executable).parent / "rclone"
KEY_ID, SECRET = "TESTKEY", "testsecret"
BUCKET = "saves"


class S3:
    """One bucket below ``folder``. Use as a context manager. On another ``host`` than loopback it speaks TLS, with a
    certificate of an authority of its own, ``ca_file``."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.host = host
        self.port = _free_port(host)
        self.ca_file: Path | None = None
        self._tls: list[str | Path] = []
        if host != "127.0.0.1":
            authority = trustme.CA()
            self.ca_file, chain = folder.with_suffix(".ca.pem"), folder.with_suffix(".pem")
            authority.cert_pem.write_to_path(self.ca_file)
            authority.issue_cert(host).private_key_and_cert_chain_pem.write_to_path(chain)
            self._tls = ["--cert", chain, "--key", chain]
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
        return parse_location(self._url(bucket), key_id=KEY_ID, secret=secret, ca_file=self.ca_file)

    def settings(self) -> dict[str, str]:
        """The same as settings of an Overworld that saves there."""
        return {"save_store": self._url(BUCKET), "save_store_key_id": KEY_ID, "save_store_key": SECRET}

    def _url(self, bucket: str) -> str:
        scheme = "https" if self.ca_file else "http"
        return f"s3:{scheme}://{self.host}:{self.port}/{bucket}/worlds"

    def start(self, *, secret: str = SECRET) -> None:
        """It answers whoever knows that secret."""
        log = self.folder.with_suffix(".log").open("ab")
        self._process = subprocess.Popen(
            [
                RCLONE, "serve", "s3", "--addr", f"{self.host}:{self.port}", "--auth-key", f"{KEY_ID},{secret}",
                *self._tls, "--config", "/dev/null", str(self.folder),
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
            return connection.connect_ex((self.host, self.port)) == 0


def _free_port(host: str) -> int:
    with socket.socket() as listener:
        listener.bind((host, 0))
        return int(listener.getsockname()[1])
