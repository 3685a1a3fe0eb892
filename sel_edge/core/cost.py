"""What a piece of work costs: operations, joules, time, memory and wear of the flash."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

LARGEST = 1e24
"""More than any device ever spends of anything; larger numbers are mistakes."""

_WHOLE = ("flops", "peak_bytes", "flash_writes")
_REAL = ("energy_j", "seconds")


@dataclass(frozen=True)
class Cost:
    """What work takes, predicted or measured.

    Attributes:
        flops: executed operations; a multiply-add is two.
        energy_j: joules.
        seconds: wall time.
        peak_bytes: the most memory held at once.
        flash_writes: files or database pages written and synced to flash.

    Raises:
        ValueError: a value is no number, not finite, negative, above `LARGEST`, or (of flops,
            bytes and writes) not whole.
    """

    flops: int = 0
    energy_j: float = 0.0
    seconds: float = 0.0
    peak_bytes: int = 0
    flash_writes: int = 0

    def __post_init__(self) -> None:
        for names, kind in ((_WHOLE, operator.index), (_REAL, float)):
            for name in names:
                value = getattr(self, name)
                try:
                    number = kind(value)
                except (TypeError, ValueError):
                    raise ValueError(f"a cost has {name} = {value!r}") from None
                if not 0 <= number <= LARGEST:
                    raise ValueError(f"a cost has {name} = {value!r}")
                # numpy's scalars become Python's, so that costs can be written as JSON.
                object.__setattr__(self, name, number)

    def __add__(self, other: Cost) -> Cost:
        """One after the other: memory is let go of between them, so its peak is the larger one."""
        return Cost(
            self.flops + other.flops,
            self.energy_j + other.energy_j,
            self.seconds + other.seconds,
            max(self.peak_bytes, other.peak_bytes),
            self.flash_writes + other.flash_writes,
        )

    def __mul__(self, times: float) -> Cost:
        """The same work so many times, which may be a fraction; the peak of memory stays.

        Whole numbers are rounded up, lest a prediction promise too little.
        """
        return Cost(
            _times(self.flops, times),
            self.energy_j * times,
            self.seconds * times,
            self.peak_bytes,
            _times(self.flash_writes, times),
        )

    __rmul__ = __mul__

    def rest(self, spent: Cost) -> Cost:
        """What is left of this after `spent`, at least 0 of each; the peak of memory stays."""
        return Cost(
            max(0, self.flops - spent.flops),
            max(0.0, self.energy_j - spent.energy_j),
            max(0.0, self.seconds - spent.seconds),
            self.peak_bytes,
            max(0, self.flash_writes - spent.flash_writes),
        )


NOTHING = Cost()


def _times(whole: int, times: float) -> int:
    return whole * times if isinstance(times, int) else math.ceil(whole * times)
