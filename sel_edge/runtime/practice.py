"""When a class that was learned on the device is practised again."""

from __future__ import annotations

from collections.abc import Mapping

from sel_edge.runtime.trigger import Signal

BETTER_KNOWN = 3
"""Times the labels by which a class was learned that make another lesson of it."""


def practice(
    taught: Mapping[str, int], now: Mapping[str, int], on: float, onset: int
) -> list[Signal]:
    """A class that was learned from few labels is practised again once there are many more.

    Args:
        taught, now: class learned on the device -> labels when it was taught last, and by now.
        on: score at which a signal fires.
        onset: frame at which it was taught.
    """
    return [
        Signal(
            subject=f"learned {name}",
            score=on,
            samples=now[name],
            onset=onset,
            classes=(name,),
            excess=0.0,
            reason=f"{name}: {now[name]} labels, learned from {labels}",
        )
        for name, labels in taught.items()
        if now[name] >= BETTER_KNOWN * max(labels, 1)
    ]
