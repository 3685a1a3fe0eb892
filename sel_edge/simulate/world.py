"""A world that never ends: a stream that begins again, in another order each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from sel_edge.core.rng import generator
from sel_edge.data.spec import parse_stream
from sel_edge.data.stream import FrameBatch, Stream, open_stream

_SEEDS = 2**31


def endless(stream: Stream, size: int, seed: int) -> Iterator[FrameBatch]:
    """Frames without end.

    The first pass is the stream as its SPEC says. Every later one shows the same segments with
    other seeds: in another order, with labels on other frames and, where a segment takes only part
    of its data set, with other frames of it.

    Args:
        stream: what is seen.
        size: frames in a batch at most, 1 or more.
        seed: of the later passes, 0 or more.
    """
    for number in count():
        yield from (stream if number == 0 else _again(stream, seed, number)).batches(size)


def _again(stream: Stream, seed: int, number: int) -> Stream:
    """A later pass; segments that had the same seed have the same one again."""
    shift = int(generator(seed, "pass", number).integers(_SEEDS))
    parts = (replace(part, seed=(part.seed + shift) % _SEEDS) for part in parse_stream(stream.spec))
    return open_stream("+".join(map(str, parts)))
