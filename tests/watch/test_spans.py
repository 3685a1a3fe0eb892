"""Spans against a set of frame numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sel_edge.watch.spans import Spans

COUNT = 60
frames = st.lists(st.integers(0, COUNT - 1), max_size=20).map(sorted)
roll = st.integers(0, 8)


@given(frames, roll, roll)
def test_each_frame_is_kept_with_those_around_it(numbers: list[int], before: int, after: int):
    spans = Spans(before, after)
    for number in numbers:
        spans.add(number)
    kept = {
        frame
        for number in numbers
        for frame in range(number - before, number + after + 1)
        if 0 <= frame < COUNT
    }
    assert spans.frames(COUNT) == len(kept)
    for start in range(0, COUNT - 5, 7):
        inside = len(kept & set(range(start, start + 5)))
        assert spans.share(start, start + 5) == inside / 5


@given(frames, roll, roll)
def test_runs_are_in_order_and_apart(numbers: list[int], before: int, after: int):
    spans = Spans(before, after)
    for number in numbers:
        spans.add(number, number + 2)
    for (_, end), (begin, _) in zip(spans.runs, spans.runs[1:], strict=False):
        assert end + 1 < begin
