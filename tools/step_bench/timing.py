"""Times of several functions that take turns, so that a drifting machine hurts all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

WARM_UP = 2
SHORT_S = 0.05
"""A turn lasts at least this long: a short function runs several times in it."""
MAX_REPEATS = 200


@dataclass(frozen=True)
class Times:
    """Milliseconds of one function.

    Attributes:
        wall, cpu: of one call, per turn.
        repeats: calls per turn.
    """

    wall: list[float]
    cpu: list[float]
    repeats: int

    @property
    def wall_ms(self) -> float:
        """The median turn's time by the clock on the wall."""
        return statistics.median(self.wall)

    @property
    def cpu_ms(self) -> float:
        """The median turn's time on the processor, which other processes disturb less."""
        return statistics.median(self.cpu)

    def row(self, name: str) -> dict[str, float]:
        """Medians of wall and CPU time and the interquartile range of the former."""
        low, median, high = statistics.quantiles(self.wall, n=4)
        return {f"{name}_ms": median, f"{name}_cpu_ms": self.cpu_ms, f"{name}_iqr_ms": high - low}


def interleave(timed: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Time functions in turn, in another order every round, always the same orders.

    Args:
        timed: name -> function.
        rounds: turns of each, at least 2.
    """
    times = {name: Times([], [], _repeats(function)) for name, function in timed.items()}
    rng, names = np.random.default_rng(0), list(timed)
    for _ in range(rounds):
        for index in rng.permutation(len(names)):
            found = times[names[index]]
            wall, cpu = _turn(timed[names[index]], found.repeats)
            found.wall.append(wall)
            found.cpu.append(cpu)
    return times


def _repeats(function: Callable[[], object]) -> int:
    """Warm up, and find out how often it fits a turn."""
    for _ in range(WARM_UP):
        start = time.perf_counter()
        function()
        took = time.perf_counter() - start
    return min(MAX_REPEATS, max(1, round(SHORT_S / took)))


def _turn(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Wall and CPU milliseconds per call."""
    if repeats > 1:
        function()  # brings into the caches what the functions before it have driven out
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        function()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return 1e3 * wall / repeats, 1e3 * cpu / repeats
