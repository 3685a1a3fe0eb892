"""Ticks that wait a little, so that a device that runs for months writes one row for many."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sel_edge.core.ledger_records import Tick
from sel_edge.core.measurement import Energy


class Gathering:
    """Consecutive ticks in which nothing was decided, as one.

    Args:
        patience_s: how long the first of them waits; with 0 nothing ever waits.
        stopwatch: seconds that never run backwards.
    """

    def __init__(self, patience_s: float, stopwatch: Callable[[], float] = time.monotonic) -> None:
        self._patience_s, self._stopwatch = patience_s, stopwatch
        self._tick: Tick | None = None
        self._since_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether something waits that has waited long enough."""
        return self._tick is not None and self._stopwatch() - self._since_s >= self._patience_s

    def add(self, tick: Tick) -> bool:
        """Let a tick wait; whether it may, or has to be written now.

        Args:
            tick: the next one.
        """
        if self._tick is None:
            self._since_s = self._stopwatch()
        elif not follows(tick, self._tick):
            return False
        if self._patience_s == 0 or self.is_due:
            return False
        self._tick = tick if self._tick is None else merged(self._tick, tick)
        return True

    def take(self) -> list[Tick]:
        """What waits, which then waits no more: one tick, or none."""
        waiting, self._tick = self._tick, None
        return [] if waiting is None else [waiting]


def told_as_one(waiting: Sequence[Tick], tick: Tick) -> list[Tick]:
    """Ticks that waited, and the next one: as one where that can be."""
    if waiting and follows(tick, waiting[-1]):
        return [*waiting[:-1], merged(waiting[-1], tick)]
    return [*waiting, tick]


def follows(tick: Tick, before: Tick) -> bool:
    """Whether two ticks can be told as one: frames without a gap, of one segment and one meter."""
    is_next = tick.start == before.start + before.n
    return is_next and tick.segment == before.segment and tick.energy.origin == before.energy.origin


def merged(first: Tick, second: Tick) -> Tick:
    """Two ticks of which the second follows, as one."""
    scores = {
        name: (
            first.scores.get(name, (0, 0))[0] + second.scores.get(name, (0, 0))[0],
            first.scores.get(name, (0, 0))[1] + second.scores.get(name, (0, 0))[1],
        )
        for name in {**first.scores, **second.scores}
    }
    return replace(
        first,
        n=first.n + second.n,
        scores=scores,
        embarrassment={**first.embarrassment, **second.embarrassment},
        domains=_sum(first.domains, second.domains),
        novel=first.novel + second.novel,
        executed_flops=first.executed_flops + second.executed_flops,
        watching_flops=first.watching_flops + second.watching_flops,
        energy=Energy(first.energy.joules + second.energy.joules, first.energy.origin),
        seconds=first.seconds + second.seconds,
    )


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}
