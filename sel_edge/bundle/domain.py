"""A domain: an environment, where its frames lie and the normalization that fits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Norm: TypeAlias = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Weight of a layer -> scale and shift of its output channels, float32 [C] each: the layer computes
with scale * weight and scale * bias + shift."""

OWN = 0
"""Number of the bundle's own domain, which is in no list: nothing ever changes it."""


@dataclass(frozen=True, eq=False)
class Domain:
    """An environment other than the bundle's own.

    Attributes:
        place: mean displacement of its frames, float32 [D]; see `sel_edge.runtime.moments`.
        frames: from how many frames it is known, at least 1.
        norm: the normalization that fits it.
    """

    place: NDArray[np.float32]
    frames: int
    norm: Norm = field(default_factory=dict)
