"""A stream that begins again shows the same segments, in another order."""

from __future__ import annotations

from itertools import islice

from sel_edge.data.stream import FrameBatch, open_stream
from sel_edge.simulate.world import endless

DATA = "digits?classes=0,1"


def frames(batches: list[FrameBatch]) -> list[bytes]:
    return [frame.tobytes() for batch in batches for frame in batch.frames]


def test_the_first_pass_is_the_stream_and_the_next_is_another_order() -> None:
    stream = open_stream(f"{DATA}&labels=0.5&name=only")
    once = list(stream.batches(30))
    batches = list(islice(endless(stream, 30, 7), 2 * len(once)))
    first, second = batches[: len(once)], batches[len(once) :]
    assert frames(first) == frames(once)
    assert frames(second) != frames(first)
    assert sorted(frames(second)) == sorted(frames(first))
    assert [batch.segment for batch in second] == [batch.segment for batch in first]


def test_seeds_choose_the_later_passes_only() -> None:
    stream = open_stream(f"{DATA}&n=40")
    lives = [frames(list(islice(endless(stream, 40, seed), 3))) for seed in (1, 1, 2)]
    assert lives[0] == lives[1]
    assert lives[0] != lives[2]
    assert lives[0][:40] == lives[2][:40]


def test_parts_that_did_not_overlap_do_not_overlap_later() -> None:
    stream = open_stream(f"{DATA}&n=30+{DATA}&skip=30&n=30")
    batches = list(islice(endless(stream, 30, 0), 8))
    for left, right in zip(batches[::2], batches[1::2], strict=True):
        assert not set(frames([left])) & set(frames([right]))
