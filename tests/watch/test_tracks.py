"""Things are followed; those that meet get tracks of their own again when they part."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.watch.impressions import Look
from sel_edge.watch.scene import Box
from sel_edge.watch.tracks import (
    CHANGED_LOOKS,
    LOST_S,
    MIN_DOUBTFUL_LOOKS,
    MIN_LOOKS,
    TRAVEL,
    Track,
    Tracker,
)

WHOLE = Box(0, 0, 320, 240)
FPS = 5.0
LOOK = Look(np.ones(1, np.float32), 0.0, 0)


def square(left: float, top: float, side: int = 40) -> Box:
    return Box(round(left), round(top), round(left) + side, round(top) + side)


def followed(frames: list[list[Box]]) -> list[Track]:
    """All tracks, ended ones first."""
    tracker, ended = Tracker(WHOLE), []
    for number, boxes in enumerate(frames):
        ended += tracker.follow(boxes, number / FPS)
    return ended + tracker.tracks


@given(st.floats(-20, 20), st.floats(-8, 8), st.sets(st.integers(1, 18), max_size=2))
def test_a_thing_has_one_track_even_if_it_is_not_seen_for_a_moment(
    across: float, down: float, unseen: set[int]
):
    way = [square(150 + 0.5 * n * across, 100 + 0.5 * n * down) for n in range(20)]
    frames = [[] if n in unseen else [box] for n, box in enumerate(way)]
    (track,) = followed(frames)
    assert track.box == way[-1]
    assert track.has_come == (track.far_px >= TRAVEL * 40)


def test_things_that_pass_far_apart_keep_their_tracks():
    frames = [[square(10 * n, 30), square(250 - 10 * n, 150)] for n in range(20)]
    one, other = followed(frames)
    assert {one.box, other.box} == {square(190, 30), square(60, 150)}


def test_no_track_has_two_things():
    def boxes(number: int) -> list[Box]:
        one, other = square(8 * number, 100), square(280 - 8 * number, 100)
        if not one.touches(other):
            return [one, other]
        left, right = min(one.left, other.left), max(one.right, other.right)
        return [Box(left, 100, right, 140)]

    tracks = followed([boxes(number) for number in range(35)])
    assert sum(track.joined for track in tracks) == 1
    alone = [track for track in tracks if not track.joined]
    assert len(alone) == 4
    first, last = alone[:2], alone[2:]
    assert max(track.last_s for track in first) <= min(track.start_s for track in last)


def test_a_thing_that_is_lost_has_gone():
    tracker = Tracker(WHOLE)
    tracker.follow([square(100, 100)], 0.0)
    assert tracker.follow([], LOST_S) == []
    (gone,) = tracker.follow([], LOST_S + 0.1)
    assert gone.last_s == 0.0
    assert tracker.tracks == []


def test_what_never_moved_is_no_evidence():
    still, moving = (Track([square(100, 100)], 0.0, 0.0, everywhere=False) for _ in range(2))
    for number in range(2 * MIN_LOOKS):
        for track, left in ((still, 100), (moving, 100 + 10 * number)):
            track.move(square(left, 100), number / FPS)
            track.add_look(LOOK, number / FPS, whole=True)
    assert not still.evidence
    assert moving.evidence


def test_looks_in_poor_view_count_only_without_others():
    track = Track([square(0, 100)], 0.0, 0.0, everywhere=False)
    poor = Look(np.zeros(1, np.float32), 1.0, 1)
    for number in range(2 * MIN_LOOKS):
        track.move(square(10 * number, 100), number / FPS)
        track.add_look(LOOK if number >= MIN_LOOKS else poor, number / FPS, number >= MIN_LOOKS)
    assert track.evidence == [LOOK] * MIN_LOOKS


def test_a_track_that_goes_over_to_another_thing_is_divided():
    one, other = (Look(np.eye(2, dtype=np.float32)[n], 0.0, n) for n in range(2))
    tracker = Tracker(WHOLE)
    for number in range(MIN_LOOKS + 2 * CHANGED_LOOKS):
        now_s = number / FPS
        tracker.follow([square(10 + 10 * number, 100)], now_s)
        (track,) = tracker.tracks
        assert not track.is_another(0.5)
        is_other = number >= MIN_LOOKS + CHANGED_LOOKS
        track.add_look(other if is_other else one, now_s, whole=True)
    assert track.is_another(0.5)
    tracker.divide(track)
    (second,) = tracker.tracks
    assert track.looks == [one] * (MIN_LOOKS + CHANGED_LOOKS)
    assert second.looks == [other] * CHANGED_LOOKS
    assert track.last_s == second.start_s
    assert second.has_come


def test_things_that_stay_together_count_as_one_in_the_end():
    track = Track([square(0, 100)], 0.0, 0.0, everywhere=False, joined=True)
    for number in range(MIN_DOUBTFUL_LOOKS):
        assert not track.evidence
        track.move(square(10 * number, 100), number / FPS)
        track.add_look(LOOK, number / FPS, whole=True)
    assert len(track.evidence) == MIN_DOUBTFUL_LOOKS


def looked_at(frames: list[list[Box]]) -> tuple[Tracker, list[Track]]:
    """Every thing that is there is looked at in every frame; the tracker, and the ended tracks."""
    tracker, ended = Tracker(WHOLE), list[Track]()
    for number, boxes in enumerate(frames):
        ended += tracker.follow(boxes, number / FPS)
        for track in tracker.tracks:
            track.add_look(LOOK, number / FPS, track.box.inside(WHOLE))
    return tracker, ended


def meeting(middle: int) -> list[list[Box]]:
    """Two things meet after `middle` frames of their own, and stay together."""
    alone = [[square(10 + 6 * n, 100), square(270 - 6 * n, 100)] for n in range(middle)]
    together = [[Box(94, 100, 226, 140)]] * MIN_DOUBTFUL_LOOKS
    return [*alone, *together]


def test_two_that_meet_are_no_news_if_each_was_seen_well_before():
    tracker, ended = looked_at(meeting(middle=15))
    assert [len(track.evidence) > 0 for track in ended] == [True, True]
    (both,) = tracker.tracks
    assert both.joined and both.explained and not both.evidence


def test_one_of_two_that_goes_on_alone_is_looked_at_anew():
    on = [[square(100 + 6 * n, 100)] for n in range(2 * MIN_DOUBTFUL_LOOKS)]
    tracker, _ = looked_at([*meeting(middle=15), *on])
    (track,) = tracker.tracks
    assert track.is_clear and track.evidence


def test_things_that_came_as_one_and_part_were_not_seen_clearly():
    both = [[Box(20 + 6 * n, 100, 80 + 6 * n, 150)] for n in range(15)]
    apart = [[square(110 + 10 * n, 100), square(90 - 6 * n, 100)] for n in range(5)]
    tracker, (ended,) = looked_at([*both, *apart])
    assert ended.joined and not ended.is_clear
    assert len(tracker.tracks) == 2 and not any(track.joined for track in tracker.tracks)


def test_a_thing_that_comes_close_to_another_leaves_that_one_clear():
    alone = [[square(100 + 6 * n, 100)] for n in range(15)]
    comes = [[square(190 + 6 * n, 100), Box(270 - 10 * n, 100, 320, 140)] for n in range(4)]
    tracker, _ = looked_at([*alone, *comes])
    assert sum(track.is_clear for track in tracker.tracks) == 1
