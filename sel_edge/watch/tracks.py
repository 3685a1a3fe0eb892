"""Things that move, followed from frame to frame."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from sel_edge.watch.impressions import Look, impression
from sel_edge.watch.scene import Box
from sel_edge.watch.usual import Visit

LOST_S = 1.0
"""A thing that is not seen for as long has gone."""
REACH = 0.75
"""Sides of a thing that it may move, beside twice its last step, between two sightings."""
LOOK_EVERY_S, LOOK_AGAIN_S = 0.2, 0.6
"""Until there are enough looks, and from then on."""
MIN_LOOKS = 6
"""In good view; fewer do not tell one thing from another."""
MIN_DOUBTFUL_LOOKS = 12
"""At a thing that is never in good view, or at things that stay together: those that meet soon part
and are looked at alone."""
MAX_LOOKS = 24
"""That count: more say nothing new of a thing, only whether it is still the same."""
CHANGED_LOOKS = 3
"""In a row, that are all of another thing."""
TRAVEL = 0.5
"""Of its largest side, that a thing must have moved at least: leaves do not, nor does a patch of
sun that shrinks, nor the hole that somebody leaves who sat there from the start."""
ALIKE_SIZE = (0.6, 1.5)
"""Of a thing's usual area: otherwise it is partly hidden, or another one is before it."""
EVERYWHERE_S = 2.0
"""A lamp that goes on changes the whole frame for a shorter time."""
GROWN_UP_S = 1.0
"""A thing that was followed for as long does not vanish inside another one's box by chance."""


@dataclass(eq=False)
class Track:
    """A thing that moves.

    Attributes:
        boxes: where it was seen last, at most two.
        start_s, last_s: first and last time it was seen.
        looks: in good view.
        poor_looks: the others.
        latest: time and look of the last at the whole thing.
        far_px: how far it came from where it began.
        side: the largest that it had, in pixels.
        everywhere: it fills the frame.
        joined: it is several things that have met, and so like none of them.
        visit: of a novel thing; None as long as it is not thought to be one.
    """

    boxes: list[Box]
    start_s: float
    last_s: float
    everywhere: bool
    joined: bool = False
    looks: list[Look] = field(default_factory=list)
    poor_looks: list[Look] = field(default_factory=list)
    latest: deque[tuple[float, Look]] = field(default_factory=lambda: deque(maxlen=CHANGED_LOOKS))
    areas: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_LOOKS))
    far_px: float = 0.0
    visit: Visit | None = None
    next_look_s: float = -math.inf

    def __post_init__(self) -> None:
        self._begin, self.side = self.box.middle, self.box.side

    @property
    def box(self) -> Box:
        """Where it is."""
        return self.boxes[-1]

    @property
    def has_come(self) -> bool:
        """Whether it moved from where it began; a thing that fills the frame cannot, and stays."""
        if self.everywhere:
            return self.last_s - self.start_s >= EVERYWHERE_S
        return self.far_px >= TRAVEL * self.side

    @property
    def evidence(self) -> list[Look]:
        """The looks that count; none while they are too few, or if it is no thing that came."""
        if not self.has_come:
            return []
        if len(self.looks) >= MIN_LOOKS and not self.joined:
            return self.looks
        every = [*self.looks, *self.poor_looks]
        return every if len(every) >= MIN_DOUBTFUL_LOOKS else []

    @property
    def is_grown_up(self) -> bool:
        """Whether it is surely a thing of its own."""
        return self.has_come and self.last_s - self.start_s >= GROWN_UP_S

    def move(self, box: Box, now_s: float) -> None:
        """It was seen again."""
        self.boxes = [self.box, box]
        self.last_s, self.side = now_s, max(self.side, box.side)
        self.far_px = max(self.far_px, math.dist(self._begin, box.middle))

    def wants_look(self, now_s: float) -> bool:
        """Whether it is there and it is time to look at it."""
        return self.last_s == now_s and now_s >= self.next_look_s

    def add_look(self, look: Look, now_s: float, whole: bool) -> None:
        """Take in a look; `whole`: nothing of the thing lies outside the frame."""
        usual = median(self.areas) if self.areas else self.box.area
        good = whole and ALIKE_SIZE[0] <= self.box.area / usual <= ALIKE_SIZE[1]
        if whole or self.everywhere:
            self.areas.append(self.box.area)
            self.latest.append((now_s, look))
        looks = self.looks if good or self.everywhere else self.poor_looks
        looks.append(look)
        del looks[MAX_LOOKS:]
        is_enough = len(self.looks) >= MAX_LOOKS
        self.next_look_s = now_s + (LOOK_AGAIN_S if is_enough else LOOK_EVERY_S)

    def is_another(self, different: float) -> bool:
        """Whether the last looks are at another thing than those before.

        Args:
            different: cosine of appearances up to which things are not the same.
        """
        before = self.looks[:-CHANGED_LOOKS]
        if self.joined or len(before) < CHANGED_LOOKS or len(self.latest) < CHANGED_LOOKS:
            return False
        usual = impression(before).appearance
        return all(float(usual @ look.appearance) <= different for _, look in self.latest)

    def divided(self) -> Track:
        """The other thing's track, which begins with the last looks and takes them along."""
        start_s = self.latest[0][0]
        other = Track(list(self.boxes), start_s, self.last_s, self.everywhere)
        other.far_px, other.next_look_s = self.far_px, self.next_look_s
        other.looks = [look for _, look in self.latest]
        self.looks = [look for look in self.looks if look not in other.looks]
        self.last_s = start_s
        return other


class Tracker:
    """Follows boxes.

    Where things meet their boxes become one. Their tracks end there, a joined one goes on for them,
    and when they part each gets a new track: no track has looks at two things.

    Args:
        whole: the frame.

    Attributes:
        tracks: of what is there.
    """

    def __init__(self, whole: Box) -> None:
        self._whole = whole
        self.tracks: list[Track] = []

    def follow(self, boxes: Sequence[Box], now_s: float) -> list[Track]:
        """Take in the boxes that move in the frame at `now_s`, the largest first.

        Returns:
            The tracks that have ended.
        """
        found = self._matched(boxes)
        for number, box in found.items():
            self.tracks[number].move(box, now_s)
        lost = [track for n, track in enumerate(self.tracks) if n not in found]
        new = [box for box in boxes if box not in found.values()]
        over, born = [track for track in lost if now_s - track.last_s > LOST_S], []
        for track in [self.tracks[number] for number in found]:
            box = track.box
            met = [other for other in lost if other.is_grown_up and other.box.middle_in(box)]
            if met and track.is_grown_up and not track.joined:
                over += [track, *met]
                born.append(self._new(box, now_s, joined=True))
            elif track.joined and any(other.touches(track.boxes[0]) for other in new):
                over.append(track)
                new.append(box)
        born += [self._new(box, now_s) for box in new]
        ended = [track for track in self.tracks if track in over]
        self.tracks = [track for track in self.tracks if track not in over] + born
        return ended

    def divide(self, track: Track) -> None:
        """A track has gone over to another thing: the other one gets a track of its own."""
        self.tracks[self.tracks.index(track)] = track.divided()

    def _new(self, box: Box, now_s: float, joined: bool = False) -> Track:
        return Track([box], now_s, now_s, box == self._whole, joined)

    def _matched(self, boxes: Sequence[Box]) -> dict[int, Box]:
        """Number of a track -> where it is now; the nearest pairs first."""
        pairs = sorted(
            (distance, track_number, box_number)
            for track_number, track in enumerate(self.tracks)
            for box_number, box in enumerate(boxes)
            if (distance := _apart(track, box, box == self._whole)) <= 1
        )
        found: dict[int, Box] = {}
        for _, track_number, box_number in pairs:
            if track_number not in found and boxes[box_number] not in found.values():
                found[track_number] = boxes[box_number]
        return found


def _apart(track: Track, box: Box, everywhere: bool) -> float:
    """How far a box lies from where a thing may be, 0 to 1; more if it cannot be that thing."""
    if track.everywhere != everywhere:
        return math.inf
    before, last = track.boxes[0].middle, track.box.middle
    step = (last[0] - before[0], last[1] - before[1])
    ahead = (last[0] + step[0], last[1] + step[1])
    reach = REACH * max(track.box.side, box.side) + math.hypot(*step)
    return math.dist(ahead, box.middle) / reach
