"""What is usual at a place: the things that came before, and how strange they looked."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.watch.impressions import Impression, Likeness
from sel_edge.watch.scene import Floats

ANCHOR_WEIGHT = 20
"""The bundle's anchors count like as many things that came."""
MAX_THINGS, MAX_PASSES = 512, 512
"""That are remembered."""
ABSENT_S = 30.0
"""A thing that is back sooner has not come again; it was hidden."""
STAY_S = 300.0
"""What is there for longer has come again: it is usual some time, though it never leaves."""
TIMES_POWER = 4
"""How fast a thing that comes again and again becomes usual."""
UNCLEAR_NATS = 0.01
"""That something novel is worth at most if it was not seen clearly: two known things together are
strange. It is kept where there is room."""


@dataclass(eq=False)
class Thing:
    """A thing that came.

    Attributes:
        appearance: float32 [D], of length 1; the mean of what was seen.
        visits: how often it came.
        last_s: when it was seen last.
    """

    appearance: Floats
    visits: int
    last_s: float


@dataclass(eq=False)
class Visit:
    """A thing that comes, or has come.

    Attributes:
        seen: what it looks like this time.
        clear: it is one thing that was seen well.
        start_s: when it came.
        thing: as it is remembered; None while it is there.
    """

    seen: Impression
    clear: bool = True
    start_s: float = 0.0
    thing: Thing | None = None


class Usual:
    """Remembers what came to a place, in bounded memory.

    Args:
        anchors: strangeness of known samples, float64 [A].
        likeness: of appearances.
    """

    def __init__(self, anchors: NDArray[np.float64], likeness: Likeness) -> None:
        self._anchors, self._likeness = np.sort(anchors), likeness
        self._things: list[Thing] = []
        self._passes: deque[float] = deque(maxlen=MAX_PASSES)

    @property
    def things(self) -> int:
        """How many different ones are remembered."""
        return len(self._things)

    def interest(self, times: float, strangeness: float) -> float:
        """How much a thing is worth keeping, in nats; above 0 it is novel.

        It is -log(p (v / 2)^4): p is the share of what came, and of the bundle's anchors, that
        looked at least as strange, v the number of times the thing has come. So the first two
        visits of anything are novel, the first more than the second, and the stranger a thing is,
        the more often it must come to be usual.
        """
        came = np.array(self._passes)
        above = len(self._anchors) - np.searchsorted(self._anchors, strangeness)
        share = ANCHOR_WEIGHT * (1 + above) / (1 + len(self._anchors))
        p = (share + (came >= strangeness).sum()) / (ANCHOR_WEIGHT + len(came) + 1)
        return -math.log(p) - TIMES_POWER * math.log(times / 2)

    def times(self, visit: Visit) -> float:
        """How often what visits has come by now, at least 1.

        What was not seen clearly may be several things: it has come a little when things came that
        are a little like it, for two that cross each other are like neither alone.
        """
        earlier = 1 if visit.thing is None else visit.thing.visits
        if not self._things or (visit.clear and visit.thing is not None):
            return earlier
        if visit.clear:
            known = self._find(visit.seen)
            if known is None:
                return earlier
            return known.visits + (visit.start_s - known.last_s >= ABSENT_S)
        alike = self._likeness.of(self._cosines(visit.seen))
        others: float = sum(
            like * thing.visits
            for like, thing in zip(alike.tolist(), self._things, strict=True)
            if thing is not visit.thing
        )
        return earlier + others

    def worth(self, visit: Visit) -> float:
        """Interest in a visit by what is known now."""
        interest = self.interest(self.times(visit), visit.seen.strangeness)
        return interest if visit.clear else min(interest, UNCLEAR_NATS)

    def came(self, visit: Visit, start_s: float, end_s: float) -> None:
        """Remember a thing that has gone."""
        seen = visit.seen
        self._passes.append(seen.strangeness)
        thing = visit.thing = self._find(seen)
        if thing is None:
            visit.thing = Thing(seen.appearance, 1, end_s)
            self._things.append(visit.thing)
            if len(self._things) > MAX_THINGS:
                others = self._things[:-1]
                self._things.remove(min(others, key=lambda one: (one.visits, one.last_s)))
            return
        mean = thing.visits * thing.appearance + seen.appearance
        thing.appearance = mean / np.linalg.norm(mean)
        is_again = start_s - thing.last_s >= ABSENT_S or end_s - start_s >= STAY_S
        thing.visits += is_again
        thing.last_s = end_s

    def _cosines(self, seen: Impression) -> Floats:
        found: Floats = np.stack([thing.appearance for thing in self._things]) @ seen.appearance
        return found

    def _find(self, seen: Impression) -> Thing | None:
        """The thing that looks most like it, if that is near enough."""
        if not self._things:
            return None
        alike = self._cosines(seen)
        nearest = int(alike.argmax())
        return self._things[nearest] if alike[nearest] >= self._likeness.full else None
