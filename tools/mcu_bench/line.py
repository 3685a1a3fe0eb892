"""A serial line in front of another endpoint: as slow as a real one, and as bad as is asked for.

The host opens the pty `Line.port`; what it writes goes to the far endpoint, at ten bits a byte, and
what that one writes comes back as slowly. Both directions carry at the same time.
"""

from __future__ import annotations

import os
import pty
import select
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Self

from sel_edge.link.transport import LineTransport

BITS_PER_BYTE = 10
_PIECE_S = 0.005
_READ_BYTES = 4096
_IDLE_S = 0.05
_WRITE_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Faults:
    """How often a byte is carried wrongly; all are probabilities per byte.

    Attributes:
        drop: it is lost.
        duplicate: it comes twice.
        reorder: the one after it comes first.
        corrupt: one of its bits flips.
        stall: nothing is carried for `stall_s` seconds before it.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    stall: float = 0.0
    stall_s: float = 0.2

    @classmethod
    def of_all_kinds(cls, rate: float) -> Self:
        """A fifth of the rate for each kind."""
        return cls(*[rate / 5] * 5)


class Line:
    """A line between a pty and another endpoint; works while it is entered.

    Args:
        far: path of a serial port or pty, or socket://HOST:PORT; may go away and come back.
        baud: bits per second.
        faults: of both directions.
        seed: the same faults come with the same seed and bytes.

    Attributes:
        port: path of the pty.
        carried: bytes that entered the line towards the far endpoint, and from it.
    """

    def __init__(self, far: str, baud: int, faults: Faults = Faults(), seed: int = 0) -> None:
        self._far = LineTransport(far, baud)
        self._near, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._near, False)
        self.port = os.ttyname(self._slave)
        rng = Random(seed)  # noqa: S311
        self._out = _Way(baud, faults, rng, self._read_near, self._write_far)
        self._back = _Way(baud, faults, rng, self._read_far, self._write_near)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes that entered the line so far, both ways."""
        return self._out.carried, self._back.carried

    def __enter__(self) -> Self:
        """Begin to carry."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and give the pty and the far endpoint back."""
        self._is_over.set()
        self._thread.join()
        self._far.close()
        for descriptor in (self._near, self._slave):
            os.close(descriptor)

    def _carry(self) -> None:
        while not self._is_over.is_set():
            now_s = time.monotonic()
            due_s = min(self._out.turn(now_s), self._back.turn(now_s))
            awaited = [self._near] if self._out.is_empty else []
            if self._back.is_empty and self._far.fileno() >= 0:
                awaited.append(self._far.fileno())
            wait_s = min(max(due_s - time.monotonic(), 0.0), _IDLE_S)
            select.select(awaited, [], [], wait_s)

    def _read_near(self) -> bytes:
        try:
            return os.read(self._near, _READ_BYTES)
        except BlockingIOError:
            return b""

    def _write_near(self, data: bytes) -> None:
        try:
            os.write(self._near, data)
        except BlockingIOError:
            return  # as a port does whose program does not read

    def _read_far(self) -> bytes:
        return self._far.read(0.0)

    def _write_far(self, data: bytes) -> None:
        self._far.write(data, _WRITE_TIMEOUT_S)


class _Way:
    """One direction of a line."""

    def __init__(
        self,
        baud: int,
        faults: Faults,
        rng: Random,
        read: Callable[[], bytes],
        write: Callable[[bytes], None],
    ) -> None:
        self._byte_s = BITS_PER_BYTE / baud
        self._piece = max(1, int(_PIECE_S / self._byte_s))
        self._faults, self._rng = faults, rng
        self._read, self._write = read, write
        self._backlog, self._held, self._due_s = b"", b"", 0.0
        self._was_busy = False
        self.carried = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on its way."""
        return not self._held

    def turn(self, now_s: float) -> float:
        """Deliver what has arrived by now and take up what is next; returns when to turn again."""
        if self._held and now_s < self._due_s:
            return self._due_s
        if self._held:
            self._write(self._held)
            self._held, self._was_busy = b"", True
        if not self._backlog:
            self._backlog = self._read()
        if not self._backlog:
            self._was_busy = False
            return now_s + _IDLE_S
        piece, self._backlog = self._backlog[: self._piece], self._backlog[self._piece :]
        self.carried += len(piece)
        # What was there when the last piece was through has not waited for this turn.
        start_s = self._due_s if self._was_busy else now_s
        self._held, stalled_s = self._spoil(piece)
        self._due_s = start_s + len(piece) * self._byte_s + stalled_s
        return self._due_s

    def _spoil(self, piece: bytes) -> tuple[bytes, float]:
        """The piece as it arrives, and for how many seconds the line stalls."""
        faults, draw = self._faults, self._rng.random
        if faults == Faults():
            return piece, 0.0
        arrived, stalled_s = bytearray(), 0.0
        for byte in piece:
            if draw() < faults.stall:
                stalled_s += faults.stall_s
            if draw() < faults.drop:
                continue
            spoiled = byte ^ 1 << self._rng.randrange(8) if draw() < faults.corrupt else byte
            at = max(0, len(arrived) - 1) if draw() < faults.reorder else len(arrived)
            arrived.insert(at, spoiled)
            if draw() < faults.duplicate:
                arrived.append(spoiled)
        return bytes(arrived), stalled_s
