"""A domain: an environment, where its frames lie, the normalization and the rows that fit it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Norm: TypeAlias = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Weight of a layer -> scale and shift of its output channels, float32 [C] each: the layer computes
with scale * weight and scale * bias + shift."""

INPUT = "image"
"""Name of the network's input, which a normalization may have beside layers. Its scale is the gain
of amplitudes at `LENS_RINGS` frequencies, from none to the highest, by which frames are filtered
before the network sees them; its shift is 0."""
LENS_RINGS = 24
MAX_GAIN = 4.0
"""More would make too much of what hardly any frame has."""

Selected: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Which rows of a parameter, int64 [k], and these rows, float32 [k, ...]."""

DomainRows: TypeAlias = Mapping[str, Selected]
"""Parameter -> rows of it that a domain has to itself, k >= 1, ascending. The network computes with
exactly these numbers there: no scale or shift is applied to them."""

OWN = 0
"""Number of the bundle's own domain, which is in no list: nothing ever changes it."""


@dataclass(frozen=True, eq=False)
class Domain:
    """An environment other than the bundle's own.

    Attributes:
        place: mean displacement of its frames, float32 [D]; see `sel_edge.runtime.moments`.
        frames: from how many frames it is known, at least 1.
        norm: the normalization that fits it.
        rows: parameters' rows that stand in place of the shared ones.
    """

    place: NDArray[np.float32]
    frames: int
    norm: Norm = field(default_factory=dict)
    rows: DomainRows = field(default_factory=dict)


def put_rows(value: NDArray[np.float32], rows: Selected) -> NDArray[np.float32]:
    """A copy of a parameter, float32 [R, ...], with other rows in place."""
    indices, values = rows
    found = value.copy()
    found[indices] = values
    return found


def merge_rows(before: Selected, new: Selected) -> Selected:
    """Rows of both, ascending; where both have one, the new one.

    Args:
        before: ascending.
        new: in any order, none twice, of the same shape each.
    """
    indices = np.union1d(before[0], new[0])
    values = np.empty((len(indices), *new[1].shape[1:]), np.float32)
    for some, rows in (before, new):
        values[np.searchsorted(indices, some)] = rows
    return indices, values


def differing_rows(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows differ by a bit, bool [k], of two arrays float32 [k, ...] of the same shape."""
    flat = (len(one), math.prod(one.shape[1:]))
    bits = [np.ascontiguousarray(v).view(np.uint32).reshape(flat) for v in (one, other)]
    differ: NDArray[np.bool_] = (bits[0] != bits[1]).any(axis=1)
    return differ
