"""What a ledger says was spent, and on what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sel_edge.core.ledger import Ledger
from sel_edge.core.measurement import Energy, Origin

WATCHING = "inference and watching"
KEPT, REJECTED = "adapting, kept", "adapting, rejected"
KINDS = (WATCHING, KEPT, REJECTED)
"""A tick is charged with answering its frames and with watching them, in one number."""


@dataclass(frozen=True)
class Spent:
    """The sum of one kind of work, of one origin.

    Attributes:
        kind: one of `KINDS`.
        origin: of the joules; measured and estimated ones are never added up.
        count: ticks or updates.
        joules: their sum.
        seconds: their wall time.
        executed_flops: their operations.
    """

    kind: str
    origin: Origin
    count: int
    joules: float
    seconds: float
    executed_flops: int


def spent(ledger: Ledger) -> list[Spent]:
    """Sums by kind and origin, in the order of `KINDS`, measured ones first."""
    sums: dict[tuple[str, Origin], Spent] = {}
    for kind, energy, seconds, flops in _entries(ledger):
        key = (kind, energy.origin)
        past = sums.get(key, Spent(kind, energy.origin, 0, 0.0, 0.0, 0))
        sums[key] = Spent(
            kind,
            energy.origin,
            past.count + 1,
            past.joules + energy.joules,
            past.seconds + seconds,
            past.executed_flops + flops,
        )
    return sorted(
        sums.values(), key=lambda sum_: (KINDS.index(sum_.kind), sum_.origin != "measured")
    )


def _entries(ledger: Ledger) -> Iterator[tuple[str, Energy, float, int]]:
    for tick in ledger.ticks:
        yield WATCHING, tick.energy, tick.seconds, tick.executed_flops
    for update in ledger.updates:
        kind = KEPT if update.kept else REJECTED
        yield kind, update.energy, update.seconds, update.executed_flops
