"""What each kind of work on a stream took, joules of different origins apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sel_edge.core.ledger import Tick, Update
from sel_edge.core.measurement import Energy


@dataclass(frozen=True)
class Cost:
    """What one kind of work took.

    Attributes:
        executed_flops: operations, counted.
        seconds: wall time.
        joules: per origin, which never add up to one number.
    """

    executed_flops: int
    seconds: float
    joules: Mapping[str, float]


def of_inference(ticks: Iterable[Tick]) -> Cost:
    """The inference's share, by FLOPs, of ticks that were metered as a whole."""
    return _sum((t.executed_flops, t.inference_share, t.seconds, t.energy) for t in ticks)


def of_watching(ticks: Iterable[Tick]) -> Cost:
    """The rest of those ticks."""
    return _sum((t.watching_flops, 1 - t.inference_share, t.seconds, t.energy) for t in ticks)


def of_updates(updates: Iterable[Update]) -> Cost:
    """Training and judging, whatever came of it."""
    return _sum((u.executed_flops, 1.0, u.seconds, u.energy) for u in updates)


def _sum(rows: Iterable[tuple[int, float, float, Energy]]) -> Cost:
    """FLOPs, and these shares of seconds and joules, added up."""
    flops, total_s = 0, 0.0
    joules: defaultdict[str, float] = defaultdict(float)
    for row_flops, share, seconds, energy in rows:
        flops += row_flops
        total_s += share * seconds
        joules[energy.origin] += share * energy.joules
    return Cost(flops, total_s, dict(joules))
