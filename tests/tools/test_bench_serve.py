"""What the benchmark of the daemon concludes from what it saw."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from sel_edge.core.ledger import Tick
from sel_edge.core.measurement import Energy
from tools.serve_bench import attacks
from tools.serve_bench.books import gaps
from tools.serve_bench.marked import BITS, Pngs, mark, number_of
from tools.serve_bench.statistics import growth, spread_ms

TICK = Tick(0, 4, "live", {}, {}, {}, 0, 0, 0, Energy(0.0, "estimated"), 0.0)
FRAMES = arrays(np.uint8, (16, 16, 3))


@given(FRAMES, st.integers(0, 2**BITS - 1))
def test_a_mark_is_read_as_it_was_written_and_changes_the_first_row_only(frame, number):
    marked = mark(frame, number)
    assert number_of(marked) == number
    assert np.array_equal(marked[1:], frame[1:])


@given(FRAMES, st.integers(0, 2**BITS - 1))
def test_a_mark_survives_the_way_to_the_daemon(frame, number):
    body = Pngs(frame[np.newaxis])(number)
    assert number_of(np.asarray(Image.open(io.BytesIO(body)))) == number


@given(st.lists(st.integers(1, 16), min_size=1), st.data())
def test_ticks_that_follow_each_other_have_no_gaps_and_one_recorded_twice_is_found(sizes, data):
    starts = np.cumsum([0, *sizes[:-1]])
    ticks = [replace(TICK, start=int(s), n=n) for s, n in zip(starts, sizes, strict=True)]
    assert gaps(ticks) == 0
    again = data.draw(st.integers(0, len(ticks) - 1))
    assert gaps([*ticks[: again + 1], ticks[again], *ticks[again + 1 :]]) > 0


@given(st.floats(-0.5, 0.5), st.integers(10, 60))
def test_growth_is_that_of_the_line_whatever_a_few_samples_are(slope, count):
    seconds = [float(number) for number in range(count)]
    values = [100 * (1 + slope * (second / seconds[-1] - 0.5)) for second in seconds]
    assert growth(seconds, values) == pytest.approx(slope, abs=0.02)
    values[count // 2] *= 10
    assert growth(seconds, values) == pytest.approx(slope, abs=0.1)


def test_what_never_happened_has_no_median():
    assert spread_ms([]) == {"n": 0, "p50_ms": None, "p99_ms": None, "max_ms": None}


def test_every_attack_has_a_name_of_its_own():
    tried = [*attacks.with_token("t" * 16), *attacks.without_token()]
    assert len({one.name for one in tried}) == len(tried) > 100
