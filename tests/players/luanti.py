"""A Luanti player for tests: speaks enough of protocol 5.6 to register, join, chat and leave; it sees nothing.

Packets: https://github.com/luanti-org/luanti/blob/5.6.1/src/network/networkprotocol.h. A new name is registered by
FIRST_SRP, where the server believes any salt and verifier; so a player can join once under each name.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

PROTOCOL = bytes.fromhex("4f457403")
CONTROL, ORIGINAL, SPLIT, RELIABLE = range(4)
ACK, SET_PEER_ID, _PING, DISCO = range(4)
FIRST_SEQUENCE_NUMBER = 65500

TOCLIENT_HELLO = 0x02
TOCLIENT_AUTH_ACCEPT = 0x03
TOCLIENT_ACCESS_DENIED = 0x0A
TOCLIENT_MEDIA_ANNOUNCE = 0x3C
SET_PEER_ID_SEEN = -1  # not a command: no number of one is negative
TOSERVER_INIT = 0x02
TOSERVER_INIT2 = 0x11
TOSERVER_PLAYERPOS = 0x23
TOSERVER_CHAT_MESSAGE = 0x32
TOSERVER_CLIENT_READY = 0x43
TOSERVER_FIRST_SRP = 0x50


class LuantiBot:
    """One player; a context manager whose end leaves the server if the test did not."""

    def __init__(self, name: str, *, host: str = "127.0.0.1", port: int) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((host, port))
        self._socket.settimeout(0.1)
        self._peer_id = 0
        self._sequence_numbers = dict.fromkeys(range(3), FIRST_SEQUENCE_NUMBER)
        self._unacknowledged: dict[tuple[int, int], bytes] = {}
        self._seen: set[int] = set()
        self._handled: set[tuple[int, int]] = set()
        self._denied = b""
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leave()
        self._thread.join()
        self._socket.close()

    def join(self, *, deadline_seconds: float = 20) -> None:
        """Register and join; returns when the server has been told that the player is there."""
        give_up_at = time.monotonic() + deadline_seconds
        self._send(0, b"", kind=ORIGINAL)
        self._wait(SET_PEER_ID_SEEN, give_up_at)
        name = self.name.encode()
        init = struct.pack(">HBHHH", TOSERVER_INIT, 28, 0, 37, 41) + _text(name)
        while TOCLIENT_HELLO not in self._seen:  # INIT is sent unreliably, again and again, as the client does
            self._send(1, init, is_reliable=False)
            self._wait(TOCLIENT_HELLO, min(give_up_at, time.monotonic() + 0.5), or_fail=time.monotonic() > give_up_at)
        self._send(1, struct.pack(">H", TOSERVER_FIRST_SRP) + _text(os.urandom(16)) + _text(os.urandom(256)) + b"\0")
        self._wait(TOCLIENT_AUTH_ACCEPT, give_up_at)
        self._send(1, struct.pack(">H", TOSERVER_INIT2) + _text(b""))
        self._wait(TOCLIENT_MEDIA_ANNOUNCE, give_up_at)
        version = _text(b"5.6.1-test")
        self._send(1, struct.pack(">HBBBB", TOSERVER_CLIENT_READY, 5, 6, 1, 0) + version + struct.pack(">H", 4))

    def say(self, text: str) -> None:
        """Say something in the chat."""
        encoded = text.encode("utf-16-be")
        self._send(0, struct.pack(">HH", TOSERVER_CHAT_MESSAGE, len(encoded) // 2) + encoded)

    def look_around(self) -> None:
        """Want to see 64 nodes far, so that the server makes the land around the player. Said with a place, which the
        server corrects."""
        place, speed, pitch, yaw, keys, view, range_in_blocks = (0, 10_000, 0), (0, 0, 0), 0, 0, 0, 80, 4
        words = struct.pack(">H8iIBB", TOSERVER_PLAYERPOS, *place, *speed, pitch, yaw, keys, view, range_in_blocks)
        self._send(0, words, is_reliable=False)

    def leave(self) -> None:
        """Leave as a person does, by the menu."""
        if not self._is_over.is_set():
            self._send(0, bytes([DISCO]), kind=CONTROL, is_reliable=False)
            self._is_over.set()

    def _send(self, channel: int, body: bytes, *, kind: int = ORIGINAL, is_reliable: bool = True) -> None:
        with self._lock:
            packet = bytes([kind]) + body
            if is_reliable:
                number = self._sequence_numbers[channel]
                self._sequence_numbers[channel] = (number + 1) % 65536
                packet = struct.pack(">BH", RELIABLE, number) + packet
                self._unacknowledged[channel, number] = packet
            self._transmit(channel, packet)

    def _transmit(self, channel: int, packet: bytes) -> None:
        self._socket.send(PROTOCOL + struct.pack(">HB", self._peer_id, channel) + packet)

    def _wait(self, command: int, give_up_at: float, *, or_fail: bool = True) -> None:
        with self._arrived:
            came = self._arrived.wait_for(
                lambda: command in self._seen or self._denied, max(0.0, give_up_at - time.monotonic())
            )
        assert not self._denied, f"{self.name} was refused: {self._denied!r}"
        assert came or not or_fail, f"{self.name} got no packet 0x{command:02x} in time"

    def _listen(self) -> None:
        while not self._is_over.is_set():
            try:
                datagram = self._socket.recv(4096)
            except TimeoutError:
                with self._lock:
                    for (channel, _), packet in self._unacknowledged.items():
                        self._transmit(channel, packet)
                continue
            except OSError:
                return
            if datagram.startswith(PROTOCOL):
                self._take(datagram[6], datagram[7:])

    def _take(self, channel: int, packet: bytes) -> None:
        kind = packet[0]
        if kind == RELIABLE:
            (number,) = struct.unpack(">H", packet[1:3])
            with self._lock:
                self._transmit(channel, struct.pack(">BBH", CONTROL, ACK, number))
            if (channel, number) not in self._handled:
                self._handled.add((channel, number))
                self._take(channel, packet[3:])
        elif kind == CONTROL and packet[1] == ACK:
            with self._lock:
                self._unacknowledged.pop((channel, *struct.unpack(">H", packet[2:4])), None)
        elif kind == CONTROL and packet[1] == SET_PEER_ID:
            with self._lock:
                (self._peer_id,) = struct.unpack(">H", packet[2:4])
            self._note(SET_PEER_ID_SEEN)
        elif kind == ORIGINAL and len(packet) >= 3:
            (command,) = struct.unpack(">H", packet[1:3])
            if command == TOCLIENT_ACCESS_DENIED:
                self._denied = packet[3:]
            self._note(command)
        elif kind == SPLIT and packet[5:7] == b"\0\0":  # the first chunk holds the command
            (command,) = struct.unpack(">H", packet[7:9])
            self._note(command)

    def _note(self, command: int) -> None:
        with self._arrived:
            self._seen.add(command)
            self._arrived.notify_all()


def _text(content: bytes) -> bytes:
    return struct.pack(">H", len(content)) + content
