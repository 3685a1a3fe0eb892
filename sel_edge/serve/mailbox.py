"""The mailbox between a source and the worker: bounded in frames and in bytes, and the newest
frames win."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.serve.snapshot import Answer

MAX_BYTES = 64 * 2**20
"""Of the pictures that wait, unless one alone is larger: two of a camera with 8 megapixels."""


@dataclass(frozen=True)
class Arrival:
    """A frame as it came.

    Attributes:
        picture: uint8 [H, W, C], C = 1 or 3, of any size; or a signal float32 [channels, length].
        utc_s: when, seconds since 1970.
        label: class name that came with it.
        truth: its true class, for scoring only.
        segment: which part of the source it is from.
        wanted: who waits for the answer.
    """

    picture: NDArray[np.uint8 | np.float32]
    utc_s: float
    label: str | None = None
    truth: str | None = None
    segment: str = "live"
    wanted: Future[Answer] | None = None


class Mailbox:
    """Holds the newest frames until they are taken, each of them once.

    Args:
        capacity: frames that wait at most, at least 1.
        max_bytes: of their pictures.
    """

    def __init__(self, capacity: int, max_bytes: int = MAX_BYTES) -> None:
        self._capacity, self._max_bytes = capacity, max_bytes
        self._changed = threading.Condition()
        self._waiting: deque[tuple[float, Arrival]] = deque()
        self._dropped = 0
        self._is_woken = self._is_closed = False

    @property
    def dropped(self) -> int:
        """Frames that were let go."""
        return self._dropped

    def put(self, arrival: Arrival) -> None:
        """Leave a frame; where there is no room the oldest ones go."""
        with self._changed:
            if self._is_closed:
                return
            while not self._fits(arrival):
                self._waiting.popleft()
                self._dropped += 1
            self._add(arrival)

    def offer(self, arrival: Arrival) -> bool:
        """Leave a frame if there is room; whether there was. One that finds none is dropped."""
        with self._changed:
            if self._is_closed:
                return False
            if not self._fits(arrival):
                self._dropped += 1
                return False
            self._add(arrival)
            return True

    def put_patiently(self, arrival: Arrival, timeout_s: float) -> bool:
        """Leave a frame once there is room; whether there was any before the time was over."""
        with self._changed:
            has_room = self._changed.wait_for(
                lambda: self._is_closed or self._fits(arrival), timeout_s
            )
            if not has_room or self._is_closed:
                return False
            self._add(arrival)
            return True

    def take(self, limit: int, patience_s: float, idle_s: float) -> list[Arrival]:
        """The oldest frames that wait, as soon as there are enough of them.

        Args:
            limit: at most so many.
            patience_s: the first one waits so long for others; not at all if somebody waits for an
                answer, or there is no room for another.
            idle_s: how long to wait for the first one; `wake` ends all waiting.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_woken, idle_s)
            if self._waiting:
                left_s = self._waiting[0][0] + patience_s - time.monotonic()
                self._changed.wait_for(lambda: self._is_ripe(limit), max(left_s, 0.0))
            self._is_woken = False
            count = min(limit, len(self._waiting))
            taken = [self._waiting.popleft()[1] for _ in range(count)]
            self._changed.notify_all()
        return taken

    def wake(self) -> None:
        """Have whoever takes look at other things."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def close(self) -> list[Arrival]:
        """Take no more; what still waits."""
        with self._changed:
            self._is_closed = True
            left = [arrival for _, arrival in self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
        return left

    def _add(self, arrival: Arrival) -> None:
        self._waiting.append((time.monotonic(), arrival))
        self._changed.notify_all()

    def _fits(self, arrival: Arrival) -> bool:
        held = sum(one.picture.nbytes for _, one in self._waiting)
        is_small = held + arrival.picture.nbytes <= self._max_bytes
        return not self._waiting or (len(self._waiting) < self._capacity and is_small)

    def _is_ripe(self, limit: int) -> bool:
        is_wanted = any(arrival.wanted is not None for _, arrival in self._waiting)
        # The next one is likely as large as the last.
        is_full = not self._waiting or not self._fits(self._waiting[-1][1])
        return self._is_woken or is_wanted or is_full or len(self._waiting) >= limit
