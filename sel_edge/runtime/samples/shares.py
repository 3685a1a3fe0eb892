"""How many labelled frames each class may keep."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def fair_shares(sizes: Mapping[Key, int], capacity: int) -> dict[Key, int]:
    """Shares of a capacity: a small class keeps all it has, large ones share the rest equally.

    Args:
        sizes: how many each class has; the first one gets what cannot be divided.
        capacity: 0 or more.

    Returns:
        Shares, none larger than its class, that together use as much of the capacity as they can.
    """
    shares: dict[Key, int] = {}
    left = capacity
    for rank, key in enumerate(sorted(sizes, key=lambda key: sizes[key])):
        # Of two classes of equal size the later one gets the remainder.
        shares[key] = min(sizes[key], left // (len(sizes) - rank))
        left -= shares[key]
    return shares
