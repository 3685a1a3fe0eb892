"""Why something cannot be spent now, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sel_edge.core.resources import Resource

Limit = Resource | Literal["ram_bytes", "celsius_max"]

_UNITS = {
    "flops_per_day": "FLOP",
    "energy_j_per_day": "J",
    "watts_mean": "J",
    "flash_writes_per_day": "flash writes",
    "battery": "J",
    "ram_bytes": "B",
    "celsius_max": "C",
}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True)
class Shortfall:
    """One limit that is in the way.

    Attributes:
        limit: which.
        needed, free: FLOPs, joules, writes, bytes or degrees; of watts_mean, joules within its
            window; of celsius_max, the temperature (infinite if unknown) and what it must not
            exceed.
        ready_s: when it will fit if nothing else is spent, by the clock the wallet was given; None
            if that cannot be said.
        note: what else a person should know, as a full sentence.
    """

    limit: Limit
    needed: float
    free: float
    ready_s: float | None
    note: str

    def __str__(self) -> str:
        """For example: energy_j_per_day: 120 J needed, 40 J free, 80 J short. Refilled in 2 h."""
        if self.limit == "celsius_max":
            return f"{self.limit}: {self.note}"
        needed, free, short = (
            quantity(value, _UNITS[self.limit])
            for value in (self.needed, self.free, self.needed - self.free)
        )
        return f"{self.limit}: {needed} needed, {free} free, {short} short. {self.note}"


def quantity(value: float, unit: str) -> str:
    """A number with its unit, e.g. "3.21 GFLOP", "12 flash writes"; counts have no prefix."""
    if unit == "flash writes":
        return f"{value:g} {unit}"
    scale, prefix = next((pair for pair in _PREFIXES if value >= pair[0]), (1.0, ""))
    return f"{value / scale:.3g} {prefix}{unit}"


def duration(seconds: float) -> str:
    """Seconds in words, rounded up, with its two largest units: "2 h 10 min"."""
    rest = -int(-seconds // 1)
    parts = []
    for length, name in _SPANS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
