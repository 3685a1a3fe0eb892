"""Labels of class names that the classifier does not know yet."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from sel_edge.runtime.memory import LabelMemory
from sel_edge.runtime.trigger import Signal


class UnknownClasses:
    """Follows them, so many at most, and counts the labels that a memory holds of each.

    Args:
        capacity: names followed at once.
        needed: labels that make a class.
        memory: of labels; what was taken back there counts no longer.
    """

    def __init__(self, capacity: int, needed: int, memory: LabelMemory) -> None:
        self._capacity, self._needed, self._memory = capacity, needed, memory
        self._first_frames: dict[str, int] = {}  # by name, the one unheard of for longest first

    def hear(self, name: str, frame: int) -> str | None:
        """Follow the name of a label that is about to be remembered.

        Args:
            name: of the class.
            frame: that is said to show it; labels come in any order.

        Returns:
            The name that was forgotten for it, unheard of for longest, if any.
        """
        first = min(frame, self._first_frames[name]) if self._labels(name) else frame
        self._first_frames.pop(name, None)  # the one heard of last comes last
        forgotten = None
        if len(self._first_frames) == self._capacity:
            forgotten = next(iter(self._first_frames))
            del self._first_frames[forgotten]
        self._first_frames[name] = first
        return forgotten

    def learned(self, classes: Container[str]) -> None:
        """Forget those that are known now."""
        kept = {name: first for name, first in self._first_frames.items() if name not in classes}
        self._first_frames = kept

    def ready(self) -> list[str]:
        """Those that have labels enough, by name."""
        return sorted(name for name in self._first_frames if self._labels(name) >= self._needed)

    def signals(self, on: float, known: int) -> list[Signal]:
        """One for each that has labels enough; twice as many labels, twice the score.

        Args:
            on: score at which a signal fires.
            known: how many classes the head knows.
        """
        return [
            Signal(
                subject=f"new class {name}",
                score=on * labels / self._needed,
                samples=labels,
                onset=self._first_frames[name],
                classes=(name,),
                excess=float(np.log(known + 1)),
                reason=f"{name}: {labels} labels of a class never learned",
            )
            for name, labels in ((name, self._labels(name)) for name in self.ready())
        ]

    def _labels(self, name: str) -> int:
        """What is held of a name since it is followed; older labels are of when it was known."""
        first = self._first_frames.get(name)
        return 0 if first is None else self._memory.count(name, first)
