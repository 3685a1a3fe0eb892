"""Things that move, followed from frame to frame."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from sel_edge.watch.impressions import Look, impression
from sel_edge.watch.scene import Box
from sel_edge.watch.usual import STAY_S, Visit

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
LEAST_PART = 0.25
"""Of the area that several things had together, that one of them has; less is a shadow."""
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
        explained: each of the things that have met was seen well enough before.
        single_area: the largest that one of the things that have met has, in pixels.
        divided_off: it began as another thing's track, maybe only because a third hid that one.
        visit: of a novel thing; None as long as it is not thought to be one.
        next_look_s: when to look again.
        large_s: when it was last larger than one of the things that have met.
    """

    boxes: list[Box]
    start_s: float
    last_s: float
    everywhere: bool
    joined: bool = False
    explained: bool = False
    single_area: float = 0.0
    divided_off: bool = False
    looks: list[Look] = field(default_factory=list)
    poor_looks: list[Look] = field(default_factory=list)
    latest: deque[tuple[float, Look]] = field(default_factory=lambda: deque(maxlen=CHANGED_LOOKS))
    areas: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_LOOKS))
    far_px: float = 0.0
    visit: Visit | None = None
    next_look_s: float = -math.inf
    large_s: float = -math.inf

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
    def is_clear(self) -> bool:
        """Whether it is one thing that was seen well."""
        least = MIN_DOUBTFUL_LOOKS if self.divided_off else MIN_LOOKS
        return len(self.looks) >= least and not self.joined

    @property
    def evidence(self) -> list[Look]:
        """The looks that count; none while they are too few, or if it is nothing new that came."""
        if not self.has_come or self.explained:
            return []
        if self.is_clear:
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
        if box.area > ALIKE_SIZE[1] * self.single_area:
            self.large_s = now_s

    @property
    def usual_area(self) -> float:
        """Of its boxes, in pixels."""
        return median(self.areas) if self.areas else self.box.area

    @property
    def is_left_alone(self) -> bool:
        """Whether several things have met and all but one have gone since, or been hidden."""
        return self.joined and self.last_s - max(self.start_s, self.large_s) >= LOST_S

    def wants_look(self, now_s: float) -> bool:
        """Whether it is there and it is time to look at it."""
        return self.last_s == now_s and now_s >= self.next_look_s

    def add_look(self, look: Look, now_s: float, whole: bool) -> None:
        """Take in a look; `whole`: nothing of the thing lies outside the frame."""
        good = whole and ALIKE_SIZE[0] <= self.box.area / self.usual_area <= ALIKE_SIZE[1]
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
        other = Track(list(self.boxes), start_s, self.last_s, self.everywhere, divided_off=True)
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
        over = [track for track in lost if now_s - track.last_s > LOST_S]
        fresh, born = tuple(new), []
        for track in [self.tracks[number] for number in found]:
            box = track.box
            met = [other for other in lost if other.is_grown_up and other.box.middle_in(box)]
            if met and track.is_grown_up and not track.joined:
                over += [track, *met]
                born.append(self._joined([track, *met], box, now_s))
            elif track.is_left_alone or any(self._has_parted(track, other) for other in fresh):
                # Unless it has just grown, it was several things from the start.
                track.joined |= track.boxes[0].area <= ALIKE_SIZE[1] * track.usual_area
                over.append(track)
                new.append(box)
            elif now_s - track.start_s >= STAY_S:
                over.append(track)
                new.append(box)
        born += [self._new(box, now_s) for box in new]
        ended = [track for track in self.tracks if track in over]
        self.tracks = [track for track in self.tracks if track not in over] + born
        return ended

    def divide(self, track: Track) -> None:
        """A track has gone over to another thing: the other one gets a track of its own."""
        self.tracks[self.tracks.index(track)] = track.divided()

    def _new(self, box: Box, now_s: float) -> Track:
        return Track([box], now_s, now_s, box == self._whole)

    def _joined(self, parts: list[Track], box: Box, now_s: float) -> Track:
        return Track(
            [box],
            now_s,
            now_s,
            box == self._whole,
            joined=True,
            explained=all(part.evidence for part in parts),
            single_area=max(part.usual_area for part in parts),
        )

    def _has_parted(self, track: Track, box: Box) -> bool:
        """Whether a new box is a thing of its own that was within a track until now."""
        before = track.boxes[0]
        is_own = track.joined or (
            track.is_grown_up
            and box.area >= LEAST_PART * before.area
            and box.inside(self._whole)  # or it has just come
        )
        return is_own and box.touches(before)

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
