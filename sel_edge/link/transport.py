"""The line itself: a serial port or pty, a TCP socket, or memory. Alone imports pyserial.

A line may break and come back, because the board at its other end restarts. That looks like a line
on which nothing arrives; what was wrong last is told in `trouble`.
"""

from __future__ import annotations

import os
import queue
import select
import socket
import time
from typing import Protocol
from urllib.parse import urlsplit

import serial

from sel_edge.core.errors import LinkError

BAUD = 115_200
_CONNECT_TIMEOUT_S = 5.0
_REOPEN_PAUSE_S = 0.05
_PIECE_BYTES = 4096
_SOCKET = "socket://"


class Transport(Protocol):
    """A line that carries bytes both ways.

    Attributes:
        name: of the port, for people.
        trouble: why nothing can arrive just now; "" if that is not known.
    """

    name: str
    trouble: str

    def read(self, timeout_s: float) -> bytes:
        """What has arrived; waits so long for the first byte, and returns b"" if there is none."""
        ...

    def write(self, data: bytes, timeout_s: float) -> None:
        """Send bytes; gives up what the line does not take within this time."""
        ...

    def close(self) -> None:
        """Give the line back."""
        ...


class _End(Protocol):
    """One end of a line that the operating system knows."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class LineTransport:
    """A serial port, the path of a pty, or `socket://HOST:PORT`.

    Args:
        name: of the port.
        baud: bits per second of a serial port.

    Raises:
        LinkError: it cannot be opened.
    """

    def __init__(self, name: str, baud: int = BAUD) -> None:
        self.name, self.trouble = name, ""
        self._baud = baud
        self._end: _End | None = None
        self._reopen(_CONNECT_TIMEOUT_S)
        if self._end is None:
            raise LinkError(
                f"The port {name} cannot be opened: {self.trouble}.",
                "A serial port, the path of a pty, or socket://HOST:PORT is expected.",
                "Check that the board is plugged in and that no other program uses the port.",
            )

    def read(self, timeout_s: float) -> bytes:
        """See `Transport.read`."""
        if self._end is None:
            time.sleep(min(max(timeout_s, 0.0), _REOPEN_PAUSE_S))
            self._reopen(max(timeout_s, _REOPEN_PAUSE_S))
            return b""
        try:
            if not select.select([self._end], [], [], max(timeout_s, 0.0))[0]:
                return b""
            data = os.read(self._end.fileno(), _PIECE_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            self._lose(error.strerror or str(error))
            return b""
        if not data:
            self._lose("the other side has closed it")
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        """See `Transport.write`."""
        until, left = time.monotonic() + timeout_s, memoryview(data)
        while left and self._end is not None:
            try:
                wait_s = max(until - time.monotonic(), 0.0)
                if not select.select([], [self._end], [], wait_s)[1]:
                    self.trouble = "it takes no more bytes"
                    return
                left = left[os.write(self._end.fileno(), left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                self._lose(error.strerror or str(error))

    def close(self) -> None:
        """Give the line back."""
        if self._end is not None:
            self._end.close()
            self._end = None

    def fileno(self) -> int:
        """What `select` can wait for; -1 while the line is broken."""
        return -1 if self._end is None else self._end.fileno()

    def _reopen(self, timeout_s: float) -> None:
        try:
            self._end = _open(self.name, self._baud, timeout_s)
            self.trouble = ""
        # pyserial raises ValueError for settings that a port cannot have.
        except (OSError, ValueError) as error:
            self.trouble = str(error)

    def _lose(self, reason: str) -> None:
        self.close()
        self.trouble = reason


def _open(name: str, baud: int, timeout_s: float) -> _End:
    if name.startswith(_SOCKET):
        parts = urlsplit(name)
        line = socket.create_connection((parts.hostname, parts.port), timeout_s)
        # Short requests are not to wait for the acknowledgement of those before them.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setblocking(False)
        return line
    port: _End = serial.Serial(name, baud, timeout=0, exclusive=True)
    return port


class LoopbackTransport:
    """One end of a line in memory.

    Args:
        arriving: what the other end has sent.
        leaving: what this end sends.
    """

    def __init__(
        self, arriving: queue.SimpleQueue[bytes], leaving: queue.SimpleQueue[bytes]
    ) -> None:
        self.name, self.trouble = "memory", ""
        self._arriving, self._leaving = arriving, leaving

    def read(self, timeout_s: float) -> bytes:
        """See `Transport.read`."""
        try:
            return self._arriving.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            return b""

    def write(self, data: bytes, timeout_s: float) -> None:
        """See `Transport.write`."""
        self._leaving.put(data)

    def close(self) -> None:
        """Nothing is to be given back."""


def loopback() -> tuple[LoopbackTransport, LoopbackTransport]:
    """Both ends of a line in memory."""
    there, back = queue.SimpleQueue[bytes](), queue.SimpleQueue[bytes]()
    return LoopbackTransport(back, there), LoopbackTransport(there, back)
