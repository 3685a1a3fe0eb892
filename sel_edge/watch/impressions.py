"""What looks at a thing say, one by one and together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mode

import numpy as np

from sel_edge.watch.scene import Floats

STRANGENESS_QUANTILE = 0.25
"""Of a thing's looks: the less strange ones count, because a known thing can look strange for a
moment, and a novel one seldom looks known."""


@dataclass(frozen=True, eq=False)
class Look:
    """One look at a thing.

    Attributes:
        appearance: float32 [D], of length 1: features, layout and colours.
        strangeness: of the network's features, as the runtime's detector of novelty has it.
        answer: number of the class that the network takes it for.
    """

    appearance: Floats
    strangeness: float
    answer: int


@dataclass(frozen=True, eq=False)
class Impression:
    """What the looks at a thing say together.

    Attributes:
        appearance: float32 [D], of length 1.
        strangeness: to the network.
        answer: number of the class that the network takes it for.
    """

    appearance: Floats
    strangeness: float
    answer: int


@dataclass(frozen=True)
class Likeness:
    """How near two appearances must be.

    Attributes:
        none: cosine up to which they are of different things.
        full: cosine from which on they are of one; in between they may be.
    """

    none: float
    full: float

    def of(self, cosines: Floats) -> Floats:
        """0 to 1, of the same shape."""
        alike: Floats = np.clip((cosines - self.none) / (self.full - self.none), 0, 1)
        return alike


def impression(looks: Sequence[Look]) -> Impression:
    """Sum up at least one look."""
    mean = np.mean([look.appearance for look in looks], axis=0)
    strange = np.quantile([look.strangeness for look in looks], STRANGENESS_QUANTILE)
    answer = mode(look.answer for look in looks)
    return Impression(mean / np.linalg.norm(mean), float(strange), answer)
