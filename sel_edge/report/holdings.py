"""What was left in the wallet, over the frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sel_edge.core.ledger import Balances

MOST_POINTS = 120


@dataclass(frozen=True)
class Holding:
    """One resource of a wallet.

    Attributes:
        size: the most that can be there, in FLOPs, joules or writes, as it was last.
        lowest: the least that was left at any record.
        last: what was left at the last one.
        course: frame -> share of the size that was left, 0..1, at most `MOST_POINTS` of them; of
            several records the one with the least.
    """

    size: float
    lowest: float
    last: float
    course: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Wallet:
    """The balances of a ledger, summed up.

    Attributes:
        records: how many there are.
        holdings: resource -> its course.
        warmest: the highest temperature in degrees Celsius; None if none could be read.
        throttled: at how many records the firmware slowed the processor down.
    """

    records: int
    holdings: Mapping[str, Holding]
    warmest: float | None
    throttled: int


def sum_up_balances(rows: Sequence[Balances]) -> Wallet | None:
    """Sum up; None without any."""
    if not rows:
        return None
    names = dict.fromkeys(name for row in rows for name in row.balances)
    degrees = [row.celsius for row in rows if row.celsius is not None]
    return Wallet(
        records=len(rows),
        holdings={name: _holding(name, rows) for name in names},
        warmest=max(degrees, default=None),
        throttled=sum(row.throttled for row in rows),
    )


def _holding(name: str, rows: Sequence[Balances]) -> Holding:
    known = [(row.frame, *row.balances[name]) for row in rows if name in row.balances]
    points = [(frame, left / size if size else 0.0) for frame, left, size in known]
    width = -(-len(points) // MOST_POINTS)
    parts = (points[at : at + width] for at in range(0, len(points), width))
    _, last, size = known[-1]
    return Holding(
        size=size,
        lowest=min(left for _, left, _ in known),
        last=last,
        course=tuple(min(part, key=lambda point: point[1]) for part in parts),
    )
