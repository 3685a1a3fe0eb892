"""What work will take on this machine: its rates, corrected by what earlier work really took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sel_edge.bundle.rungs import GraphCost
from sel_edge.core.cost import Cost
from sel_edge.core.ledger import Update
from sel_edge.runtime.board import Rates

WEIGHT = 0.5
"""Of the newest measurement against all before it, as a power of the ratio."""
MARGIN = 2.0
"""The worst case is taken to be so many times what is expected."""
_MOST = 1e3
"""Corrections beyond this, up or down, are mistakes of a clock or a meter."""


@dataclass
class _Correction:
    """Ratios of what was measured to what the rates alone say."""

    seconds: float = 1.0
    joules: float = 1.0


class Predictor:
    """Predicts the cost of updates.

    Corrections are kept per rung, because each has its own mix of work. They follow from the
    ledger alone, so that a restart knows what its predecessor had learned.

    Args:
        rates: of the machine.
        past: earlier updates on it, oldest first.
    """

    def __init__(self, rates: Rates, past: Iterable[Update] = ()) -> None:
        self._rates = rates
        self._corrections: dict[str, _Correction] = {}
        for update in past:
            self.learn(update)

    def expect(self, rung: str, demand: GraphCost, flash_writes: int = 0) -> Cost:
        """What a demand is expected to take.

        Args:
            rung: whose correction counts.
            demand: operations and bytes.
            flash_writes: beside them.
        """
        correction = self._corrections.get(rung, _Correction())
        flops, moved = demand.executed_flops, demand.moved_bytes
        rates = self._rates
        joules = rates.j_per_flop * flops + rates.j_per_byte * moved
        return Cost(
            flops=flops,
            energy_j=joules * correction.joules,
            seconds=(flops / rates.flops_per_s + moved / rates.bytes_per_s) * correction.seconds,
            peak_bytes=demand.peak_bytes,
            flash_writes=flash_writes,
        )

    def learn(self, update: Update) -> None:
        """Correct the predictions for a rung by what an update of it took."""
        correction = self._corrections.setdefault(update.rung, _Correction())
        correction.seconds = _corrected(
            correction.seconds, update.predicted_seconds, update.seconds
        )
        correction.joules = _corrected(
            correction.joules, update.predicted_energy_j, update.energy.joules
        )


def worst(cost: Cost) -> Cost:
    """What to reserve for an expected cost, in which operations and writes are at their most."""
    return Cost(
        cost.flops,
        cost.energy_j * MARGIN,
        cost.seconds * MARGIN,
        cost.peak_bytes,
        cost.flash_writes,
    )


def _corrected(factor: float, predicted: float, measured: float) -> float:
    if predicted <= 0 or measured <= 0:
        return factor
    ratio: float = (measured / predicted) ** WEIGHT
    return min(max(factor * ratio, 1 / _MOST), _MOST)
