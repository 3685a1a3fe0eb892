"""Meters on hardware that adds up energy itself: nothing between two readings is missed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sel_edge.core.measurement import Origin
from sel_edge.energy.system import lost, read_integer

LARGEST_UJ = 2**63 - 1


@dataclass
class Counter:
    """One counter of microjoules.

    Attributes:
        path: the file.
        range_uj: where it starts again at 0; None if nobody says, and then it must not fall.
        last_uj: what it showed last.
        total_uj: microjoules since the counter was opened.
    """

    path: Path
    range_uj: int | None
    last_uj: int
    total_uj: int = 0

    @classmethod
    def open(cls, path: Path, range_uj: int | None = None) -> Counter:
        """A counter from where it stands now; raises OSError or ValueError."""
        return cls(path, range_uj, read_integer(path, 0, range_uj or LARGEST_UJ))

    def read_uj(self) -> int:
        """Microjoules since it was opened; raises OSError or ValueError.

        A counter that fell has wrapped around once: it is read far more often than it wraps.
        """
        now = read_integer(self.path, 0, self.range_uj or LARGEST_UJ)
        step = now - self.last_uj
        if step < 0:
            if self.range_uj is None:
                raise ValueError(f"{self.path} fell from {self.last_uj} to {now}")
            step += self.range_uj
        self.total_uj += step
        self.last_uj = now
        return self.total_uj


class CounterMeter:
    """The sum of some counters.

    Args:
        name: what is read, for reports.
        counters: of parts that do not overlap.
    """

    origin: Origin = "measured"

    def __init__(self, name: str, counters: list[Counter]) -> None:
        self.name = name
        self._counters = counters

    def read_j(self) -> float:
        """Joules since the meter was opened.

        Raises:
            MissingDependencyError: a counter cannot be read any more, or shows the impossible.
        """
        try:
            return sum(counter.read_uj() for counter in self._counters) / 1e6
        except (OSError, ValueError) as error:
            raise lost(self.name, error) from error
