"""Labels of class names that the classifier does not know yet."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

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


@dataclass
class UnknownClass:
    """A class name that the head does not know.

    Attributes:
        first_frame: the first that was said to show it; labels come in any order.
        labels: how many came.
        last_frame: when the last one came.
    """

    first_frame: int
    labels: int = 0
    last_frame: int = 0


class UnknownClasses:
    """Counts the labels of each, of so many names at most.

    Args:
        capacity: names followed at once.
        needed: labels that make a class.
    """

    def __init__(self, capacity: int, needed: int) -> None:
        self._capacity, self._needed = capacity, needed
        self._names: dict[str, UnknownClass] = {}

    def count(self, name: str, frame: int) -> str | None:
        """Take in a label; the name that was forgotten for it, unheard of for longest, if any."""
        forgotten = None
        if name not in self._names and len(self._names) == self._capacity:
            forgotten = min(self._names, key=lambda other: self._names[other].last_frame)
            del self._names[forgotten]
        unknown = self._names.setdefault(name, UnknownClass(frame))
        unknown.labels += 1
        unknown.first_frame = min(unknown.first_frame, frame)
        unknown.last_frame = frame
        return forgotten

    def learned(self, classes: Container[str]) -> None:
        """Forget those that are known now."""
        self._names = {name: seen for name, seen in self._names.items() if name not in classes}

    def ready(self) -> list[str]:
        """Those that have labels enough, by name."""
        return sorted(n for n, unknown in self._names.items() if unknown.labels >= self._needed)

    def signals(self, on: float, known: int) -> list[Signal]:
        """One for each that has labels enough; twice as many labels, twice the score.

        Args:
            on: score at which a signal fires.
            known: how many classes the head knows.
        """
        return [
            Signal(
                subject=f"new class {name}",
                score=on * unknown.labels / self._needed,
                samples=unknown.labels,
                onset=unknown.first_frame,
                classes=(name,),
                excess=float(np.log(known + 1)),
                reason=f"{name}: {unknown.labels} labels of a class never learned",
            )
            for name, unknown in ((name, self._names[name]) for name in self.ready())
        ]
