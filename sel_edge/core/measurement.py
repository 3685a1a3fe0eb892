"""Energy that always knows whether it was measured or estimated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Origin = Literal["measured", "estimated"]


@dataclass(frozen=True)
class Energy:
    """Joules and where they come from; the two origins never add up to one number."""

    joules: float
    origin: Origin

    def __add__(self, other: Energy) -> Energy:
        if self.origin != other.origin:
            raise ValueError(f"cannot add {other.origin} joules to {self.origin} joules")
        return Energy(self.joules + other.joules, self.origin)


class Meter(Protocol):
    """A cumulative counter of joules."""

    @property
    def origin(self) -> Origin:
        """Whether the joules are read from hardware or computed from a device profile."""
        ...

    @property
    def name(self) -> str:
        """What is read, for reports: "rapl:package-0", "profile:generic-x86"."""
        ...

    def read_j(self) -> float:
        """Joules since the meter was opened; never falls."""
        ...
