"""The machine under the runtime, as far as the runtime looks at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.measurement import Meter


@dataclass(frozen=True)
class Rates:
    """What a machine is expected to take for operations and for bytes.

    Attributes:
        flops_per_s: float32 operations per second; a multiply-add is two.
        bytes_per_s: memory traffic, read and written.
        j_per_flop, j_per_byte: joules of one of them, above idle.
    """

    flops_per_s: float
    bytes_per_s: float
    j_per_flop: float
    j_per_byte: float


@dataclass(frozen=True)
class Heat:
    """How warm it is.

    Attributes:
        celsius: None where it cannot be read.
        throttled: whether the firmware slows the processor down.
    """

    celsius: float | None = None
    throttled: bool = False


def _unwatched(demand: GraphCost) -> None:
    """A machine that works by itself need not be told."""


def _always() -> bool:
    """Nobody wants this machine to end its work."""
    return True


@dataclass(frozen=True)
class Board:
    """A machine.

    Attributes:
        meter: its joules.
        rates: what it is expected to take.
        heat: how warm it is now.
        clock: seconds since 1970.
        stopwatch: seconds that never run backwards.
        worked: told of what was executed, before it is measured: a machine that is only simulated
            takes its time and its joules then. The bytes of answers are not known and 0.
        may_go_on: asked before each step of learning; False stops the update and undoes it.
    """

    meter: Meter
    rates: Rates
    heat: Callable[[], Heat] = Heat
    clock: Callable[[], float] = time.time
    stopwatch: Callable[[], float] = time.perf_counter
    worked: Callable[[GraphCost], None] = _unwatched
    may_go_on: Callable[[], bool] = _always


class Lap:
    """Joules and seconds since it was last read."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._j, self._s = board.meter.read_j(), board.stopwatch()

    def read(self) -> tuple[float, float]:
        """Joules and seconds since the last reading, or since it was made."""
        last_j, last_s = self._j, self._s
        self._j, self._s = self._board.meter.read_j(), self._board.stopwatch()
        return self._j - last_j, self._s - last_s
