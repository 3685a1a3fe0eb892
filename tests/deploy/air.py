"""What lies between a workstation and a Pi: a TCP port here, and a line that can be cut."""

from __future__ import annotations

import select
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

PIECE = 65536
How = Literal["close", "silence"]


class Air:
    """Takes connections on a free port of loopback and has a program answer each.

    Args:
        answerer: the command that gets the connection as its input and output; None: refuse.

    Attributes:
        port: where it listens.
        carried: bytes of all connections, both ways, since it was last set.
    """

    def __init__(self, answerer: Callable[[], list[str] | None]) -> None:
        self.carried = 0
        self._answerer = answerer
        self._lock = threading.Lock()
        self._cut_at: int | None = None
        self._how: How = "close"
        self._lines: list[_Line] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut_after(self, n_bytes: int | None, how: How = "close") -> None:
        """Cut every line once this many more bytes were carried, exactly there; None: never.

        `silence` carries nothing any more and closes nothing, as a cable that was pulled. What was
        cut once stays so; lines that are opened after a call of this obey it alone.
        """
        with self._lock:
            if self.is_cut:
                for line in self._lines:
                    line.is_dead = True
            self.carried = 0
            self._cut_at, self._how = n_bytes, how

    def cut(self) -> None:
        """Close all lines now."""
        for line in self._lines:
            line.close()

    def close(self) -> None:
        """Listen no more; all lines are closed and what answered them has ended."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for line in self._lines:
            line.end()

    def grant(self, wanted: int) -> tuple[int, How]:
        """How many of these bytes may still pass, and what becomes of a line that wanted more."""
        with self._lock:
            left = wanted if self._cut_at is None else self._cut_at - self.carried
            granted = max(0, min(wanted, left))
            self.carried += granted
            return granted, self._how

    @property
    def is_cut(self) -> bool:
        return self._cut_at is not None and self.carried >= self._cut_at

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            command = self._answerer()
            if command is None or (self.is_cut and self._how == "close"):
                near.close()
                continue
            self._lines = [line for line in self._lines if line.is_open] + [
                _Line(self, near, command)
            ]


class _Line:
    """One connection: a thread carries both ways."""

    def __init__(self, air: Air, near: socket.socket, command: list[str]) -> None:
        self._air, self._near = air, near
        self._far, inner = socket.socketpair()
        self._process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner)
        inner.close()
        self._ended = threading.Event()
        self.is_open, self.is_dead = True, False
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        for end in (self._near, self._far):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.close()
        self._thread.join(10)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
            return
        self._process.kill()
        self._process.wait()

    def _carry(self) -> None:
        other = {self._near: self._far, self._far: self._near}
        try:
            while True:
                ready, _, _ = select.select([self._near, self._far], [], [])
                for end in ready:
                    piece = end.recv(PIECE)
                    granted, how = self._air.grant(0 if self.is_dead else len(piece))
                    other[end].sendall(piece[:granted])
                    if granted < len(piece) and how == "silence":
                        # Neither end learns of it, however long it takes.
                        self._ended.wait()
                    if granted < len(piece) or not piece:
                        return
        except OSError:
            return
        finally:
            self.close()
            self._near.close()
            self._far.close()
            self._process.wait()
            self.is_open = False
