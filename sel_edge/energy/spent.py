"""What a ledger says was spent, and on what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sel_edge.core.ledger import Ledger, Tick, Update
from sel_edge.core.measurement import Origin

INFERENCE, WATCHING = "inference", "watching"
DIVIDED = "Inference and watching are metered together, and divided by their share of the FLOPs."
"""What a reader must know about sums for which `Spent.is_divided`."""


@dataclass(frozen=True)
class Spent:
    """The sum of one kind of work, of one origin.

    Attributes:
        kind: "inference", "watching", or of updates as `adapting` words it.
        origin: of the joules; measured and estimated ones are never added up.
        count: ticks or updates.
        joules: their sum.
        seconds: their wall time.
        executed_flops: their operations.
        is_divided: whether joules and seconds are a share, by FLOPs, of ticks that were metered as
            a whole.
    """

    kind: str
    origin: Origin
    count: int
    joules: float
    seconds: float
    executed_flops: int
    is_divided: bool

    def plus(self, other: Spent) -> Spent:
        """Both together, of the same kind and origin."""
        return Spent(
            self.kind,
            self.origin,
            self.count + other.count,
            self.joules + other.joules,
            self.seconds + other.seconds,
            self.executed_flops + other.executed_flops,
            self.is_divided or other.is_divided,
        )


def spent(ledger: Ledger) -> list[Spent]:
    """Sums by kind and origin.

    Inference comes first, then watching, then adapting by rung, in the order in which the ledger
    first has each; of a kind, what was measured comes before what was estimated.
    """
    sums: dict[tuple[str, Origin], Spent] = {}
    for entry in _entries(ledger):
        key = (entry.kind, entry.origin)
        sums[key] = sums[key].plus(entry) if key in sums else entry
    order = [INFERENCE, WATCHING, *(kind for kind, _ in sums)]
    return sorted(
        sums.values(), key=lambda sum_: (order.index(sum_.kind), sum_.origin != "measured")
    )


def adapting(rung: str, kept: bool) -> str:
    """The kind of an update: "adapting head, kept", "adapting norm, not kept"."""
    return f"adapting {rung}, {'kept' if kept else 'not kept'}"


def _entries(ledger: Ledger) -> Iterator[Spent]:
    for tick in ledger.ticks:
        share, is_divided = tick.inference_share, tick.watching_flops > 0
        yield _part(INFERENCE, tick, share, tick.executed_flops, is_divided)
        if is_divided:
            yield _part(WATCHING, tick, 1 - share, tick.watching_flops, is_divided)
    for update in ledger.updates:
        kind = adapting(update.rung, update.kept)
        yield _part(kind, update, 1.0, update.executed_flops, is_divided=False)


def _part(kind: str, row: Tick | Update, share: float, flops: int, is_divided: bool) -> Spent:
    joules, seconds = share * row.energy.joules, share * row.seconds
    return Spent(kind, row.energy.origin, 1, joules, seconds, flops, is_divided)
